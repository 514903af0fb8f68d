"""For every test: servers that are shared by a whole run, each made at its first use."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from broker.engine_settings import StoreSettings
from deploy.kafka_local import Cluster
from deploy.postgres_local import LocalPostgres
from tests import ran
from tests.engines import Database, template


def pytest_configure(config):
    config.pluginmanager.register(ran, "ran")
    if hasattr(config, "workerinput"):
        # The path of a socket has room for 107 bytes (unix(7)), and a worker's own folder would take ten of them.
        worker = config.workerinput["workerid"].removeprefix("gw")
        config.option.basetemp = Path(config.option.basetemp).with_name(worker)


@pytest.fixture(scope="session")
def postgres(engines):
    """One real PostgreSQL server for all tests of a run; a machine without one fails here and says how to get it."""
    with LocalPostgres.temporary(in_memory=True) as server:
        engines["PostgreSQL"] = server.version
        yield server


@pytest.fixture(scope="session")
def database_names():
    return (f"t{number}" for number in count(1))


@pytest.fixture
def database(postgres, database_names):
    """The `[store]` table of a new, empty database that is gone after the test."""
    name = next(database_names)
    yield postgres.create(name)
    postgres.drop(name)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory, engines):
    """One real Apache Kafka server, in plain text, for all tests of a run; each test makes a topic of its own."""
    with Cluster(tmp_path_factory.mktemp("kafka") / "cluster") as cluster:
        engines["Apache Kafka"] = cluster.version
        yield cluster


@pytest.fixture(scope="session")
def closed_kafka(tmp_path_factory, engines):
    """Three real Apache Kafka servers that want a certificate of everybody and let nobody in unless granted.

    Whoever stops one of them starts it again before the test ends.
    """
    with Cluster(tmp_path_factory.mktemp("closed-kafka") / "cluster", nodes=3, closed=True) as cluster:
        engines["Apache Kafka"] = cluster.version
        yield cluster


@pytest.fixture(scope="session")
def migrated_template(postgres):
    """The name of a database with today's tables, to make others from."""
    return template(postgres)


@pytest.fixture
def migrated(postgres, migrated_template, database_names):
    """A new database with today's tables."""
    name = next(database_names)
    yield Database(postgres, StoreSettings(**postgres.create(name, migrated_template)))
    postgres.drop(name)


@pytest.fixture
def new_database(postgres, migrated_template, database_names):
    """Makes databases with today's tables that are gone after the test."""
    made = []

    def make():
        made.append(next(database_names))
        return Database(postgres, StoreSettings(**postgres.create(made[-1], migrated_template)))

    yield make
    for name in made:
        postgres.drop(name)
