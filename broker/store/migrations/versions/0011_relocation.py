"""Passing a case on: who takes over, in which chain of keys, and the mailbox of those who left."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step."""
    op.add_column("seat", sa.Column("chain", sa.LargeBinary()))
    op.add_column("seat", sa.Column("protected", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("inbox_item", sa.Column("not_before_us", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "succession",
        sa.Column("seat_id", sa.LargeBinary(), nullable=False),
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("seat_key_id", sa.LargeBinary(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seat_id"),
    )
