"""The README of the cases says what another implementation needs: every key that occurs, every table and order."""

from __future__ import annotations

import json
import re
import tomllib
from datetime import date

import pytest

from consent import rules, standing
from schemas import codes, event_types
from tests.consent.cases import DATA, FOLDER, cases
from tests.consent.making import UNITS
from tests.house.test_docs import ROOT, broken_links, missing_files

PAGE = FOLDER / "README.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILES = sorted(FOLDER.glob("*.json"))
CASES = [case for path in FILES for _, case in cases(path)]
# Maps whose keys are data: a category, a name of a consent, a version.
DATA_KEYED = {"sections", "why", "texts_ended"}
OF_DATA = {"not_waivable", "texts_ended"}
# The section of the page in which each part of a case is told.
TOLD_IN = {"ledger": "An act", "request": "The request", "expected": "The answer"}


def part_of(text, heading):
    """The text under one heading."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def words_in(text):
    """Every word inside backticks."""
    return {word for ticked in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", ticked)}


def keys_of(value):
    """Every key of a part of a case, however deep, but for maps that are keyed by data."""
    if isinstance(value, list):
        return {key for item in value for key in keys_of(item)}
    if not isinstance(value, dict):
        return set()
    deeper = (keys_of(inside) for key, inside in value.items() if not (key in DATA_KEYED and isinstance(inside, dict)))
    return set(value).union(*deeper)


def untold(text, written):
    """(section, key) of every key that occurs in a case and that its section of the page does not name."""
    found = {("A case", key) for case in written for key in case if key not in words_in(part_of(text, "A case"))}
    for name, heading in TOLD_IN.items():
        told = words_in(part_of(text, heading))
        found |= {(heading, key) for case in written for key in keys_of(case[name]) if key not in told}
    return found


def told_keys(text):
    """{table of the rule file: keys} as the page describes them; a row without a table goes on with the one above."""
    found, at = {}, ""
    for table, keys in re.findall(r"^\|([^|]*)\|([^|]*)\|", part_of(text, "The rule file"), re.MULTILINE)[2:]:
        name = re.search(r"\[+(\w+)", table)
        at = name[1] if name else table.strip() or at
        found.setdefault(at, set()).update(words_in(keys))
    return found


def keys_in(data):
    """{table: keys} of a rule file; `row` is told of all of them at once."""
    found = {"the file": {key for key, value in data.items() if not isinstance(value, (dict, list))}}
    for name, value in data.items():
        if isinstance(value, dict) and name not in OF_DATA:
            each = value.values() if name == "types" else [value]
            found[name] = {key for one in each for key in one}
        elif isinstance(value, list):
            found[name] = {key for one in value for key in one}
        elif isinstance(value, dict):
            found[name] = set()
    return {name: keys - {"row"} for name, keys in found.items()}


def test_every_key_of_a_case_is_told_where_it_belongs():
    assert untold(TEXT, CASES) == set()


def test_every_key_of_a_file_is_told():
    keys = {key for path in FILES for key in json.loads(path.read_text(encoding="utf-8"))}
    assert keys == {"about", "rules", "cases"}
    assert keys <= words_in(part_of(TEXT, "A file"))


@pytest.mark.parametrize(
    ("heading", "key"),
    [
        ("An act", "authority_until"),
        ("An act", "ended_event"),
        ("The request", "no_seat"),
        ("The answer", "holds_until"),
    ],
)
def test_a_key_that_the_page_forgot_would_be_found(heading, key):
    """Positive control."""
    forgetful = TEXT.replace(part_of(TEXT, heading), re.sub(rf"\b{key}\b", "EXEMPEL", part_of(TEXT, heading)))
    assert untold(forgetful, CASES) == {(heading, key)}


def test_a_key_that_no_page_knows_would_be_found():
    """Positive control, also deep inside and in a map that is keyed by data."""
    grown = {**CASES[0], "ledger": [{"act": "GRANT", "givers": [{"EXEMPEL": 1}]}], "expected": {"why": {"A": []}}}
    assert untold(TEXT, [grown]) == {("An act", "EXEMPEL")}


def test_every_key_of_the_rule_file_is_told_and_no_other():
    told = told_keys(TEXT)
    assert told == keys_in(tomllib.loads(DATA.decode("utf-8")))
    assert told["the file"] == {"version", "in_force_from"}


def test_a_key_of_the_rule_file_that_the_page_forgot_would_be_found():
    """Positive control."""
    in_file = keys_in(tomllib.loads(DATA.decode("utf-8")))
    row = next(line for line in TEXT.splitlines() if line.startswith("| | `only` |"))
    assert told_keys(TEXT.replace(row + "\n", ""))["pairs"] == in_file["pairs"] - {"only"}


def test_the_page_names_the_newest_rule_file():
    folder = ROOT / "consent" / "rules"
    since = {path.name: tomllib.loads(path.read_text("utf-8"))["in_force_from"] for path in folder.glob("*.toml")}
    assert all(type(day) is date for day in since.values())
    newest = max(since, key=since.__getitem__)
    assert newest == rules.SHIPPED
    assert f"`consent/rules/{newest}`" in TEXT


def test_the_order_of_reasons_is_the_one_decided_by():
    listed = re.search(
        r"WRONG_DISCLOSER, [A-Z_,|\s]+RESERVATION", part_of(TEXT, "The order of evaluation, and of the reasons")
    )
    assert listed is not None
    assert re.findall(r"[A-Z_]+", listed[0]) == list(standing.NAMES)
    assert [len(re.findall(r"[A-Z_]+", group)) for group in listed[0].split("|")] == [
        standing.NAMES.index("INVALIDATED"),
        standing.NAMES.index("CAPACITY") - standing.NAMES.index("INVALIDATED"),
        len(standing.NAMES) - standing.NAMES.index("CAPACITY"),
    ]


def test_when_a_consent_lacks_something_is_told_of_each_reason():
    rows = re.findall(r"^\| ([A-Z_, ]+) \| \S", part_of(TEXT, "Which consents there are"), re.MULTILINE)
    assert [reason for row in rows for reason in row.split(", ")] == list(standing.NAMES)
    steps = part_of(TEXT, "The order of evaluation, and of the reasons")
    given = {reason for case in CASES for found in case["expected"]["sections"].values() for reason in found}
    assert {reason for reason in given if not re.search(rf"\b{reason}\b", steps)} == set()


def test_the_category_a_name_tells_is_the_one_of_the_product():
    paragraph = re.search(r"^The category a name tells: (.*?)\n\n", TEXT, re.MULTILINE | re.DOTALL)
    assert paragraph is not None
    told = {
        name: group[:4] for group in re.split(r";\s+|^", paragraph[1]) for name in re.findall(r"`(\w+)`", group)
    }  # fmt: skip
    types = tomllib.loads(DATA.decode("utf-8"))["types"]
    assert told == {name: event_types.type_category(name) for name in types}


def test_the_units_are_those_the_cases_run_with():
    assert dict(re.findall(r"^\| (\w+) \| ([A-Z/]+) \|", TEXT, re.MULTILINE)) == UNITS


def test_the_code_lists_named_are_there():
    paragraph = re.search(r"^Of the code lists are read: (.*?)\n\n", TEXT, re.MULTILINE | re.DOTALL)
    assert paragraph is not None
    table, spoken = codes.table(), words_in(paragraph[1])
    fields = {field for rows in table.values() for row in rows.values() for field in row} - {"sv", "en"}
    assert {word for word in spoken if word not in table and word not in fields} == set()


def test_the_page_leads_somewhere():
    assert broken_links(PAGE, TEXT) == []
    assert missing_files(TEXT) == []
