"""The row that rare writes take in turn, and PostgreSQL's own guards of the entries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# A seat belt, not a proof (the tree is the proof). Class 23 of SQLSTATE: an integrity constraint, as in SQLite.
GUARDS = (
    "CREATE FUNCTION entry_is_append_only() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'entry is append-only' USING ERRCODE = '23001'; END $$",
    "CREATE TRIGGER entry_no_change BEFORE UPDATE OR DELETE ON entry"
    " FOR EACH ROW EXECUTE FUNCTION entry_is_append_only()",
    "CREATE TRIGGER entry_no_truncate BEFORE TRUNCATE ON entry"
    " FOR EACH STATEMENT EXECUTE FUNCTION entry_is_append_only()",
)


def upgrade() -> None:
    """Apply the step."""
    op.create_table(
        "turn",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(sa.table("turn", sa.column("id")), [{"id": 1}])
    if op.get_bind().dialect.name == "postgresql":
        for statement in GUARDS:
            op.execute(statement)
