"""Annulled consents: who was told, what they answered, and what a release rested on before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step."""
    op.create_table(
        "earlier_ground",
        sa.Column("delivery_id", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("consent_id", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", "digest", "consent_id"),
    )
    op.create_table(
        "void_case",
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("ground", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("case_id"),
    )
    op.create_table(
        "annul_notice",
        sa.Column("notice_id", sa.LargeBinary(), nullable=False),
        sa.Column("seat_id", sa.LargeBinary(), nullable=False),
        sa.Column("consent_id", sa.LargeBinary(), nullable=False),
        sa.Column("delivery_id", sa.LargeBinary(), nullable=False),
        sa.Column("recipient_unit", sa.String(), nullable=False),
        sa.Column("categories", sa.String(), nullable=False),
        sa.Column("state_before", sa.String(), nullable=False),
        sa.Column("ground", sa.String(), nullable=False),
        sa.Column("noticed_at_us", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("answered_at_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("notice_id"),
        sa.UniqueConstraint("seat_id", "consent_id", "delivery_id", "ground"),
    )
