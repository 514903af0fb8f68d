"""Adapters between a connector and an agency's own system."""
