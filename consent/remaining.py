"""What is left of one consent as a whole: whether anything at all can go on it, whoever asks and for whatever.

A consent that was taken back bit by bit is as gone as one that was taken back at once. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from itertools import product
from operator import and_

from consent import standing
from consent.conditions import judged
from consent.records import Grant, Reach
from consent.rules import Rules
from schemas import codes
from schemas.identifiers import authority_of


def against(grant: Grant, at_us: int, rules: Rules) -> int:
    """The bits of `consent.standing` that speak against all of a consent at a moment, suspensions and its start aside.

    WITHDRAWN also where every recipient, category and purpose of it was taken back in parts.
    INVARIANT: test_a_consent_taken_back_bit_by_bit_is_taken_back.
    """
    bits = grant.fault | grant.ended(at_us) | grant.stale(rules.texts_ended)
    if grant.facts is not None:
        facts = grant.facts
        # One action that nothing speaks against is enough for the consent to open something.
        bits |= reduce(and_, (judged(facts, each, rules) for each in grant.actions or {"DISCLOSE"}))
    return bits | standing.WITHDRAWN if leaves_nothing(grant, _back(grant, at_us)) else bits


def names_nothing(grant: Grant) -> bool:
    """Whether it lacks a recipient, a category, a purpose or an action, and so is about no disclosure at all."""
    return not all((grant.units or grant.roles, grant.categories, grant.purposes, grant.actions))


def may_be_nothing(grant: Grant, at_us: int) -> bool:
    """Whether what was taken back may be all of it: who holds a role, and as which unit, a ledger does not say."""
    return leaves_nothing(grant, _back(grant, at_us), sure=False)


def leaves_nothing(grant: Grant, reaches: Iterable[Reach], *, sure: bool = True) -> bool:
    """Whether `reaches` together meet every recipient, category and purpose of it; or, not `sure`, may meet them."""
    taken = list(reaches)
    recipients = [("UNIT", unit) for unit in grant.units] + [("ROLE", role) for role in grant.roles]
    return bool(taken) and all(
        any(_takes(reach, recipient, category, purpose, sure=sure) for reach in taken)
        for recipient, category, purpose in product(recipients, grant.categories, grant.purposes)
    )


def _back(grant: Grant, at_us: int) -> list[Reach]:
    return [part.reach for part in grant.parts if part.from_us <= at_us]


def _takes(reach: Reach, recipient: tuple[str, str], category: str, purpose: str, *, sure: bool) -> bool:
    if not reach.takes(category) or (reach.purposes is not None and purpose not in reach.purposes):
        return False
    return _meets(reach, *recipient) or (not sure and _may_meet(reach, *recipient))


def _meets(reach: Reach, kind: str, name: str) -> bool:
    return reach.units is None or name in (reach.units if kind == "UNIT" else reach.roles)


def _may_meet(reach: Reach, kind: str, name: str) -> bool:
    """Whether a unit may hold a role that is named, or the holder of a role be a unit that is."""
    roles = codes.table()["role"]
    if kind == "UNIT":
        return any(roles[role]["authority"] == authority_of(name) for role in reach.roles if role in roles)
    return name not in roles or any(authority_of(unit) == roles[name]["authority"] for unit in reach.units or ())
