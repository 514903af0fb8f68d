"""Every table of the Store, as SQLAlchemy Core metadata; `migrations/` builds the same from zero.

Which columns are handles or sealed says `conversion.py`; nothing but `unit` names a unit.
Names of the trail's tables and columns are part of the format that `audit verify` reads.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
    text,
)

from broker.store.dialect import NUMBER

metadata = MetaData()
BUCKETS = 64  # a case lies in one of them; enough for several nodes, few enough to touch all in one rule change

# --- the gate ---------------------------------------------------------------------------------------------------

bucket = Table(
    "bucket",
    metadata,
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("next_position", BigInteger, nullable=False),
    Column("gate_version", BigInteger, nullable=False),
    Column("clock_us", BigInteger, nullable=False),
)

# Where several may write at once, whoever writes what is rare locks this one row first: those are serial then.
turn = Table("turn", metadata, Column("id", Integer, primary_key=True, autoincrement=False))

# --- units, cases, seats ----------------------------------------------------------------------------------------

unit = Table(
    "unit",
    metadata,
    Column("unit", String, primary_key=True),
    Column("agency", String, nullable=False),
    Column("controller", String, nullable=False),
    Column("certificate", LargeBinary, nullable=False, unique=True),
    Column("entry", LargeBinary, nullable=False),
    Column("agency_signature", LargeBinary, nullable=False),
    Column("signing_key", LargeBinary, nullable=False),
    Column("hpke_key", LargeBinary, nullable=False),
    Column("instance", BigInteger, nullable=False),
    Column("admitted_at_us", BigInteger, nullable=False),
    Column("revoked_at_us", BigInteger),
    # the operator's own standing test case: left out of what is counted
    Column("probe", Boolean, nullable=False, server_default=false()),
)

contact = Table(
    "contact",
    metadata,
    Column("unit", String, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("version", String),
    Column("clock_offset_us", BigInteger),
)

# the operator's acts signed by two administrators; the act itself stands in its entry
admin_act = Table(
    "admin_act",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("act_hash", LargeBinary, nullable=False, unique=True),
    Column("entry_id", LargeBinary, nullable=False, unique=True),
    Column("at_us", BigInteger, nullable=False),
)

# Restores of connectors, as they announced themselves, and what the broker remembers of each unit's connector.
instance = Table(
    "instance",
    metadata,
    Column("unit", String, primary_key=True),
    Column("instance", BigInteger, primary_key=True, autoincrement=False),
    Column("restore_id", LargeBinary, nullable=False, unique=True),
    Column("request", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("announced_at_us", BigInteger, nullable=False),
)

unit_memory = Table(
    "unit_memory",
    metadata,
    Column("unit", String, primary_key=True),
    Column("recovery_key", LargeBinary),
    Column("compromised_key", LargeBinary),
    Column("seen_size", BigInteger, nullable=False),
)

case = Table(
    "exit_case",
    metadata,
    Column("case_id", LargeBinary, primary_key=True),
    Column("case_tag", LargeBinary, nullable=False, unique=True),
    Column("bucket", Integer, nullable=False),
    Column("opened_at_us", BigInteger, nullable=False),
)

seat = Table(
    "seat",
    metadata,
    Column("seat_id", LargeBinary, primary_key=True),
    Column("case_id", LargeBinary, nullable=False, index=True),
    Column("bucket", Integer, nullable=False),
    Column("unit", String, nullable=False, index=True),
    Column("role", String, nullable=False),
    Column("member", LargeBinary, nullable=False),
    Column("state", String, nullable=False),
    Column("ledger_seq", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("signing_key", LargeBinary, nullable=False),
    Column("seat_key_id", LargeBinary, nullable=False),
    Column("recipient_sealed", LargeBinary, nullable=False),
    Column("recipient_own", LargeBinary, nullable=False),
    Column("previous_signing_key", LargeBinary),
    Column("previous_key_id", LargeBinary),
    Column("key_seq", Integer, nullable=False, server_default="0"),
    Column("chain", LargeBinary),  # of who took the lead's role over: the member id in whose chain of keys it goes on
    Column("protected", Boolean, nullable=False, server_default=false()),  # its unit is told to nobody
    UniqueConstraint("case_id", "member"),
    Index("seat_active_role", "case_id", "role", unique=True, sqlite_where=text("state = 'ACTIVE'"),
          postgresql_where=text("state = 'ACTIVE'")),
)  # fmt: skip

statement = Table(
    "statement",
    metadata,
    Column("case_id", LargeBinary, primary_key=True),
    Column("member", LargeBinary, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("signer", LargeBinary, primary_key=True),
    Column("signed", LargeBinary, nullable=False),
)

# a lost seat's request for new keys, until two others have vouched for them
rekey = Table("rekey", metadata, Column("seat_id", LargeBinary, primary_key=True),
              Column("rekey", LargeBinary, nullable=False), Column("hpke_key", LargeBinary, nullable=False),
              Column("asked_at_us", BigInteger, nullable=False))  # fmt: skip
rekey_signature = Table("rekey_signature", metadata, Column("seat_id", LargeBinary, primary_key=True),
                        Column("member", LargeBinary, primary_key=True), Column("signature", LargeBinary))  # fmt: skip
succession = Table("succession", metadata, Column("seat_id", LargeBinary, primary_key=True),
                   Column("case_id", LargeBinary, nullable=False), Column("seat_key_id", LargeBinary, nullable=False),
                   Column("at_us", BigInteger, nullable=False))  # fmt: skip

invitation = Table(
    "invitation",
    metadata,
    Column("invitation_id", LargeBinary, primary_key=True),
    Column("case_id", LargeBinary, nullable=False),
    Column("bucket", Integer, nullable=False),
    Column("inviter_seat", LargeBinary, nullable=False),
    Column("unit", String, nullable=False),
    Column("role", String, nullable=False),
    Column("state", String, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("acceptance", LargeBinary),
    Column("seat_id", LargeBinary),
)

# --- the ledger -------------------------------------------------------------------------------------------------

ledger_event = Table(
    "ledger_event",
    metadata,
    Column("seat_id", LargeBinary, primary_key=True),
    Column("ledger_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("bucket", Integer, nullable=False),
    Column("gate_version", BigInteger, nullable=False),
    Column("event", LargeBinary, nullable=False),
    UniqueConstraint("bucket", "gate_version"),
)

call = Table(
    "call",
    metadata,
    Column("unit", String, primary_key=True),
    Column("call_id", LargeBinary, primary_key=True),
    Column("request_hash", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)

# --- events and deliveries --------------------------------------------------------------------------------------

stream = Table(
    "stream",
    metadata,
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("record", LargeBinary, nullable=False),
    Column("unit", String, nullable=False, server_default=""),
    Column("size", Integer, nullable=False, server_default="0"),
    Index("stream_share", "unit", "size"),
)

stream_tail = Table(
    "stream_tail",
    metadata,
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("next_position", BigInteger, nullable=False),
)

# where the positions of the buckets point to when the stream is a log outside the Store
stream_origin = Table(
    "stream_origin",
    metadata,
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("topic_id", LargeBinary, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    Column("opened_at_us", BigInteger, nullable=False),
    Column("cause", String, nullable=False),
)

event_memory = Table(
    "event_memory",
    metadata,
    Column("event_id", LargeBinary, primary_key=True),
    Column("seat_id", LargeBinary, nullable=False, index=True),
    Column("fingerprint", LargeBinary, nullable=False),
)

attempt = Table(
    "attempt",
    metadata,
    Column("event_id", LargeBinary, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("attempt_hash", LargeBinary, nullable=False),
    Column("receipt", LargeBinary, nullable=False),
)

delivery = Table(
    "delivery",
    metadata,
    Column("delivery_id", LargeBinary, primary_key=True),
    Column("bucket", Integer, nullable=False),
    Column("case_id", LargeBinary, nullable=False),
    Column("event_id", LargeBinary, nullable=False, index=True),
    Column("event_type", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("action", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("sender_seat", LargeBinary, nullable=False),
    Column("sender_unit", String, nullable=False),
    Column("recipient_seat", LargeBinary),
    Column("recipient_unit", String, nullable=False),
    Column("role", String, nullable=False),
    Column("invitation_id", LargeBinary),
    Column("state", String, nullable=False),
    Column("hand_number", Integer, nullable=False),
    Column("row_version", Integer, nullable=False),
    Column("lease_until_us", BigInteger, nullable=False),
    Column("holds_until_us", BigInteger, nullable=False),
    Column("valid_until_us", BigInteger, nullable=False),
    Column("deadline_at_us", BigInteger, nullable=False),
    Column("held", Boolean, nullable=False),
    Column("overdue_told", Boolean, nullable=False),
    Column("decided_at_us", BigInteger, nullable=False),
    Column("body", LargeBinary),
    Column("ack_entry", LargeBinary),
    Column("ack_leaf", LargeBinary),
    Index("delivery_inbox", "recipient_unit", "state", "delivery_id"),
    Index("delivery_sender", "sender_seat", "state"),
    Index("delivery_due", "state", "deadline_at_us"),
    Index("delivery_valid", "state", "valid_until_us"),
)

delivery_section = Table(
    "delivery_section",
    metadata,
    Column("delivery_id", LargeBinary, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("event_id", LargeBinary, nullable=False),
    Column("recipient_seat", LargeBinary, nullable=False),
    Column("category", String, nullable=False),
    Column("persons", String, nullable=False),
    Column("public_interest_released", Boolean, nullable=False),
    Column("grants", LargeBinary, nullable=False),
    Column("digest_index", Integer, nullable=False),
    Column("item", LargeBinary),
    Column("wrapped_key", LargeBinary),
    Column("live", Boolean, nullable=False),
    Column("data_from_us", BigInteger),
    Column("data_until_us", BigInteger),
    # live = in PENDING, HANDED, ACKED or REJECTED and not removed: the agency's system is given a section once
    Index("section_once", "event_id", "recipient_seat", "digest", unique=True, sqlite_where=text("live"),
          postgresql_where=text("live")),
)  # fmt: skip

# --- annulled consents: who was told, and what they answered

earlier_ground = Table(
    "earlier_ground",
    metadata,
    Column("delivery_id", LargeBinary, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("consent_id", LargeBinary, primary_key=True),
)

void_case = Table(
    "void_case",
    metadata,
    Column("case_id", LargeBinary, primary_key=True),
    Column("ground", String, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)

annul_notice = Table(
    "annul_notice",
    metadata,
    Column("notice_id", LargeBinary, primary_key=True),
    Column("seat_id", LargeBinary, nullable=False),
    Column("consent_id", LargeBinary, nullable=False),
    Column("delivery_id", LargeBinary, nullable=False),
    Column("recipient_unit", String, nullable=False),
    Column("categories", String, nullable=False),
    Column("state_before", String, nullable=False),
    Column("ground", String, nullable=False),
    Column("noticed_at_us", BigInteger, nullable=False),
    Column("verdict", String),
    Column("reason", String),
    Column("answered_at_us", BigInteger),
    UniqueConstraint("seat_id", "consent_id", "delivery_id", "ground"),
)

item = Table(
    "inbox_item",
    metadata,
    Column("number", NUMBER, Identity(), primary_key=True),
    Column("item_id", LargeBinary, nullable=False, unique=True),
    Column("unit", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("lease_until_us", BigInteger, nullable=False),
    Column("not_before_us", BigInteger, nullable=False, server_default="0"),  # of a closed seat: the weekly slot
    Index("item_inbox", "unit", "number"),
)

# --- after a restore ---------------------------------------------------------------------------------------------

hold = Table(
    "hold",
    metadata,
    Column("hold_id", LargeBinary, primary_key=True),
    Column("cause", String, nullable=False),
    Column("began_at_us", BigInteger, nullable=False),
    # the largest tree head that anybody showed of what was lost
    Column("seen_origin", String, nullable=False),
    Column("seen_size", BigInteger, nullable=False),
    Column("seen_root", LargeBinary, nullable=False),
    Column("seen_note", String),
    Column("ended_at_us", BigInteger),
)

hold_seat = Table(
    "hold_seat",
    metadata,
    Column("seat_id", LargeBinary, primary_key=True),
    Column("hold_id", LargeBinary, nullable=False),
    Column("case_id", LargeBinary, nullable=False, index=True),
    Column("state", String, nullable=False),
    Column("confirmation", LargeBinary),
    Column("signature", LargeBinary),
)

hold_withdrawal = Table(
    "hold_withdrawal",
    metadata,
    Column("case_id", LargeBinary, primary_key=True),
    Column("recorded_at_us", BigInteger, primary_key=True, autoincrement=False),
    Column("hold_id", LargeBinary, nullable=False),
    Column("effective_at_us", BigInteger),
)

continuation = Table(
    "continuation",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("hold_id", LargeBinary, nullable=False),
    Column("statement", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("entry_id", LargeBinary, nullable=False),
)

# --- the trail --------------------------------------------------------------------------------------------------

entry = Table(
    "entry",
    metadata,
    Column("number", NUMBER, Identity(), primary_key=True),
    Column("entry_id", LargeBinary, nullable=False, unique=True),
    Column("owner", String, nullable=False),
    Column("handle", LargeBinary, nullable=False, index=True),
    Column("at_us", BigInteger, nullable=False),
    Column("operation", String, nullable=False),
    Column("outcome", String),
    Column("reason_class", String),
    Column("bytes", LargeBinary),
    Column("leaf_hash", LargeBinary, nullable=False, index=True),
    sqlite_autoincrement=True,
)

payload = Table(
    "payload",
    metadata,
    Column("entry_id", LargeBinary, primary_key=True),
    Column("blob", LargeBinary, nullable=False),
)

leaf = Table(
    "leaf",
    metadata,
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    Column("entry_number", BigInteger, unique=True),
)

tile = Table(
    "tile",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("width", Integer, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)

head = Table(
    "head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", String, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)

beat = Table(
    "beat",
    metadata,
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("seed", LargeBinary, nullable=False),
    Column("entry_id", LargeBinary),
)

# entry and payload bytes never change: a seat belt, not a proof (the tree is the proof)
GUARDS_SQLITE = (
    "CREATE TRIGGER entry_no_update BEFORE UPDATE OF bytes, leaf_hash ON entry WHEN NEW.bytes IS NOT NULL"
    " BEGIN SELECT RAISE(ABORT, 'entry is append-only'); END",
    "CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'entry is append-only'); END",
)
