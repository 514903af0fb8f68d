"""A second, much simpler reading of consents, for the checker only: sets of (recipient role, category, purpose).

Each unit's ledger is a row of acts in the order of their numbers. A grant may be in force from the moment it was asked
for, a withdrawal is in force once it was answered; between asking and answer both sides of an act are possible. What is
received while no possible side covers it must stand in the answer of the withdrawal that took the cover away.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, product

from tests.chaos.history import Fact, History

Triple = tuple[str, str, str]
_ALL = "WITHDRAW_ALL"
_LISTED = "HANDED"


@dataclass(slots=True)
class Act:
    """One act on one unit's ledger: what is covered after it, from when that is possible, from when it is certain."""

    seq: int
    asked: int
    answered: int
    covered: frozenset[Triple] = frozenset()
    listed: dict[str, int] | None = None  # own answers: delivery -> hand number, of what had been handed over


@dataclass(slots=True)
class Ledgers:
    """Every unit's acts in order, and what did not fit."""

    acts: dict[str, list[Act]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    _moved: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict)

    @classmethod
    def read(cls, history: History) -> Ledgers:
        """Replay every unit's ledger from what it accepted, asked and was answered."""
        found = cls()
        whole = _withdrawals_of_all(history)
        for unit in history.units:
            found.acts[unit] = list(_replayed(history, unit, whole, found.faults))
        return found

    def late(self, history: History) -> Iterator[str]:
        """Every section received although its discloser's withdrawal had been answered without listing it."""
        sender = {f["event"]: f["unit"] for f in history.of("accepted") if "event" in f}
        named = defaultdict(set)
        for f in history.of("notice"):
            if f["code"] == "delivery_cancelled" and f["detail"] == _LISTED:
                named[f["event"], f["role"]].update(f["categories"])
        for f in history.of("received"):
            unit = sender.get(f["event"])
            if unit is None:
                continue  # nobody's event is another rule's finding
            role = history.units[f["unit"]]
            for category in f["categories"]:
                told = category in named[f["event"], role]
                if not self._allowed(unit, f, (role, category, f["purpose"]), told=told):
                    yield f"{category} of {f['event']} came to {f['unit']} by delivery {f['delivery']}"

    def _moments(self, unit: str) -> tuple[list[int], list[int]]:
        """Per act the first moment at which it or a later one was answered, and the same of its asking; ascending."""
        if unit not in self._moved:
            acts = self.acts[unit]
            rows = ([act.answered for act in acts], [act.asked for act in acts])
            self._moved[unit] = tuple(list(accumulate(reversed(row), min))[::-1] for row in rows)  # type: ignore[assignment]
        return self._moved[unit]

    def _allowed(self, unit: str, received: Fact, triple: Triple, *, told: bool) -> bool:
        acts = self.acts[unit]
        answered, asked = self._moments(unit)
        certain = bisect_right(answered, received["at"]) - 1
        possible = max(bisect_right(asked, received["at"]) - 1, certain)
        if any(triple in acts[i].covered for i in range(max(certain, 0), possible + 1)):
            return True
        for i in range(certain, 0, -1):
            if triple in acts[i - 1].covered and triple not in acts[i].covered:
                listed = acts[i].listed
                if told if listed is None else received["hand"] <= listed.get(received["delivery"], 0):
                    return True
        return False


def _withdrawals_of_all(history: History) -> list[tuple[int, int]]:
    """(asked, answered) of each withdrawal of everything, in the order in which the case's ledgers hold them."""
    asked = {f["call"]: f["at"] for f in reversed(list(history.of("asked"))) if f["do"] == "withdraw_case"}
    answered = {f["call"]: f["at"] for f in reversed(list(history.of("answered"))) if f["do"] == "withdraw_case"}
    places: dict[str, int] = {}
    for unit in history.units:
        rows = {f["seq"]: f["call"] for f in history.of("answered", unit=unit) if f["do"] == "withdraw_case"}
        rows |= {f["seq"]: None for f in history.of("ledger", unit=unit) if f["act"] == _ALL and f["seq"] not in rows}
        for place, seq in enumerate(sorted(rows)):
            if rows[seq] is not None:
                places[rows[seq]] = place
    return [(asked.get(call, 0), answered[call]) for call in sorted(places, key=lambda call: places[call])]


def _replayed(history: History, unit: str, whole: list[tuple[int, int]], faults: list[str]) -> Iterator[Act]:
    commands = {f["id"]: f for f in history.of("accepted", unit=unit)}
    asked: dict[str, int] = {}
    for f in history.of("asked", unit=unit):
        asked.setdefault(f["id"], f["at"])
    own: dict[int, Fact] = {}
    answers = list(history.of("answered", unit=unit))
    for f in answers:
        own.setdefault(f["seq"], f)
    twice = {f["seq"] for f in answers if own[f["seq"]]["id"] != f["id"]}
    faults.extend(f"{unit}: ledger number {seq} was answered to two commands" for seq in sorted(twice))
    others = {f["seq"]: f for f in history.of("ledger", unit=unit)}
    grants: dict[str, set[Triple]] = {}
    everything = 0
    for seq in range(1, max([*own, *others], default=0) + 1):
        mine = own.get(seq)
        if mine is None and seq not in others:
            faults.append(f"{unit}: nobody was told of ledger number {seq}")
            continue
        all_of_it = mine["do"] == "withdraw_case" if mine else others[seq]["act"] == _ALL
        if mine is not None:
            if mine["id"] not in commands:
                faults.append(f"{unit}: ledger number {seq} answers no command")
                continue
            _apply(grants, mine, commands[mine["id"]])
            listed = {d: hand for d, _e, _r, hand, state in mine["affected"] if state == _LISTED}
            act = Act(seq, asked.get(mine["id"], mine["at"]), mine["at"], listed=listed)
        else:
            grants.clear()
            if not all_of_it or everything >= len(whole):
                faults.append(f"{unit}: ledger number {seq} is nobody's act")
                continue
            act = Act(seq, *whole[everything])
        everything += all_of_it
        act.covered = frozenset[Triple]().union(*grants.values())
        yield act


def _apply(grants: dict[str, set[Triple]], answered: Fact, command: Fact) -> None:
    match command["do"]:
        case "grant":
            whom = [each.get("role") or each["unit"] for each in command["recipients"]]
            grants[answered["consent"]] = set(product(whom, command["categories"], command["purposes"]))
        case "withdraw":
            gone = set(command.get("scope", {}).get("categories", []))
            left = {t for t in grants.get(command["consent"], set()) if gone and t[1] not in gone}
            grants[command["consent"]] = left
        case _:
            grants.clear()
