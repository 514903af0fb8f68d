"""Alembic migrations of the Store, from zero to now."""
