"""One quiet broker and the Prometheus that scrapes it, for all tests of this folder."""

from __future__ import annotations

import sqlite3

import pytest

from tests.ops import servers


@pytest.fixture(scope="session")
def operations(tmp_path_factory, engines):
    engines["SQLite"] = sqlite3.sqlite_version
    with servers.broker(tmp_path_factory.mktemp("quiet")) as address:
        yield address


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory, operations, engines):
    with servers.prometheus(tmp_path_factory.mktemp("prometheus"), operations) as server:
        engines["Prometheus"] = server.version()
        servers.until(lambda: server.samples("count_over_time(up[1m]) >= 3"), "three scrapes")
        yield server
