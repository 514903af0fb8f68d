"""Rule sets proposed and in force, what units approved, and deliveries that wait for new rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step."""
    op.create_table(
        "rule_set",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rules_hash", sa.LargeBinary(), nullable=False),
        sa.Column("file", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("rules_hash"),
    )
    op.create_table(
        "rule_step",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("base_hash", sa.LargeBinary(), nullable=False),
        sa.Column("rules_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "rule_approval",
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("rules_hash", sa.LargeBinary(), nullable=False),
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("unit", "rules_hash"),
        sa.UniqueConstraint("entry_id"),
    )
    op.create_table(
        "rule_recheck",
        sa.Column("delivery_id", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("delivery_id"),
    )
