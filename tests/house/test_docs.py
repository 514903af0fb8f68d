"""The documents say what is there: generated pages, links, files, commands, calls, tables, test names and codes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest

import handslag
from broker.gateway import calls
from broker.store import tables
from connectors.spool.tables import VERSIONS
from consent import rules
from schemas import reference
from schemas.errors import HandslagError, registry

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FOLDERS = {"audit", "broker", "connectors", "consent", "schemas", "tests", "deploy", "docs", "requirements", ".ci"}
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def broken_links(page, text):
    """Local links whose file or heading is not there."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            found.append(target)
    return found


def anchors(text):
    """Headings as their anchors are spelled on the web."""
    heads = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def without_code(text):
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)


def ticked(text):
    """What stands in backticks outside code blocks."""
    return re.findall(r"`([^`\n]+)`", without_code(text))


def missing_files(text):
    """Files of the repository in backticks that are not there."""
    named = [word for word in ticked(text) if word.split("/")[0] in FOLDERS and "/" in word and " " not in word]
    # `data/` and the like belong to an installation, and their first part is no folder of ours.
    return [word for word in named if not any(ROOT.glob(word.rstrip("/")))]


def shell(text):
    """What a reader may type: one-line code, and the lines of shell blocks."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return ticked(text) + [line for line in lines if not line.startswith("#")]


def commands(text):
    """Every call of `handslag`, as words."""
    return [line.split("#")[0].split() for line in shell(text) if line.startswith("handslag ")]


def wrong_command(words):
    """What in a call of `handslag` does not exist, or None."""
    at = handslag.front
    rest = words[1:]
    while rest and isinstance(at, click.Group) and not rest[0].startswith("-"):
        name = rest.pop(0)
        mount = handslag.MOUNTS.get(name) if at is handslag.front else None
        try:
            found = handslag.loaded(mount) if mount else at.get_command(click.Context(at), name)
        except HandslagError:
            found = None
        if found is None:
            return name
        at = found
    known = {option for each in at.params for option in each.opts} | {"--help", "-h"}
    return next((word for word in rest if word.startswith("-") and word not in known), None)


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_generated_page_is_what_its_table_gives(name):
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == reference.PAGES[name]()


def test_the_generator_prints_one_page_and_knows_no_other(capsys):
    assert reference.main(["codes"]) == 0
    assert capsys.readouterr().out == reference.codes_page()
    assert reference.main(["EXEMPEL"]) == 2
    assert "EXEMPEL" not in capsys.readouterr().err


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_local_link_leads_somewhere(page):
    assert broken_links(page, TEXT[page]) == []


def test_a_broken_link_would_be_found():
    page = ROOT / "README.md"
    text = "[a](docs/EXEMPEL.md) [b](README.md#exempel) [c](LICENSE) [d](https://example.org) `[e](nowhere)`"
    assert broken_links(page, text) == ["docs/EXEMPEL.md", "README.md#exempel", "nowhere"]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_file_named_is_there(page):
    assert missing_files(TEXT[page]) == []


def test_a_missing_file_would_be_found():
    assert missing_files("`broker/exempel.py` `schemas/avro/*.exempel` `broker/pipeline.py` `data/keys.db`") == [
        "broker/exempel.py",
        "schemas/avro/*.exempel",
    ]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_named_exists(page):
    wrong = {" ".join(words): wrong_command(words) for words in commands(TEXT[page])}
    assert {call: what for call, what in wrong.items() if what is not None} == {}


def test_a_wrong_command_would_be_found():
    assert wrong_command(["handslag", "audit", "verify", "COPY", "--trust", "trust.toml"]) is None
    assert wrong_command(["handslag", "audit", "exempel"]) == "exempel"
    assert wrong_command(["handslag", "audit", "verify", "COPY", "--exempel"]) == "--exempel"
    assert commands("```sh\nhandslag audit \\\n  verify X\n```\n`handslag serve`") == [
        ["handslag", "serve"],
        ["handslag", "audit", "verify", "X"],
    ]


def test_every_goal_of_make_that_is_named_exists():
    goals = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = {goal for text in TEXT.values() for line in shell(text) for goal in re.findall(r"^make ([a-z-]+)", line)}
    assert used >= {"demo", "test", "lint", "sabotage"}
    assert used <= goals


def test_every_test_named_exists():
    there = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    }
    named = {word for text in TEXT.values() for word in ticked(text) if re.fullmatch(r"test_\w+", word)}
    assert len(named) > 50
    assert named - there == set()


def test_every_error_code_named_exists():
    named = {code for text in TEXT.values() for code in re.findall(r"`(HS-[A-Z-]+)`", text)}
    assert "HS-NOT-YET" in named
    assert named - registry().keys() == set()


def test_every_call_has_its_row_and_no_other():
    rows = set(re.findall(r"^\| `(?:GET|POST) (/v1/[^`]+)`", TEXT[ROOT / "docs/protocol.md"], re.MULTILINE))
    families = {f"{path}..." for path in calls.FAMILIES if path.rstrip("/") not in calls.GETS}
    assert rows == {*calls.POSTS, *calls.NOT_YET, *calls.GETS, *families}


def test_every_table_is_described():
    text = TEXT[ROOT / "docs/data-model.md"]
    named = {word for line in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) for word in ticked(line)}
    connector = set(re.findall(r"CREATE TABLE (\w+)", "".join(VERSIONS)))
    assert len(connector) > 15
    assert (set(tables.metadata.tables) | connector) - named == set()


def test_the_pairs_are_those_of_the_shipped_rules():
    text = TEXT[ROOT / "docs/consent.md"]
    told = re.findall(r"^\| (LB-\d+) \| (\w+) \| (\w+) \| ([^|]+) \|", text, re.MULTILINE)
    data = tomllib.loads(rules.shipped()[0].decode())
    assert told == [(p["row"], p["sender"], p["recipient"], ", ".join(p["categories"])) for p in data["pairs"]]


def test_every_page_is_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page not in TEXT:
            continue
        reached.add(page)
        for target in re.findall(r"\]\(([^)\s#]+)", without_code(TEXT[page])):
            file = (page.parent / target).resolve()
            waiting += sorted(file.glob("*.md")) if file.is_dir() else [file]
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in reached] == []


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert [f"{n}. " for n in range(1, 16) if not re.search(rf"^{n}\. ", text, re.MULTILINE)] == []
    assert text.startswith(" " * 22 + "EUROPEAN UNION PUBLIC LICENCE v. 1.2")
    assert text.rstrip().endswith("new EUPL version.")
