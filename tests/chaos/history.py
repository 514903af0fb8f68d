"""The history of a run: what the connectors wrote down, one JSON object a line, one file a run.

The first line is `{"what": "run", "units": {unit: role}, ...}`. Every other line has `unit`, `n` (1, 2, 3, ... per
unit, so that a line cut out shows), `at` (microseconds of that connector's own CLOCK_MONOTONIC; connectors on one
machine share it), `wall` (microseconds since the epoch) and `what`, which is one of FACTS. Identifiers are the last
twelve hexadecimal digits of the real ones. Nothing in a history comes from a node, a Store or a Stream.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Fact = dict[str, Any]

FACTS = {
    "accepted": {"id", "do"},  # the agency's command is durable; events: event, to, purpose, categories; else its terms
    "posted": {"events"},  # [[event, attempt]]: a bundle is about to leave
    "taken": {"events"},  # [[event, attempt]]: the broker answered that these wait for their decision
    "decided": {"event", "attempt", "decided_at", "roles"},  # receipt: {role: {category: [released, carrier]}}
    "asked": {"id", "do", "call"},  # a consent call is about to leave; each try again is a line
    "answered": {"id", "do", "call", "seq", "consent", "affected"},  # [[delivery, event, role, hand, state before]]
    "ledger": {"seq", "act"},  # told of an act on the own ledger that another unit recorded
    "ended": {"id", "do", "code"},  # a command that will not be carried out, and why
    "notice": {"code", "event", "role", "categories", "detail"},  # what became of an own release afterwards
    "received": {"delivery", "hand", "event", "purpose", "categories"},  # a delivery came out of an answer
    "given": {"delivery", "event", "categories"},  # the agency's system has it under its name
    "recalled": {"delivery", "event"},  # told to drop sections
    "acked": {"delivery", "verdict"},  # the broker answered for the acknowledgement of a delivery
    "quiet": {"left"},  # at the end: what this connector still has under way, by kind
}


@dataclass(slots=True)
class History:
    """One run: `units` maps a unit to its role, `about` is what else its first line says, `facts` are in file order."""

    units: dict[str, str]
    facts: list[Fact]
    about: dict[str, Any] = field(default_factory=dict)

    def of(self, *what: str, unit: str | None = None) -> Iterator[Fact]:
        """Facts of some kinds, of one unit or of all, in order of their moments."""
        return (f for f in self.facts if f["what"] in what and unit in {None, f["unit"]})

    def holder(self, role: str) -> str:
        """The unit that holds a role."""
        return next(unit for unit, held in self.units.items() if held == role)


def read(path: Path) -> History:
    """A kept history; raises ValueError for one that is not in this format."""
    first, *lines = path.read_text(encoding="utf-8").splitlines()
    head = json.loads(first)
    if head.pop("what", None) != "run":
        raise ValueError(f"{path.name} does not begin with a run")
    return History(head.pop("units"), [json.loads(line) for line in lines], head)


def write(history: History, path: Path) -> None:
    """Keep a history."""
    rows = [{"what": "run", "units": history.units, **history.about}, *history.facts]
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows), encoding="utf-8"
    )


def merged(units: dict[str, str], parts: Iterable[Path], about: dict[str, Any]) -> History:
    """One history of what several connectors wrote, each into its own file, ordered by their moments."""
    facts = [json.loads(line) for part in parts for line in part.read_text(encoding="utf-8").splitlines()]
    return History(units, sorted(facts, key=lambda fact: int(fact["at"])), about)
