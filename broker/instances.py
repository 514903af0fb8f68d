"""Which of a unit's connectors is served: the one with the highest number, and never one that remembers less.

Only a restore raises the number, and only the agency's recovery key proves a restore: a disk that was carried off holds
the unit's keys and not that one. A copy with the *same* number is told apart by what it remembers: a connector keeps
every checkpoint before it shows it, so one that shows less than its unit surely has seen is an old copy.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from audit.entry import SealedEntry
from broker.calls import signed_by
from broker.cases import LEAD
from broker.context import Context
from broker.store.cases import SeatRow
from broker.store.gate import GateMoved
from broker.store.inbox import Item
from broker.store.instances import InstanceRow, Memory
from broker.store.port import Rows, Store
from broker.visibility import met, statement_item
from schemas.errors import HandslagError
from schemas.identifiers import uuid7
from schemas.inbox import Receipt
from schemas.instances import (
    Compromise,
    CompromisedAnswer,
    CompromisedRequest,
    InstanceAnswer,
    InstanceRequest,
    InstanceStatement,
    RestoreStatement,
)
from schemas.limits import SENT_BACK_US
from schemas.trail import Payload

SURE_S = 120.0  # a call takes at most a minute on its way: what was shown before that was surely seen by later calls
_KEPT_S = 60.0  # how often what is surely seen is made durable, and read again for what another node was shown
_OVERLAP_US = 3600 * 1_000_000  # a receipt decided just before the backup may have come just after it
_RETRIES = 20


@dataclass(slots=True)
class _Shown:
    """Sizes one unit's connector has shown: `sure` longer than `SURE_S` ago, `recent` since, as (moment, size)."""

    sure: int
    kept: int
    kept_at: float
    read_at: float
    recent: deque[tuple[float, int]] = field(default_factory=deque)


class Shown:
    """How much of the log each unit's connector surely has seen; a little is lost when the node stops, never gained."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._units: dict[str, _Shown] = {}

    async def check(self, unit: str, size: int, instance: int | None = None) -> bool:
        """Note what a call shows; False when it is less than the unit surely has seen.

        With the `instance` in service nothing is made durable that belongs to one before it.
        """
        # INVARIANT: test_a_copy_with_the_same_number_that_remembers_less_is_refused
        now = self._clock()
        state = self._units.get(unit)
        if state is None:
            held = (await self._store.read(lambda rows: rows.instances.memory(unit))).seen_size
            state = self._units.setdefault(unit, _Shown(held, held, now, now))
        elif state.read_at <= now - _KEPT_S:
            # Another node may have been shown more.
            # INVARIANT: test_a_copy_at_another_node_is_refused_within_minutes
            state.read_at = now
            held = (await self._store.read(lambda rows: rows.instances.memory(unit))).seen_size
            state.sure, state.kept = max(state.sure, held), max(state.kept, held)
        while state.recent and state.recent[0][0] <= now - SURE_S:
            state.sure = max(state.sure, state.recent.popleft()[1])
        if size < state.sure:
            return False
        if not state.recent or size > state.recent[-1][1]:
            state.recent.append((now, size))
        if state.sure > state.kept and state.kept_at <= now - _KEPT_S:
            state.kept, state.kept_at = state.sure, now
            await self._store.write(lambda rows: _surely_saw(rows, unit, state.sure, instance))
        return True

    def forget(self, unit: str) -> None:
        """Another instance is in service: it begins with what its backup remembers."""
        self._units.pop(unit, None)


def _surely_saw(rows: Rows, unit: str, size: int, instance: int | None) -> None:
    row = rows.units.whatever(unit)
    if row is not None and instance not in {None, row.instance}:
        return
    if rows.instances.memory(unit).seen_size < size:
        _saw(rows, unit, size)


def _saw(rows: Rows, unit: str, size: int) -> None:
    rows.instances.remember(unit, replace(rows.instances.memory(unit), seen_size=size))


def admitted(rows: Rows, unit: str, recovery_key: bytes | None, *, same: bool) -> None:
    """A unit was admitted: whose recovery key counts now. Other keys are another connector, which begins at 1."""
    before = rows.instances.memory(unit)
    now = replace(before, recovery_key=recovery_key, seen_size=before.seen_size if same else 0)
    rows.instances.remember(unit, now)
    if not same:
        rows.instances.forget(unit)


async def announce(context: Context, unit: str, request: InstanceRequest) -> InstanceAnswer:
    """Answer `POST /v1/instances`: a restored connector takes the next number, and is told what it may have missed.

    In one transaction: the number, the entry, the unit's statements and receipts once more. The same announcement again
    gets the same answer. Raises `HS-SIGNATURE-INVALID`, `HS-INSTANCE-UNPROVEN` (`check`: what does not fit),
    `HS-INSTANCE-OLD` with the number in service.
    """
    row = context.directory.get(unit)
    statement = InstanceStatement.from_bytes(request.statement)
    restore = RestoreStatement.from_bytes(request.restore)
    signed_by(row.signing_key, request.unit_signature, request.statement)
    memory = await context.store.read(lambda rows: rows.instances.memory(unit))
    _proven(context, unit, request, statement, restore, memory)
    receipts = await context.store.read(lambda rows: _receipts(rows, unit, restore.backup_at_us))
    payload = Payload(act=request.statement, act_signature=request.unit_signature, code="HS-INSTANCE-RAISED")
    entry = context.recorder.about_unit(unit, row.controller, "ADMIN", payload, context.now_us())

    def work(rows: Rows) -> InstanceAnswer:
        newest = rows.instances.newest(unit)
        if newest is not None and newest.restore_id == restore.restore_id:
            return InstanceAnswer.from_bytes(newest.answer)
        current = rows.units.get(unit).instance
        # A restored broker may lack more than one restore of the connector.
        # INVARIANT: test_a_connector_that_was_restored_after_the_copy_takes_its_number_again
        skips = rows.hold.active() is not None and statement.instance > current
        if statement.instance != current + 1 and not skips:
            raise HandslagError("HS-INSTANCE-OLD", instance=current)
        if rows.instances.used(restore.restore_id):
            raise HandslagError("HS-INSTANCE-UNPROVEN", check="used")
        return _raised(context, rows, unit, request, statement, restore, receipts, entry)

    answer = await context.store.write(work)
    context.metrics.instance_raised()
    return answer


def _proven(
    context: Context,
    unit: str,
    request: InstanceRequest,
    statement: InstanceStatement,
    restore: RestoreStatement,
    memory: Memory,
) -> None:
    """The statements belong to this broker, this unit and each other, and the recovery key signed the restore."""
    # INVARIANT: test_a_stolen_disk_cannot_take_over
    fits = {
        "origin": {statement.origin, restore.origin} == {context.origin},
        "unit": {statement.unit, restore.unit} == {unit},
        "restore": statement.restore_hash == sha256(request.restore).digest(),
        "recovery key": memory.recovery_key is not None,
    }
    for check, right in fits.items():
        if not right:
            raise HandslagError("HS-INSTANCE-UNPROVEN", check=check)
    try:
        signed_by(memory.recovery_key or b"", request.recovery_signature, request.restore)
    except HandslagError:
        raise HandslagError("HS-INSTANCE-UNPROVEN", check="signature") from None


def _receipts(rows: Rows, unit: str, backup_at_us: int) -> list[bytes]:
    """Receipts that were decided since the backup, with an hour of overlap."""
    since = max(0, backup_at_us - _OVERLAP_US)
    first = uuid7(max(0, since - SENT_BACK_US), bytes(10))
    seats = [seat.seat_id for seat in rows.cases.every(unit=unit)]
    found = rows.instances.receipts(seats, first)
    return [raw for raw in found if Receipt.from_bytes(raw).decided_at_us >= since]


def _raised(
    context: Context,
    rows: Rows,
    unit: str,
    request: InstanceRequest,
    statement: InstanceStatement,
    restore: RestoreStatement,
    receipts: Sequence[bytes],
    entry: SealedEntry,
) -> InstanceAnswer:
    seats = rows.cases.of_unit(unit)
    rows.units.raise_instance(unit, statement.instance)
    _saw(rows, unit, 0)
    rows.instances.end_leases(unit)
    rows.hold.hold_again([seat.seat_id for seat in rows.cases.every(unit=unit)])
    rows.inbox.put([statement_item(context, rows, to=seat, about=seen_by(context, rows, seat)) for seat in seats])
    rows.inbox.put([Item(context.new_id(), unit, "RECEIPT", raw) for raw in receipts])
    rows.entries.insert([entry])
    answer = InstanceAnswer(
        instance=statement.instance,
        entry_id=entry.entry_id,
        leaf_hash=entry.leaf_hash,
        receipts=len(receipts),
        seats=tuple(seat.seat_id for seat in seats),
    )
    at_us = context.now_us()
    rows.instances.take(
        InstanceRow(unit, statement.instance, restore.restore_id, request.to_bytes(), answer.to_bytes(), at_us)
    )
    return answer


def seen_by(context: Context, rows: Rows, seat: SeatRow) -> list[SeatRow]:
    """The seats whose statements a seat was ever given: its own, the lead's, and those it has met; a lead made all."""
    others = rows.cases.every(case_ids=[seat.case_id])
    if seat.role == LEAD:
        return others
    return [one for one in others if one.seat_id == seat.seat_id or one.role == LEAD or met(context, rows, seat, one)]


async def compromised(context: Context, unit: str, request: CompromisedRequest) -> CompromisedAnswer:
    """Answer `POST /v1/compromised`: the unit is shut out by its own word. Raises `HS-SIGNATURE-INVALID`."""
    row = context.directory.get(unit)
    said = Compromise.from_bytes(request.statement)
    signed_by(row.signing_key, request.unit_signature, request.statement)
    if said.unit != unit or said.origin != context.origin:
        raise HandslagError("HS-SIGNATURE-INVALID")
    payload = Payload(act=request.statement, act_signature=request.unit_signature, code="HS-UNIT-COMPROMISED")
    entry = context.recorder.about_unit(unit, row.controller, "ADMIN", payload, context.now_us())
    held = await shut_out(context, unit, entry, row.signing_key)
    return CompromisedAnswer(held=held or 0, entry_id=entry.entry_id, leaf_hash=entry.leaf_hash)


async def shut_out(context: Context, unit: str, entry: SealedEntry, stolen: bytes | None = None) -> int | None:
    """Close a unit: revoke it, and hold back what is open from it and to it, behind the gates of its cases.

    A batch that was decided before and not committed is decided anew; a hand-over that was prepared finds another row
    version. `stolen` is a signing key that is never admitted again. Returns how many deliveries are held, None when the
    unit was not admitted.
    """
    # INVARIANT: test_a_unit_that_was_shut_out_gives_and_gets_nothing_more
    for _ in range(_RETRIES):
        wanted = await context.store.read(lambda rows: buckets(rows, unit))

        def work(rows: Rows, wanted: frozenset[int] = wanted) -> int | None:
            now_us = context.now_us()
            clocks = [rows.gate.bump(bucket, 1, now_us).clock_us for bucket in sorted(wanted)]
            if not buckets(rows, unit) <= wanted:
                raise GateMoved
            if not rows.units.revoke(unit, max([now_us, *clocks])):
                return None
            rows.entries.insert([entry])
            if stolen is not None:
                rows.instances.remember(unit, replace(rows.instances.memory(unit), compromised_key=stolen))
            return rows.deliveries.hold(unit, [seat.seat_id for seat in rows.cases.every(unit=unit)])

        try:
            return await context.store.write(work)
        except GateMoved:
            continue
    raise HandslagError("HS-NOT-RECORDED")


def buckets(rows: Rows, unit: str) -> frozenset[int]:
    """Buckets of every case that a unit has a seat in or is invited to."""
    return frozenset({seat.bucket for seat in rows.cases.every(unit=unit)} | rows.cases.invited_buckets(unit))


__all__ = ["SURE_S", "Shown", "admitted", "announce", "buckets", "compromised", "seen_by", "shut_out"]
