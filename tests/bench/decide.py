"""How long `decide` takes: three sections, five grants, random views, nothing remembered between calls.

    python -m tests.bench.decide [views]

Prints JSON lines of name, value, unit. Each view is decided once per round and the rounds walk all views, so that no
call finds the one before it in a cache. `mixed` is every outcome as it falls; `released` and `withheld` are the ends.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from dataclasses import replace

from consent.decide import decide
from consent.ledger import LedgerView
from consent.rules import Rules, shipped
from consent.terms import DecisionRequest
from tests.bench.figures import quantile, tell
from tests.consent.making import HOUR, T0, act, ask, ledger, party, request, terms, to_role, to_unit

_CATEGORIES = ("IC01", "IC02", "IC12")
_OTHERS = ("social_services_lead", "prison_probation", "health_care")


def _case(dice: random.Random, covers: bool | None) -> tuple[DecisionRequest, LedgerView]:
    """Support asked for, three sections, five grants; `covers`: one of them, none of them, or as the dice fall."""
    good = dice.randrange(5) if covers or (covers is None and dice.random() < 0.5) else -1
    acts = []
    for place in range(5):
        role = "police_coordination" if place == good or dice.random() < 0.3 else dice.choice(_OTHERS)
        reach = (to_role(role), to_unit("SOC/EXEMPEL/ANNAN")) if dice.random() < 0.5 else (to_role(role),)
        some = tuple(dice.sample(("IC01", "IC02", "IC08", "IC12", "IC13"), 3))
        purposes = ("INTAKE", "PLANNING") if place == good else ("PLANNING",)
        given = terms(
            *reach,
            categories=_CATEGORIES if place == good else some,
            purposes=purposes,
            valid_until_us=T0 + dice.randrange(20, 200) * HOUR,
        )
        acts.append(act("GRANT", f"C{place}-{dice.random()}", terms=given))
    asked = request(
        [ask(category) for category in _CATEGORIES],
        event_type="support_requested",
        purpose="INTAKE",
        at_us=T0 + dice.randrange(6, 15) * HOUR,
    )
    return replace(asked, recipient=party("police_coordination")), ledger(*acts)


def _times(cases: list[tuple[DecisionRequest, LedgerView]], rules: Rules, rounds: int) -> list[float]:
    clock = time.perf_counter_ns
    spent = []
    for _ in range(rounds):
        for asked, view in cases:
            begin = clock()
            decide(asked, view, rules)
            spent.append((clock() - begin) / 1000)
    return spent


def main(views: int) -> None:
    """Measure and print."""
    dice, rules = random.Random(1), shipped()[1]
    for name, covers in (("mixed", None), ("released", True), ("withheld", False)):
        cases = [_case(dice, covers) for _ in range(views)]
        _times(cases, rules, 1)
        spent = sorted(_times(cases, rules, 10))
        tell(f"decide.{name}.p50", round(statistics.median(spent), 2), "us", views=views)
        tell(f"decide.{name}.p99", round(quantile(spent, 0.99), 2), "us", views=views)
        tell(f"decide.{name}.rate", round(1e6 / statistics.mean(spent)), "decisions/s", views=views)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
