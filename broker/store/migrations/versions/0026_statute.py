"""Approved provisions, and disclosures in acute danger that wait for a second person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step."""
    op.create_table(
        "approval",
        sa.Column("agency", sa.String(), nullable=False),
        sa.Column("provision_id", sa.String(), nullable=False),
        sa.Column("reviewed_at_us", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("agency", "provision_id"),
    )
    op.create_table(
        "acute",
        sa.Column("disclosure_id", sa.LargeBinary(), nullable=False),
        sa.Column("seat_id", sa.LargeBinary(), nullable=False),
        sa.Column("recipient_seat", sa.LargeBinary(), nullable=False),
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("statement_hash", sa.LargeBinary(), nullable=False),
        sa.Column("decider_key", sa.LargeBinary(), nullable=False),
        sa.Column("decider_hash", sa.LargeBinary(), nullable=False),
        sa.Column("confirm_by_us", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("disclosure_id"),
    )
    op.create_index("ix_acute_confirm_by_us", "acute", ["confirm_by_us"])
