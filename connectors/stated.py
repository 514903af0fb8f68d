"""What the agency said of the sections of an event: whom their data concern and when they are from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypedDict

from connectors import fields
from schemas.errors import HandslagError


class Stated(TypedDict):
    """By category: person numbers; first and first-no-more moment of the data, microseconds UTC, either may be open."""

    persons: dict[str, tuple[int, ...]]
    periods: dict[str, tuple[int | None, int | None]]


class About(NamedTuple):
    """What a question says of all its categories at once: person numbers, and when the data are from, as `Stated`."""

    persons: tuple[int, ...] = (0,)
    since_us: int | None = None
    until_us: int | None = None

    def of(self, categories: Iterable[str]) -> Stated:
        """The same for each of the categories."""
        listed = list(categories)
        return Stated(
            persons=dict.fromkeys(listed, self.persons),
            periods=dict.fromkeys(listed, (self.since_us, self.until_us)),
        )

    @property
    def data(self) -> dict[str, Any]:
        """As JSON, by the names of the options."""
        since, until = (None if at is None else fields.shown_moment(at) for at in (self.since_us, self.until_us))
        return {"persons": list(self.persons), "data_since": since, "data_until": until}

    def words(self, language: str) -> str:
        """What the answer is about, in one sentence, `sv` or `en`."""
        data = self.data
        persons = ", ".join(map(str, self.persons))
        since, until = data["data_since"] or "...", data["data_until"] or "..."
        dated = self.since_us is not None or self.until_us is not None
        if language == "sv":
            whose = "personen i ärendet (0) ensam" if self.persons == (0,) else f"person nummer {persons}"
            when = f"från {since} till {until}" if dated else "utan angiven tid"
            return f"Avgjort för {whose} och uppgifter {when}."
        whose = "the person of the case (0) alone" if self.persons == (0,) else f"persons number {persons}"
        when = f"from {since} to {until}" if dated else "without a stated time"
        return f"Decided for {whose} and data {when}."


def about(persons: Iterable[int], since: str | None, until: str | None) -> About:
    """What somebody asks about; none named is the person of the case. Raises `HS-INPUT-INVALID` naming the field."""
    found = About(tuple(dict.fromkeys(persons)) or (0,), _moment(since), _moment(until))
    if found.since_us is not None and found.until_us is not None and found.since_us >= found.until_us:
        raise HandslagError("HS-INPUT-INVALID", field="data_until")
    return found


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
