"""Whose submissions wait in the stream, and how many bytes: the share of a unit is bounded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step; what waits already counts for nobody."""
    op.add_column("stream", sa.Column("unit", sa.String(), nullable=False, server_default=""))
    op.add_column("stream", sa.Column("size", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("stream_share", "stream", ["unit", "size"])
