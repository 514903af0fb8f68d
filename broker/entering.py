"""Taking a unit in, or in again: its row, its entry, and what was held back while it was shut out."""

from __future__ import annotations

from broker import instances
from broker.admissions import Admission
from broker.context import Context
from broker.store.port import Rows
from broker.store.units import UnitRow
from schemas.errors import HandslagError
from schemas.statements import UnitEntry
from schemas.trail import Payload


async def take_in(context: Context, admission: Admission) -> bool:
    """Take a unit into the store, with its entry; returns whether anything changed. Raises `HS-UNIT-COMPROMISED`."""
    entry = UnitEntry.from_bytes(admission.entry)
    before, stolen = await context.store.read(lambda rows: known(rows, admission.unit))
    # INVARIANT: test_a_unit_that_was_shut_out_stays_out_after_a_restart
    # A unit that closed itself is opened by a new admission only, and that brings a new certificate.
    if before and before.certificate == admission.certificate_sha256:
        return False
    if stolen == entry.signing_key:
        raise HandslagError("HS-UNIT-COMPROMISED")
    same = before is not None and before.signing_key == entry.signing_key
    at_us = context.now_us()
    row = _row(entry, admission, before.instance if before and same else 0, at_us)
    payload = Payload(act=admission.entry, act_signature=admission.signature)
    recorded = context.recorder.about_unit(entry.unit, entry.controller, "ADMIN", payload, at_us)

    def work(rows: Rows) -> None:
        rows.units.put(row)
        instances.admitted(rows, entry.unit, admission.recovery_key, same=same)
        rows.entries.insert([recorded])

    await context.store.write(work)
    return True


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
