"""Majority at Stockholm's midnight: cases worked out by hand, and what holds for every birth date."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent import majority
from schemas.errors import HandslagError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "majority" / "majority.json").read_text("utf-8"))
DAY_US = 24 * 3600 * 1_000_000
dates = st.dates(dt.date(1990, 1, 1), dt.date(2060, 1, 1))


def us(text):
    return int(dt.datetime.fromisoformat(text).timestamp()) * 1_000_000


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["born"])
def test_on_the_eighteenth_birthday_at_midnight_nobody_decides_for_them(case):
    born = dt.date.fromisoformat(case["born"])
    at = us(case["majority"])
    grown = us(case.get("band_until", case["majority"]))
    assert majority.majority_us(born) == at, case["sentence"]
    assert majority.band(born, grown) is None
    assert majority.band(born, grown - 1) == "15_TO_17"


@given(st.integers(1992, 2058).filter(lambda year: year % 4 == 0).map(lambda year: dt.date(year, 2, 29)))
def test_between_two_possible_birthdays_neither_guardian_nor_child_decides_alone(born):
    """28 February may be the birthday, and so may 1 March: on that one day nobody is sure to decide."""
    ends, year = majority.majority_us(born), born.year + 18
    assert majority.day_of(ends) == dt.date(year, 2, 28)
    assert [majority.band(born, ends + hours * DAY_US // 24) for hours in (0, 23, 24)] == ["15_TO_17"] * 2 + [None]
    the_day_before = majority.majority_us(born - dt.timedelta(days=1))  # control: whose birthday there is in every year
    assert majority.band(born - dt.timedelta(days=1), the_day_before) is None


@pytest.mark.parametrize("case", VECTORS["numbers"], ids=lambda case: case["sentence"])
def test_a_number_carries_a_day(case):
    assert majority.birth_date(case["number"]) == dt.date.fromisoformat(case["born"])


@pytest.mark.parametrize("number", ["", "1912121212", "191213121212", "191212991212", "19121212121a", "१९१२१२१२१२१२"])
def test_what_is_no_number_is_refused_without_being_repeated(number):
    with pytest.raises(HandslagError) as caught:
        majority.birth_date(number)
    assert (caught.value.code, caught.value.context) == ("HS-INPUT-INVALID", {"field": "birth_date"})


@pytest.mark.parametrize("case", VECTORS["bands"], ids=lambda case: case["sentence"])
def test_the_band_changes_on_the_day(case):
    noon = majority.midnight_us(dt.date.fromisoformat(case["on"])) + DAY_US // 2
    assert majority.band(dt.date.fromisoformat(case["born"]), noon) == case["band"]


def test_nobody_is_younger_than_nothing():
    with pytest.raises(HandslagError, match="HS-INPUT-INVALID"):
        majority.band(dt.date(2030, 1, 1), us("2026-11-22T12:00:00Z"))
    with pytest.raises(HandslagError, match="HS-INPUT-INVALID"):
        majority.majority_us(dt.date(9990, 1, 1))


@given(dates)
def test_every_end_is_a_stockholm_midnight(born):
    """So that it does not show which end is a birthday."""
    at = majority.majority_us(born)
    assert majority.to_midnight_us(at) == at
    assert majority.to_midnight_us(at + DAY_US // 2) == at
    assert majority.day_of(at - 1) == majority.day_of(at) - dt.timedelta(days=1)
    grown = at - 30 * DAY_US
    assert majority.authority_until_us(born, dt.date(2200, 1, 1), grown) == at
    assert majority.authority_until_us(born, majority.day_of(at) - dt.timedelta(days=1), grown) < at


@pytest.mark.parametrize("case", VECTORS["assessments"], ids=lambda case: case["sentence"])
def test_an_assessment_does_not_outlive_the_age_it_was_made_for(case):
    noon = majority.midnight_us(dt.date.fromisoformat(case["on"])) + DAY_US // 2
    born, agreed = dt.date.fromisoformat(case["born"]), dt.date.fromisoformat(case["reassess_on"])
    assert majority.authority_until_us(born, agreed, noon) == us(case["until"])


@given(dates, st.integers(0, 17 * 365))
def test_of_one_assessment_there_is_one_age_band(born, later):
    noted = majority.midnight_us(born + dt.timedelta(days=later))
    until = majority.authority_until_us(born, dt.date(2200, 1, 1), noted)
    assert until <= noted or majority.band(born, until - 1) == majority.band(born, noted)
    assert until <= majority.majority_us(born)


@given(dates, st.integers(0, 17 * 365))
def test_whoever_is_older_is_never_in_a_younger_band(born, later):
    order = ["UNDER_12", "12_TO_14", "15_TO_17", None]
    first = majority.midnight_us(born + dt.timedelta(days=later))
    assert order.index(majority.band(born, first)) <= order.index(majority.band(born, first + 30 * DAY_US))
