"""The Store: seats, grants, decisions, deliveries and audit entries, in one transaction."""
