"""A second, much simpler reading of consents, for the checker only: sets of (recipient, category, purpose).

What was given is taken from the input files that were dropped, its place in time from the connector's own ledger copy.
It knows nothing of how the product decides; whatever the product releases must lie inside these sets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import product
from typing import Any

from schemas.acts import ConsentAct, HeadLink, Holder
from tests.kills.records import History

Triple = tuple[str, str, str]
_KINDS = {"grant": "GRANT", "withdraw": "WITHDRAW", "withdraw_case": "WITHDRAW_ALL"}


@dataclass(slots=True)
class Moment:
    """What is covered from one ledger number on."""

    seq: int
    at_us: int
    covered: frozenset[Triple]
    removed: frozenset[Triple]


@dataclass(slots=True)
class Consents:
    """One unit's ledger, replayed; `faults` tells what did not fit."""

    moments: list[Moment] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def after(self, seq: int) -> frozenset[Triple]:
        """What is covered once act number `seq` is recorded."""
        return next((m.covered for m in reversed(self.moments) if m.seq <= seq), frozenset())

    def at(self, at_us: int) -> frozenset[Triple]:
        """What is covered at a moment."""
        return next((m.covered for m in reversed(self.moments) if m.at_us <= at_us), frozenset())


def replay(history: History, unit: str) -> Consents:
    """Replay a unit's ledger: numbers without a gap, heads that chain, every act one that somebody dropped."""
    told = Consents()
    inputs = {d["name"]: d["value"] for d in history.dropped}
    results = [f for f in history.files[unit] if f["kind"] == "result" and f.get("ledger_seq") and f["do"] in _KINDS]
    own = {f["ledger_seq"]: f for f in results}
    others = {f["ledger_seq"]: f for f in history.files[unit] if f["kind"] == "ledger"}
    if len(own) != len(results):
        told.faults.append(f"{unit}: two results name one ledger number")
    grants: dict[str, set[Triple]] = {}
    head = bytes(32)
    for place, event in enumerate(history.ledger[unit], start=1):
        if event["seq"] != place:
            told.faults.append(f"{unit}: ledger number {place} is missing")
            break
        head = _head(head, event)
        if head.hex() != event["head"]:
            told.faults.append(f"{unit}: head {place} does not chain")
            break
        act = ConsentAct.from_bytes(bytes.fromhex(event["act"]))
        before = _union(grants)
        mine = own.get(place)
        if mine is not None:
            _own(told, grants, unit, act, mine, inputs.get(mine["id"]))
        elif place in others and act.act == "WITHDRAW_ALL":
            grants.clear()
        else:
            told.faults.append(f"{unit}: nobody was told of ledger number {place}")
        now = _union(grants)
        told.moments.append(Moment(place, event["recorded_at_us"], now, before - now))
    for number in sorted({*own, *others}):
        if number > len(history.ledger[unit]):
            told.faults.append(f"{unit}: ledger number {number} was told and is not in the ledger")
    return told


def _head(before: bytes, event: dict[str, Any]) -> bytes:
    holders = tuple(Holder(role=role, member=bytes.fromhex(member)) for role, member in event["holders"])
    link = HeadLink(prev=before, ledger_seq=event["seq"], act_hash=sha256(bytes.fromhex(event["act"])).digest(),
                    holders=holders, recorded_at_us=event["recorded_at_us"])  # fmt: skip
    return sha256(link.to_bytes()).digest()


def _union(grants: dict[str, set[Triple]]) -> frozenset[Triple]:
    return frozenset().union(*grants.values())


def _own(
    told: Consents, grants: dict[str, set[Triple]], unit: str, act: ConsentAct, result: dict[str, Any], value: Any
) -> None:
    if value is None or act.act != _KINDS[value["do"]]:
        told.faults.append(f"{unit}: ledger act {result['ledger_seq']} is not what was dropped")
        return
    match value["do"]:
        case "grant":
            whom = [r.get("role") or r["unit"] for r in value["recipients"]]
            grants[result["consent"]] = set(product(whom, value["categories"], value["purposes"]))
        case "withdraw":
            gone = set(value.get("scope", {}).get("categories", []))
            left = {t for t in grants.get(value["consent"], set()) if gone and t[1] not in gone}
            grants[value["consent"]] = left
        case _:
            grants.clear()


def covers(covered: Iterable[Triple], recipients: Iterable[str], category: str, purpose: str) -> bool:
    """Whether one of the recipient's names is covered."""
    held = set(covered)
    return any((recipient, category, purpose) in held for recipient in recipients)
