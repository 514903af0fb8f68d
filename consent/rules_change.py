"""From one rule set to the next, for one discloser: what closes holds at once, what opens waits for its own approval.

Pure: the rule sets that took effect one after the other and the hashes that a discloser approved give its effective
rules, the same in its connector, the broker and the offline verifier. A rule set that is neither one file nor another
has a hash of its own, made of the two it lies between, so that an attempt can name it and a verifier make it again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache, reduce
from hashlib import sha256
from math import inf
from typing import Any

from consent.rules import NOT_ALLOWED, Lane, Rules
from consent.rules_diff import changes
from consent.rules_meet import MEETS, conditions
from schemas.errors import HandslagError
from schemas.rules import EffectiveRules
from schemas.said import SPOKEN

_COMPARED = MEETS.keys() | {
    "version", "in_force_from", "hash32", "authorities", "never_individual", "actions", "lanes", "spoken",
}  # fmt: skip
"""Fields of a rule set that `narrower` knows how to compare; one that it does not know closes everything."""
_UNKNOWN = ("EVALUATION_ERROR",)


def narrower(old: Rules, new: Rules) -> Rules:
    """The rule set that allows what both allow and nothing else; `new` itself where it opens nothing beside `old`.

    Version, dates and rows are those of `new`. A field that one of them has and this function cannot compare refuses
    every section.
    """
    if not any(one.opens for one in changes(old, new)) and _alike(old, new):
        return new
    keys = {*old.lanes, *new.lanes}
    refusals = () if _alike(old, new) else _UNKNOWN
    further: dict[str, Any] = conditions(old, new)
    return replace(
        new,
        hash32=sha256(EffectiveRules(before=old.hash32, proposed=new.hash32).to_bytes()).digest(),
        authorities={role: old.authorities[role] for role in old.authorities if role in new.authorities},
        never_individual=old.never_individual | new.never_individual,
        actions=old.actions & new.actions,
        lanes={key: _lane(old.lane(*key), new.lane(*key), refusals) for key in sorted(keys)},
        spoken={
            pair: _lane(old.lane(SPOKEN, *pair), new.lane(SPOKEN, *pair), refusals)
            for pair in sorted({*old.spoken, *new.spoken})
        },
        **further,
    )


def effective(steps: Sequence[Rules], approved: Collection[bytes]) -> Rules:
    """What a discloser is decided by: `steps` took effect one after the other, it approved those whose hash it names.

    The first step is the rule set of the installation and needs no approval here. The newest approved step stands as
    it is, whatever came before; each later one only closes. Raises HandslagError `HS-RULES-INVALID` for no step.

    INVARIANT: test_effective_rules_open_nothing_unapproved, test_what_closes_holds_at_once.
    """
    if not steps:
        raise HandslagError("HS-RULES-INVALID", field="steps")
    start = max((place for place, step in enumerate(steps) if step.hash32 in approved), default=0)
    return reduce(_narrower_kept, steps[start + 1 :], steps[start])


@dataclass(frozen=True, slots=True)
class Derived:
    """One rule set that some discloser can be decided by.

    `start` is the place of the step that it stands on, which the discloser must have approved unless it is the first;
    `end` that of the newest step it was narrowed by.
    """

    rules: Rules
    start: int
    end: int


def derived(steps: Sequence[Rules]) -> Mapping[bytes, tuple[Derived, ...]]:
    """Every effective rule set of these steps by its hash, with every way to it: for whoever checks old decisions."""
    found: dict[bytes, list[Derived]] = {}
    for start, step in enumerate(steps):
        rules = step
        for end in range(start, len(steps)):
            rules = rules if end == start else _narrower_kept(rules, steps[end])
            found.setdefault(rules.hash32, []).append(Derived(rules, start, end))
    return {hash32: tuple(ways) for hash32, ways in found.items()}


def informed(given: float, took: Iterable[tuple[float, bytes]], rules_hash: bytes) -> bool:
    """Whether an approval given at a number was told of all that a rule set opens: nothing took force in between.

    `took`: number and hash of every rule set that took force, also of an installation's own. An approval given before
    something that took force before the rule set it is about knew nothing of what that closed, and does not count.
    """
    # INVARIANT: test_an_approval_opens_nothing_that_was_closed_after_it
    taken = list(took)
    own = max((at for at, each in taken if each == rules_hash), default=inf)
    return not any(given < at < own for at, _ in taken)


class _Kept:
    """A rule set that is the same as another of the same hash: laying two out side by side is slow work."""

    __slots__ = ("rules",)

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def __hash__(self) -> int:
        return hash(self.rules.hash32)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Kept) and self.rules.hash32 == other.rules.hash32


@lru_cache(maxsize=64)
def _narrowed(old: _Kept, new: _Kept) -> Rules:
    return narrower(old.rules, new.rules)


def _narrower_kept(old: Rules, new: Rules) -> Rules:
    return _narrowed(_Kept(old), _Kept(new))


def _alike(old: Rules, new: Rules) -> bool:
    """Whether they agree in every field that is not compared lane by lane."""
    # INVARIANT: test_a_field_that_cannot_be_compared_closes_everything
    names = {each.name for rules in (old, new) for each in fields(rules)} - _COMPARED
    missing = object()
    return all(getattr(old, name, missing) == getattr(new, name, missing) for name in names)


def _lane(old: Lane, new: Lane, refusals: tuple[str, ...]) -> Lane:
    """What both lanes allow; where they differ in what cannot be narrowed, nothing."""
    same = (old.to_unit, old.type_category, old.sender_authority, old.recipient_authority) == (
        new.to_unit,
        new.type_category,
        new.sender_authority,
        new.recipient_authority,
    )
    shut = not (old.verdicts and new.verdicts)  # a pair between which nothing goes, of no type and by no law
    return new._replace(
        refusals=_once((*new.refusals, *old.refusals, *refusals, *(() if same else ("TYPE_NOT_ALLOWED",)))),
        verdicts={} if shut else dict(_verdicts(old, new)),
        needs_release=old.needs_release | new.needs_release,
        purposes=old.purposes & new.purposes,
        obligations=_once((*new.obligations, *old.obligations)),
        rows={**old.rows, **new.rows},
    )


def _verdicts(old: Lane, new: Lane) -> Iterator[tuple[str, tuple[str, ...]]]:
    for category in sorted({*old.verdicts, *new.verdicts}):
        reasons = _once((*new.verdict(category), *old.verdict(category)))
        if reasons != NOT_ALLOWED:
            yield category, reasons


def _once(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
