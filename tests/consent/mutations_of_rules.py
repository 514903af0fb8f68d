"""Changes of the rules file: each line left out, each word, key and table left out, each yes made a no."""

from __future__ import annotations

import copy
import json
import tomllib

from tests.consent.mutations import Mutant, named


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


def without(tree, where):
    """The rules with one thing taken out, as a file."""
    tree = copy.deepcopy(tree)
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


def lines_that_say(text):
    """(place, line) of every line that is more than a comment."""
    return [(place, line) for place, line in enumerate(text.splitlines()) if line.split("#")[0].strip()]


SWITCHED = (("true", "false"), ("false", "true"), ('"ALL"', '"NONE"'))


def rules_mutants(data):
    """(change, the file with it) of every change."""
    text = data.decode("utf-8")
    lines = text.splitlines()
    found = []
    for place, line in lines_that_say(text):
        said = line.split("#")[0].strip()
        found.append((("line", place + 1, said, "(nothing)"), [*lines[:place], *lines[place + 1 :]]))
        for old, new in SWITCHED:
            if said.endswith(f"= {old}"):
                changed = line.replace(old, new, 1)
                found.append((("line", place + 1, said, changed), [*lines[:place], changed, *lines[place + 1 :]]))
    files = [("\n".join([*changed, ""]).encode("utf-8"), change) for change, changed in found]
    tree = tomllib.loads(text)
    files += [(without(tree, where), ("part", 0, name, "(nothing)")) for name, where in cuts(tree)]
    every = named([Mutant(number, *change, "") for number, (_, change) in enumerate(files)])
    return [(one, file) for one, (file, _) in zip(every, files, strict=True)]
