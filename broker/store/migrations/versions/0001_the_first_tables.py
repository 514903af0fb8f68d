"""The first tables."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # 64 bits with either engine
# entry bytes never change: a seat belt, not a proof (the tree is the proof)
GUARDS = (
    "CREATE TRIGGER entry_no_update BEFORE UPDATE OF bytes, leaf_hash ON entry WHEN NEW.bytes IS NOT NULL"
    " BEGIN SELECT RAISE(ABORT, 'entry is append-only'); END",
    "CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'entry is append-only'); END",
)


def upgrade() -> None:
    """Apply the step."""
    op.create_table(
        "attempt",
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attempt_hash", sa.LargeBinary(), nullable=False),
        sa.Column("receipt", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", "attempt"),
    )
    op.create_table(
        "beat",
        sa.Column("first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("seed", sa.LargeBinary(), nullable=False),
        sa.Column("entry_id", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("first"),
    )
    op.create_table(
        "bucket",
        sa.Column("bucket", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next_position", sa.BigInteger(), nullable=False),
        sa.Column("gate_version", sa.BigInteger(), nullable=False),
        sa.Column("clock_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket"),
    )
    op.create_table(
        "call",
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("call_id", sa.LargeBinary(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("unit", "call_id"),
    )
    op.create_table(
        "checkpoint",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("size"),
    )
    op.create_table(
        "delivery",
        sa.Column("delivery_id", sa.LargeBinary(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("event_type", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("sender_seat", sa.LargeBinary(), nullable=False),
        sa.Column("sender_unit", sa.String(), nullable=False),
        sa.Column("recipient_seat", sa.LargeBinary(), nullable=True),
        sa.Column("recipient_unit", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("invitation_id", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("hand_number", sa.Integer(), nullable=False),
        sa.Column("row_version", sa.Integer(), nullable=False),
        sa.Column("lease_until_us", sa.BigInteger(), nullable=False),
        sa.Column("holds_until_us", sa.BigInteger(), nullable=False),
        sa.Column("valid_until_us", sa.BigInteger(), nullable=False),
        sa.Column("deadline_at_us", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("overdue_told", sa.Boolean(), nullable=False),
        sa.Column("decided_at_us", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("ack_entry", sa.LargeBinary(), nullable=True),
        sa.Column("ack_leaf", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("delivery_id"),
    )
    op.create_index("delivery_due", "delivery", ["state", "deadline_at_us"], unique=False)
    op.create_index("delivery_inbox", "delivery", ["recipient_unit", "state", "delivery_id"], unique=False)
    op.create_index("delivery_sender", "delivery", ["sender_seat", "state"], unique=False)
    op.create_index("delivery_valid", "delivery", ["state", "valid_until_us"], unique=False)
    op.create_index(op.f("ix_delivery_event_id"), "delivery", ["event_id"], unique=False)
    op.create_table(
        "delivery_section",
        sa.Column("delivery_id", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("recipient_seat", sa.LargeBinary(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.Column("persons", sa.String(), nullable=False),
        sa.Column("public_interest_released", sa.Boolean(), nullable=False),
        sa.Column("grants", sa.LargeBinary(), nullable=False),
        sa.Column("digest_index", sa.Integer(), nullable=False),
        sa.Column("item", sa.LargeBinary(), nullable=True),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=True),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("delivery_id", "digest"),
    )
    op.create_index(
        "section_once",
        "delivery_section",
        ["event_id", "recipient_seat", "digest"],
        unique=True,
        sqlite_where=sa.text("live"),
        postgresql_where=sa.text("live"),
    )
    op.create_table(
        "entry",
        sa.Column("number", NUMBER, sa.Identity(), autoincrement=True, nullable=False),
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("handle", sa.LargeBinary(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("operation", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("reason_class", sa.String(), nullable=True),
        sa.Column("bytes", sa.LargeBinary(), nullable=True),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("entry_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_entry_handle"), "entry", ["handle"], unique=False)
    op.create_index(op.f("ix_entry_leaf_hash"), "entry", ["leaf_hash"], unique=False)
    op.create_table(
        "event_memory",
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("seat_id", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_table(
        "exit_case",
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("case_tag", sa.LargeBinary(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("opened_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("case_id"),
        sa.UniqueConstraint("case_tag"),
    )
    op.create_table(
        "head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "inbox_item",
        sa.Column("number", NUMBER, sa.Identity(), autoincrement=True, nullable=False),
        sa.Column("item_id", sa.LargeBinary(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("lease_until_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("item_id"),
    )
    op.create_index("item_inbox", "inbox_item", ["unit", "number"], unique=False)
    op.create_table(
        "invitation",
        sa.Column("invitation_id", sa.LargeBinary(), nullable=False),
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("inviter_seat", sa.LargeBinary(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("acceptance", sa.LargeBinary(), nullable=True),
        sa.Column("seat_id", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("invitation_id"),
    )
    op.create_table(
        "leaf",
        sa.Column("idx", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_number", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("idx"),
        sa.UniqueConstraint("entry_number"),
    )
    op.create_table(
        "ledger_event",
        sa.Column("seat_id", sa.LargeBinary(), nullable=False),
        sa.Column("ledger_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("gate_version", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seat_id", "ledger_seq"),
        sa.UniqueConstraint("bucket", "gate_version"),
    )
    op.create_table(
        "payload",
        sa.Column("entry_id", sa.LargeBinary(), nullable=False),
        sa.Column("blob", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id"),
    )
    op.create_table(
        "seat",
        sa.Column("seat_id", sa.LargeBinary(), nullable=False),
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("member", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("ledger_seq", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("signing_key", sa.LargeBinary(), nullable=False),
        sa.Column("seat_key_id", sa.LargeBinary(), nullable=False),
        sa.Column("recipient_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("recipient_own", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seat_id"),
        sa.UniqueConstraint("case_id", "member"),
    )
    op.create_index(op.f("ix_seat_case_id"), "seat", ["case_id"], unique=False)
    op.create_index(op.f("ix_seat_unit"), "seat", ["unit"], unique=False)
    op.create_index(
        "seat_active_role",
        "seat",
        ["case_id", "role"],
        unique=True,
        sqlite_where=sa.text("state = 'ACTIVE'"),
        postgresql_where=sa.text("state = 'ACTIVE'"),
    )
    op.create_table(
        "statement",
        sa.Column("case_id", sa.LargeBinary(), nullable=False),
        sa.Column("member", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("case_id", "member", "kind", "seq"),
    )
    op.create_table(
        "stream",
        sa.Column("bucket", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "position"),
    )
    op.create_table(
        "stream_tail",
        sa.Column("bucket", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next_position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket"),
    )
    op.create_table(
        "tile",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("width", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "n", "width"),
    )
    op.create_table(
        "unit",
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("agency", sa.String(), nullable=False),
        sa.Column("controller", sa.String(), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("agency_signature", sa.LargeBinary(), nullable=False),
        sa.Column("signing_key", sa.LargeBinary(), nullable=False),
        sa.Column("hpke_key", sa.LargeBinary(), nullable=False),
        sa.Column("instance", sa.BigInteger(), nullable=False),
        sa.Column("admitted_at_us", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("unit"),
        sa.UniqueConstraint("certificate"),
    )
    _first_rows()


def _first_rows() -> None:
    """The gate rows, the stream's tails, the empty log, and the seat belt on entries."""
    bucket = sa.table(
        "bucket", sa.column("bucket"), sa.column("next_position"), sa.column("gate_version"), sa.column("clock_us")
    )
    op.bulk_insert(bucket, [{"bucket": b, "next_position": 0, "gate_version": 0, "clock_us": 0} for b in range(64)])
    tail = sa.table("stream_tail", sa.column("bucket"), sa.column("next_position"))
    op.bulk_insert(tail, [{"bucket": b, "next_position": 0} for b in range(64)])
    head = sa.table("head", sa.column("id"), sa.column("size"), sa.column("root"))
    op.bulk_insert(head, [{"id": 1, "size": 0, "root": hashlib.sha256(b"").digest()}])
    if op.get_bind().dialect.name == "sqlite":
        for statement in GUARDS:
            op.execute(statement)
