"""Tables of joined cases; the rest of the Store's tables are in `tables.py`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, String, Table, false

from broker.store.tables import metadata

case_join = Table(
    "case_join",
    metadata,
    Column("join_id", LargeBinary, primary_key=True),
    Column("unit", String, nullable=False),
    Column("seat_id", LargeBinary, nullable=False),
    Column("other_seat_id", LargeBinary, nullable=False),
    Column("case_id", LargeBinary, nullable=False, index=True),
    Column("other_case_id", LargeBinary, nullable=False, index=True),
    Column("at_us", BigInteger, nullable=False),
    Column("ended_at_us", BigInteger),
)

# A withdrawal of everything that reached a ledger from another case of the same person.
crossing = Table(
    "crossing",
    metadata,
    Column("seat_id", LargeBinary, primary_key=True),
    Column("ledger_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("origin_case", LargeBinary, nullable=False),
    Column("told", Boolean, nullable=False, server_default=false()),
)
