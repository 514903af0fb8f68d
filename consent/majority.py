"""When a guardian's word stops counting: the eighteenth birthday, 00:00 in Stockholm. Pure; no clock, nothing kept.

A birth date goes in here and nowhere else. What leaves is a moment, and every moment that a connector writes as an end
is a Stockholm midnight too, so that it does not show which of them is a birthday.

Whose number is day-moved, or was changed, has the day of the newest number; of a coordination number
(samordningsnummer) the day minus 60.

Born on 29 February, in a year without that day: nobody has answered whether 28 February or 1 March is the birthday
(docs/open-questions.md). Guardians decide until 28 February begins, and the person is assessed as a child through that
day: for a day a guardian's word opens nothing, and nor does that of the person alone.
"""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.errors import HandslagError

MAJORITY_YEARS = 18  # FB 9:1
_BANDS = ((12, "UNDER_12"), (15, "12_TO_14"), (MAJORITY_YEARS, "15_TO_17"))
_COORDINATION = 60  # added to the day of a samordningsnummer
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ZONE = "Europe/Stockholm"


def birth_date(number: str) -> dt.date:
    """The date that a twelve-digit personnummer or samordningsnummer carries; its check digit is not looked at.

    Raises `HS-INPUT-INVALID` for anything else, so also for a number with twelve signs that is no date.
    """
    digits = number.replace("-", "")
    if len(digits) != 12 or not (digits.isascii() and digits.isdigit()):
        raise HandslagError("HS-INPUT-INVALID", field="birth_date")
    year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:8])
    try:
        return dt.date(year, month, day - _COORDINATION if day > _COORDINATION else day)
    except ValueError:
        raise HandslagError("HS-INPUT-INVALID", field="birth_date") from None


def birthday(born: dt.date, years: int) -> dt.date:
    """The day on which somebody born then has certainly lived that many years: 1 March for 29 February.

    Raises `HS-INPUT-INVALID` past year 9999.
    """
    try:
        return born.replace(year=born.year + years)
    except ValueError:
        if born.year + years > dt.MAXYEAR:
            raise HandslagError("HS-INPUT-INVALID", field="birth_date") from None
        return dt.date(born.year + years, 3, 1)  # 29 February


def age(born: dt.date, on: dt.date) -> int:
    """Whole years lived on a day; raises `HS-INPUT-INVALID` for somebody not yet born."""
    if on < born:
        raise HandslagError("HS-INPUT-INVALID", field="birth_date")
    years = on.year - born.year
    return years if birthday(born, years) <= on else years - 1


def band(born: dt.date, at_us: int) -> str | None:
    """The age band (list `age_band`) of somebody at a moment, by the calendar of Stockholm; None from 18 on."""
    lived = age(born, day_of(at_us))
    return next((name for limit, name in _BANDS if lived < limit), None)


def majority_us(born: dt.date) -> int:
    """The moment (microseconds UTC) from which no guardian decides: 18 years, 00:00 in Stockholm.

    INVARIANT: test_on_the_eighteenth_birthday_at_midnight_nobody_decides_for_them.
    """
    return _reached_us(born, MAJORITY_YEARS)


def _reached_us(born: dt.date, years: int) -> int:
    """The first moment at which somebody may have lived that many years."""
    day = birthday(born, years)
    # INVARIANT: test_between_two_possible_birthdays_neither_guardian_nor_child_decides_alone
    return midnight_us(day if day.day == born.day else day - dt.timedelta(days=1))


def authority_until_us(born: dt.date, reassess_on: dt.date, at_us: int) -> int:
    """When a guardian's word given at a moment is to be asked for anew.

    The day agreed on, and no later than the birthday with which the next age band begins: of that band the assessment
    says nothing. The last such birthday is majority.
    INVARIANT: test_an_assessment_does_not_outlive_the_age_it_was_made_for.
    """
    lived = age(born, day_of(at_us))
    years = next((limit for limit, _name in _BANDS if lived < limit), MAJORITY_YEARS)
    return min(midnight_us(reassess_on), _reached_us(born, years))


def midnight_us(day: dt.date) -> int:
    """00:00 in Stockholm on a day, microseconds UTC; raises `HS-ZONES-MISSING` where the machine has no time zones."""
    start = dt.datetime.combine(day, dt.time(), tzinfo=_stockholm())
    return (start - _EPOCH) // dt.timedelta(microseconds=1)


def day_of(at_us: int) -> dt.date:
    """The day in Stockholm at a moment."""
    return local(_EPOCH + dt.timedelta(microseconds=at_us)).date()


def local(at: dt.datetime) -> dt.datetime:
    """A moment by the clock in Stockholm; raises `HS-ZONES-MISSING` where the machine has no time zones."""
    return at.astimezone(_stockholm())


def to_midnight_us(at_us: int) -> int:
    """The last Stockholm midnight at or before a moment: ends are rounded so that none of them stands out."""
    return midnight_us(day_of(at_us))


def _stockholm() -> ZoneInfo:
    try:
        return ZoneInfo(_ZONE)
    except (ZoneInfoNotFoundError, OSError):
        raise HandslagError("HS-ZONES-MISSING") from None
