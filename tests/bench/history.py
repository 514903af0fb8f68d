"""How long five years of one seat's history take to show, to list and to decide on, in process.

    python -m tests.bench.history [acts] [calls]

A generated ledger: grants, whole and partial withdrawals, blocks, suspensions, amendments over five years. `show` and
`decide` ask about random moments, on both axes; `history` lists every act; `explain` names every record. The view is
built once and counted apart, as a connector or a broker that has met the seat before has it; `first` is what the
others cost once. Prints JSON lines of name, value, unit.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from consent import explain, history
from consent.decide import decide
from consent.ledger import LedgerView, view_of
from consent.rules import shipped
from schemas.acts import ConsentAct, LedgerEvent
from tests.bench.figures import quantile, tell
from tests.consent.making import HOUR, T0, act, ask, named, party, recorded, request, scope, terms, to_role

_YEARS_US = 5 * 365 * 24 * HOUR
_ROLES = ("police_coordination", "prison_probation", "health_care", "provider")
_CATEGORIES = ("IC01", "IC02", "IC08", "IC12", "IC13")


def five_years(count: int) -> list[LedgerEvent]:
    """`count` acts of one seat, spread over five years, as they were recorded."""
    dice, acts, granted = random.Random(5), [], []
    for place in range(count):
        at_us = T0 + place * (_YEARS_US // count)
        kind = dice.choices(("GRANT", "WITHDRAW", "PART", "BLOCK", "SUSPEND", "AMEND"), (50, 25, 10, 5, 5, 5))[0]
        acts.append((_act(dice, kind if granted else "GRANT", at_us, granted, place), at_us))
    return recorded(acts)


def _act(dice: random.Random, kind: str, at_us: int, granted: list[str], place: int) -> ConsentAct:
    said = terms(
        to_role(dice.choice(_ROLES)),
        categories=tuple(sorted(dice.sample(_CATEGORIES, 3))),
        purposes=("PLANNING", "INTAKE"),
        valid_from_us=at_us,
        valid_until_us=at_us + dice.randrange(30, 400) * 24 * HOUR,
    )
    if kind == "GRANT":
        granted.append(f"C{place}")
        return act("GRANT", granted[-1], terms=said)
    if kind == "BLOCK":
        return act("BLOCK", f"B{place}", terms=replace(said, valid_until_us=at_us + 24 * HOUR))
    of = dice.choice(granted[-20:])
    if kind == "PART":
        return act("WITHDRAW", of, scope=scope(categories=(dice.choice(_CATEGORIES),)))
    return act(kind, of, terms=said if kind == "AMEND" else None)


def _asked(dice: random.Random, at_us: int) -> tuple[object, ...]:
    return (
        replace(
            request([ask(one) for one in ("IC01", "IC02", "IC12")], purpose="INTAKE", at_us=at_us),
            event_type="support_requested",
            recipient=party("police_coordination"),
        ),
    )


def _measured(name: str, calls: int, work: Callable[[int], object], view: LedgerView) -> None:
    dice, spent = random.Random(7), []
    for _ in range(calls):
        at_us = T0 + dice.randrange(_YEARS_US)
        begin = time.perf_counter_ns()
        work(at_us)
        spent.append((time.perf_counter_ns() - begin) / 1e6)
    first, spent = spent[0], sorted(spent[1:])
    for told, value in (("p50", quantile(spent, 0.5)), ("p95", quantile(spent, 0.95)), ("first", first)):
        tell(f"history.{name}.{told}", round(value, 3), "ms", acts=len(view.events), calls=calls)


def main(count: int, calls: int) -> None:
    """Measure and print."""
    rules, events = shipped()[1], five_years(count)
    begin = time.perf_counter_ns()
    view = view_of(events)
    tell("history.build", round((time.perf_counter_ns() - begin) / 1e6, 1), "ms", acts=count)
    dice = random.Random(11)

    def decided(at_us: int) -> None:
        (asked,) = _asked(dice, at_us)
        decide(asked, view.as_known(T0 + dice.randrange(_YEARS_US)), rules)

    def explained(at_us: int) -> None:
        (asked,) = _asked(dice, at_us)
        explain.considered(decide(asked, view, rules), asked, view, rules)

    _measured("show", calls, lambda at_us: history.standing(view, at_us), view)
    _measured("show_known", calls, lambda at_us: history.standing(view.as_known(at_us), at_us), view)
    _measured("history", calls, lambda _at_us: history.acts(view), view)
    _measured("decide_known", calls, decided, view)
    _measured("explain", calls, explained, view)
    assert named("social_services_lead") == view.grants[0].member


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, int(sys.argv[2]) if len(sys.argv) > 2 else 200)
