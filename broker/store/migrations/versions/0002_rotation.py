"""A seat's key before its present one, and the word of several signers for one key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the step."""
    op.add_column("seat", sa.Column("previous_signing_key", sa.LargeBinary(), nullable=True))
    op.add_column("seat", sa.Column("previous_key_id", sa.LargeBinary(), nullable=True))
    op.add_column("seat", sa.Column("key_seq", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "statement_signed",
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("member", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("signer", sa.LargeBinary(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("case_id", "member", "kind", "seq", "signer"),
    )
    # What is here is of kinds that one signer alone may make: no two rows differ in nothing else.
    empty = "''::bytea" if op.get_bind().dialect.name == "postgresql" else "x''"
    op.execute(f"INSERT INTO statement_signed SELECT case_id, member, kind, seq, {empty}, signed FROM statement")  # noqa: S608
    op.drop_table("statement")
    op.rename_table("statement_signed", "statement")
