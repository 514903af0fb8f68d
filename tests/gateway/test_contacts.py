"""What a connector tells of itself, how it is kept, and that it decides nothing."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import event

from broker.contacts import Contacts, kept
from broker.store import contacts as stored
from broker.store.cipher import ColumnCipher
from broker.store.contacts import ContactRow
from broker.store.migrate import migrate
from broker.store.sqlite import SqliteStore
from schemas.calls import FetchRequest
from schemas.version import current
from tests.gateway.support import UNIT

MINUTE = 60_000_000
FETCH = FetchRequest(limit=10).to_bytes()


async def test_version_and_clock_reach_the_core(line):
    assert (await line.get("/v1/units", Handslag_Version="0.1.0", Handslag_Clock="1790000000000000"))[0] == 200
    assert line.core.contacts == [(UNIT, "0.1.0", 1_790_000_000_000_000)]


@pytest.mark.parametrize("version", ["", "x", "1" * 40, "1.0 <b>", "٣"])
@pytest.mark.parametrize("clock", ["", "-1", "1e9", "9" * 20])
async def test_a_call_is_not_refused_for_what_it_tells_of_itself(line, version, clock):
    status, _headers, _body = await line.post("/v1/inbox:fetch", FETCH, Handslag_Version=version, Handslag_Clock=clock)
    assert status == 200
    assert line.core.contacts == [(UNIT, None, None)]


async def test_a_connector_that_tells_nothing_is_still_heard(line):
    assert (await line.get("/v1/units"))[0] == 200
    assert line.core.contacts == [(UNIT, None, None)]


async def test_a_stranger_is_no_contact(line):
    line.core.admitted.clear()
    assert (await line.get("/v1/units"))[0] == 403
    assert line.core.contacts == []


def test_the_newest_contact_counts_and_what_was_not_told_stays():
    contacts = Contacts()
    contacts.note(UNIT, 10 * MINUTE, "0.1.0", 10 * MINUTE + 3_000_000)
    contacts.note(UNIT, 11 * MINUTE, None, None)
    assert contacts.of(UNIT) == ContactRow(UNIT, 11 * MINUTE, "0.1.0", 3_000_000)
    assert contacts.of("POL/EXEMPEL/SYD") is None


def test_the_longest_silence_is_of_a_unit_that_was_admitted_and_never_called():
    contacts = Contacts()
    contacts.note(UNIT, 50 * MINUTE, None, None)
    units = [(UNIT, 0), ("POL/EXEMPEL/SYD", 20 * MINUTE)]
    assert contacts.longest_silence_s(units, 60 * MINUTE) == 40 * 60
    assert contacts.longest_silence_s(units[:1], 60 * MINUTE) == 10 * 60
    assert contacts.longest_silence_s([], 60 * MINUTE) == 0


def test_one_clock_that_is_off_is_the_largest_and_ones_own_moves_the_middle():
    contacts, names = Contacts(), [f"SOC/EXEMPEL/K{n}" for n in range(5)]
    for name in names:
        contacts.note(name, 100 * MINUTE, None, 100 * MINUTE)
    contacts.note(names[0], 100 * MINUTE, None, 98 * MINUTE)
    assert contacts.clock_offsets_s(names, 101 * MINUTE) == (120.0, 0.0)
    for name in names:
        contacts.note(name, 100 * MINUTE, None, 105 * MINUTE)
    assert contacts.clock_offsets_s(names, 101 * MINUTE) == (300.0, 300.0)
    assert contacts.clock_offsets_s(names, 200 * MINUTE) == (0.0, 0.0)  # nobody has called for an hour


async def test_a_thousand_calls_cost_one_write(tmp_path):
    migrate(tmp_path / "broker.db")
    cipher = ColumnCipher(bytes(32))
    store, contacts = SqliteStore(tmp_path / "broker.db", cipher), Contacts()
    commits = []
    event.listen(store._engine, "before_cursor_execute", lambda *a: commits.append(a[2]) if a[2] == "COMMIT" else None)
    try:
        for n in range(1000):
            contacts.note(UNIT if n % 2 else "POL/EXEMPEL/SYD", n + 1, "0.1.0", n)
        assert commits == []
        assert await kept(store, contacts) == 2
        assert commits == ["COMMIT"]
        assert await kept(store, contacts) == 0
        rows = await store.read(lambda rows: rows.contacts.all())
        assert [(row.unit, row.at_us) for row in rows] == [("POL/EXEMPEL/SYD", 999), (UNIT, 1000)]
    finally:
        store.close()
    assert stored.offline(tmp_path / "broker.db", lambda: cipher) == rows
    assert stored.offline(tmp_path / "absent.db", lambda: cipher) == []


async def test_a_contact_kept_before_the_start_does_not_hide_a_newer_one(tmp_path):
    contacts = Contacts()
    contacts.note(UNIT, 2 * MINUTE, None, None)
    contacts.take([ContactRow(UNIT, MINUTE, "0.0.9", None), ContactRow("POL/EXEMPEL/SYD", MINUTE, "0.0.9", None)])
    assert [(row.unit, row.at_us) for row in contacts.all()] == [("POL/EXEMPEL/SYD", MINUTE), (UNIT, 2 * MINUTE)]


def test_a_store_of_the_first_version_is_brought_up_to_date(tmp_path):
    migrate(tmp_path / "broker.db")
    with sqlite3.connect(tmp_path / "broker.db") as db:
        columns = {row[1]: row[4] for row in db.execute("PRAGMA table_info(unit)")}
    assert columns["probe"] == "0"  # a unit admitted before is no probe


def test_this_tree_knows_its_version():
    assert current()[0].isdigit()
