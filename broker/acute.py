"""Disclosures in acute danger: a second person's word within 24 hours, or the data protection officers of both units.

What went cannot be called back; what is made sure of is that one person's decision at night is looked at by another,
and that its absence is nobody's secret.
"""

from __future__ import annotations

from audit.entry import SealedEntry
from broker.calls import answered, recorded
from broker.context import Context
from broker.statute import recorded_answer
from broker.statute_checks import check_spoken_at, checked_word
from broker.store.cases import SeatRow
from broker.store.inbox import Item
from broker.store.port import Rows
from broker.store.statutes import OPEN, TOLD, AcuteRow, one_time
from consent.statute import CONFIRM_WITHIN_US, PROVEN
from schemas import codes, limits
from schemas.codes import SeatState
from schemas.errors import HandslagError
from schemas.inbox import Notice
from schemas.statute import BASIS, OPERATION, TYPE, RecordedAnswer, SecondRequest, SecondWord
from schemas.trail import Payload

UNCONFIRMED = "HS-STATUTE-UNCONFIRMED"
NOTICE = "statute_unconfirmed"
_PIECE = 200
_REFUSED = "NOT_CONFIRMED"


async def confirm(context: Context, unit: str, request: SecondRequest) -> RecordedAnswer:
    """Answer `POST /v1/disclosures:confirm`: another person's word about a disclosure in acute danger.

    It is taken also after the 24 hours, and after the seat was closed. A word against it tells both units at once.
    Raises `HS-SEAT-UNKNOWN`, `HS-SIGNATURE-INVALID`, `HS-STATUTE-SECOND` for the decider's own word,
    `HS-STATUTE-INVALID` for one about nothing that waits, or dated before it or in the future.
    """
    if (before := await answered(context, unit, request)) is not None:
        return RecordedAnswer.from_bytes(before)
    found = await context.store.read(lambda rows: rows.cases.seat(request.seat_id))
    if found is None or found.unit != unit:
        raise HandslagError("HS-SEAT-UNKNOWN")

    def work(rows: Rows) -> RecordedAnswer:
        seat, row = _awaited(rows, request)
        word = checked_word(seat, row.statement_hash, request.second, request.second_signature, request.seat_signature)
        _check(word, row)
        now_us = context.now_us()
        # The decision's own time is not kept here: when it was recorded is, five minutes between two clocks aside.
        check_spoken_at(word, row.confirm_by_us - CONFIRM_WITHIN_US - limits.SENT_AHEAD_US, now_us)
        entry = _entry(context, seat, row, now_us, word.verdict, request)
        rows.entries.insert([entry])
        if word.verdict == _REFUSED and row.state == OPEN:
            _tell(context, rows, row, seat, now_us)
        rows.statutes.settle(row.disclosure_id, word.verdict)
        return recorded_answer(rows, unit, request, entry, now_us)

    return await recorded(context, unit, request, work, RecordedAnswer)


async def unconfirmed(context: Context) -> int:
    """Record each disclosure that nobody confirmed in time, and tell both units; returns how many."""
    # INVARIANT: test_what_nobody_confirms_is_told_to_both_units
    now_us = context.now_us()
    if not await context.store.read(lambda rows: rows.statutes.unconfirmed(now_us, 1)):
        return 0

    def work(rows: Rows) -> int:
        late = rows.statutes.unconfirmed(now_us, _PIECE)
        seats = rows.cases.seats({row.seat_id for row in late})
        for row in late:
            seat = seats.get(row.seat_id)
            if seat is not None:
                rows.entries.insert([_entry(context, seat, row, now_us, UNCONFIRMED, None)])
                _tell(context, rows, row, seat, now_us)
            rows.statutes.settle(row.disclosure_id, TOLD)
        return len(late)

    return await context.store.write(work)


def _awaited(rows: Rows, request: SecondRequest) -> tuple[SeatRow, AcuteRow]:
    """The seat and what waits for the word; a closed seat that nothing waits for, or an erased one, is unknown.

    What one person decided at night is looked at by another also when the unit has left the case: else both units are
    told that nobody would.
    """
    # INVARIANT: test_the_second_person_speaks_also_after_the_seat_closed
    seat, row = rows.cases.seat(request.seat_id), rows.statutes.acute(request.disclosure_id)
    waits = row is not None and row.seat_id == request.seat_id and row.state in {OPEN, TOLD}
    if (
        seat is None
        or (seat.state == SeatState.CLOSED and not waits)
        or rows.erasures.of_seat(request.seat_id) is not None
    ):
        raise HandslagError("HS-SEAT-UNKNOWN")
    if row is None or not waits:
        raise HandslagError("HS-STATUTE-INVALID", check="disclosure")
    return seat, row


def _check(word: SecondWord, row: AcuteRow) -> None:
    """Another person, with a key of their own, who says one of the two words there are."""
    codes.known("second_verdict", word.verdict, "verdict")
    if word.assurance != PROVEN:
        raise HandslagError("HS-NOT-YET", field="assurance")
    same = {one_time(row.disclosure_id, word.key), one_time(row.disclosure_id, word.ref.encode())}
    if not word.ref or same & {row.decider_key, row.decider_hash}:
        raise HandslagError("HS-STATUTE-SECOND")


def _entry(
    context: Context, seat: SeatRow, row: AcuteRow, at_us: int, code: str, request: SecondRequest | None
) -> SealedEntry:
    word = None if request is None else SecondWord.from_bytes(request.second)
    payload = Payload(
        seat_id=seat.seat_id,
        role=seat.role,
        event_id=row.event_id,
        event_type=TYPE,
        basis=BASIS,
        decided_at_us=at_us,
        act=None if request is None else request.to_bytes(),
        act_signature=None if request is None else request.seat_signature,
        actor_ref=None if word is None else word.ref,
        assurance=None if word is None else word.assurance,
        code=code,
    )
    return context.recorder.about_seat(seat, context.directory.controller(seat.unit), OPERATION, payload, at_us)


def _tell(context: Context, rows: Rows, row: AcuteRow, seat: SeatRow, at_us: int) -> None:
    """A notice to each unit, for its data protection officer: in codes, with nothing of what was disclosed."""
    told = [seat, *rows.cases.seats([row.recipient_seat]).values()]
    items = []
    for one in told:
        notice = Notice(seat_id=one.seat_id, code=NOTICE, event_id=row.event_id, categories=(), at_us=at_us)
        items.append(Item(context.new_id(), one.unit, "NOTICE", notice.to_bytes()))
    rows.inbox.put(items)
