"""What the agency said of the sections of an event: whom their data concern and when they are from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from connectors import fields


class Stated(TypedDict):
    """By category: person numbers; first and first-no-more moment of the data, microseconds UTC, either may be open."""

    persons: dict[str, tuple[int, ...]]
    periods: dict[str, tuple[int | None, int | None]]


def of(event: Mapping[str, Any]) -> Stated:
    """What was said of an event as it was kept; of one that an older version kept, nothing."""
    return Stated(
        persons={category: tuple(numbers) for category, numbers in event.get("persons", {}).items()},
        periods={
            category: (_moment(period["since"]), _moment(period["until"]))
            for category, period in event.get("data_periods", {}).items()
        },
    )


def _moment(text: str | None) -> int | None:
    return None if text is None else fields.moment(text, "data_periods")
