"""New keys for lost seats: who asked, who has vouched."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step."""
    op.create_table(
        "rekey",
        sa.Column("seat_id", sa.LargeBinary(), nullable=False),
        sa.Column("rekey", sa.LargeBinary(), nullable=False),
        sa.Column("hpke_key", sa.LargeBinary(), nullable=False),
        sa.Column("asked_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seat_id"),
    )
    op.create_table(
        "rekey_signature",
        sa.Column("seat_id", sa.LargeBinary(), nullable=False),
        sa.Column("member", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("seat_id", "member"),
    )


def downgrade() -> None:
    """Undo the step."""
    op.drop_table("rekey_signature")
    op.drop_table("rekey")
