"""One quiet broker and the Prometheus that scrapes it, for all tests of this folder."""

from __future__ import annotations

import sqlite3

import pytest

from tests.ops import servers


@pytest.fixture(scope="package")
def quiet(tmp_path_factory, engines):
    """The folder of a broker that has no unit but the probe's, and the address of its operations port."""
    engines["SQLite"] = sqlite3.sqlite_version
    folder = tmp_path_factory.mktemp("quiet")
    with servers.broker(folder, beat_s=1.0) as address:
        yield folder, address


@pytest.fixture(scope="package")
def operations(quiet):
    return quiet[1]


@pytest.fixture(scope="package")
def probe(quiet):
    """(configuration, address) of a running probe."""
    fast = {"interval_s": 2.0, "withdrawal_every_s": 3.0}
    with servers.probe(quiet[0], quiet[0] / "broker/broker.toml", **fast) as running:
        yield running


@pytest.fixture(scope="package")
def prometheus(tmp_path_factory, operations, probe, engines):
    with servers.prometheus(tmp_path_factory.mktemp("prometheus"), operations, probe[1]) as server:
        engines["Prometheus"] = server.version()
        servers.until(lambda: server.samples("count_over_time(up[1m]) >= 3"), "three scrapes")
        moved = "min(increase(handslag_probe_duration_seconds_count[1m])) > 0"
        servers.until(lambda: server.samples(moved), "every kind of test message is seen to come through")
        yield server
