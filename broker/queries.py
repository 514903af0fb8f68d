"""What a unit may read: its own seats' ledgers and entries, the directory; a look by a person is an entry first."""

from __future__ import annotations

from dataclasses import replace

from audit.entry import SealedEntry
from broker.acts import own_seat
from broker.calls import answered, recorded, request_hash
from broker.context import Context
from broker.erased import require_not_erased
from broker.quota import QUERIES
from broker.store.cases import SeatRow
from broker.store.port import Rows
from schemas import limits
from schemas.acts import LedgerEvent
from schemas.calls import (
    AuditFetchRequest,
    AuditPage,
    AuditQuery,
    KeyedEntry,
    LedgerFetchRequest,
    LedgerPage,
    UnitsAnswer,
)
from schemas.capsule import LookAnswer, LookRequest
from schemas.errors import HandslagError
from schemas.statements import SignedUnit
from schemas.trail import Payload

PURPOSES = frozenset({"LAWFULNESS", "SELF_MONITORING", "INTEGRITY", "CRIMINAL_PROCEEDINGS"})  # LED art. 25(2)


async def ledger_fetch(context: Context, unit: str, request: LedgerFetchRequest) -> LedgerPage:
    """Answer `POST /v1/ledger:fetch`; with a query, its CONSULTATION entry commits before the answer is read."""
    seat = await _reader(context, unit, request.seat_id)
    entry = await _recorded(context, seat, request.query, "CONSULTATION") if request.query else None

    def look(rows: Rows) -> tuple[SeatRow | None, list[bytes]]:
        return rows.cases.seat(seat.seat_id), rows.ledger.after(seat.seat_id, request.after_seq)

    now, events = await context.store.read(look)
    if now is None:
        raise HandslagError("HS-SEAT-UNKNOWN")
    return LedgerPage(
        events=tuple(LedgerEvent.from_bytes(event, limits.CALL * 2) for event in events),
        ledger_seq=now.ledger_seq,
        head=now.head,
        entry_id=entry.entry_id if entry else None,
        leaf_hash=entry.leaf_hash if entry else None,
    )


async def _reader(context: Context, unit: str, seat_id: bytes) -> SeatRow:
    """The caller's seat whose ledger is read; a closed one only while a hold still waits for its word."""
    # INVARIANT: test_a_removed_member_stays_removed_after_a_restore
    if await context.store.read(lambda rows: rows.hold.held([seat_id])):
        seat = await context.store.read(lambda rows: rows.cases.seat(seat_id))
        if seat is not None and seat.unit == unit:
            return seat
    return await asked(context, unit, seat_id)


async def asked(context: Context, unit: str, seat_id: bytes) -> SeatRow:
    """The caller's open seat; raises `HS-SEAT-UNKNOWN`, and `HS-SEAT-ERASED` for one of the caller's own."""
    try:
        return await own_seat(context, unit, seat_id)
    except HandslagError:
        seat = await context.store.read(lambda rows: rows.cases.seat(seat_id))
        if seat is not None and seat.unit == unit:
            await require_not_erased(context, seat_id)
        raise


async def audit_fetch(context: Context, unit: str, request: AuditFetchRequest) -> AuditPage:
    """Answer `POST /v1/audit:fetch`: the seat's own entries with their keys, after an AUDIT_QUERY entry committed.

    The page ends with that entry, so the same call is given the same page: who wants to see more asks, and is recorded,
    again. INVARIANT: test_a_repeated_look_shows_nothing_that_came_after_it.
    """
    seat = await asked(context, unit, request.seat_id)
    before = await answered(context, unit, request)
    if before is None:
        entry = await _recorded(context, seat, request.query, "AUDIT_QUERY", request)
        entry_id, leaf_hash = entry.entry_id, entry.leaf_hash
    else:
        entry_id, leaf_hash = before[:16], before[16:]
    limit = max(1, min(request.limit, limits.INBOX_ITEMS))
    keys = context.recorder.seat_keys(seat.seat_id)
    handle = keys.handle(context.recorder.segment)
    # INVARIANT: test_a_page_holds_what_committed_late_under_a_lower_number
    await context.store.settled()
    found = await context.store.read(lambda rows: rows.entries.of_handles([handle], request.after, limit + 1, entry_id))
    return AuditPage(
        entries=tuple(
            KeyedEntry(number=number, entry=raw, payload=blob, key=keys.dek(own_id), leaf_hash=leaf)
            for number, own_id, raw, leaf, blob in found[:limit]
        ),
        entry_id=entry_id,
        leaf_hash=leaf_hash,
        more=len(found) > limit,
    )


async def _recorded(
    context: Context, seat: SeatRow, query: AuditQuery, operation: str, request: AuditFetchRequest | None = None
) -> SealedEntry:
    """The entry of a look, committed; raises as `check`."""
    check(query)
    context.quotas.take(seat.unit, {QUERIES: 1})  # each look is an entry
    at_us = context.now_us()
    controller = context.directory.controller(seat.unit)
    entry = context.recorder.about_seat(seat, controller, operation, looking(seat, query), at_us)

    def work(rows: Rows) -> None:
        rows.entries.insert([entry])
        if request is not None:
            told = entry.entry_id + entry.leaf_hash
            rows.units.answer(seat.unit, request.call_id, request_hash(request), told, at_us)

    await context.store.write(work, shared=True)
    return entry


def check(query: AuditQuery) -> None:
    """Raise `HS-CODE-UNKNOWN` for a purpose outside the closed list, `HS-GRANT-INCOMPLETE` without actor or number."""
    if query.purpose not in PURPOSES:
        raise HandslagError("HS-CODE-UNKNOWN", field="purpose")
    if not query.actor_ref or not query.case_number:
        raise HandslagError("HS-GRANT-INCOMPLETE", field="actor")


def looking(seat: SeatRow, query: AuditQuery) -> Payload:
    """What an entry says of who looks at a seat's records, and why."""
    return Payload(
        seat_id=seat.seat_id,
        role=seat.role,
        actor_ref=query.actor_ref,
        assurance=query.assurance,
        query_purpose=query.purpose,
        case_number=query.case_number,
    )


async def look(context: Context, unit: str, request: LookRequest) -> LookAnswer:
    """Answer `POST /v1/capsules:look`: a named officer looks where the person is, or somebody else tried to.

    An entry in the seat's own trail, committed before the connector shows anything. Raises `HS-SEAT-UNKNOWN`,
    `HS-GRANT-INCOMPLETE` (no officer named).
    """
    # INVARIANT: test_a_third_officer_is_refused_and_it_is_in_the_trail
    if (before := await answered(context, unit, request)) is not None:
        return LookAnswer.from_bytes(before)
    seat = await own_seat(context, unit, request.seat_id)
    if not request.actor_ref:
        raise HandslagError("HS-GRANT-INCOMPLETE", field="actor")
    at_us = context.now_us()
    about = Payload(seat_id=seat.seat_id, role=seat.role, actor_ref=request.actor_ref, assurance=request.assurance)
    if request.allowed:
        operation, payload = "CONSULTATION", replace(about, query_purpose="CASE_TRANSFER")
    else:
        operation, payload = "REFUSAL", replace(about, code="HS-OFFICER-NOT-NAMED")
    entry = context.recorder.about_seat(seat, context.directory.controller(unit), operation, payload, at_us)
    answer = LookAnswer(call_id=request.call_id, entry_id=entry.entry_id, leaf_hash=entry.leaf_hash)

    def work(rows: Rows) -> LookAnswer:
        rows.entries.insert([entry])
        rows.units.answer(unit, request.call_id, request_hash(request), answer.to_bytes(), at_us)
        return answer

    return await recorded(context, unit, request, work, LookAnswer)


def units(context: Context) -> UnitsAnswer:
    """Answer `GET /v1/units`: the whole directory, the same for everybody."""
    return UnitsAnswer(
        units=tuple(SignedUnit(entry=row.entry, signature=row.agency_signature) for row in context.directory.all())
    )
