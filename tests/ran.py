"""Which engines ran: said at the end of every run, and demanded of a whole one with CI=true.

A run is whole when it collected every test file there is and left nothing out but what is marked `long`. What is
looked at is what was really collected: no option, and no way of naming the files, makes a part of it whole. Where
several workers share a run (pytest-xdist), each collects all of it and says at its end what it ran.
"""

from __future__ import annotations

import os
import sqlite3
import sys

import pytest

ENGINES = pytest.StashKey[dict[str, str]]()
LEFT_OUT = pytest.StashKey[list[pytest.Item]]()
WHOLE = pytest.StashKey[bool]()
MUST = ("SQLite", "PostgreSQL", "Apache Kafka", "Prometheus")


def pytest_configure(config):
    config.stash[ENGINES] = {}
    config.stash[LEFT_OUT] = []
    config.stash[WHOLE] = False


@pytest.fixture(scope="session")
def engines(pytestconfig):
    """Name -> version of the servers that a fixture started; whoever starts one enters it here."""
    return pytestconfig.stash[ENGINES]


def pytest_deselected(items):
    for item in items:
        item.config.stash[LEFT_OUT].append(item)


def pytest_collection_finish(session):
    left_out = session.config.stash[LEFT_OUT]
    files = {item.path for item in [*session.items, *left_out]}
    there = set((session.config.rootpath / "tests").rglob("test_*.py"))
    ordinary = [item for item in left_out if item.get_closest_marker("long") is None]
    session.config.stash[WHOLE] = bool(session.items) and there <= files and not ordinary


def ran(config):
    """Name -> version of every engine that ran."""
    found = dict(config.stash[ENGINES])
    if "broker.store.sqlite" in sys.modules:
        found = {"SQLite": sqlite3.sqlite_version, **found}
    return found


def lacking(config):
    """The engines without which this run shows too little; none when it is not a whole run of CI."""
    # INVARIANT: test_a_whole_run_of_ci_without_an_engine_fails
    if os.environ.get("CI") != "true" or not config.stash[WHOLE] or config.option.collectonly:
        return []
    return [name for name in MUST if name not in ran(config)]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        session.config.workeroutput["ran"] = ran(session.config), session.config.stash[WHOLE]
    elif lacking(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """What a worker says at its end; one that broke down says nothing, and its tests are errors."""
    found, whole = getattr(node, "workeroutput", {}).get("ran", ({}, False))
    node.config.stash[ENGINES] |= found
    node.config.stash[WHOLE] |= whole


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter, config):
    said = yield
    if missing := lacking(config):
        sentence = f"CI=true and a whole run: it must not end well without {', '.join(missing)}"
        terminalreporter.write_line(sentence, red=True)
    return said


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """The last line of all: a reader of the end of a log sees what the figures above it rest on."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not hasattr(config, "workerinput"):
        found = ", ".join(f"{name} {version}" for name, version in ran(config).items())
        reporter.write_line("engines: " + (found or "none"))
