"""What connectors give back to a restored broker: consent acts as they were recorded, then their word that it is all.

An act that the broker lost is recorded again at its old number and time, so that the heads are those that the seat and
its auditors know; the entry says now, and that it was given back. A discloser can so repeat what it signed and nothing
else. A withdrawal of everything that one seat noted is put on every other seat's ledger when that seat has given back
what came before it; until then the whole case is held, so nothing waits for it. Cases that are joined as one person's
count as one here: the word may have been noted in any of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from broker import annulments, endings, keys_back, programme
from broker.acts import opened_case, tell_shrunk, why
from broker.affected import Write, affected
from broker.calls import signed_by_known_seat
from broker.context import Context
from broker.hold import VOID_FROM_US, Keeper, everything
from broker.narrowing import Shrunk, shrink
from broker.store.cases import SeatRow
from broker.store.gate import Bump, GateMoved
from broker.store.hold import CONFIRMED, HELD, RELEASED, REPLAYED, HoldRow
from broker.store.inbox import Item
from broker.store.joins import CrossingRow
from broker.store.port import Rows
from broker.visibility import introduce_keys
from broker.writes import bumped
from consent.admission import WIDENING, check_act, check_holders
from consent.ledger import head_after
from schemas import limits
from schemas.acts import CaseWithdrawal, ConsentAct, LedgerEvent
from schemas.codes import SeatState
from schemas.errors import HandslagError
from schemas.hold import ConfirmRequest, HeadConfirmation, HoldSeatAnswer, RecordedWithdrawal, ReplayRequest
from schemas.inbox import LedgerNotice
from schemas.trail import Payload

_ALL = "WITHDRAW_ALL"
_SAME_US = 2_000_000  # one word was recorded in two buckets at once, each by its own clock
_RETRIES = 20  # a join between the look and the write makes it look again
_Placed = list[Write]


async def replay(context: Context, unit: str, request: ReplayRequest) -> HoldSeatAnswer:
    """Answer `POST /v1/hold:replay`; repeating it records nothing twice.

    Raises `HS-SEAT-UNKNOWN`, `HS-HOLD-NONE` (no such hold, or not of this seat), `HS-HEAD-STALE` (the acts do not
    follow the broker's last one), `HS-SIGNATURE-INVALID`, what `check_act` raises and `keys_back.take`.
    """
    seat = await _own(context, unit, request.seat_id)
    sealed = await keys_back.sealed_units(context, seat, request.statements)
    return await _repeated(
        context, seat, lambda rows, buckets: _Replay(context, rows, request, seat, sealed, buckets).run()
    )


async def confirm(context: Context, keeper: Keeper, origin: str, unit: str, request: ConfirmRequest) -> HoldSeatAnswer:
    """Answer `POST /v1/hold:confirm`: when it was the last seat of its case, the case is free.

    Raises `HS-SEAT-UNKNOWN`, `HS-SIGNATURE-INVALID`, `HS-HOLD` (the log does not go on yet, or the statement is of
    another hold or origin), `HS-HEAD-LOST` (another head, or a removal the broker lacks), `HS-CASE-INCOMPLETE`.
    """
    said = HeadConfirmation.from_bytes(request.statement)
    seat = await _own(context, unit, said.seat_id)
    await signed_by_known_seat(context, seat, request.signature, request.statement)
    row = keeper.row
    if row is None or keeper.silent or (said.hold_id, said.origin) != (row.hold_id, origin):
        raise HandslagError("HS-HOLD")
    answer = await _repeated(context, seat, lambda rows, buckets: _confirm(context, rows, request, said, seat, buckets))
    await keeper.load()
    return answer


async def _repeated(
    context: Context, seat: SeatRow, work: Callable[[Rows, frozenset[int]], HoldSeatAnswer]
) -> HoldSeatAnswer:
    """Write behind the gates of the case and of those joined with it; again when a join came between."""
    for _ in range(_RETRIES):
        buckets = await context.store.read(lambda rows: _buckets(rows, seat))

        def locked(rows: Rows, buckets: frozenset[int] = buckets) -> HoldSeatAnswer:
            return work(rows, buckets)

        try:
            return await context.store.write(locked)
        except GateMoved:
            continue
    raise HandslagError("HS-NOT-RECORDED")


def _cases(rows: Rows, seat: SeatRow) -> list[bytes]:
    """The seat's case, and those joined with it as the same person's."""
    return [seat.case_id, *rows.joins.linked(seat.case_id)]


def _buckets(rows: Rows, seat: SeatRow) -> frozenset[int]:
    return frozenset({seat.bucket, *(one.bucket for one in rows.cases.every(case_ids=_cases(rows, seat)))})


def _locked(
    context: Context, rows: Rows, seat: SeatRow, room: int, buckets: Collection[int]
) -> tuple[dict[int, Bump], list[bytes]]:
    """The bumps of every bucket concerned, ascending, and the cases; raises GateMoved when a join changed them."""
    bumps = bumped(rows, dict.fromkeys(buckets, room), context.now_us())
    if not _buckets(rows, seat) <= set(buckets):
        raise GateMoved
    return bumps, _cases(rows, seat)


async def _own(context: Context, unit: str, seat_id: bytes) -> SeatRow:
    """The caller's seat in whatever state: one that was closed meanwhile may still know of a withdrawal."""
    seat = await context.store.read(lambda rows: rows.cases.seat(seat_id))
    if seat is None or seat.unit != unit:
        raise HandslagError("HS-SEAT-UNKNOWN")
    # INVARIANT: test_a_restored_broker_erases_again_and_takes_nothing_back
    if await context.store.read(lambda rows: rows.erasures.of_seat(seat_id)) is not None:
        raise HandslagError("HS-SEAT-UNKNOWN")
    return seat


@dataclass(slots=True)
class _Positions:
    """Positions on the knowledge axis, taken all at once and given out one by one, by bucket."""

    bumps: Mapping[int, Bump]
    used: Counter[int] = field(default_factory=Counter)

    def take(self, bucket: int) -> int:
        self.used[bucket] += 1
        return self.bumps[bucket].first_version + self.used[bucket] - 1


class _Replay:
    """The body of one replay; runs on the store's writer."""

    def __init__(
        self,
        context: Context,
        rows: Rows,
        request: ReplayRequest,
        seat: SeatRow,
        sealed: keys_back.Sealed,
        buckets: Collection[int],
    ) -> None:
        self.context = context
        self.rows = rows
        self.request = request
        self.seat = seat
        self.sealed = sealed
        self.buckets = buckets
        self.void: str | None = None

    def run(self) -> HoldSeatAnswer:
        """Bump, place, spread, narrow, record."""
        rows, request = self.rows, self.request
        cases = _cases(rows, self.seat)
        seats = {one.seat_id for one in rows.cases.of_cases(cases)}
        known = sum(len(rows.hold.withdrawals(case_id)) for case_id in cases)
        room = len(request.events) + (len(seats) + 1) * (len(request.withdrawals) + len(request.events) + known + 1)
        bumps, cases = _locked(self.context, rows, self.seat, room, self.buckets)
        bump, positions = bumps[self.seat.bucket], _Positions(bumps)
        hold, state = rows.hold.active(), rows.hold.state(self.seat.seat_id)
        if hold is None or hold.hold_id != request.hold_id or state is None:
            raise HandslagError("HS-HOLD-NONE")
        now = self._fresh(self.seat.seat_id)
        if state == RELEASED:
            return self._answer(now, state)
        keys_back.take(self.context, rows, now, request.statements, self.sealed, bump)
        now = self._fresh(now.seat_id)
        placed: _Placed = []
        for event in request.events:
            self._place(event, hold, positions, placed)
        for withdrawal in request.withdrawals:
            self._note(withdrawal, hold, now)
        if request.last and state == HELD:
            rows.hold.move([self.seat.seat_id], REPLAYED)
            state = REPLAYED
        # INVARIANT: test_a_withdrawal_lost_in_one_case_holds_the_case_joined_with_it
        seats = {one.seat_id for one in rows.cases.of_cases(cases)} | {self.seat.seat_id}
        for seat_id in sorted(seats - {late for case_id in cases for late in rows.hold.unreplayed(case_id)}):
            self._spread(self._fresh(seat_id), positions, placed)
        self._finish(placed, bump)
        return self._answer(self._fresh(self.seat.seat_id), state)

    def _answer(self, seat: SeatRow, state: str) -> HoldSeatAnswer:
        return replace(_answer(seat, state), keys=keys_back.numbers(self.context, self.rows, seat))

    def _fresh(self, seat_id: bytes) -> SeatRow:
        seat = self.rows.cases.seat(seat_id)
        if seat is None:
            raise HandslagError("HS-SEAT-UNKNOWN")
        return seat

    def _place(self, event: LedgerEvent, hold: HoldRow, positions: _Positions, placed: _Placed) -> None:
        """One act at its old number, when the chain of heads and the seat's signature say that it belongs there."""
        # INVARIANT: test_a_seat_gives_back_only_what_it_signed
        seat = self._fresh(self.seat.seat_id)
        if event.ledger_seq <= seat.ledger_seq:
            held = self.rows.ledger.after(seat.seat_id, event.ledger_seq - 1, 1)
            if LedgerEvent.from_bytes(held[0], limits.CALL * 2).head != event.head:
                raise HandslagError("HS-HEAD-STALE")
            return
        act = ConsentAct.from_bytes(event.act, limits.ACT)
        known = self.context.views.of(self.rows, [seat])[seat.seat_id]
        before = known.recorded_at_us
        linked = head_after(seat.head, event.ledger_seq, event.act, event.holders, event.recorded_at_us)
        follows = event.ledger_seq == seat.ledger_seq + 1 and linked == event.head
        # The machine that is new may be behind the one that was lost.
        if not follows or not before <= event.recorded_at_us <= hold.began_at_us + limits.SENT_AHEAD_US:
            raise HandslagError("HS-HEAD-STALE")
        if (act.case_tag, act.member) != (seat.case_tag, seat.member):
            raise HandslagError("HS-SIGNATURE-INVALID")
        if act.act != _ALL or event.signature is not None:
            if event.signature is None:
                raise HandslagError("HS-SIGNATURE-INVALID")
            keys_back.signed_by_member(self.rows, seat, event.signature, event.act)
            check_act(act, seat.head, event.recorded_at_us, known, self.context.texts)
            check_holders(act, known, event.holders)
        self._append(seat, event, positions, placed)
        if act.act == _ALL:  # it was put on every ledger of the case: others may not have been told
            self.rows.hold.note_withdrawal(hold.hold_id, seat.case_id, event.recorded_at_us, act.effective_at_us)
        if act.act in WIDENING:
            introduce_keys(self.context, self.rows, seat, event.holders)

    def _note(self, withdrawal: RecordedWithdrawal, hold: HoldRow, seat: SeatRow) -> None:
        """A withdrawal of everything that this seat noted: for the whole case, also for those not told of it."""
        said = CaseWithdrawal.from_bytes(withdrawal.act, limits.ACT)
        keys_back.signed_by_member(self.rows, seat, withdrawal.signature, withdrawal.act)
        if (said.case_tag, said.recorder) != (seat.case_tag, seat.member):
            raise HandslagError("HS-SIGNATURE-INVALID")
        ground = annulments.ground_of(said)
        if ground is not None and opened_case(self.rows, seat):
            self.void = ground
        at_us = min(withdrawal.recorded_at_us, hold.began_at_us + limits.SENT_AHEAD_US)
        self.rows.hold.note_withdrawal(hold.hold_id, seat.case_id, at_us, said.effective_at_us)

    def _spread(self, seat: SeatRow, positions: _Positions, placed: _Placed) -> None:
        """Every noted withdrawal that a seat's ledger lacks, as the broker wrote it the first time."""
        # INVARIANT: test_a_withdrawal_that_only_its_recorder_knows_is_put_on_every_ledger
        others = [] if self.void else [case_id for case_id in _cases(self.rows, seat) if case_id != seat.case_id]
        noted = [
            (*word, case_id) for case_id in (seat.case_id, *others) for word in self.rows.hold.withdrawals(case_id)
        ]
        if not noted:
            return
        raw = self.rows.ledger.of_seats([seat.seat_id])[seat.seat_id]
        events = [LedgerEvent.from_bytes(one, limits.CALL * 2) for one in raw]
        has = {one.recorded_at_us for one in events if ConsentAct.from_bytes(one.act).act == _ALL}
        last = events[-1].recorded_at_us if events else 0
        for at_us, effective_us, case_id in sorted(noted, key=lambda word: word[0]):
            if at_us in has or (case_id != seat.case_id and any(abs(at_us - one) < _SAME_US for one in has)):
                continue
            when = max(at_us, last)
            act = everything(seat, effective_us, when).to_bytes()
            head = head_after(seat.head, seat.ledger_seq + 1, act, (), when)
            event = LedgerEvent(ledger_seq=seat.ledger_seq + 1, act=act, holders=(), recorded_at_us=when, head=head)
            self._append(seat, event, positions, placed)
            if case_id != seat.case_id:
                self.rows.joins.crossed(CrossingRow(seat.seat_id, event.ledger_seq, case_id))
            has |= {at_us, when}
            seat, last = self._fresh(seat.seat_id), when

    def _append(self, seat: SeatRow, event: LedgerEvent, positions: _Positions, placed: _Placed) -> None:
        before = self.context.views.of(self.rows, [seat])[seat.seat_id]
        self.rows.ledger.append(
            seat.seat_id, event.ledger_seq, seat.bucket, positions.take(seat.bucket), event.to_bytes()
        )
        self.rows.cases.set_head(seat.seat_id, event.ledger_seq, event.head)
        act = ConsentAct.from_bytes(event.act, limits.ACT)
        placed.append(Write(seat, act, event, before.applied(event), before))

    def _finish(self, placed: _Placed, bump: Bump) -> None:
        """Shrink what is open, then entries; other seats are told what was put on their ledgers."""
        rows, context = self.rows, self.context
        now = rows.cases.seats({write.seat.seat_id for write in placed})
        views = context.views.of(rows, now.values())
        shrunk = shrink(rows, rows.deliveries.open_of_senders(views), views, context.rules_of(rows), bump.clock_us)
        tell_shrunk(context, rows, shrunk, bump.clock_us, "WITHDRAWN")
        self._annul(placed, shrunk, bump)
        self._tell_ended(placed, shrunk, bump)
        last = {write.seat.seat_id: write.event.ledger_seq for write in placed}
        for write in placed:
            seat, event = write.seat, write.event
            found = affected(seat.seat_id, shrunk) if last[seat.seat_id] == event.ledger_seq else ()
            payload = Payload(
                seat_id=seat.seat_id,
                role=seat.role,
                ledger_seq=event.ledger_seq,
                decided_at_us=bump.clock_us,
                act=event.to_bytes(),
                act_signature=event.signature,
                affected=found,
                rules_hash=context.rules_of(rows)(seat.unit).hash32,
                code="HS-HEAD-LOST",
            )
            controller = context.directory.controller(seat.unit)
            rows.entries.insert(
                [context.recorder.about_seat(seat, controller, "CONSENT_EVENT", payload, bump.clock_us)]
            )
            if seat.seat_id != self.seat.seat_id:
                notice = LedgerNotice(seat_id=seat.seat_id, event=event, counts=())
                rows.inbox.put([Item(context.new_id(), seat.unit, "LEDGER", notice.to_bytes())])

    def _annul(self, placed: _Placed, shrunk: Sequence[Shrunk], bump: Bump) -> None:
        """What an annulment sets off beyond the ledger: its notices, and the case that is void. Once each."""
        # INVARIANT: test_an_annulment_that_the_copy_lacks_is_told_again
        for write in placed:
            annulments.tell(self.context, self.rows, write, shrunk, bump.clock_us)
        if self.void is not None and not self.rows.annulments.is_void(self.seat.case_id):
            annulments.void_case(self.context, self.rows, self.seat.case_id, self.void, shrunk, bump.clock_us)

    def _tell_ended(self, placed: _Placed, shrunk: Sequence[Shrunk], bump: Bump) -> None:
        """Who holds data under a consent that an act ended hears of it, and the lead of a programme that lacks one now.

        Perhaps the act was lost before anybody was told.
        """
        # INVARIANT: test_the_end_of_a_consent_that_the_copy_lacks_is_told_again
        programme.tell(self.context, self.rows, placed, bump.clock_us)
        rules_of = self.context.rules_of(self.rows)
        for write in placed:
            # Of a void case everybody is told more than that, once its lead has said so; it is no word of the person's.
            # INVARIANT: test_the_word_that_a_case_is_void_is_told_as_no_withdrawal
            if _voids(write.act) or self.rows.annulments.is_void(write.seat.case_id):
                continue
            # INVARIANT: test_an_end_is_told_as_it_was_when_the_act_was_recorded
            found = endings.ended(self.rows, [write], rules_of, write.event.recorded_at_us, shrunk)
            endings.tell(self.context, self.rows, [write], found, bump.clock_us, why(write.act))


def _voids(act: ConsentAct) -> bool:
    """Whether an act is what a case's being void wrote on every ledger: in effect from the beginning of time."""
    return act.act == _ALL and act.effective_at_us == VOID_FROM_US


def _confirm(
    context: Context,
    rows: Rows,
    request: ConfirmRequest,
    said: HeadConfirmation,
    seat: SeatRow,
    buckets: Collection[int],
) -> HoldSeatAnswer:
    """The transaction of one confirmation; the last one of a case, and of those joined with it, frees them."""
    bumps, cases = _locked(context, rows, seat, 1, buckets)
    bump = bumps[seat.bucket]
    now = rows.cases.seat(seat.seat_id) or seat
    state = rows.hold.state(seat.seat_id)
    if state == RELEASED:
        return _answer(now, state)
    # INVARIANT: test_a_seat_is_held_until_its_connector_confirms_the_same_head
    if state not in {REPLAYED, CONFIRMED} or (said.ledger_seq, said.head) != (now.ledger_seq, now.head):
        raise HandslagError("HS-HEAD-LOST")
    known = rows.hold.members(seat.case_id)
    if not set(said.members) <= known.keys():
        raise HandslagError("HS-CASE-INCOMPLETE")
    if any(known.get(member, SeatState.CLOSED) != SeatState.CLOSED for member in said.removed):
        raise HandslagError("HS-HEAD-LOST")
    rows.hold.confirm(seat.seat_id, request.statement, request.signature)
    payload = Payload(
        seat_id=seat.seat_id,
        role=seat.role,
        ledger_seq=now.ledger_seq,
        act=request.statement,
        act_signature=request.signature,
        code="HS-HOLD",
    )
    controller = context.directory.controller(seat.unit)
    rows.entries.insert([context.recorder.about_seat(now, controller, "ADMIN", payload, bump.clock_us)])
    return _answer(now, RELEASED if _released(context, rows, cases, bump) else CONFIRMED)


def _released(context: Context, rows: Rows, cases: Sequence[bytes], bump: Bump) -> bool:
    """Free cases of which every seat has confirmed, after deciding anew what is open; ends the hold with the last."""
    # INVARIANT: test_a_case_is_held_until_every_seat_of_it_has_spoken
    states = {seat_id: state for case_id in cases for seat_id, state in rows.hold.of_case(case_id).items()}
    if any(state not in {CONFIRMED, RELEASED} for state in states.values()):
        return False
    states = {seat_id: state for seat_id, state in states.items() if state == CONFIRMED}
    seats = rows.cases.seats(states)
    views = context.views.of(rows, seats.values())
    shrunk = shrink(rows, rows.deliveries.open_of_senders(views), views, context.rules_of(rows), bump.clock_us)
    tell_shrunk(context, rows, shrunk, bump.clock_us, "WITHDRAWN")
    rows.hold.free(states)
    rows.hold.move(states, RELEASED)
    hold = rows.hold.active()
    if hold is not None and not rows.hold.cases():
        rows.hold.end(hold.hold_id, bump.clock_us)
    return True


def _answer(seat: SeatRow, state: str) -> HoldSeatAnswer:
    return HoldSeatAnswer(seat_id=seat.seat_id, state=state, ledger_seq=seat.ledger_seq, head=seat.head)
