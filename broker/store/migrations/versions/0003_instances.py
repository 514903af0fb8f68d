"""Numbers of restored connectors, and what the broker remembers of each unit's connector."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step."""
    op.create_table(
        "instance",
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("instance", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("restore_id", sa.LargeBinary(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("announced_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("unit", "instance"),
        sa.UniqueConstraint("restore_id"),
    )
    op.create_table(
        "unit_memory",
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("recovery_key", sa.LargeBinary(), nullable=True),
        sa.Column("compromised_key", sa.LargeBinary(), nullable=True),
        sa.Column("seen_size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("unit"),
    )
    op.create_index("ix_event_memory_seat_id", "event_memory", ["seat_id"])


def downgrade() -> None:
    """Undo the step."""
    op.drop_index("ix_event_memory_seat_id", "event_memory")
    op.drop_table("unit_memory")
    op.drop_table("instance")
