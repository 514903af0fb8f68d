"""What a rule file says about itself: who reviewed it and when, and the legal source of each of its rows.

No decision reads this; whoever proposes, approves or verifies a rule set does. Files of earlier versions say nothing
here, and read as before.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import HandslagError

KEYS = frozenset({"review", "sources"})
"""Top-level keys of a rule file that belong here."""
_REVIEW = {"by", "at", "until"}
_TEXT = 500  # characters of a legal source or a reviewer: a line to cite, not a page


@dataclass(frozen=True, slots=True)
class About:
    """`reviewer` is a function, never a person's name, and None where nobody has reviewed the file.

    `until`: when the review is to be made again, None for never. `sources`: row -> legal source.
    """

    reviewer: str | None = None
    reviewed_at: datetime.date | None = None
    until: datetime.date | None = None
    sources: Mapping[str, str] = field(default_factory=dict)


def about(text: Mapping[str, Any]) -> About:
    """Read it from a decoded rule file; raises HandslagError `HS-RULES-INVALID` whose context names the place."""
    review, sources = text.get("review"), text.get("sources", {})
    if not isinstance(sources, dict) or not all(map(_is_text, sources.values())):
        raise HandslagError("HS-RULES-INVALID", field="sources")
    if review is None:
        return About(sources=sources)
    if not isinstance(review, dict) or not set(review) <= _REVIEW or not _is_text(review.get("by")):
        raise HandslagError("HS-RULES-INVALID", field="review")
    if not _is_date(review.get("at")) or not (review.get("until") is None or _is_date(review["until"])):
        raise HandslagError("HS-RULES-INVALID", field="review")
    return About(review["by"], review["at"], review.get("until"), sources)


def rows(text: Mapping[str, Any]) -> Iterator[str]:
    """Every row that a decoded rule file cites, as often as it does; whatever has not the form of one is left out."""
    waivers = text.get("not_waivable")
    yield from filter(_is_text, waivers.values() if isinstance(waivers, dict) else ())
    for found in _tables({key: value for key, value in text.items() if key not in KEYS}):
        if _is_text(found.get("row")):
            yield found["row"]


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _tables(each)
    elif isinstance(value, list):
        for each in value:
            yield from _tables(each)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _TEXT and value.isprintable()


def _is_date(value: object) -> bool:
    return type(value) is datetime.date
