"""What every driver of Store and Stream must keep, one function per sentence.

A check takes a fresh `Bench` and raises AssertionError when the driver breaks its sentence. The suite runs all of
them against each driver, and a deliberately broken driver must fail the check that is named for its fault.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from audit.entry import OPERATOR, Draft, SealedEntry, seal
from audit.vault import SeatKeys
from broker.store.deliveries import DeliveryRow, SectionRow
from broker.store.gate import Gate, GateMoved
from broker.store.inbox import Item
from broker.store.port import Rows, Store
from broker.stream.port import Stream
from schemas.codes import DeliveryState
from schemas.errors import HandslagError
from schemas.identifiers import uuid7
from schemas.trail import Payload

NOW = 1_790_000_000_000_000
BUCKET = 7


@dataclass
class Bench:
    """A driver on fresh tables; `reopen` gives a second store on what the first one committed."""

    store: Store
    stream: Stream
    seen_elsewhere: Callable[..., list[tuple[Any, ...]]]
    """What a second connection reads at this moment: a query with `?` for each value after it."""
    reopen: Callable[[], Store]
    keys: SeatKeys = field(default_factory=lambda: SeatKeys(os.urandom(32)))

    def entry(self) -> SealedEntry:
        return seal(
            Draft(operation="ADMIN", owner=OPERATOR, payload=Payload(code="HS-NOT-YET")),
            entry_id=uuid7(NOW, os.urandom(10)), salt=os.urandom(16), at_us=NOW, keys=self.keys, segment=1,
            random_handle=os.urandom(16),
        )  # fmt: skip

    async def gate(self) -> Gate:
        return await self.store.read(lambda rows: rows.gate.read(BUCKET))


Check = Callable[[Bench], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


# --- the gate


@check
async def the_gate_moves_from_where_it_was_read(bench: Bench) -> None:
    gate = await bench.gate()
    await bench.store.write(lambda rows: rows.gate.advance(gate, 5, NOW))
    assert (await bench.gate()).next_position == 5


@check
async def the_gate_refuses_another_position(bench: Bench) -> None:
    gate = await bench.gate()
    await bench.store.write(lambda rows: rows.gate.advance(gate, 5, NOW))
    with pytest.raises(GateMoved):
        await bench.store.write(lambda rows: rows.gate.advance(gate, 6, NOW))
    assert (await bench.gate()).next_position == 5


@check
async def the_gate_refuses_another_version(bench: Bench) -> None:
    gate = await bench.gate()
    await bench.store.write(lambda rows: rows.gate.bump(BUCKET, 1, NOW))
    with pytest.raises(GateMoved):
        await bench.store.write(lambda rows: rows.gate.advance(gate, 5, NOW))
    assert (await bench.gate()).next_position == 0


@check
async def a_refused_gate_leaves_nothing_of_its_transaction(bench: Bench) -> None:
    gate = await bench.gate()
    await bench.store.write(lambda rows: rows.gate.bump(BUCKET, 1, NOW))
    one = bench.entry()

    def batch(rows: Rows) -> None:
        rows.entries.insert([one])
        rows.gate.advance(gate, 5, NOW)

    with pytest.raises(GateMoved):
        await bench.store.write(batch)
    assert await bench.store.read(lambda rows: rows.entries.unsealed()) == []


@check
async def of_two_batches_that_read_the_same_gate_one_commits(bench: Bench) -> None:
    gate = await bench.gate()
    jobs = [bench.store.write(lambda rows: rows.gate.advance(gate, 5, NOW)) for _ in range(8)]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, GateMoved) for result in results) == 7


@check
async def bumps_take_positions_in_the_order_they_commit(bench: Bench) -> None:
    """k events take k positions, without gaps and without sharing, also when many come at once."""
    sizes = [1, 3, 2, 5, 1, 4]
    bumps = await asyncio.gather(*[bench.store.write(lambda rows, k=k: rows.gate.bump(BUCKET, k, NOW)) for k in sizes])
    taken = [n for bump, k in zip(bumps, sizes, strict=True) for n in range(bump.first_version, bump.first_version + k)]
    assert sorted(taken) == list(range(1, sum(sizes) + 1))
    assert (await bench.gate()).gate_version == sum(sizes)


@check
async def the_ledger_clock_never_runs_back(bench: Bench) -> None:
    first = await bench.store.write(lambda rows: rows.gate.bump(BUCKET, 1, NOW))
    back = await bench.store.write(lambda rows: rows.gate.bump(BUCKET, 1, NOW - 1_000_000))
    assert (first.clock_us, back.clock_us) == (NOW, NOW)
    gate = await bench.gate()
    await bench.store.write(lambda rows: rows.gate.advance(gate, 1, NOW - 1_000_000))
    assert (await bench.gate()).clock_us == NOW
    assert await bench.store.read(lambda rows: rows.gate.clock([BUCKET])) == NOW
    ahead = await bench.store.write(lambda rows: rows.gate.bump(BUCKET, 1, NOW + 5))
    assert ahead.clock_us == NOW + 5


@check
async def buckets_do_not_touch_each_other(bench: Bench) -> None:
    gate = await bench.gate()
    await bench.store.write(lambda rows: rows.gate.bump(BUCKET + 1, 1, NOW))
    await bench.store.write(lambda rows: rows.gate.advance(gate, 5, NOW))
    assert (await bench.gate()).next_position == 5


# --- transactions


@check
async def a_unit_of_work_that_fails_is_undone_alone(bench: Bench) -> None:
    def item(name: bytes) -> Item:
        return Item(name.ljust(16), "SOC/EXEMPEL/KONSULT", "NOTICE", b"")

    def good(name: bytes) -> Callable[[Rows], bytes]:
        def work(rows: Rows) -> bytes:
            rows.inbox.put([item(name)])
            return name

        return work

    def bad(rows: Rows) -> None:
        rows.inbox.put([item(b"bad")])
        raise ZeroDivisionError

    def clash(rows: Rows) -> None:
        rows.inbox.put([item(b"clash")])
        rows.inbox.put([item(b"clash")])

    results = await asyncio.gather(
        *[bench.store.write(work) for work in (good(b"a"), bad, good(b"b"), clash, good(b"c"))], return_exceptions=True
    )
    assert [results[0], results[2], results[4]] == [b"a", b"b", b"c"]
    assert isinstance(results[1], ZeroDivisionError)
    assert isinstance(results[3], IntegrityError)
    kept = bench.seen_elsewhere("SELECT item_id FROM inbox_item ORDER BY item_id")
    assert [name.strip() for (name,) in kept] == [b"a", b"b", b"c"]


@check
async def an_answer_comes_after_commit(bench: Bench) -> None:
    """Whoever is answered can point another connection at it, every time, among many others."""

    async def one(number: int) -> None:
        name = number.to_bytes(16, "big")
        await bench.store.write(lambda rows: rows.inbox.put([Item(name, "KV/EXEMPEL/FRI", "NOTICE", b"")]))
        assert bench.seen_elsewhere("SELECT count(*) FROM inbox_item WHERE item_id = ?", name) == [(1,)]

    await asyncio.gather(*[one(number) for number in range(40)])


@check
async def what_is_answered_is_there_after_reopening(bench: Bench) -> None:
    one = bench.entry()
    await bench.store.write(lambda rows: rows.entries.insert([one]))
    bench.store.close()
    again = bench.reopen()
    assert [leaf for _, leaf in await again.read(lambda rows: rows.entries.unsealed())] == [one.leaf_hash]
    again.close()


@check
async def an_entry_and_its_effect_are_one_transaction(bench: Bench) -> None:
    """The effect fails after the entry was inserted: neither is there. And the other way round."""
    for entry_first in (True, False):
        one = bench.entry()

        def work(rows: Rows, one: SealedEntry = one, entry_first: bool = entry_first) -> None:
            if entry_first:
                rows.entries.insert([one])
            rows.inbox.put([Item(os.urandom(16), "KV/EXEMPEL/FRI", "NOTICE", b"")])
            if not entry_first:
                rows.entries.insert([one])
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await bench.store.write(work)
    assert bench.seen_elsewhere("SELECT count(*) FROM entry") == [(0,)]
    assert bench.seen_elsewhere("SELECT count(*) FROM payload") == [(0,)]
    assert bench.seen_elsewhere("SELECT count(*) FROM inbox_item") == [(0,)]


@check
async def an_entry_is_there_as_soon_as_its_effect_is(bench: Bench) -> None:
    """Another connection never sees the effect without the entry; looked at from inside every later transaction."""
    seen: list[tuple[int, int]] = []

    def effect(rows: Rows) -> None:
        rows.inbox.put([Item(os.urandom(16), "KV/EXEMPEL/FRI", "NOTICE", b"")])
        rows.entries.insert([bench.entry()])

    for _ in range(10):
        await bench.store.write(effect)
        seen += bench.seen_elsewhere("SELECT (SELECT count(*) FROM inbox_item), (SELECT count(*) FROM entry)")
    assert seen == [(n, n) for n in range(1, 11)]


@check
async def a_read_sees_one_commit(bench: Bench) -> None:
    """Two statements of one read, with a write between them, agree."""
    loop = asyncio.get_running_loop()

    def look(rows: Rows) -> tuple[Gate, Gate]:
        first = rows.gate.read(BUCKET)
        writing = asyncio.run_coroutine_threadsafe(bench.store.write(lambda rows: rows.gate.bump(BUCKET, 1, NOW)), loop)
        writing.result()
        return first, rows.gate.read(BUCKET)

    first, second = await bench.store.read(look)
    assert first == second
    assert (await bench.gate()).gate_version == 1


@check
async def a_closed_store_says_so(bench: Bench) -> None:
    bench.store.close()
    for call in (bench.store.read(lambda rows: None), bench.store.write(lambda rows: None)):
        with pytest.raises(HandslagError) as raised:
            await call
        assert raised.value.code == "HS-NOT-READY"


# --- the stream


@check
async def the_stream_keeps_the_order_of_a_bucket(bench: Bench) -> None:
    await bench.stream.append({BUCKET: [b"a", b"b"], BUCKET + 1: [b"x"]})
    await bench.stream.append({BUCKET: [b"c"]})
    assert await bench.stream.read(BUCKET, 0, 10) == [(0, b"a"), (1, b"b"), (2, b"c")]
    assert await bench.stream.read(BUCKET, 1, 1) == [(1, b"b")]
    assert await bench.stream.read(BUCKET, 3, 10) == []
    assert sorted(await bench.stream.waiting()) == [BUCKET, BUCKET + 1]


@check
async def positions_are_gap_free_whoever_appends(bench: Bench) -> None:
    await asyncio.gather(*[bench.stream.append({BUCKET: [bytes([n])] * 3}) for n in range(10)])
    found = await bench.stream.read(BUCKET, 0, 100)
    assert [position for position, _ in found] == list(range(30))
    runs = [record for _, record in found]
    assert all(len(set(runs[at : at + 3])) == 1 for at in range(0, 30, 3))


@check
async def trimmed_records_are_gone_and_positions_go_on(bench: Bench) -> None:
    async def decided(end: int) -> None:
        gate = await bench.gate()
        await bench.store.write(lambda rows: rows.gate.advance(gate, end, NOW))
        await bench.stream.trim(BUCKET, end)

    await bench.stream.append({BUCKET: [b"a", b"b"]})
    await decided(1)
    assert await bench.stream.read(BUCKET, 0, 10) == [(1, b"b")]
    await decided(2)
    assert await bench.stream.waiting() == []
    await bench.stream.append({BUCKET: [b"c"]})
    assert await bench.stream.read(BUCKET, 0, 10) == [(2, b"c")]


@check
async def what_is_appended_wakes_who_waits(bench: Bench) -> None:
    waiting = asyncio.create_task(bench.stream.wait(60))
    await asyncio.sleep(0)
    await bench.stream.append({BUCKET: [b"a"]})
    await asyncio.wait_for(waiting, 10)


# --- deliveries, calls, inbox


def delivery(delivery_id: bytes, **changes: Any) -> DeliveryRow:
    values: dict[str, Any] = {
        "delivery_id": delivery_id, "bucket": BUCKET, "case_id": bytes(16), "event_id": bytes(16),
        "event_type": "threat_assessment_completed", "purpose": "THREAT_ASSESSMENT", "action": "DISCLOSE",
        "attempt": 1, "sender_seat": b"s" * 16, "sender_unit": "POL/EXEMPEL/SYD", "recipient_seat": b"r" * 16,
        "recipient_unit": "SOC/EXEMPEL/KONSULT", "role": "social_services_lead", "invitation_id": None,
        "state": "PENDING", "hand_number": 0, "row_version": 0, "lease_until_us": 0, "holds_until_us": NOW + 100,
        "valid_until_us": NOW + 100, "deadline_at_us": NOW + 100, "held": False, "overdue_told": False,
        "decided_at_us": NOW, "body": b"body",
    }  # fmt: skip
    return DeliveryRow(**{**values, **changes})


def section(delivery_id: bytes, digest: bytes = b"d" * 32) -> SectionRow:
    return SectionRow(
        delivery_id=delivery_id, digest=digest, event_id=bytes(16), recipient_seat=b"r" * 16, category="IC04",
        persons="0", public_interest_released=True, grants=b"g" * 16, digest_index=0, item=b"sealed",
        wrapped_key=b"key", live=True,
    )  # fmt: skip


@check
async def a_section_is_live_for_a_seat_once(bench: Bench) -> None:
    one, two = b"1" * 16, b"2" * 16
    await bench.store.write(lambda rows: rows.deliveries.insert([delivery(one)], [section(one)]))
    with pytest.raises(IntegrityError):
        await bench.store.write(lambda rows: rows.deliveries.insert([delivery(two)], [section(two)]))
    row = (await bench.store.read(lambda rows: rows.deliveries.get([one])))[one]
    await bench.store.write(lambda rows: rows.deliveries.move(row, DeliveryState.CANCELLED))
    await bench.store.write(lambda rows: rows.deliveries.insert([delivery(two)], [section(two)]))
    found = await bench.store.read(lambda rows: rows.deliveries.sections([one, two]))
    assert [len(found[key]) for key in (one, two)] == [0, 1]


@check
async def one_of_many_hand_overs_of_a_row_wins(bench: Bench) -> None:
    one = b"1" * 16
    await bench.store.write(lambda rows: rows.deliveries.insert([delivery(one)], [section(one)]))
    handed = await asyncio.gather(
        *[bench.store.write(lambda rows: rows.deliveries.hand([(one, 0)], NOW, NOW + 50)) for _ in range(6)]
    )
    assert sorted(map(len, handed)) == [0, 0, 0, 0, 0, 1]
    again = await bench.store.write(lambda rows: rows.deliveries.hand([(one, 1)], NOW + 49, NOW + 99))
    assert again == set()
    later = await bench.store.write(lambda rows: rows.deliveries.hand([(one, 1)], NOW + 50, NOW + 99))
    assert later == {one}
    assert (await bench.store.read(lambda rows: rows.deliveries.get([one])))[one].hand_number == 2


@check
async def every_condition_of_a_hand_over_is_a_column(bench: Bench) -> None:
    """Each alone keeps the row where it is; without any of them it goes."""
    stops = [
        {"held": True}, {"holds_until_us": NOW}, {"valid_until_us": NOW}, {"state": "CANCELLED"}, {"row_version": 1},
        {"state": "HANDED", "lease_until_us": NOW + 1}, {"state": "ACKED"}, {"state": "EXPIRED"}, {},
    ]  # fmt: skip
    handed = []
    for number, change in enumerate(stops):
        key = bytes([number]) * 16
        row, one = delivery(key, **change), section(key, key * 2)
        await bench.store.write(lambda rows, row=row, one=one: rows.deliveries.insert([row], [one]))
        handed.append(await bench.store.write(lambda rows, key=key: rows.deliveries.hand([(key, 0)], NOW, NOW + 9)))
    assert [len(one) for one in handed] == [0] * (len(stops) - 1) + [1]


@check
async def what_was_sent_later_does_not_pass_what_changed_before_its_hand_over(bench: Bench) -> None:
    changed, later, others = (bytes([n]) * 16 for n in (1, 2, 3))
    rows_made = [delivery(changed, row_version=1), delivery(later), delivery(others, sender_seat=b"o" * 16)]
    parts = [section(one.delivery_id, one.delivery_id * 2) for one in rows_made]
    await bench.store.write(lambda rows: rows.deliveries.insert(rows_made, parts))
    seen = [(changed, 0), (later, 0), (others, 0)]
    assert await bench.store.write(lambda rows: rows.deliveries.hand(seen, NOW, NOW + 50)) == {others}
    again = await bench.store.write(lambda rows: rows.deliveries.hand([(changed, 1), (later, 0)], NOW, NOW + 50))
    assert again == {changed, later}


@check
async def a_call_is_answered_once(bench: Bench) -> None:
    unit, call, asked = "SOC/EXEMPEL/KONSULT", b"c" * 16, b"h" * 32
    await bench.store.write(lambda rows: rows.units.answer(unit, call, asked, b"answer", NOW))
    assert await bench.store.read(lambda rows: rows.units.answered(unit, call, asked)) == b"answer"
    assert await bench.store.read(lambda rows: rows.units.answered("KV/EXEMPEL/FRI", call, asked)) is None
    with pytest.raises(HandslagError) as raised:
        await bench.store.read(lambda rows: rows.units.answered(unit, call, b"x" * 32))
    assert raised.value.code == "HS-CALL-CHANGED"
    with pytest.raises(IntegrityError):
        await bench.store.write(lambda rows: rows.units.answer(unit, call, asked, b"other", NOW))


@check
async def an_item_is_leased_to_one_at_a_time(bench: Bench) -> None:
    unit = "SOC/EXEMPEL/KONSULT"
    names = [bytes([n]) * 16 for n in range(5)]
    await bench.store.write(lambda rows: rows.inbox.put([Item(name, unit, "NOTICE", b"") for name in names]))
    leases = await asyncio.gather(
        *[bench.store.write(lambda rows: rows.inbox.lease(unit, 2, NOW, NOW + 50)) for _ in range(4)]
    )
    assert sorted(item.item_id for lease in leases for item in lease) == names
    assert await bench.store.write(lambda rows: rows.inbox.lease(unit, 9, NOW + 49, NOW + 99)) == []
    again = await bench.store.write(lambda rows: rows.inbox.lease(unit, 9, NOW + 50, NOW + 99))
    assert [item.item_id for item in again] == names
    assert await bench.store.write(lambda rows: rows.inbox.remove("KV/EXEMPEL/FRI", names)) == set()
    assert await bench.store.write(lambda rows: rows.inbox.remove(unit, names[:2])) == set(names[:2])


@check
async def an_entry_never_changes(bench: Bench) -> None:
    one = bench.entry()
    await bench.store.write(lambda rows: rows.entries.insert([one]))
    for statement in ("UPDATE entry SET leaf_hash = entry_id", "DELETE FROM entry"):
        with pytest.raises(IntegrityError):
            await bench.store.write(lambda rows, statement=statement: rows.entries._c.exec_driver_sql(statement))
    assert bench.seen_elsewhere("SELECT leaf_hash FROM entry") == [(one.leaf_hash,)]
