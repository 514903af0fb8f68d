"""Tables are made from nothing and from those of 0.2.0, also while nodes of before write them."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest
import sqlalchemy as sa
from alembic import command

from broker.engine_settings import StoreSettings
from broker.store import erasure_tables, join_tables, rule_tables, shared_tables
from broker.store.inbox import Item
from broker.store.migrate import configured, is_newest, migrate_server
from broker.store.postgresql import PostgresStore
from broker.store.postgresql_engine import MIGRATING, engine_for
from broker.store.tables import metadata
from schemas.errors import HandslagError
from tests.engines import PATIENT
from tests.postgres.conftest import CIPHER, Standing

RELEASED = "0018"  # the newest tables of 0.2.0
LOADED = (erasure_tables, join_tables, rule_tables, shared_tables)


@pytest.fixture
def settings(database):
    return StoreSettings(**database)


@pytest.fixture
def engine(settings):
    engine = engine_for(settings, MIGRATING, connections=2)
    yield engine
    engine.dispose()


def test_the_migrations_make_the_tables_that_the_verbs_speak_of(engine):
    migrate_server(engine)
    with engine.connect() as connection:
        assert is_newest(connection)
        found = sa.MetaData()
        found.reflect(connection)
        for table in metadata.sorted_tables:
            there = found.tables[table.name]
            assert {c.name: (str(c.type.compile(engine.dialect)), c.nullable) for c in there.columns} == {
                c.name: (str(c.type.compile(engine.dialect)), c.nullable) for c in table.columns
            }, table.name
            assert [c.name for c in there.primary_key] == [c.name for c in table.primary_key]
        wide = [c for t in metadata.sorted_tables for c in t.columns if c.name.endswith(("_us", "position", "version"))]
        narrow = {f"{c.table.name}.{c.name}" for c in wide if type(c.type) is sa.Integer}
        assert narrow == {"delivery.row_version"}  # counts changes of one row


def test_a_second_run_changes_nothing(engine):
    migrate_server(engine)
    migrate_server(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM bucket").scalar_one() == 64


async def test_the_tables_of_the_last_release_are_migrated_while_nodes_write_them(settings, engine):
    """Nothing that was answered is missing, and nobody was refused for the migration."""
    migrate_server(engine, RELEASED)
    stores = [PostgresStore(settings, CIPHER, session=PATIENT) for _ in range(2)]
    done, stop = [], asyncio.Event()

    async def load(store):
        while not stop.is_set():
            name = os.urandom(16)
            item = Item(name, "KV/EXEMPEL/FRI", "NOTICE", b"")
            await store.write(lambda rows, item=item: rows.inbox.put([item]), shared=True)
            await store.write(lambda rows: rows.gate.bump(7, 1, 1), shared=True)
            done.append(name)

    tasks = [asyncio.create_task(load(store)) for store in stores for _ in range(2)]
    while len(done) < 20:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(migrate_server, engine)
    after = len(done)
    while len(done) < after + 20:
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*tasks)
    query = "SELECT item_id FROM inbox_item"
    kept = await stores[0].read(lambda rows: set(rows.gate._c.exec_driver_sql(query).scalars()))
    assert kept == set(done)
    assert (await stores[0].read(lambda rows: rows.gate.read(7))).gate_version == len(done)
    with engine.connect() as connection:
        assert is_newest(connection)
    for store in stores:
        store.close()


async def test_a_migration_never_holds_everybody_up_behind_a_long_transaction(settings, engine):
    """It gives up its place in the queue after a second, lets the others through, and comes again."""
    migrate_server(engine, RELEASED)
    long, short = (PostgresStore(settings, CIPHER, session=PATIENT) for _ in range(2))
    standing = Standing(lambda rows: rows.gate._c.exec_driver_sql("LOCK TABLE entry IN ROW EXCLUSIVE MODE"))
    held = asyncio.create_task(long.write(standing, shared=True))
    assert await asyncio.to_thread(standing.reached.wait, 20)
    migrating = asyncio.create_task(asyncio.to_thread(migrate_server, engine))
    await asyncio.sleep(0.3)
    began = asyncio.get_running_loop().time()
    await short.write(lambda rows: rows.gate._c.exec_driver_sql("LOCK TABLE entry IN ROW EXCLUSIVE MODE"), shared=True)
    assert asyncio.get_running_loop().time() - began < 5
    assert not migrating.done()
    standing.go.set()
    await held
    await asyncio.wait_for(migrating, 30)
    for store in (long, short):
        store.close()


def test_two_nodes_that_start_at_once_migrate_once(settings):
    engines = [engine_for(settings, MIGRATING, connections=1) for _ in range(3)]
    failed = []

    def start(engine):
        try:
            migrate_server(engine)
        except HandslagError as error:
            failed.append(error)

    threads = [threading.Thread(target=start, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    with engines[0].connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM head").scalar_one() == 1
        assert is_newest(connection)
    for engine in engines:
        engine.dispose()


def test_a_migration_that_fails_leaves_the_tables_as_they_were(engine, monkeypatch):
    migrate_server(engine, RELEASED)
    upgrade = command.upgrade

    def fails(config, revision):
        upgrade(configured(config.attributes["connection"]), "0019")
        raise ZeroDivisionError

    monkeypatch.setattr(command, "upgrade", fails)
    with pytest.raises(ZeroDivisionError):
        migrate_server(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT to_regclass('turn')").scalar_one() is None
