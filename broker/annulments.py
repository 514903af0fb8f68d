"""After a consent was annulled: everybody who was given something under it is told, in codes, and answers.

The notices are of the closed list of what travels without consent: they follow an earlier release, to its recipients
only, and bring nothing new about anybody. Which sections are meant is said by digests that only who got them can read.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from broker.acks import outcome_entries, recipient_seat
from broker.affected import Write
from broker.calls import answered, recorded
from broker.context import Context
from broker.narrowing import WRONG_PERSON, Shrunk
from broker.store.annulments import AnnulNoticeRow
from broker.store.cases import SeatRow
from broker.store.deliveries import DeliveryRow, SectionRow
from broker.store.inbox import Item
from broker.store.port import Rows
from consent.admission import ANNULLING
from schemas import codes
from schemas.acts import CaseWithdrawal
from schemas.codes import SeatState
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16
from schemas.inbox import Notice
from schemas.said import (
    AnnulAnswer,
    AnnulAnswerRequest,
    AnnulledRelease,
    AnnulmentsPage,
    AnnulmentsRequest,
    AnnulNotice,
)
from schemas.statute import TYPE as STATUTORY

_CODES = {"CONSENT_INVALID": "HS-DO-NOT-RELY", WRONG_PERSON: "HS-WRONG-PERSON"}


def tell(context: Context, rows: Rows, write: Write, shrunk: Sequence[Shrunk], at_us: int) -> None:
    """Put a notice into the inbox of every recipient of a release under an annulled consent, once for each ground.

    In the transaction of the act, after it shrank what was open. INVARIANT: test_every_recipient_is_told_and_no_other.
    """
    if write.act.act in ANNULLING:
        _tell(context, rows, write.seat, write.act.consent_id, _ground("act", write.act.act), shrunk, at_us)


def ground_of(withdrawal: CaseWithdrawal) -> str | None:
    """The ground on which a withdrawal of everything declares the whole case void; None for the person's own word."""
    return _ground("void", withdrawal.method) or None


def _ground(column: str, value: str) -> str:
    return next((code for code, row in codes.table()["annul_ground"].items() if row[column] == value), "")


def void_case(context: Context, rows: Rows, case_id: bytes, ground: str, shrunk: Sequence[Shrunk], at_us: int) -> None:
    """A case never was one: nothing is granted in it any more, and of every release in it every recipient is told.

    In the transaction that withdraws everything. Each discloser is told as well, and lists its own; one that has left
    the case since is a discloser all the same, except the lead that handed it over.
    INVARIANT: test_a_void_case_tells_every_recipient_of_every_discloser.
    """
    rows.annulments.void(case_id, ground, at_us)
    for seat in rows.cases.ever_of_case(case_id):
        _tell(context, rows, seat, ZERO16, ground, shrunk, at_us)
        notice = Notice(seat_id=seat.seat_id, code="case_void", categories=(), detail=ground, at_us=at_us)
        if not left(seat):
            rows.inbox.put([Item(context.new_id(), seat.unit, "NOTICE", notice.to_bytes())])


def mailbox(context: Context, seat: SeatRow | None, at_us: int) -> int:
    """From when an item may be fetched: of who handed the lead's role over from the weekly slot on.

    The day on which somebody corrects something would tell of the case it has left.

    INVARIANT: test_a_correction_comes_to_who_left_in_the_weekly_slot_and_nothing_else_does.
    """
    return context.next_slot(at_us) if left(seat) else 0


def left(seat: SeatRow | None) -> bool:
    """Whether a seat has handed the lead's role over: it gets nothing more but corrections, and asks nothing."""
    return seat is not None and seat.state == SeatState.CLOSED and seat.role == _LEAD


def _tell(
    context: Context,
    rows: Rows,
    seat: SeatRow,
    consent_id: bytes,
    ground: str,
    shrunk: Sequence[Shrunk],
    at_us: int,
) -> None:
    before = {one.row.delivery_id: one.row.state for one in shrunk}
    for row, handed in _untold(rows, seat.seat_id, consent_id, ground):
        seats = rows.cases.seats({row.sender_seat, recipient_seat(rows, row)})
        ours, theirs = outcome_entries(context, row, handed, seats, at_us, _CODES[ground])
        rows.entries.insert([ours, theirs])
        notice = AnnulNotice(
            seat_id=recipient_seat(rows, row),
            notice_id=_notice_id(consent_id, row.delivery_id, ground),
            delivery_id=row.delivery_id,
            event_id=row.event_id,
            invitation_id=row.invitation_id,
            ground=ground,
            from_role=seat.role,
            digests=tuple(section.digest for section in handed),
            at_us=at_us,
            entry_id=theirs.entry_id,
            leaf_hash=theirs.leaf_hash,
        )
        when = mailbox(context, seats.get(notice.seat_id), at_us)
        rows.inbox.put([Item(context.new_id(), row.recipient_unit, "ANNULMENT", notice.to_bytes(), when)])
        state_before = before.get(row.delivery_id, row.state)
        rows.annulments.put([kept(notice, row, handed, consent_id, state_before)])


def _notice_id(consent_id: bytes, delivery_id: bytes, ground: str) -> bytes:
    """The same for the same notice, also when a restored broker tells it again: nobody is told twice of one thing."""
    # INVARIANT: test_an_annulment_that_the_copy_lacks_is_told_again
    return sha256(b"|".join([b"HS1 annul notice", consent_id, delivery_id, ground.encode()])).digest()[:16]


def kept(
    notice: AnnulNotice, row: DeliveryRow, handed: Sequence[SectionRow], consent_id: bytes, state_before: str
) -> AnnulNoticeRow:
    """What is remembered of a notice, so that its answer finds it."""
    return AnnulNoticeRow(
        notice_id=notice.notice_id,
        seat_id=row.sender_seat,
        consent_id=consent_id,
        delivery_id=row.delivery_id,
        recipient_unit=row.recipient_unit,
        categories=",".join(sorted({section.category for section in handed})),
        state_before=state_before,
        ground=notice.ground,
        noticed_at_us=notice.at_us,
    )


_LEAD = "social_services_lead"


def releases(
    rows: Rows, seat_id: bytes, consent_id: bytes, *, laws: bool = False
) -> list[tuple[DeliveryRow, tuple[SectionRow, ...]]]:
    """Deliveries ever handed over, with the sections that rested on the consent when they were; zeros: on any.

    `laws`, with zeros: also what went on a law. That never rested on a consent, but it was about the same person.
    """
    # INVARIANT: test_what_went_on_a_law_about_the_wrong_person_is_told
    every = laws and consent_id == ZERO16
    found = []
    for row, sections in rows.deliveries.handed_since(seat_id, 0):
        law = every and row.event_type == STATUTORY
        handed = tuple(section for section in sections if law or _rested(rows, section, consent_id))
        if handed:
            found.append((row, handed))
    return found


def untold(rows: Rows, write: Write) -> list[tuple[DeliveryRow, tuple[SectionRow, ...]]]:
    """The releases of whose annulment `tell` tells the recipients, each with what was handed over on the consent."""
    if write.act.act not in ANNULLING:
        return []
    return _untold(rows, write.seat.seat_id, write.act.consent_id, _ground("act", write.act.act))


def _untold(
    rows: Rows, seat_id: bytes, consent_id: bytes, ground: str
) -> list[tuple[DeliveryRow, tuple[SectionRow, ...]]]:
    known = {row.delivery_id for row in rows.annulments.told(seat_id, consent_id) if row.ground == ground}
    every = releases(rows, seat_id, consent_id, laws=ground == WRONG_PERSON)
    return [(row, handed) for row, handed in every if row.delivery_id not in known]


def _rested(rows: Rows, section: SectionRow, consent_id: bytes) -> bool:
    now = {section.grants[at : at + 16] for at in range(0, len(section.grants), 16)}
    if consent_id == ZERO16:
        return bool(now)
    return consent_id in now or rows.annulments.rested_before(section.delivery_id, section.digest, consent_id)


async def listed(context: Context, unit: str, request: AnnulmentsRequest) -> AnnulmentsPage:
    """Answer `POST /v1/annulments:list` for the discloser's own seat; raises `HS-SEAT-UNKNOWN`."""

    def look(rows: Rows) -> AnnulmentsPage | None:
        seat = rows.cases.seat(request.seat_id)
        if seat is None or seat.unit != unit or left(seat):
            return None
        told = rows.annulments.told(seat.seat_id, request.consent_id)
        deliveries = rows.deliveries.get([row.delivery_id for row in told])
        return AnnulmentsPage(releases=tuple(_release(row, deliveries[row.delivery_id]) for row in told))

    found = await context.store.read(look)
    if found is None:
        raise HandslagError("HS-SEAT-UNKNOWN")
    return found


def _release(told: AnnulNoticeRow, row: DeliveryRow) -> AnnulledRelease:
    return AnnulledRelease(
        notice_id=told.notice_id,
        delivery_id=told.delivery_id,
        event_id=row.event_id,
        event_type=row.event_type,
        role=row.role,
        categories=tuple(told.categories.split(",")),
        hand_number=row.hand_number,
        state_before=told.state_before,
        ground=told.ground,
        noticed_at_us=told.noticed_at_us,
        verdict=told.verdict,
        reason=told.reason,
        answered_at_us=told.answered_at_us,
    )


async def answer(context: Context, unit: str, request: AnnulAnswerRequest) -> AnnulAnswer:
    """Answer `POST /v1/annulments:answer`: what the recipient did, in the trail of both, and told to the discloser.

    Raises `HS-ITEM-GONE` for a notice that is not this unit's, `HS-CODE-UNKNOWN`, `HS-CALL-CHANGED`.
    """
    if (before := await answered(context, unit, request)) is not None:
        return AnnulAnswer.from_bytes(before)
    codes.known("annul_verdict", request.verdict, "verdict")
    if (request.verdict == "KEPT") != (request.reason is not None):
        raise HandslagError("HS-CODE-UNKNOWN", field="reason")
    if request.reason is not None:
        codes.known("kept_reason", request.reason, "reason")

    def work(rows: Rows) -> AnnulAnswer:
        return _recorded(context, unit, request, rows)

    return await recorded(context, unit, request, work, AnnulAnswer)


def _recorded(context: Context, unit: str, request: AnnulAnswerRequest, rows: Rows) -> AnnulAnswer:
    # INVARIANT: test_nobody_answers_for_another_unit
    told = rows.annulments.get(request.notice_id, unit)
    if told is None:
        raise HandslagError("HS-ITEM-GONE")
    at_us = context.now_us()
    row = rows.deliveries.get([told.delivery_id])[told.delivery_id]
    handed = next(
        sections
        for one, sections in releases(rows, told.seat_id, told.consent_id, laws=told.ground == WRONG_PERSON)
        if one.delivery_id == told.delivery_id
    )
    seats: dict[bytes, SeatRow] = rows.cases.seats({row.sender_seat, recipient_seat(rows, row)})
    ours, theirs = outcome_entries(context, row, handed, seats, at_us, request.reason or request.verdict)
    rows.entries.insert([ours, theirs])
    rows.annulments.answer(request.notice_id, request.verdict, request.reason, at_us)
    notice = Notice(
        seat_id=row.sender_seat,
        code="annul_kept" if request.reason else "annul_acknowledged",
        event_id=row.event_id,
        role=row.role,
        categories=tuple(told.categories.split(",")),
        detail=request.reason or request.verdict,
        at_us=at_us,
        entry_id=ours.entry_id,
        leaf_hash=ours.leaf_hash,
    )
    rows.inbox.put([Item(context.new_id(), row.sender_unit, "NOTICE", notice.to_bytes())])
    made = AnnulAnswer(
        call_id=request.call_id, recorded_at_us=at_us, entry_id=theirs.entry_id, leaf_hash=theirs.leaf_hash
    )
    rows.units.answer(unit, request.call_id, sha256(request.to_bytes()).digest(), made.to_bytes(), at_us)
    return made
