"""Administrative acts, signed by two."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step."""
    op.create_table(
        "admin_act",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("act_hash", sa.LargeBinary(), nullable=False),
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("act_hash"),
        sa.UniqueConstraint("entry_id"),
    )
