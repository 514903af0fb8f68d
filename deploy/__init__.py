"""What an operator deploys, and the demonstration that plays a whole case with it."""
