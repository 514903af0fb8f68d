"""FHIR's times, which may name a year, a month or a day only, as microseconds UTC; such days are Swedish ones."""

from __future__ import annotations

import datetime as dt
from functools import cache
from zoneinfo import ZoneInfo

from connectors.fields import microseconds
from consent.fhir.terms import Span
from consent.records import ALWAYS, FOREVER

When = dt.datetime | dt.date | str  # as the library reads a FHIR dateTime: a year or a month stays a text


@cache
def stockholm() -> ZoneInfo:
    """The zone of a day that names none; read when it is needed, because not every system brings its rules."""
    return ZoneInfo("Europe/Stockholm")


def span(start: When | None, end: When | None) -> Span:
    """From the first moment of `start` to the end of what `end` names: a day named as the end belongs to it."""
    return Span(None if start is None else first(start), None if end is None else after(end))


def first(when: When) -> int:
    """The first moment of a time as precise as it is given."""
    if isinstance(when, dt.datetime):
        return _microseconds(when, ALWAYS)
    year, month, day = _parts(when)
    return _microseconds(dt.datetime(year, month or 1, day or 1, tzinfo=stockholm()), ALWAYS)


def after(when: When) -> int:
    """The first moment that no longer belongs to a time as precise as it is given."""
    if isinstance(when, dt.datetime):
        unit = dt.timedelta(microseconds=1) if when.microsecond else dt.timedelta(seconds=1)
        return _microseconds(when, FOREVER, unit)
    year, month, day = _parts(when)
    try:
        if day:
            following = dt.date(year, month, day) + dt.timedelta(days=1)
        else:
            following = dt.date(year + (month in {0, 12}), month % 12 + 1 if month else 1, 1)
    except (OverflowError, ValueError):
        return FOREVER  # the last day there is: without an end
    return _microseconds(dt.datetime.combine(following, dt.time(), stockholm()), FOREVER)


def spelled(when: When | None) -> str:
    """A time as text; empty where there is none."""
    return "" if when is None else when if isinstance(when, str) else when.isoformat()


def _parts(when: dt.date | str) -> tuple[int, int, int]:
    if isinstance(when, dt.date):
        return when.year, when.month, when.day
    year, _, month = when.partition("-")
    return int(year), int(month or 0), 0


def _microseconds(when: dt.datetime, beyond: int, unit: dt.timedelta = dt.timedelta()) -> int:
    try:
        return microseconds(when + unit)
    except OverflowError:
        return beyond
