"""Taking a unit in, or in again: its row, its entry, and what was held back while it was shut out."""

from __future__ import annotations

from broker import instances
from broker.acts import tell_shrunk
from broker.admissions import Admission
from broker.context import Context
from broker.narrowing import shrink
from broker.store.deliveries import DeliveryRow
from broker.store.gate import GateMoved
from broker.store.hold import RELEASED
from broker.store.port import Rows
from broker.store.units import UnitRow
from schemas.errors import HandslagError
from schemas.statements import UnitEntry
from schemas.trail import Payload

_RETRIES = 20  # a case that the unit is drawn into between the look and the write makes it look again


async def take_in(context: Context, admission: Admission) -> bool:
    """Take a unit into the store, with its entry; returns whether anything changed. Raises `HS-UNIT-COMPROMISED`."""
    before, stolen = await require_unstolen(context, admission)
    entry = UnitEntry.from_bytes(admission.entry)
    # INVARIANT: test_a_unit_that_was_shut_out_stays_out_after_a_restart
    # A unit that closed itself is opened by a new admission only, and that brings a new certificate.
    if before and before.certificate == admission.certificate_sha256:
        return False
    same = before is not None and before.signing_key == entry.signing_key
    at_us = context.now_us()
    row = _row(entry, admission, before.instance if before and same else 0, at_us)
    payload = Payload(act=admission.entry, act_signature=admission.signature)
    recorded = context.recorder.about_unit(entry.unit, entry.controller, "ADMIN", payload, at_us)

    # What was held back is let go only to the keys that it was held back from, and never after a theft.
    back = before is not None and before.revoked_at_us is not None and same and stolen is None
    for _ in range(_RETRIES):
        buckets = await context.store.read(lambda rows: instances.buckets(rows, entry.unit)) if back else frozenset()

        def work(rows: Rows, buckets: frozenset[int] = buckets) -> None:
            clocks = [rows.gate.bump(bucket, 1, at_us).clock_us for bucket in sorted(buckets)]
            if back and not instances.buckets(rows, entry.unit) <= buckets:
                raise GateMoved
            rows.units.put(row)
            instances.admitted(rows, entry.unit, admission.recovery_key, same=same)
            rows.entries.insert([recorded])
            if back:
                _let_go(context, rows, entry.unit, max([at_us, *clocks]))

        try:
            await context.store.write(work)
        except GateMoved:
            continue
        return True
    raise HandslagError("HS-NOT-RECORDED")


async def require_unstolen(context: Context, admission: Admission) -> tuple[UnitRow | None, bytes | None]:
    """What is `known` of the unit; raises `HS-UNIT-COMPROMISED` for the key that it said was stolen."""
    before, stolen = await context.store.read(lambda rows: known(rows, admission.unit))
    if admission.revoked_at_us is None and stolen == UnitEntry.from_bytes(admission.entry).signing_key:
        raise HandslagError("HS-UNIT-COMPROMISED")
    return before, stolen


def _let_go(context: Context, rows: Rows, unit: str, at_us: int) -> None:
    """What was held back while the unit was shut out is decided anew; what is still covered goes again.

    Not what is held for another reason: the other side is shut out, or the broker was restored.
    """
    # INVARIANT: test_what_was_held_back_is_decided_anew_when_the_unit_comes_back
    seats = [seat.seat_id for seat in rows.cases.every(unit=unit)]
    free = [row for row in rows.deliveries.held_back(unit, seats) if not held_otherwise(rows, row)]
    senders = rows.cases.seats({row.sender_seat for row in free})
    views = context.views.of(rows, senders.values())
    shrunk = shrink(rows, free, views, context.rules_of(rows), at_us)
    tell_shrunk(context, rows, shrunk, at_us, "EXPIRED")
    rows.deliveries.let_go([row.delivery_id for row in free])


def held_otherwise(rows: Rows, row: DeliveryRow) -> bool:
    """Whether a delivery is held because one of its sides is shut out or the broker was restored."""
    units = (rows.units.whatever(code) for code in (row.sender_unit, row.recipient_unit))
    shut_out = any(one is None or one.revoked_at_us is not None for one in units)
    return shut_out or rows.hold.state(row.sender_seat) not in {None, RELEASED}


def _row(entry: UnitEntry, admission: Admission, instance: int, at_us: int) -> UnitRow:
    return UnitRow(
        unit=entry.unit,
        agency=entry.agency,
        controller=entry.controller,
        certificate=admission.certificate_sha256,
        entry=admission.entry,
        agency_signature=admission.signature,
        signing_key=entry.signing_key,
        hpke_key=entry.hpke_key,
        instance=instance,
        admitted_at_us=at_us,
        revoked_at_us=None,
        probe=admission.probe,
    )


def known(rows: Rows, unit: str) -> tuple[UnitRow | None, bytes | None]:
    """The unit as the store has it, shut out or not, and the signing key that it said was stolen."""
    return rows.units.whatever(unit), rows.instances.memory(unit).compromised_key
