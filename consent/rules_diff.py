"""What a new rule set opens and what it closes, computed from every lane of both and told in words.

A category is open in a lane where nothing but consent is left to ask; where a human must decide it is neither open nor
closed. Codes and their words: list `rules_change`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from consent.rules import Lane, Rules
from consent.rules_meet import differences
from schemas import codes, event_types
from schemas.said import SPOKEN

_CLOSED, _HUMAN, _OPEN = range(3)


class Change(NamedTuple):
    """One difference: a code of list `rules_change`, where it is, and the purpose, obligation or action it is about."""

    code: str
    event_type: str
    sender: str
    recipient: str
    category: str
    detail: str = ""

    @property
    def opens(self) -> bool:
        """Whether something may go now that could not, or with less."""
        return bool(codes.table()["rules_change"][self.code]["effect"] != "CLOSES")

    @property
    def closes(self) -> bool:
        """Whether something may not go any more that could, or only with more."""
        return bool(codes.table()["rules_change"][self.code]["effect"] != "OPENS")


def changes(old: Rules, new: Rules) -> tuple[Change, ...]:
    """Every difference between two rule sets that a decision could show, over all lanes, in a fixed order."""
    found: list[Change] = []
    wide = (old.never_individual, old.actions) != (new.never_individual, new.actions)
    for key in _keys(old, new):
        before, after = old.lane(*key), new.lane(*key)
        if wide or before != after:  # most lanes are the same, and comparing two is much faster than examining them
            found += _in_lane(key, (old, before), (new, after))
    for what, opens, closes in differences(old, new):
        code = "CONDITION_CHANGED" if opens and closes else "CONDITION_DROPPED" if opens else "CONDITION_ADDED"
        found.append(Change(code, "", "", "", "", what))
    return tuple(found)


def sentences(found: Iterable[Change], language: str = "en") -> tuple[str, ...]:
    """The differences in words, `sv` or `en`, those of one kind between two roles together; what opens comes first."""
    together: dict[tuple[str, ...], tuple[dict[str, None], dict[str, None]]] = {}
    for one in sorted(found, key=lambda one: not one.opens):
        key = one.code, one.sender, one.recipient, one.detail
        types, categories = together.setdefault((*key, one.category), ({}, {}))
        types[one.event_type], categories[one.category] = None, None
    merged: dict[tuple[str, ...], dict[str, None]] = {}
    for (*where, category), (types, _) in together.items():
        merged.setdefault((*where, *types), {})[category] = None
    return tuple(_sentence(key[:4], key[4:], categories, language) for key, categories in merged.items())


def as_json(found: Iterable[Change]) -> list[dict[str, Any]]:
    """The differences one by one for `--json`: the code, whether it opens and closes, where, about what."""
    return [{**one._asdict(), "opens": one.opens, "closes": one.closes} for one in found]


def _sentence(where: tuple[str, ...], types: tuple[str, ...], categories: Iterable[str], language: str) -> str:
    code, sender, recipient, detail = where
    told = codes.words("rules_change", code, language)
    effect = codes.words("rules_effect", str(codes.table()["rules_change"][code]["effect"]), language)
    roles = f"{codes.words('role', sender, language)} -> {codes.words('role', recipient, language)}"
    if not sender:
        return f"{effect} {detail}: {told}"
    about = f" ({_detail(detail, language)})" if detail else ""
    listed = ", ".join(f"{one} {codes.words('category', one, language)}" for one in categories if one)
    if not listed:
        return f"{effect} {roles}: {told}"
    return f"{effect} {roles}: {listed}: {told}{about} [{', '.join(_type(one, language) for one in types)}]"


def _type(code: str, language: str) -> str:
    if code == SPOKEN:
        return codes.words("rules_effect", "SAID", language)
    return event_types.table()[code].sv if language == "sv" and code in event_types.table() else code


def _detail(code: str, language: str) -> str:
    kinds = ("purpose", "obligation", "action")
    return next((codes.words(kind, code, language) for kind in kinds if code in codes.table()[kind]), code)


def _keys(old: Rules, new: Rules) -> list[tuple[str, str, str]]:
    said = {(SPOKEN, *pair) for pair in (*old.spoken, *new.spoken)}
    return sorted({*old.lanes, *new.lanes}) + sorted(said)


def _in_lane(key: tuple[str, str, str], old: tuple[Rules, Lane], new: tuple[Rules, Lane]) -> Iterator[Change]:
    for category in codes.table()["category"]:
        before, after = _state(category, *old), _state(category, *new)
        if before != after:
            yield Change(_moved(before, after), *key, category)
        if before and after:
            yield from _terms(key, category, old, new)
        elif key[0] == SPOKEN:
            yield from _release(key, category, old[1].needs_release, new[1].needs_release)
    if key[0] == SPOKEN and old[0].never(*key[1:]) != new[0].never(*key[1:]):
        yield Change("PAIR_OPENED" if old[0].never(*key[1:]) else "PAIR_CLOSED", *key, "")


def _release(
    key: tuple[str, str, str], category: str, before: frozenset[str], after: frozenset[str]
) -> Iterator[Change]:
    """Whose release decision is asked for what no consent opens: a provision of law might."""
    # INVARIANT: test_what_a_law_might_open_is_a_difference_too
    if (category in before) != (category in after):
        yield Change("RELEASE_ADDED" if category in after else "RELEASE_REMOVED", *key, category)


def _state(category: str, rules: Rules, lane: Lane) -> int:
    """CLOSED, HUMAN or OPEN."""
    if lane.refusals or lane.recipient_authority in rules.never_individual or not lane.purposes:
        return _CLOSED
    verdict = lane.verdict(category)
    if not verdict:
        return _OPEN
    return _HUMAN if all(codes.reason_kind(reason) == "HUMAN" for reason in verdict) else _CLOSED


def _moved(before: int, after: int) -> str:
    if after == _OPEN:
        return "HUMAN_DROPPED" if before == _HUMAN else "CATEGORY_OPENED"
    if after == _HUMAN:
        return "HUMAN_ASKED" if before == _OPEN else "HUMAN_OPENED"
    return "CATEGORY_CLOSED"


def _terms(
    key: tuple[str, str, str], category: str, old: tuple[Rules, Lane], new: tuple[Rules, Lane]
) -> Iterator[Change]:
    """Under which terms an open category goes: purposes, release decision, obligations, actions, and to whom."""
    (rules, before), (other, after) = old, new
    pairs = (
        ("PURPOSE", before.purposes, after.purposes),
        ("RELEASE", before.needs_release & {category}, after.needs_release & {category}),
        ("OBLIGATION", frozenset(before.obligations), frozenset(after.obligations)),
        ("ACTION", rules.actions, other.actions),
    )
    for name, was, now in pairs:
        for word in sorted(now ^ was):
            code = f"{name}_ADDED" if word in now else f"{name}_REMOVED"
            yield Change(code, *key, category, "" if word == category else word)
    human = set(before.verdict(category)) ^ set(after.verdict(category))
    if human and before.verdict(category) and after.verdict(category):
        yield Change("HUMAN_CHANGED", *key, category)
    if (before.to_unit, before.type_category) != (after.to_unit, after.type_category):
        yield Change("FORM_CHANGED", *key, category)
