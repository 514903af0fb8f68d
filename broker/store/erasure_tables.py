"""The table of erasures: of each act that erases a seat, how far it was carried out."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, Table

from broker.store.tables import metadata

erasure = Table(
    "erasure",
    metadata,
    Column("act_number", Integer, primary_key=True, autoincrement=False),
    Column("state", String, nullable=False),
    Column("seat_id", LargeBinary, unique=True),  # none where the seat was not here
    Column("ground", String, nullable=False),
    Column("act_entry", LargeBinary, nullable=False),
    # until it is done: afterwards nothing here ties the seat to the entries that nobody can read
    Column("handle", LargeBinary),
    Column("begin_entry", LargeBinary),
    Column("at_us", BigInteger, nullable=False),
    Column("entries", Integer, nullable=False),
)
