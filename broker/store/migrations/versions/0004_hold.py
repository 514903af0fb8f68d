"""Hold after a restore: held seats, withdrawals given back, continuations of the log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step."""
    op.create_table(
        "hold",
        sa.Column("hold_id", sa.LargeBinary(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("began_at_us", sa.BigInteger(), nullable=False),
        sa.Column("seen_origin", sa.String(), nullable=False),
        sa.Column("seen_size", sa.BigInteger(), nullable=False),
        sa.Column("seen_root", sa.LargeBinary(), nullable=False),
        sa.Column("seen_note", sa.String(), nullable=True),
        sa.Column("ended_at_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("hold_id"),
    )
    op.create_table(
        "hold_seat",
        sa.Column("seat_id", sa.LargeBinary(), nullable=False),
        sa.Column("hold_id", sa.LargeBinary(), nullable=False),
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("confirmation", sa.LargeBinary(), nullable=True),
        sa.Column("signature", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("seat_id"),
    )
    op.create_index(op.f("ix_hold_seat_case_id"), "hold_seat", ["case_id"], unique=False)
    op.create_table(
        "hold_withdrawal",
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hold_id", sa.LargeBinary(), nullable=False),
        sa.Column("effective_at_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("case_id", "recorded_at_us"),
    )
    op.create_table(
        "continuation",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hold_id", sa.LargeBinary(), nullable=False),
        sa.Column("statement", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
