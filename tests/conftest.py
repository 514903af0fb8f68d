"""For every test: the report ends with the engines that really ran."""

from __future__ import annotations

import sqlite3
import sys

import pytest

ENGINES = pytest.StashKey[dict[str, str]]()


def pytest_configure(config):
    config.stash[ENGINES] = {}


@pytest.fixture(scope="session")
def engines(pytestconfig):
    """Name -> version of the servers that a fixture started; whoever starts one enters it here."""
    return pytestconfig.stash[ENGINES]


def pytest_terminal_summary(terminalreporter, config):
    ran = dict(config.stash[ENGINES])
    if "broker.store.sqlite" in sys.modules:
        ran = {"SQLite": sqlite3.sqlite_version, **ran}
    terminalreporter.write_line(
        "engines: " + (", ".join(f"{name} {version}" for name, version in ran.items()) or "none")
    )
