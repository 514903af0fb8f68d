"""Judges a history: `check(history)` returns one sentence per broken promise, `rule: what`; none for a whole run.

Pure, and with no rule of the product in it. What consents allow is read anew in `coverage.py` from what was asked and
answered; everything else is counting and comparing what the connectors wrote down.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.chaos.coverage import Ledgers
from tests.chaos.history import FACTS, Fact, History

LOST = "acknowledged and lost"
TWICE = "given twice"
ORDER = "out of order"
AFTER = "received after a withdrawal"
UNANSWERED = "not one answer"
NOBODY = "nobody sent it"
WHOLE = "not a whole history"
ENDED = "not at rest"

Attempt = tuple[str, int]

_MESSAGES = {"send", "introduce"}
_CONSENTS = {"grant", "withdraw", "withdraw_case"}
_STOPPED = {"delivery_cancelled", "delivery_expired", "delivery_rejected", "reseal_wanted"}


def check(history: History) -> list[str]:
    """Every broken promise; a history that is not whole is judged no further."""
    broken = [f"{WHOLE}: {what}" for what in _whole(history)]
    if broken:
        return broken
    ledgers = Ledgers.read(history)
    rules: dict[str, Callable[[], Iterator[str]]] = {
        UNANSWERED: lambda: _answers(history, ledgers),
        LOST: lambda: _lost(history),
        TWICE: lambda: _twice(history),
        ORDER: lambda: _order(history),
        AFTER: lambda: ledgers.late(history),
        NOBODY: lambda: _nobody(history),
        ENDED: lambda: (f"{f['unit']} still has {f['left']}" for f in history.of("quiet") if f["left"]),
    }
    return [f"{name}: {what}" for name, found in rules.items() for what in found()]


def _whole(history: History) -> Iterator[str]:
    """Every line has its fields, every unit's lines are numbered without a gap, time runs forward, all ends quiet."""
    for unit in history.units:
        mine = [f for f in history.facts if f["unit"] == unit]
        if [f["n"] for f in mine] != list(range(1, len(mine) + 1)):
            yield f"the lines of {unit} are not 1, 2, 3, ..."
        if any(before["at"] > after["at"] for before, after in pairwise(mine)):
            yield f"the moments of {unit} run back"
        if not mine or mine[-1]["what"] != "quiet":
            yield f"{unit} does not end quiet"
    for f in history.facts:
        if f["unit"] not in history.units or not FACTS.get(f["what"], {"?"}) <= set(f):
            yield f"line {f['n']} of {f['unit']} is no {f['what']}"


def _answers(history: History, ledgers: Ledgers) -> Iterator[str]:
    """Every command has one answer, every message one decision per attempt, and the ledgers have no gap."""
    yield from ledgers.faults
    for unit in history.units:
        ended = {f["id"]: f["code"] for f in history.of("ended", unit=unit)}
        answers: dict[str, set[int]] = defaultdict(set)
        for f in history.of("answered", unit=unit):
            answers[f["id"]].add(f["seq"])
        for f in (f for f in history.of("accepted", unit=unit) if f["do"] in _CONSENTS):
            overtaken = f["do"] == "grant" and ended.get(f["id"]) == "HS-OVERTAKEN"
            if len(answers[f["id"]]) != (0 if overtaken else 1):
                yield f"{f['do']} {f['id']} of {unit} was answered {len(answers[f['id']])} times"
        told: dict[tuple[str, int], set[str]] = defaultdict(set)
        for f in history.of("decided", unit=unit):
            told[f["event"], f["attempt"]].add(repr((f["decided_at"], f["roles"])))
        yield from (f"attempt {attempt} of {event} was decided in {len(said)} ways"
                    for (event, attempt), said in told.items() if len(said) > 1)  # fmt: skip


def _lost(history: History) -> Iterator[str]:
    """What was accepted is decided; what was released is given, or its sender was told that it was stopped."""
    given = {(f["unit"], f["event"], c) for f in history.of("given") for c in f["categories"]}
    stopped = {(f["event"], f["role"], c) for f in history.of("notice") if f["code"] in _STOPPED
               for c in f["categories"]}  # fmt: skip
    stopped |= {(event, role, "*") for f in history.of("answered") for _d, event, role, _h, _s in f["affected"]}
    decided: dict[str, list[Fact]] = defaultdict(list)
    for f in history.of("decided"):
        decided[f["event"]].append(f)
    for f in (f for f in history.of("accepted") if f["do"] in _MESSAGES):
        roles = {role for one in decided[f["event"]] for role in one["roles"]}
        if not set(f["to"]) <= roles:
            yield f"{f['event']} of {f['unit']} was never decided for {sorted(set(f['to']) - roles)}"
    for one in history.of("decided"):
        for role, sections in one["roles"].items():
            for category in (c for c, (released, _carrier) in sections.items() if released):
                told = {(one["event"], role, category), (one["event"], role, "*")} & stopped
                if (history.holder(role), one["event"], category) not in given and not told:
                    yield f"{category} of {one['event']} was released to {role} and never given"
    yield from _acknowledged(history)


def _acknowledged(history: History) -> Iterator[str]:
    """What a sender is told was acknowledged lies at the recipient; who acknowledges has given it before."""
    given = {(f["unit"], f["event"], c): f["at"] for f in history.of("given") for c in f["categories"]}
    messages = {f["event"] for f in history.of("accepted") if f["do"] in _MESSAGES}
    for f in (f for f in history.of("notice") if f["code"] == "delivery_acknowledged" and f["role"]):
        for category in f["categories"]:
            if (history.holder(f["role"]), f["event"], category) not in given and f["event"] in messages:
                yield f"{category} of {f['event']}, acknowledged by {f['role']}, was never given"
    came = {(f["unit"], f["delivery"]): f for f in history.of("received")}
    recalled = {(f["unit"], f["event"]) for f in history.of("recalled")}
    for f in (f for f in history.of("acked") if f["verdict"] == "ACK"):
        one = came.get((f["unit"], f["delivery"]))
        if one is None or (f["unit"], one["event"]) in recalled:
            continue
        for category in one["categories"]:
            if given.get((f["unit"], one["event"], category), f["at"] + 1) > f["at"]:
                yield f"{f['unit']} acknowledged {f['delivery']} before {category} of {one['event']} was given"


def _twice(history: History) -> Iterator[str]:
    """No section is given twice, no delivery is given twice."""
    sections = Counter((f["unit"], f["event"], c) for f in history.of("given") for c in f["categories"])
    deliveries = Counter((f["unit"], f["delivery"]) for f in history.of("given"))
    yield from (f"{category} of {event} to {unit}" for (unit, event, category), n in sections.items() if n > 1)
    yield from (f"delivery {delivery} to {unit}" for (unit, delivery), n in deliveries.items() if n > 1)


def _nobody(history: History) -> Iterator[str]:
    """What is received was accepted from an agency, is for this role, and has no category more."""
    sent = {f["event"]: f for f in history.of("accepted") if f["do"] in _MESSAGES}
    for f in history.of("received", "given"):
        one = sent.get(f["event"])
        if one is None:
            yield f"{f['event']} at {f['unit']}"
        elif history.units[f["unit"]] not in one["to"] or not set(f["categories"]) <= set(one["categories"]):
            yield f"{f['categories']} of {f['event']} to {f['unit']}"


@dataclass(slots=True)
class _Newest:
    """The highest number among attempts, and the highest among those of other events than that one's."""

    best: tuple[int, str] = (-1, "")
    next: tuple[int, str] = (-1, "")

    def add(self, number: int, event: str) -> None:
        if number > self.best[0]:
            self.next = self.best if self.best[1] != event else self.next
            self.best = (number, event)
        elif event != self.best[1] and number > self.next[0]:
            self.next = (number, event)

    def beside(self, event: str) -> tuple[int, str]:
        """The highest number of another event, and that event; -1 for none."""
        return self.best if self.best[1] != event else self.next


@dataclass(slots=True)
class _Seen:
    """What came before: when it was decided, and by role where its first hand-over stands."""

    decided: _Newest = field(default_factory=_Newest)
    came: dict[str, _Newest] = field(default_factory=lambda: defaultdict(_Newest))


def _order(history: History) -> Iterator[str]:
    """In one case: what one sender sent and the broker took first is decided first and handed over first.

    First is what was taken before the other left, or left before it in one bundle. A hand number above one says that
    it had been handed over before; that answer was lost on its way.
    """
    first: dict[tuple[str, str], Fact] = {}
    for f in history.of("received"):
        first.setdefault((history.units[f["unit"]], f["event"]), f)
    for unit in history.units:
        decided = {(f["event"], f["attempt"]): f for f in history.of("decided", unit=unit)}
        once = _released_once(decided.values())
        before, posted, taken = _Seen(), set[Attempt](), set[Attempt]()

        def note(seen: _Seen, attempt: Attempt, decided: Any = decided, once: Any = once) -> None:
            if attempt in decided:
                seen.decided.add(decided[attempt]["decided_at"], attempt[0])
                for role in once[attempt]:
                    came = first.get((role, attempt[0]))
                    if came is not None and came["hand"] == 1:
                        seen.came[role].add(came["n"], attempt[0])

        for f in history.of("posted", "taken", unit=unit):
            beside = _Seen()
            known = posted if f["what"] == "posted" else taken
            for attempt in (tuple(each) for each in f["events"] if tuple(each) not in known):
                known.add(attempt)
                if f["what"] == "taken":
                    note(before, attempt)
                    continue
                for seen in (before, beside) if attempt in decided else ():
                    yield from _overtaken(seen, decided[attempt], once[attempt], first)
                note(beside, attempt)


def _overtaken(seen: _Seen, one: Fact, roles: set[str], first: dict[tuple[str, str], Fact]) -> Iterator[str]:
    """What says that this attempt went past one of those seen before it."""
    at, other = seen.decided.beside(one["event"])
    if at > one["decided_at"]:
        yield f"{one['event']} of {one['unit']} was decided before {other}"
    for role in roles:
        came = first.get((role, one["event"]))
        n, other = seen.came[role].beside(one["event"])
        if came is not None and n > came["n"]:
            yield f"{one['event']} came to {role} before {other}"


def _released_once(decided: Iterable[Fact]) -> dict[Attempt, set[str]]:
    """Per attempt the roles it released something to, where no other attempt of the event did."""
    roles: dict[Attempt, set[str]] = {}
    counted: Counter[tuple[str, str]] = Counter()
    for f in decided:
        own = {role for role, parts in f["roles"].items() if any(free and not by for free, by in parts.values())}
        roles[f["event"], f["attempt"]] = own
        counted.update((f["event"], role) for role in own)
    return {key: {role for role in own if counted[key[0], role] == 1} for key, own in roles.items()}
