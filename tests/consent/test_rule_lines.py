"""No line of the rules is idle: without it the file is refused, or a case a lawyer can read fails by name."""

from __future__ import annotations

import tomllib

from consent.decide import decide
from consent.rules import parse
from schemas.errors import HandslagError
from tests.consent.cases import DATA, FOLDER, asked_of, cases, told, view_for
from tests.consent.mutations_of_rules import cuts, lines_that_say, without, written

TEXT = DATA.decode("utf-8")
TREE = tomllib.loads(TEXT)

# A case that adds ended texts is decided on rules of its own.
READY = [
    (f"{path.stem}-{case['name']}", asked_of(case["request"]), view_for(case), case["expected"])
    for path in sorted(FOLDER.glob("*.json"))
    for path, case in cases(path)
    if "texts_ended" not in case
]

# What can go without any answer changing, and why no question tells the difference. (The row that a line cites is for
# whoever reads the file; test_every_line_cites_a_row asks for it.)
NEVER = "no role has this authority, and whoever holds a role of another authority is refused for that already"
ASKED = "a condition that no row explains is read by a human, and so is this one: the row says that it is meant"
IDLE = {f"never_individual authorities {body}": NEVER for body in TREE["never_individual"]["authorities"]}
IDLE["reservations L1 ASK_EACH_TIME"] = ASKED


def failing(rules):
    """Names of the cases whose answer these rules do not give, one after the other."""
    for name, asked, view, expected in READY:
        found = decide(asked, view, rules)
        duties = sorted(expected.get("obligations", []))
        if told(found) != expected["sections"] or sorted(found.obligations) != duties:
            yield name


def caught_by(data):
    """`refused` where the reader refuses the file, else the first case that fails; None: nothing tells."""
    try:
        rules = parse(data)
    except HandslagError:
        return "refused"
    return next(failing(rules), None)


def test_the_rules_written_anew_say_the_same():
    assert parse(written(TREE)).lanes == parse(DATA).lanes
    assert list(failing(parse(written(TREE)))) == []


def test_without_any_one_thing_a_named_case_fails():
    every = [(name, where) for name, where in cuts(TREE) if where[-1] != "row"]
    assert len({name for name, _ in every}) == len(every)
    found = {name: caught_by(without(TREE, where)) for name, where in every}
    assert {name for name, case in found.items() if case is None} == set(IDLE)
    # Most of it is caught by what a case says, not by a file that cannot be read.
    assert sum(case not in {None, "refused"} for case in found.values()) > 150


def test_without_any_one_line_a_named_case_fails():
    lines = TEXT.splitlines()
    for place, line in lines_that_say(TEXT):
        if not line.startswith("row = "):
            assert caught_by("\n".join(lines[:place] + lines[place + 1 :]).encode("utf-8")) is not None, line
