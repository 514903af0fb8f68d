"""Tables that only matter where several nodes share a Store: who leads, who is there, what files all of them need."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, String, Table

from broker.store.tables import metadata

lease = Table(
    "lease",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("until_us", BigInteger, nullable=False),
)

node = Table(
    "node",
    metadata,
    Column("node_id", String, primary_key=True),
    Column("started_at_us", BigInteger, nullable=False),
    Column("seen_at_us", BigInteger, nullable=False),
    Column("version", String, nullable=False),
    Column("takes", Boolean, nullable=False),  # false while it ends: it answers what is under way and takes no bucket
)

# files of the operator that every node needs: admissions, acts, police regions, signatures under the trust list
shared_file = Table(
    "shared_file",
    metadata,
    Column("name", String, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

# raised in the transaction of every change that a node holds in memory: a node that read another number reads anew
shared_version = Table(
    "shared_version",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
)

# of each node the epoch of the oldest root key in its folder: keys that it could still open in dead rows and logs
key_holder = Table(
    "key_holder",
    metadata,
    Column("node_id", String, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)
