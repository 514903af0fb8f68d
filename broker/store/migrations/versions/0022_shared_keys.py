"""The seat keys of nodes that share a PostgreSQL store; beside SQLite they lie in a file of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.create_table(
        "seat_key",
        sa.Column("owner_kind", sa.String(), nullable=False),
        sa.Column("owner_id", sa.LargeBinary(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("owner_kind", "owner_id"),
    )
