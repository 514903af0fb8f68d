"""A rule file examined: every fault with its place, and what stands against proposing it."""

from __future__ import annotations

import datetime
import hashlib
import json

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import handslag
from consent.rules import parse, released, shipped
from consent.rules_check import Finding, check, ready
from schemas.errors import HandslagError
from tests.rules.ruling import HEALTH, SHIPPED, changed, reviewed

TODAY = datetime.date(2026, 11, 22)


def found(text: str, today: datetime.date = TODAY) -> list[tuple[str, str]]:
    return [(one.code, one.place) for one in check(text.encode(), today)]


def faults(text: str) -> set[tuple[str, str]]:
    return {(one.code, one.place) for one in check(text.encode(), TODAY) if one.kind == "ERROR"}


def test_files_of_earlier_versions_read_as_before():
    hashes = {rules.version: hash32.hex()[:16] for hash32, rules in released().items()}
    assert hashes["2026-11"] == "fafd18b1cd26eebe"
    assert hashes["2026-11-22"] == "fe5cef5a7c79139f"
    assert all(hashlib.sha256(data).digest() == parse(data).hash32 for data in [shipped()[0]])
    assert faults(SHIPPED) == set()


def test_what_nobody_reviewed_is_not_ready():
    findings = check(SHIPPED.encode(), TODAY)
    assert not ready(findings)
    assert ("UNREVIEWED", "review") in found(SHIPPED)
    assert ("NO_SOURCE", "sources.LB-11") in found(SHIPPED)


def test_a_reviewed_file_with_sources_is_ready():
    findings = check(reviewed().encode(), TODAY)
    assert ready(findings)
    assert {one.code for one in findings} == {"NO_CATEGORY"}  # two lines about categories that no event has


@pytest.mark.parametrize(
    ("old", "new", "code", "place"),
    [
        ("at = 2026-11-20", "at = 2026-11-23", "DATES", "review"),
        ("at = 2026-11-20", "at = 2026-11-20\nuntil = 2026-11-20", "DATES", "review"),
        ("at = 2026-11-20", "at = 2026-11-20\nuntil = 2026-11-22", "REVIEW_OVER", "review"),
        ('version = "2026-12-01"', 'version = "2027-01-01"', "DATES", "version"),
        ('"LB-11" = "EXEMPEL LB-11"', '"LB-99" = "EXEMPEL"', "NO_SOURCE", "sources.LB-11"),
        ('"LB-11" = "EXEMPEL LB-11"', '"LB-99" = "EXEMPEL"', "UNUSED_SOURCE", "sources.LB-99"),
    ],
)
def test_review_and_dates_are_looked_at(old, new, code, place):
    assert (code, place) in found(changed((old, new), text=reviewed()))
    assert (code, place) not in found(reviewed())


@pytest.mark.parametrize(
    ("old", "new", "code", "place"),
    [
        ("[public_interest]", "[publik_interest]", "WRONG_FORM", "public_interest"),
        ('sender = "health_care"', 'sender = "vården"', "UNKNOWN_CODE", "pairs[19].sender"),
        (HEALTH, 'categories = ["IC77"]', "UNKNOWN_CODE", "pairs[19].categories"),
        (HEALTH, "categories = []", "WRONG_FORM", "pairs[19].categories"),
        (HEALTH, 'category = ["IC07"]', "UNKNOWN_KEY", "pairs[19].category"),
        ("to_unit = true", 'to_unit = "yes"', "WRONG_FORM", "types.seat_invited.to_unit"),
        ("[types.custody_status_changed]", "[types.case_closed]", "UNKNOWN_CODE", "types.case_closed"),
        ('obligations = ["NO_ONWARD"]', 'obligations = ["BE_KIND"]', "UNKNOWN_CODE", "pairs[7].obligations"),
        ('categories = ["IC04", "IC12"]', 'categories = ["IC04", 12]', "WRONG_FORM", "pairs[11].categories"),
        (
            'age_band = "UNDER_12"\nmaturity = "SUFFICIENT"',
            'age_band = "UNDER_9"\nmaturity = "SUFFICIENT"',
            "UNKNOWN_CODE",
            "minors[2].age_band",
        ),
        (
            'maturity = "NOT_ASSESSED"\ncosign = false',
            'maturity = "NOT_ASSESSED"\ncosign = 0',
            "WRONG_FORM",
            "minors[3].cosign",
        ),
        ('code = "WRITTEN_ONLY"', 'kode = "WRITTEN_ONLY"', "UNKNOWN_KEY", "reservations[2].kode"),
        (
            'code = "WRITTEN_ONLY"\ndenies = ["ORAL_DISCUSS"]',
            'code = "WRITTEN_ONLY"\ndenies = ["SHOUT"]',
            "UNKNOWN_CODE",
            "reservations[2].denies",
        ),
        ("asks_human = true", 'asks_human = "true"', "WRONG_FORM", "reservations[4].asks_human"),
        (
            "[types.support_requested]\n",
            "[types.support_requested]\nfee = 1\n",
            "UNKNOWN_KEY",
            "types.support_requested.fee",
        ),
    ],
)
def test_every_fault_is_named_with_its_place(old, new, code, place):
    text = changed((old, new))
    assert (code, place) in faults(text)
    (line,) = {one.line for one in check(text.encode(), TODAY) if (one.code, one.place) == (code, place)}
    header = place.split("[")[0].rsplit(".", 1)[0] if "[" in place else place
    assert line is None or header.split(".")[0] in text.splitlines()[line - 1]


def test_faults_are_all_named_not_only_the_first():
    text = changed((HEALTH, "categories = []"), ("to_unit = true", "to_unit = 1"))
    assert len(faults(text)) == 2


def test_two_rows_for_one_category_overlap():
    text = SHIPPED + '\n[[pairs]]\nrow = "LB-23"\nsender = "health_care"\nrecipient = "social_services_lead"\n' + HEALTH
    assert faults(text) == {("OVERLAP", "pairs[20]")}


def test_a_row_that_another_closes_is_noted():
    text = SHIPPED + '\n[[pairs]]\nrow = "LB-14"\nsender = "police_coordination"\nrecipient = "provider"\n' + HEALTH
    assert ("NO_EFFECT", "pairs[20]") in found(text)
    assert faults(text) == set()


def test_what_is_no_toml_is_said_with_its_line():
    assert check(b"version = 1\nfoo = = 2\n", TODAY) == (Finding("SYNTAX", "file", 2),)
    assert check(b"\xff", TODAY) == (Finding("SYNTAX", "file"),)
    assert check(bytes(70_000), TODAY) == (Finding("TOO_LARGE", "file"),)


LINES = SHIPPED.splitlines(keepends=True)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, len(LINES) - 1),
    st.sampled_from(["", 'row = ""\n', "[[pairs]]\n", "x = 1\n", 'sender = "provider"\n']),
)
def test_the_check_and_the_reader_agree(place, line):
    data = "".join([*LINES[:place], line, *LINES[place + 1 :]]).encode()
    try:
        parse(data)
        reads = True
    except HandslagError:
        reads = False
    assert reads == all(one.kind != "ERROR" for one in check(data, TODAY))


def run(*words: str):
    return CliRunner().invoke(handslag.front, ["rules", *words], catch_exceptions=False)


def test_the_command_tells_by_its_exit_code(tmp_path):
    file = tmp_path / "rules.toml"
    for text, code in ((reviewed(), 0), (SHIPPED, 3), (changed((HEALTH, "categories = []")), 1)):
        file.write_text(text, encoding="utf-8")
        ran = run("check", str(file), "--json")
        assert ran.exit_code == code
        assert json.loads(ran.stdout)["ready"] == (code == 0)
    with pytest.raises(HandslagError):
        run("check", str(tmp_path / "none.toml"))


def test_swedish_is_told_to_who_asks_for_it(tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text(SHIPPED, encoding="utf-8")
    ran = CliRunner().invoke(handslag.front, ["--lang", "sv", "rules", "check", str(file)])
    assert "ingen har granskat filen" in ran.stdout
