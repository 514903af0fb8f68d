"""Schemas, codec, codes and errors: what both sides of the wire share."""
