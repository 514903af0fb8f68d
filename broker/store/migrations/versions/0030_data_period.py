"""The period a section's data are from, as its sender states it: a consent may cover another time only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step."""
    for name in ("data_from_us", "data_until_us"):
        op.add_column("delivery_section", sa.Column(name, sa.BigInteger(), nullable=True))
