"""The Stream: submissions that wait for their decision."""
