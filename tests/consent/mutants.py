"""Mutation testing of the decision: each small change to it, or to a line of its rules, must make something fail.

    python -m tests.consent.mutants                          all, and write docs/evidence/mutants-consent.md
    python -m tests.consent.mutants consent/decide.py ...    only these files
    python -m tests.consent.mutants --again                  what survived before, and what files changed since

Each change is tried in a process of its own, forked with everything but `consent` imported. Three killers, the cheapest
first: the written cases (`tests/vectors/consent`), stories against the reference, the tests and properties of this
folder. What passes all three is a survivor and must stand in `equivalent.toml` with the sentence that says why no input
tells it apart. More than ten survivors, one without a sentence, or a sentence for what is no survivor: exit code 1.

The changes are made by `mutations.py` and not by a library: mutmut and cosmic-ray run a test command for each change,
which costs seconds, two thousand times; they know nothing of a rules file; and their lists of survivors name lines,
which move, where a sentence must stay with its change.
"""

from __future__ import annotations

import argparse
import gc
import importlib.abc
import importlib.util
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings

from tests.consent import mutants_kept as kept
from tests.consent import mutants_page
from tests.consent.mutations import Mutant, mutants, mutated
from tests.consent.mutations_of_rules import rules_mutants

ROOT = Path(__file__).parents[2]
RULES_FILE = "consent/rules/2026-11-23.toml"
CODE = tuple(
    f"consent/{name}.py" for name in ("terms", "standing", "decide", "conditions", "records", "ledger", "rules")
)
FILES = (*CODE, RULES_FILE)
CPU_S = 240
STORIES, SEED = 3000, 7
FEW = 20  # examples of each property: what the stories do not notice hardly any property does
# Quick ones first, and those that draw examples after them.
TESTS = (
    ("rules", "decide", "explain", "ledger", "history", "new_acts", "terms", "admission"),
    ("follows_role", "invariants", "properties", "terms_properties"),
)


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module with one change in it."""

    def __init__(self, file, number):
        self.file, self.number = file, number
        self.name = file.removesuffix(".py").replace("/", ".")

    def find_spec(self, name, path=None, target=None):
        del path, target
        return importlib.util.spec_from_loader(name, self, origin=str(ROOT / self.file)) if name == self.name else None

    def exec_module(self, module):
        module.__file__ = str(ROOT / self.file)
        source = (ROOT / self.file).read_text(encoding="utf-8")
        exec(compile(mutated(source, self.number), module.__file__, "exec"), module.__dict__)


class Ready(NamedTuple):
    """What every killer is asked, made once by the honest code: cases, stories and what the reference says of them."""

    cases: list
    stories: list


def ready():
    from tests.consent import reference
    from tests.consent.cases import FOLDER, asked_of, cases, events_for
    from tests.consent.generated import PLAIN_RULES, events_of, told_from

    written = [
        (f"{path.stem}-{case['name']}", asked_of(case["request"]), events_for(case), case)
        for path in sorted(FOLDER.glob("*.json"))
        for path, case in cases(path)
    ]
    told = [
        (story.asked, events_of(story.notes), reference.decide(story.asked, story.notes, PLAIN_RULES))
        for story in told_from(SEED, STORIES)
    ]
    return Ready(written, told)


# --- the killers: each returns what noticed the change, or None


def by_cases(data, prepared):
    """The name of the first written case that is answered otherwise."""
    from consent.decide import decide
    from consent.explain import considered
    from consent.ledger import view_of
    from consent.rules import parse
    from tests.consent.cases import known_at, moment, rules_bytes, told
    from tests.consent.making import named

    rules = {}
    for name, asked, events, case in prepared.cases:
        text = rules_bytes(case, data)
        if text not in rules:
            rules[text] = parse(text)
        view, expected = view_of(events, known_at(case)), case["expected"]
        found = decide(asked, view, rules[text])
        looked_at = considered(found, asked, view, rules[text])
        why = {named(one): [why] for one, why in expected.get("why", {}).items()}
        same = (
            told(found) == expected["sections"]
            and found.outcome == expected["outcome"]
            and sorted(found.obligations) == sorted(expected.get("obligations", []))
            and ("holds_until" not in expected or found.holds_until_us == moment(expected["holds_until"]))
            and (
                "depends_on" not in expected or set(found.depends_on) == {named(one) for one in expected["depends_on"]}
            )
            and all([list(one.why_not) for one in looked_at if one.consent_id == key] == why[key] for key in why)
        )
        if not same:
            return f"case {name}"
    return None


def by_stories(data, prepared):
    """Whether decision and reference differ on a fixed pool of stories."""
    from consent.decide import decide
    from consent.ledger import view_of
    from consent.rules import parse
    from tests.consent.generated import with_ended

    rules = parse(with_ended(data))
    for number, (asked, events, other) in enumerate(prepared.stories):
        found = decide(asked, view_of(events), rules)
        if (
            [(one.category, list(one.reasons)) for one in found.sections] != other.sections
            or (found.outcome, set(found.depends_on)) != (other.outcome, other.depends_on)
            or (set(found.obligations), found.holds_until_us) != (other.obligations, other.holds_until_us)
        ):
            return f"the reference, story {number}"
    return None


class _First:
    """Remembers the first test that failed."""

    name = None

    def pytest_runtest_logreport(self, report):
        if report.failed and self.name is None:
            self.name = report.nodeid.split("::")[-1].split("[")[0]

    def pytest_collectreport(self, report):
        if report.failed and self.name is None:
            self.name = "a module that cannot be imported"


def by_tests(data, _prepared):
    """The name of the first test of this folder that fails; of each property a few examples are tried."""
    import consent.rules

    if data != consent.rules.shipped()[0]:
        rules = consent.rules.parse(data)
        consent.rules.shipped = lambda: (data, rules)
    for name in [one for one in sys.modules if one.startswith("tests.consent.")]:
        del sys.modules[name]
    from tests.consent import pure

    pure.TIERS["tenth"] = settings(pure.TIERS["tenth"], max_examples=FEW)
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not long", "--noconftest", "--rootdir", str(ROOT)]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    for names in TESTS:
        seen, files = _First(), [str(ROOT / f"tests/consent/test_{name}.py") for name in names]
        if pytest.main([*options, *files], [seen]) != 0:
            return seen.name or "pytest"
    return None


def noticed(file, number, data, prepared):
    """In a process of its own: who notices change `number` of `file`, None for nobody; below 0 nothing is changed.

    `data`: the rules file, changed where the change is one of the rules.
    """
    for name in [one for one in sys.modules if one == "consent" or one.startswith("consent.")]:
        del sys.modules[name]
    if file in CODE and number >= 0:
        sys.meta_path.insert(0, Changed(file, number))
    killer = "import"
    try:
        for look in (by_cases, by_stories, by_tests):
            killer = look.__name__.removeprefix("by_")
            if found := look(data, prepared):
                return found
    except Exception as error:  # noqa: BLE001 - whatever goes wrong notices it
        code = getattr(error, "code", None)
        return f"{killer}: {code if isinstance(code, str) else type(error).__name__}"
    return None


# --- many of them, in processes


def every(file):
    """(change, rules file as it is then) of one file."""
    honest = (ROOT / RULES_FILE).read_bytes()
    if file == RULES_FILE:
        return rules_mutants(honest)
    return [(one, honest) for one in mutants((ROOT / file).read_text(encoding="utf-8"))]


def tried(file, changes, prepared, jobs):
    """Who noticed each change, in their order; prints what nobody did."""
    found, running, place = {}, {}, 0
    while place < len(changes) or running:
        while place < len(changes) and len(running) < jobs:
            one, data = changes[place]
            pid, end = _forked(file, one.number, data, prepared)
            running[pid] = place, end
            place += 1
        pid, status = os.wait()
        at, end = running.pop(pid)
        with os.fdopen(end, "rb") as told:
            word = told.read().decode()
        found[at] = word or None if status == 0 else f"ended by {status & 0x7F or status >> 8}"
        if found[at] is None and changes[at][0].number >= 0:
            print(f"  survives: {changes[at][0].line}: {changes[at][0].key}", flush=True)
    return [found[at] for at in range(len(changes))]


def _forked(file, number, data, prepared):
    inner, outer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(outer)
        return pid, inner
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
        word = noticed(file, number, data, prepared)
        os.write(outer, (word or "").encode())
    except BaseException:  # noqa: BLE001 - a child never returns into the loop of its parent
        os.write(outer, traceback.format_exc().splitlines()[-1].encode())
    os._exit(0)


def run(files, jobs, again):
    """Try every change of the files; 0 where at the most ten survive, each with its sentence, and none too many.

    `again`: of a file that is as it was only what survived; what was noticed then is noticed still, tests only grow.
    """
    prepared, before = ready(), kept.read() if again else {}
    gc.freeze()  # what was made now is shared with every process and looked at by none
    nothing = [(Mutant(-1, "", 0, "", "", ""), (ROOT / RULES_FILE).read_bytes())]
    sound = tried(CODE[0], nothing, prepared, 1)
    if sound != [None]:
        print(f"something fails without any change: {sound[0]}")
        return 1
    for file in files:
        started, changes = time.monotonic(), every(file)
        known = before.get(file, {}) if before.get(file, {}).get("sha256") == kept.sha256(file) else {}
        noticed_by = {key: killer for key, _, killer in known.get("changes", []) if killer is not None}
        left = [pair for pair in changes if pair[0].key not in noticed_by]
        noticed_by |= {one.key: who for (one, _), who in zip(left, tried(file, left, prepared, jobs), strict=True)}
        rows = [(one.key, one.line, noticed_by[one.key]) for one, _ in changes]
        alive = sum(killer is None for _, _, killer in rows)
        kept.write(file, rows, known.get("seconds", 0) + time.monotonic() - started)
        print(f"{file}: {len(rows)} changes, {alive} survived, {time.monotonic() - started:.0f} s", flush=True)
    found = kept.read()
    if set(found) >= set(FILES):
        mutants_page.write({file: found[file] for file in FILES})
    return mutants_page.judged({file: found[file] for file in files}, files == FILES)


def main(arguments=None):
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.consent.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="Files of consent/; all without any.")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="Processes at a time.")
    parser.add_argument("--again", action="store_true", help="Only what survived before, and files changed since.")
    given = parser.parse_args(arguments)
    return run(tuple(given.files) or FILES, given.jobs, given.again)


if __name__ == "__main__":
    sys.exit(main())
