"""What a rule set says beside its lanes, compared key by key: a child's consent, coded conditions, wordings out of use.

Each of these is a mapping. `MEETS` says, by the name of the field, how two of them become the one that allows only what
both allow. A rule set of an earlier version lacks such a field, and then nothing of the kind is understood by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from consent.rules import Rules

Meet = Callable[[Mapping[Any, Any], Mapping[Any, Any]], Mapping[Any, Any]]


def _minors(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Where no rule is, a child's consent opens nothing; where both have one, whatever either asks for is asked."""
    return {
        key: rule._replace(cosign=old[key].cosign or rule.cosign, guardians=old[key].guardians or rule.guardians)
        for key, rule in new.items()
        if key in old
    }


def _reservations(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Where no rule is, a human must read the condition; where both have one, both take effect."""
    return {
        code: rule._replace(
            denies=old[code].denies | rule.denies,
            obligations=tuple(sorted({*old[code].obligations, *rule.obligations})),
            asks_human=old[code].asks_human or rule.asks_human,
        )
        for code, rule in new.items()
        if code in old
    }


def _texts_ended(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A wording is out of use from the earlier of two moments."""
    return {key: min(each[key] for each in (old, new) if key in each) for key in sorted({*old, *new})}


MEETS: Mapping[str, Meet] = {"minors": _minors, "reservations": _reservations, "texts_ended": _texts_ended}


def conditions(old: Rules, new: Rules) -> dict[str, Mapping[Any, Any]]:
    """The fields of `MEETS` that these rule sets have, each as both allow it."""
    return {name: meet(_of(old, name), _of(new, name)) for name, meet in MEETS.items() if hasattr(new, name)}


def differences(old: Rules, new: Rules) -> Iterator[tuple[str, bool, bool]]:
    """(what, whether it opens, whether it closes) of every key whose rule is another; `row` alone is no difference."""
    for name, meet in MEETS.items():
        before, after = _of(old, name), _of(new, name)
        for key in sorted({*before, *after}):
            was, now = ({key: each[key]} if key in each else {} for each in (before, after))
            both, back = meet(was, now), meet(now, was)
            if _said(was) != _said(now):
                yield f"{name}.{_word(key)}", _said(both) != _said(now), _said(back) != _said(was)


def _of(rules: Rules, name: str) -> Mapping[Any, Any]:
    found: Mapping[Any, Any] = getattr(rules, name, {})
    return found


def _said(rules: Mapping[Any, Any]) -> object:
    """A rule without the row it cites."""
    return {key: rule._replace(row="") if hasattr(rule, "row") else rule for key, rule in rules.items()}


def _word(key: object) -> str:
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)
