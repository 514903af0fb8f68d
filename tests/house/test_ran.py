"""The report says which engines ran, and a whole run of CI without one of them fails: tried with runs of pytest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ran

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = "[pytest]\ntestpaths = tests\nmarkers = long: second tier\naddopts = --import-mode=importlib -p tests.ran\n"
ENTERS = "def test_{0}(engines):\n    engines[{1!r}] = '1'\n"
LONG = "import pytest\n\n\n@pytest.mark.long\ndef test_long():\n    pass\n"


def project(folder, engines):
    """A project with one test file for each engine, one with a plain test, and one with a long one only."""
    (folder / "tests/deep").mkdir(parents=True)
    (folder / "pytest.ini").write_text(SETTINGS)
    for name in engines:
        word = name.lower().replace(" ", "_")
        (folder / f"tests/deep/test_{word}.py").write_text(ENTERS.format(word, name))
    (folder / "tests/test_plain.py").write_text("def test_plain():\n    pass\n\n\ndef test_other():\n    pass\n")
    (folder / "tests/test_long.py").write_text(LONG)
    return folder


def run(folder, *words, ci="true"):
    """(exit code, the lines it wrote) of a run there."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CI": ci, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("workers", [(), ("-n", "2"), ("-n", "2", "--dist", "loadfile")])
def test_a_whole_run_of_ci_with_every_engine_ends_well_and_names_them_last(tmp_path, workers):
    code, lines = run(project(tmp_path, ran.MUST), "-m", "not long", "--durations=3", *workers)
    assert code == 0
    assert re.fullmatch(r"=+ 6 passed(, 1 deselected)? in .* =+", lines[-2])
    assert lines[-1].startswith("engines: ")
    assert {each.split(" 1")[0] for each in lines[-1].removeprefix("engines: ").split(", ")} == set(ran.MUST)


@pytest.mark.parametrize("words", [("-m", "not long"), (), ("tests",), ("tests/deep", "tests"), ("-n", "2")])
def test_a_whole_run_of_ci_without_an_engine_fails(tmp_path, words):
    code, lines = run(project(tmp_path, [name for name in ran.MUST if name != "Apache Kafka"]), *words)
    assert code == 1
    assert "CI=true and a whole run: it must not end well without Apache Kafka" in lines
    assert not any("Kafka" in line for line in lines if line.startswith("engines:"))


@pytest.mark.parametrize(
    "words",
    [
        ("tests/test_plain.py",),
        ("-k", "plain"),
        ("-n", "2", "-k", "plain"),
        ("--deselect", "tests/test_plain.py::test_other"),
        ("--collect-only",),
    ],
)
def test_a_part_of_the_tests_needs_no_engine(tmp_path, words):
    code, lines = run(project(tmp_path, ["SQLite"]), *words)
    assert code == 0
    assert not any("must not end well" in line for line in lines)


def test_without_ci_the_engines_are_named_and_nothing_is_demanded(tmp_path):
    code, lines = run(project(tmp_path, ["SQLite"]), ci="")
    assert code == 0
    assert lines[-1] == "engines: SQLite 1"


def test_the_real_tests_are_watched_by_it(pytestconfig):
    assert pytestconfig.pluginmanager.get_plugin("ran") is ran
    text = (ROOT / ".ci/run").read_text()
    assert "export CI=true" in text
    assert '-m "not long"' in (ROOT / "Makefile").read_text()
