"""What an act did to what was released: counted per role, and listed delivery by delivery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.context import Context
from broker.narrowing import Shrunk
from broker.store.cases import SeatRow
from broker.store.deliveries import DeliveryRow, SectionRow
from broker.store.gate import Bump
from broker.store.port import Rows
from consent.admission import ANNULLING
from consent.ledger import LedgerView, ends
from consent.records import ALWAYS
from schemas.acts import ConsentAct, LedgerEvent
from schemas.codes import DeliveryState, consent_acts
from schemas.inbox import AffectedDelivery, RoleCount
from schemas.statute import TYPE as STATUTORY

# What takes something from a consent itself; a block forbids beside it.
ENDING = consent_acts("NARROWS") - {"BLOCK"}


@dataclass(frozen=True, slots=True)
class Write:
    """One act on one seat's ledger, as recorded: the seat, and what its ledger says after it and said before it."""

    seat: SeatRow
    act: ConsentAct
    event: LedgerEvent
    view: LedgerView
    before: LedgerView


def affected(seat_id: bytes, shrunk: Sequence[Shrunk]) -> tuple[AffectedDelivery, ...]:
    """The open deliveries of a discloser's seat that an act took sections from."""
    return tuple(
        AffectedDelivery(
            delivery_id=one.row.delivery_id,
            event_id=one.row.event_id,
            role=one.row.role,
            hand_number=one.row.hand_number,
            removed=len(one.removed),
            state_before=one.row.state,
        )
        for one in shrunk
        if one.row.sender_seat == seat_id
    )


Acked = Sequence[tuple[DeliveryRow, tuple[SectionRow, ...]]]


def rested(rows: Rows, writes: Sequence[Write]) -> Acked:
    """Acknowledged deliveries that rest on what was withdrawn: they stay where they are, and are counted."""
    withdrawn = {w.seat.seat_id: w for w in writes if w.act.act in ENDING}
    if not withdrawn:
        return []
    ended = {seat_id: _ended(write) for seat_id, write in withdrawn.items()}
    return [
        (row, sections)
        for row, sections in rows.deliveries.acked_of_senders(withdrawn)
        if row.event_type != STATUTORY
        and any(_withdrawn(withdrawn[row.sender_seat].act, ended[row.sender_seat], section) for section in sections)
    ]


def consents_of(section: SectionRow) -> set[bytes]:
    """The consents (16 bytes each) that a section rests on."""
    return {section.grants[i : i + 16] for i in range(0, len(section.grants), 16)}


def counts_of(seat_id: bytes, shrunk: Sequence[Shrunk], received: Acked) -> tuple[RoleCount, ...]:
    """What the act stopped, what may have arrived, and what had been received, per role."""
    mine = [one for one in shrunk if one.row.sender_seat == seat_id]
    held = [row for row, _sections in received if row.sender_seat == seat_id]
    # Handed over by now or before and never acknowledged: each delivery once.
    perhaps = {one.row.delivery_id: one.row.role for one in mine if one.row.state == DeliveryState.HANDED}
    perhaps |= {row.delivery_id: row.role for row in held if row.state != DeliveryState.ACKED}
    roles = sorted({one.row.role for one in mine} | {row.role for row in held})
    return tuple(
        RoleCount(
            role=role,
            stopped=sum(1 for o in mine if o.row.role == role and o.row.state == DeliveryState.PENDING),
            may_have_arrived=sum(1 for each in perhaps.values() if each == role),
            received=sum(1 for row in held if row.role == role and row.state == DeliveryState.ACKED),
        )
        for role in roles
    )


def incidents(
    context: Context, rows: Rows, write: Write, shrunk: Sequence[Shrunk], bump: Bump
) -> tuple[AffectedDelivery, ...]:
    """Hand-overs between the time a withdrawal took effect and its recording: possible incidents, whatever came after.

    Of a consent that was annulled every hand-over ever: it was never valid.

    INVARIANT: test_releases_between_effect_and_recording_are_listed. The last hand-over decides, and it is where the
    lease began; what the act itself shrank is listed already.
    """
    since, act = write.act.effective_at_us, write.act
    if act.act in ANNULLING:
        since = ALWAYS
    if since is None or since >= bump.clock_us or act.act not in ENDING:
        return ()
    ended = _ended(write)
    listed = {one.row.delivery_id for one in shrunk}
    return tuple(
        AffectedDelivery(
            delivery_id=row.delivery_id,
            event_id=row.event_id,
            role=row.role,
            hand_number=row.hand_number,
            removed=0,
            state_before=row.state,
        )
        for row, sections in rows.deliveries.handed_since(write.seat.seat_id, since + context.lease_us)
        if row.delivery_id not in listed
        and row.event_type != STATUTORY  # rested on no consent that could be taken back
        and any(_rested(rows, act, ended, section) for section in sections)
    )


def _rested(rows: Rows, act: ConsentAct, ended: frozenset[bytes], section: SectionRow) -> bool:
    if _withdrawn(act, ended, section):
        return True
    return act.act in ANNULLING and rows.annulments.rested_before(section.delivery_id, section.digest, act.consent_id)


def _ended(write: Write) -> frozenset[bytes]:
    """The consents that an act ends, rests or takes a part of."""
    return frozenset(grant.consent_id for grant in write.view.grants if ends(write.act, grant))


def _withdrawn(act: ConsentAct, ended: frozenset[bytes], section: SectionRow) -> bool:
    """Whether a narrowing act takes back what a section was released on; in doubt about its scope, yes."""
    if act.act == "WITHDRAW_ALL":
        return True
    partly = act.scope.categories if act.scope else ()
    return not ended.isdisjoint(consents_of(section)) and (not partly or section.category in partly)
