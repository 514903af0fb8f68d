"""Last contact of each unit, and the mark of the operator's own test case."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step."""
    op.add_column("unit", sa.Column("probe", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "contact",
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(), nullable=True),
        sa.Column("clock_offset_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("unit"),
    )
