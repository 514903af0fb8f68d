"""A server that restarts, goes away, does not answer a COMMIT, or is none that a broker may rely on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time

import pytest
from sqlalchemy import bindparam, update

from broker.engine_settings import StoreSettings
from broker.store.cipher import ColumnCipher
from broker.store.migrate import migrate_server
from broker.store.opening import open_server
from broker.store.postgresql import PostgresStore
from broker.store.postgresql_engine import MIGRATING, checked, engine_for
from broker.store.tables import bucket
from deploy.postgres_local import LocalPostgres
from schemas.errors import HandslagError
from tests.engines import Database
from tests.postgres.conftest import CIPHER
from tests.postgres.cut import CommitCut

NOW = 1_790_000_000_000_000


def bump(rows):
    return rows.gate.bump(7, 1, NOW).first_version


@contextlib.contextmanager
def refused(code, part=None):
    with pytest.raises(HandslagError) as raised:
        yield
    assert raised.value.code == code
    assert part is None or raised.value.context["part"] == part


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A server of this module alone, to be treated badly."""
    with LocalPostgres.temporary(in_memory=True) as server:
        engine = engine_for(StoreSettings(**server.create("own")), MIGRATING, connections=1)
        migrate_server(engine)
        engine.dispose()
        yield server


async def test_a_store_goes_on_by_itself_after_the_server_was_away(own):
    store = PostgresStore(StoreSettings(**own.settings("own")), CIPHER)
    first = await store.write(bump)
    own.restart()
    assert await store.write(bump) == first + 1  # every connection in the pool is a dead one
    assert (await store.read(lambda rows: rows.gate.read(7))).gate_version == first + 1
    own.kill()
    with refused("HS-NOT-RECORDED"):
        await store.write(bump)
    with refused("HS-NOT-READY"):
        await store.read(lambda rows: rows.gate.read(7))
    with refused("HS-NOT-READY"):
        await store.settled()
    own.start()
    assert await store.write(bump) == first + 2
    store.close()


@pytest.mark.parametrize(("where", "kept"), [("before", 0), ("after", 1)])
async def test_an_error_on_commit_is_unknown_and_said_so(own, where, kept):
    """Nobody is told that it was recorded, nor is it tried again: the gate tells."""
    cut = CommitCut(own.port)
    settings = StoreSettings(**{**own.settings("own"), "port": cut.port})
    store = PostgresStore(settings, CIPHER)
    before = await store.write(bump)
    runs = []
    cut.cut = where
    with refused("HS-NOT-RECORDED"):
        await store.write(lambda rows: runs.append(1) or bump(rows))
    assert (cut.cuts, len(runs)) == (1, 1)
    gate = await store.read(lambda rows: rows.gate.read(7))
    assert gate.gate_version == before + kept
    store.close()
    cut.close()


async def test_a_transaction_that_stands_still_is_ended_by_the_server(migrated):
    """What a stopped node has locked is free again; when it goes on, its work runs anew."""
    slow, other = migrated.store(CIPHER, patient=False), migrated.store(CIPHER)
    runs = []

    def stops_once(rows):
        version = bump(rows)
        runs.append(version)
        if len(runs) == 1:
            time.sleep(0.6)
        rows.gate.bump(8, 1, NOW)
        return version

    standing = asyncio.create_task(slow.write(stops_once, shared=True))
    while not runs:
        await asyncio.sleep(0.01)
    began = asyncio.get_running_loop().time()
    assert await other.write(bump, shared=True) == 1
    assert asyncio.get_running_loop().time() - began < 0.6
    assert await standing == 2
    assert runs == [1, 2]
    for store in (slow, other):
        store.close()


async def test_a_transaction_that_stands_still_after_many_rows_is_ended_too(migrated):
    """The driver sends many rows in a way after which the server would wait for ever (PostgreSQL 15, psycopg 3)."""
    slow, other = migrated.store(CIPHER, patient=False), migrated.store(CIPHER)
    runs = []

    def stops_once(rows):
        runs.append(rows.gate.bump(8, 1, NOW))
        many = update(bucket).where(bucket.c.bucket == bindparam("of")).values(clock_us=bucket.c.clock_us)
        assert rows.gate._c.execute(many, [{"of": number} for number in (7, 8, 9)]).rowcount == 3
        if len(runs) == 1:
            time.sleep(0.7)
        return rows.gate.bump(8, 1, NOW)

    standing = asyncio.create_task(slow.write(stops_once, shared=True))
    while not runs:
        await asyncio.sleep(0.01)
    began = asyncio.get_running_loop().time()
    await other.write(bump, shared=True)
    assert asyncio.get_running_loop().time() - began < 0.6
    await standing
    assert len(runs) == 2
    for store in (slow, other):
        store.close()


def test_a_server_that_answers_before_it_is_on_the_disk_is_refused():
    with LocalPostgres.temporary({"fsync": "off"}, in_memory=True) as server:
        settings = StoreSettings(**server.create("loose"))
        engine = engine_for(settings, MIGRATING, connections=1)
        with refused("HS-STORE-UNSUITABLE", "fsync"):
            checked(engine)
        engine.dispose()
        with refused("HS-STORE-UNSUITABLE", "fsync"):
            open_server(settings, lambda: CIPHER)


def test_a_user_who_may_not_shorten_the_wait_for_a_deadlock_is_refused(postgres, database):
    password = postgres.password_file.read_text()
    postgres.sql(f"CREATE ROLE bare LOGIN PASSWORD '{password}'")
    try:
        with refused("HS-STORE-UNSUITABLE", "deadlock_timeout"):
            open_server(StoreSettings(**{**database, "user": "bare"}), lambda: CIPHER)
    finally:
        postgres.sql("DROP ROLE bare")
    open_server(StoreSettings(**database), lambda: CIPHER).close()


def test_a_server_that_cannot_be_reached_or_does_not_let_in_is_away(postgres, database, tmp_path):
    wrong = tmp_path / "password"
    wrong.write_text("another")
    for change in ({"port": 1}, {"database": "nowhere"}, {"password_file": wrong}):
        with refused("HS-STORE-AWAY"):
            open_server(StoreSettings(**{**database, **change}), lambda: CIPHER)


def test_a_database_under_another_key_is_refused(database):
    settings = StoreSettings(**database)
    open_server(settings, lambda: CIPHER).close()
    open_server(settings, lambda: CIPHER).close()
    with refused("HS-KEYS-UNREADABLE", "columns"):
        open_server(settings, lambda: ColumnCipher(b"1" * 32))


async def test_every_session_that_writes_has_its_limits(migrated):
    store = migrated.store(CIPHER, patient=False)
    names = ("idle_in_transaction_session_timeout", "lock_timeout", "deadlock_timeout", "synchronous_commit",
             "transaction_isolation")  # fmt: skip

    def shown(rows):
        return [rows.gate._c.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names]

    limits = ["150ms", "300ms", "100ms", "on", "read committed"]
    assert await store.write(shown) == limits
    assert await store.write(shown, shared=True) == limits
    assert (await store.read(shown))[-1] == "repeatable read"
    store.close()


def test_a_read_changes_nothing(migrated: Database):
    store = migrated.store(CIPHER)
    with pytest.raises(Exception, match="read-only transaction"):
        asyncio.run(store.read(bump))
    store.close()


async def test_what_nobody_waits_for_any_more_is_no_fault_of_the_node(migrated):
    """A consent call answers after 900 ms, whatever its transaction is still doing."""
    store, told = migrated.store(CIPHER), []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: told.append(context))

    def late(_rows):
        time.sleep(0.3)
        raise HandslagError("HS-SEAT-UNKNOWN")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.write(late, shared=True), 0.05)
    await asyncio.sleep(0.5)
    gc.collect()
    assert told == []
    gone = loop.create_future()
    gone.set_exception(HandslagError("HS-SEAT-UNKNOWN"))
    del gone
    gc.collect()
    assert len(told) == 1  # what is never looked at would be told
    store.close()
