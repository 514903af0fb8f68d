"""The mutants of the decision: the harness can fail; in the long tier nothing survives but what is listed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.consent import mutants, mutants_page
from tests.consent.mutations import mutants as changes_of
from tests.consent.mutations import mutated
from tests.consent.mutations_of_rules import rules_mutants

SOURCE = """
def covers(at, until):
    return at < until and not until is None
"""


def test_every_small_change_is_made_once_and_has_a_name_of_its_own():
    found = changes_of(SOURCE)
    assert [one.key for one in found] == [
        "covers: at < until and (not until is None) -> at < until or not until is None",
        "covers: at < until and (not until is None) -> not until is None",
        "covers: at < until and (not until is None) -> at < until",
        "covers: at < until -> at <= until",
        "covers: not until is None -> until is None",
        "covers: until is None -> until is not None",
    ]
    for one in found:
        space = {}
        exec(compile(mutated(SOURCE, one.number), "covers", "exec"), space)
        assert callable(space["covers"])


def test_every_sentence_is_about_a_change_that_is_made():
    """A survivor's name goes with its change: a sentence for what is no longer written would excuse nothing."""
    honest = (mutants.ROOT / mutants.RULES_FILE).read_bytes()
    made = {(file, one.key) for file in mutants.CODE for one in changes_of((mutants.ROOT / file).read_text("utf-8"))}
    made |= {(mutants.RULES_FILE, one.key) for one, _ in rules_mutants(honest)}
    known = mutants_page.sentences()
    assert set(known) <= made
    assert len(known) <= mutants_page.MOST
    assert all(why.strip().endswith(".") for why in known.values())


def test_a_survivor_without_a_sentence_or_one_too_many_is_a_failure(monkeypatch):
    def run(rows, known):
        monkeypatch.setattr(mutants_page, "sentences", lambda: known)
        found = {"a.py": {"changes": [[name, 1, who] for name, who in rows]}}
        return mutants_page.judged(found, whole=True)

    assert run([("x", "case one"), ("y", None)], {("a.py", "y"): "No input tells."}) == 0
    assert run([("x", "case one"), ("y", None)], {}) == 1
    assert run([("x", "case one"), ("y", "case two")], {("a.py", "y"): "No input tells."}) == 1
    many = [(f"y{number}", None) for number in range(11)]
    assert run(many, {("a.py", name): "No input tells." for name, _ in many}) == 1


def test_a_case_notices_a_changed_line_of_the_rules_and_nothing_in_the_honest_ones():
    """The cheapest killer alone, on one change; all of them run in the long tier."""
    prepared = mutants.ready()
    honest = (mutants.ROOT / mutants.RULES_FILE).read_bytes()
    assert mutants.by_cases(honest, prepared) is None
    switched = honest.replace(b'denies = ["ORAL_DISCUSS"]', b'denies = ["READ"]')
    assert (mutants.by_cases(switched, prepared) or "").startswith("case ")


@pytest.mark.long
@pytest.mark.timeout(0)
def test_nothing_but_what_is_listed_survives():
    done = subprocess.run([sys.executable, "-m", "tests.consent.mutants"], cwd=mutants.ROOT, check=False)
    assert done.returncode == 0
