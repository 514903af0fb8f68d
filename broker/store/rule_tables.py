"""Tables of rule sets on their way into force; the rest of the Store's tables are in `tables.py`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, Table

from broker.store.tables import metadata

# A rule set that two administrators proposed, by the number of their act.
rule_set = Table(
    "rule_set",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("rules_hash", LargeBinary, nullable=False, unique=True),
    Column("file", LargeBinary, nullable=False),
)

# A rule set that took effect on top of the rules of the installation; zeros where those themselves took force.
rule_step = Table(
    "rule_step",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("base_hash", LargeBinary, nullable=False),
    Column("rules_hash", LargeBinary, nullable=False),
)

# What a unit approved for its own releases; the signed approval stands in its entry.
rule_approval = Table(
    "rule_approval",
    metadata,
    Column("unit", String, primary_key=True),
    Column("rules_hash", LargeBinary, primary_key=True),
    Column("entry_id", LargeBinary, nullable=False, unique=True),
    Column("leaf_hash", LargeBinary, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)

# Deliveries held back until they were decided anew by rules that took effect.
rule_recheck = Table("rule_recheck", metadata, Column("delivery_id", LargeBinary, primary_key=True))
