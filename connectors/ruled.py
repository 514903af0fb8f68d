"""The rules that a connector was last told to decide by, out of its own memory: what it starts with."""

from __future__ import annotations

import json

from connectors.spool.memory import Memory
from consent.rules import Rules, parse, shipped
from consent.rules_change import effective

STATE = "rules-in-force"
FILE = "rules-file"


def files(memory: Memory) -> list[Rules]:
    """Every proposed rule set that is kept here; raises `HS-RULES-INVALID` for one that this version cannot read."""
    listed: list[str] = json.loads(memory.get(FILE) or b"[]")
    return [parse(memory.get(f"{FILE}-{each}") or b"") for each in listed]


def kept(memory: Memory) -> tuple[tuple[Rules, ...], Rules]:
    """The rule sets in force one after the other, and what they are for this unit by its own approvals."""
    base = shipped()[1]
    held = memory.get(STATE)
    if held is None:
        return (base,), base
    data = json.loads(held)
    known = {each.hash32: each for each in files(memory)}
    steps = (base, *(known[bytes.fromhex(each)] for each in data["steps"]))
    return steps, effective(steps, frozenset(map(bytes.fromhex, data["approved"])))
