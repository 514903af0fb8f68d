"""No line of the rules is idle: without it the file is refused, or a case a lawyer can read fails by name."""

from __future__ import annotations

import copy
import json
import tomllib

from consent.decide import decide
from consent.rules import parse
from schemas.errors import HandslagError
from tests.consent.cases import DATA, FOLDER, asked_of, cases, told, view_for

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


def cuts(node, name=""):
    """(name, where) of everything that can be taken out: each key and table, each item of a list."""
    for key in node if isinstance(node, dict) else range(len(node)):
        inside = node[key]
        called = f"{name} {title(key, inside)}".strip()
        yield called, (key,)
        if isinstance(inside, dict | list):
            yield from ((below, (key, *where)) for below, where in cuts(inside, called))


def title(key, inside):
    """How a cut is called: a row of a table by its words, any other thing by its own."""
    if isinstance(inside, dict):
        words = [str(value) for value in inside.values() if isinstance(value, str)]
        return " ".join(words) if isinstance(key, int) else key
    return key if isinstance(key, str) else str(inside)


def without(where):
    """The rules with one thing taken out, as a file."""
    tree = copy.deepcopy(TREE)
    node = tree
    for key in where[:-1]:
        node = node[key]
    del node[where[-1]]
    return written(tree)


def written(tree):
    """A rules file of what was read: plain keys first, then tables, then lists of tables."""
    plain, tables = [], []
    for key, value in tree.items():
        if isinstance(value, dict):
            inner = {name: part for name, part in value.items() if isinstance(part, dict)}
            tables += [f"[{key}]", *pairs({name: part for name, part in value.items() if name not in inner})]
            for name, part in inner.items():
                tables += [f"[{key}.{name}]", *pairs(part)]
        elif value and isinstance(value, list) and all(isinstance(item, dict) for item in value):
            for item in value:
                tables += [f"[[{key}]]", *pairs(item)]
        else:
            plain += pairs({key: value})
    return "\n".join([*plain, *tables, ""]).encode("utf-8")


def pairs(table):
    return [f"{json.dumps(key)} = {word(value)}" for key, value in table.items()]


def word(value):
    if isinstance(value, bool | str):
        return json.dumps(value)
    if isinstance(value, list):
        return f"[{', '.join(word(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(pairs(value))} }}"
    return str(value)


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
    found = {name: caught_by(without(where)) for name, where in every}
    assert {name for name, case in found.items() if case is None} == set(IDLE)
    # Most of it is caught by what a case says, not by a file that cannot be read.
    assert sum(case not in {None, "refused"} for case in found.values()) > 150


def test_without_any_one_line_a_named_case_fails():
    lines = TEXT.splitlines()
    for place, line in enumerate(lines):
        if line.split("#")[0].strip() and not line.startswith("row = "):
            assert caught_by("\n".join(lines[:place] + lines[place + 1 :]).encode("utf-8")) is not None, line
