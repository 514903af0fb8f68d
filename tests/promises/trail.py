"""Reading the trail as its owners do: every payload of a seat, opened with the seat's own keys."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from audit.entry import open_payload
from broker.store.tables import entry, payload
from schemas.errors import HandslagError
from schemas.trail import AuditEntry, Payload
from tests.site import Site


@dataclass(frozen=True)
class Recorded:
    operation: str
    outcome: str | None
    raw: AuditEntry
    payload: Payload


async def trail(site: Site, seat_id: bytes | None = None, unit: str | None = None) -> list[Recorded]:
    """Entries that the keys of one seat (or of one unit) open, oldest first."""
    keys = site.vault.seat(seat_id) if seat_id is not None else site.vault.unit(unit or "")

    def look(rows):
        query = select(entry.c.bytes, payload.c.blob).join(payload, payload.c.entry_id == entry.c.entry_id)
        found = rows.gate._c.execute(query.order_by(entry.c.number))
        return [
            (rows.cipher.open("entry.bytes", row.bytes), rows.cipher.open("payload.blob", row.blob)) for row in found
        ]

    found = []
    for raw, blob in await site.store.read(look):
        one = AuditEntry.from_bytes(raw)
        try:
            found.append(Recorded(one.operation, one.outcome, one, open_payload(one, blob, keys.dek(one.entry_id))))
        except HandslagError:
            continue  # somebody else's
    return found


async def all_entries(site: Site) -> list[AuditEntry]:
    rows = await site.store.read(lambda rows: list(rows.gate._c.execute(select(entry.c.bytes))))
    return [AuditEntry.from_bytes(site.cipher.open("entry.bytes", row.bytes)) for row in rows]
