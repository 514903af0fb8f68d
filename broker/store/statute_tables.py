"""Tables of disclosure with support in law; the rest of the Store's tables are in `tables.py`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, String, Table

from broker.store.tables import metadata

approval = Table(
    "approval",
    metadata,
    Column("agency", String, primary_key=True),
    Column("provision_id", String, primary_key=True),
    Column("reviewed_at_us", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

acute = Table(
    "acute",
    metadata,
    Column("disclosure_id", LargeBinary, primary_key=True),
    Column("seat_id", LargeBinary, nullable=False),
    Column("recipient_seat", LargeBinary, nullable=False),
    Column("event_id", LargeBinary, nullable=False),
    Column("statement_hash", LargeBinary, nullable=False),
    Column("decider_key", LargeBinary, nullable=False),
    Column("decider_hash", LargeBinary, nullable=False),
    Column("confirm_by_us", BigInteger, nullable=False, index=True),
    Column("state", String, nullable=False),
)
