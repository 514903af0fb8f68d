"""Joined cases, and the withdrawals that went from one to the other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step."""
    op.create_table(
        "case_join",
        sa.Column("join_id", sa.LargeBinary(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("seat_id", sa.LargeBinary(), nullable=False),
        sa.Column("other_seat_id", sa.LargeBinary(), nullable=False),
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("other_case_id", sa.LargeBinary(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_at_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("join_id"),
    )
    op.create_index("ix_case_join_case_id", "case_join", ["case_id"])
    op.create_index("ix_case_join_other_case_id", "case_join", ["other_case_id"])
    op.create_table(
        "crossing",
        sa.Column("seat_id", sa.LargeBinary(), nullable=False),
        sa.Column("ledger_seq", sa.BigInteger(), nullable=False),
        sa.Column("origin_case", sa.LargeBinary(), nullable=False),
        sa.Column("told", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("seat_id", "ledger_seq"),
    )
