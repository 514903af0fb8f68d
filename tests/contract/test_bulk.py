"""Many rows in one statement, and nothing sealed or opened between BEGIN and COMMIT: the same on both engines."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import event, select
from sqlalchemy.engine import Engine

from broker.store import bulk
from broker.store.cipher import ColumnCipher
from broker.store.inbox import Item
from broker.store.tables import attempt, entry
from broker.store.tables import item as inbox_item
from tests.contract.test_drivers import DRIVERS
from tests.promises.case import deliveries, grant, items, ready, sent, states
from tests.site import Site

UNIT = "KV/EXEMPEL/FRI"
MANY = 200


@pytest.fixture(params=DRIVERS)
def bench(request):
    made = DRIVERS[request.param](request)
    yield made
    made.store.close()


@pytest.fixture
def statements():
    """Every statement that begins with INSERT or UPDATE, as the drivers are given it."""
    seen = []

    def noted(_connection, _cursor, statement, _parameters, _context, _many):
        if statement.startswith(("INSERT", "UPDATE")):
            seen.append(statement)

    event.listen(Engine, "before_cursor_execute", noted)
    yield seen
    event.remove(Engine, "before_cursor_execute", noted)


def item(number, body=b"body"):
    return Item(number.to_bytes(16, "big"), UNIT, "NOTICE", body)


async def test_many_rows_are_one_statement_and_keep_their_order(bench, statements):
    await bench.store.write(lambda rows: rows.inbox.put([item(MANY - n) for n in range(MANY)]), shared=True)
    assert len(statements) == 1
    leased = await bench.store.write(lambda rows: rows.inbox.lease(UNIT, MANY, 1, 2))
    assert [int.from_bytes(one.item_id, "big") for one in leased] == [MANY - n for n in range(MANY)]
    assert {bench.store.sealing.opened(one) for one in leased} >= {item(1), item(MANY)}


async def test_large_rows_go_in_pieces_of_one_transaction(bench, statements, monkeypatch):
    monkeypatch.setattr(bulk, "_PIECE_BYTES", 2_500)
    large = [item(n, bytes([n]) * 1_000) for n in range(1, 8)]
    await bench.store.write(lambda rows: rows.inbox.put(large), shared=True)
    assert len(statements) == (4 if "unnest" in statements[0] else 1)
    query = select(inbox_item.c.item_id).order_by(inbox_item.c.number)
    found = await bench.store.read(lambda rows: list(rows.gate._c.execute(query).scalars()))
    assert found == [one.item_id for one in large]


async def test_every_kind_of_value_arrives_as_it_was(bench):
    """Nothing, nothing at all in a whole column, letters of every script, quotes, braces, numbers of 64 bits."""
    values = [
        {"entry_id": bytes([n]) * 16, "owner": text, "handle": b"", "at_us": number, "operation": "ACK",
         "outcome": None, "reason_class": reason, "bytes": raw, "leaf_hash": bytes(32)}
        for n, (text, number, reason, raw) in enumerate([
            ("Å", 2**62, None, None), ('{"a,b"}', -1, "", b"\x00\\x00"), ("NULL", 0, "null", b""),
            ("'; --", 1, "\\", bytes(range(256))),
        ])
    ]  # fmt: skip
    await bench.store.write(lambda rows: bulk.insert_all(rows.gate._c, entry, values))
    query = select(*(entry.c[name] for name in values[0])).order_by(entry.c.number)
    assert await bench.store.read(lambda rows: [dict(r._mapping) for r in rows.gate._c.execute(query)]) == values
    await bench.store.write(lambda rows: bulk.insert_all(rows.gate._c, entry, []))


async def test_each_row_gets_its_own_values(bench):
    before = [
        {"event_id": bytes([n]) * 16, "attempt": 1, "attempt_hash": bytes(32), "receipt": b"old"} for n in range(5)
    ]
    after = [{"event_id": bytes([n]) * 16, "attempt": 10 + n, "receipt": bytes([n])} for n in range(1, 5)]

    def work(rows):
        bulk.insert_all(rows.gate._c, attempt, before)
        bulk.update_all(rows.gate._c, attempt, "event_id", after)
        bulk.update_all(rows.gate._c, attempt, "event_id", [])

    await bench.store.write(work)
    query = select(attempt.c.attempt, attempt.c.receipt, attempt.c.attempt_hash).order_by(attempt.c.event_id)
    found = await bench.store.read(lambda rows: [tuple(row) for row in rows.gate._c.execute(query)])
    assert found == [(1, b"old", bytes(32)), *((10 + n, bytes([n]), bytes(32)) for n in range(1, 5))]


@pytest.fixture(params=["sqlite", "postgresql"])
async def site(request, tmp_path, monkeypatch):
    if request.param == "postgresql":
        monkeypatch.setattr(Site, "databases", staticmethod(request.getfixturevalue("new_database")))
    site = await ready(tmp_path)
    yield site
    site.close()


async def test_nothing_is_sealed_between_begin_and_commit(site, monkeypatch):
    """A batch, a hand-over and both acknowledgements: what is slow is done in no thread that holds a transaction."""
    inside = []

    def watched(name):
        plain = getattr(ColumnCipher, name)

        def noting(*given):
            if threading.current_thread().name.startswith(("store-write", "store-turn")):
                inside.append(f"{name} {given[1]}")
            return plain(*given)

        monkeypatch.setattr(ColumnCipher, name, noting)

    await grant(site)
    await items(site, site.police)
    for name in ("seal", "open", "keep", "kept"):
        watched(name)
    await sent(site)
    (given,) = await deliveries(site)
    await site.ack(site.lead, given.item_id)
    assert await states(site) == ["ACKED"]
    assert {one.kind for one in await site.fetch(site.police)} == {"RECEIPT", "NOTICE"}
    # The embedded stream is a table of its own: what is taken in is sealed as it is appended.
    assert [one for one in inside if not one.endswith("stream.record")] == []
    await site.store.write(lambda rows: rows.inbox.put([item(1)]))
    assert "seal inbox_item.body" in inside  # positive control
