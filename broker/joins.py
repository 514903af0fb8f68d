"""Two cases of one person: joined by a unit that sits in both, and separated again when they are two persons'.

A join lets the person's word that everything is taken back reach both cases, and does nothing else: nobody sees a
seat, a grant or a key that it did not see before, and no member of one case is told that there is another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from audit.entry import SealedEntry
from broker import affected as consequences
from broker import disclosers, endings, programme
from broker.acts import own_seat, tell_shrunk
from broker.affected import Write
from broker.calls import answered, recorded, request_hash, signed_by_seat
from broker.context import Context
from broker.hold import VOID_FROM_US
from broker.narrowing import shrink
from broker.store.cases import SeatRow
from broker.store.gate import Bump, GateMoved
from broker.store.hold import RELEASED
from broker.store.inbox import Item
from broker.store.joins import JoinRow
from broker.store.port import Rows
from broker.writes import bumped, crossed, positions, withdrawn
from consent.ledger import LedgerView
from consent.records import narrowed_from
from schemas.acts import ConsentAct
from schemas.errors import HandslagError
from schemas.inbox import LedgerNotice, Notice
from schemas.joins import CaseJoin, CaseSeparation, JoinAnswer, JoinRequest, SeparateAnswer, SeparateRequest
from schemas.trail import Payload

_RETRIES = 20  # a seat that joins between the look and the write makes it look again


async def join(context: Context, unit: str, request: JoinRequest) -> JoinAnswer:
    """Answer `POST /v1/cases:join`: from now on what the person takes back in one of the two is taken back in both.

    What was taken back before is taken back of the older consents of the other. Raises `HS-SEAT-UNKNOWN`,
    `HS-SIGNATURE-INVALID`, `HS-STATE-INVALID` (a seat that is not active, one case twice, or joined already),
    `HS-CASE-VOID` (one of them was another person's), `HS-CALL-CHANGED`, `HS-NOT-RECORDED`.
    """
    if (before := await answered(context, unit, request)) is not None:
        return JoinAnswer.from_bytes(before)
    # INVARIANT: test_only_a_unit_that_sits_in_both_joins
    pair = (await own_seat(context, unit, request.seat_id), await own_seat(context, unit, request.other_seat_id))
    act = CaseJoin.from_bytes(request.act)
    named = (act.case_tag, act.member, act.other_case_tag, act.other_member)
    if named != (pair[0].case_tag, pair[0].member, pair[1].case_tag, pair[1].member):
        raise HandslagError("HS-SIGNATURE-INVALID")
    for seat, signature in zip(pair, (request.signature, request.other_signature), strict=True):
        signed_by_seat(seat, signature, request.act)
    if pair[0].case_id == pair[1].case_id:
        raise HandslagError("HS-STATE-INVALID", field="case")
    for _ in range(_RETRIES):
        wanted = await context.store.read(lambda rows: positions(_both(rows, pair).seats(context, rows)))
        work = _Joining(context, unit, request, pair, wanted)
        try:
            return await recorded(context, unit, request, work.run, JoinAnswer)
        except GateMoved:
            continue
    raise HandslagError("HS-NOT-RECORDED")


@dataclass(frozen=True, slots=True)
class _Sides:
    """The cases on each side of a join, before it."""

    one: frozenset[bytes]
    other: frozenset[bytes]

    def seats(self, context: Context, rows: Rows) -> list[SeatRow]:
        """Every seat of both that a withdrawal reaches."""
        return disclosers.reached(context, rows, self.one | self.other)


def _both(rows: Rows, pair: Sequence[SeatRow]) -> _Sides:
    one, other = ({seat.case_id} | rows.joins.linked(seat.case_id) for seat in pair)
    return _Sides(frozenset(one), frozenset(other))


@dataclass(frozen=True, slots=True)
class _Joining:
    """The body of a join; runs on the store's writer."""

    context: Context
    unit: str
    request: JoinRequest
    pair: tuple[SeatRow, SeatRow]
    wanted: Counter[int]

    def run(self, rows: Rows) -> JoinAnswer:
        """Bump every gate concerned, keep the join, let the person's earlier word reach the other side, record."""
        bumps = bumped(rows, self.wanted | positions(self.pair), self.context.now_us())
        sides = _both(rows, self.pair)
        if positions(sides.seats(self.context, rows)) != self.wanted:
            raise GateMoved
        self._check(rows)
        at_us = max(bump.clock_us for bump in bumps.values())
        one, other = self.pair
        row = JoinRow(
            join_id=CaseJoin.from_bytes(self.request.act).join_id,
            unit=self.unit,
            seat_id=one.seat_id,
            other_seat_id=other.seat_id,
            case_id=one.case_id,
            other_case_id=other.case_id,
            at_us=at_us,
        )
        if rows.joins.get(row.join_id) is not None or rows.joins.stands(row.seats):
            raise HandslagError("HS-STATE-INVALID", field="join")
        rows.joins.put(row)
        for words, heard in ((sides.one, sides.other), (sides.other, sides.one)):
            _earlier(self.context, rows, words - heard, heard - words, bumps)
        return self._answered(rows, at_us)

    def _check(self, rows: Rows) -> None:
        for seat in self.pair:
            now = rows.cases.seat(seat.seat_id)
            if now is None or not now.active:
                raise HandslagError("HS-STATE-INVALID", field="seat")
            if rows.annulments.ground(seat.case_id) == "WRONG_PERSON":
                raise HandslagError("HS-CASE-VOID")

    def _answered(self, rows: Rows, at_us: int) -> JoinAnswer:
        request = self.request
        signed = zip(self.pair, (request.signature, request.other_signature), strict=True)
        entries = [_entry(self.context, seat, request.act, signature, at_us) for seat, signature in signed]
        rows.entries.insert(entries)
        one, other = entries
        answer = JoinAnswer(
            call_id=request.call_id,
            recorded_at_us=at_us,
            entry_id=one.entry_id,
            leaf_hash=one.leaf_hash,
            other_entry_id=other.entry_id,
            other_leaf_hash=other.leaf_hash,
        )
        rows.units.answer(self.unit, request.call_id, request_hash(request), answer.to_bytes(), at_us)
        return answer


def _entry(
    context: Context, seat: SeatRow, act: bytes, signature: bytes, at_us: int, code: str | None = None
) -> SealedEntry:
    """The entry about one of the joining unit's own seats: nobody else's trail has one."""
    # INVARIANT: test_no_other_trail_tells_of_the_join
    signed = CaseJoin.from_bytes(act) if code is None else CaseSeparation.from_bytes(act)
    payload = Payload(
        seat_id=seat.seat_id,
        role=seat.role,
        act=act,
        act_signature=signature,
        actor_ref=signed.actor_ref,
        assurance=signed.assurance,
        code=code,
    )
    controller = context.directory.controller(seat.unit)
    return context.recorder.about_seat(seat, controller, "COMBINATION", payload, at_us)


@dataclass(frozen=True, slots=True)
class _Word:
    """The person took everything back: when it was recorded, from when it holds, in which case it was noted."""

    recorded_at_us: int
    from_us: int
    case_id: bytes


def _earlier(
    context: Context, rows: Rows, spoken: frozenset[bytes], heard: frozenset[bytes], bumps: dict[int, Bump]
) -> None:
    """What the person took back in cases before they were joined is taken back of the other side's older consents.

    A discloser that holds none older than the word is left alone: what was given after it is the newer word.
    """
    # INVARIANT: test_what_was_taken_back_before_the_join_reaches_older_consents
    word = _newest(context, rows, spoken)
    if word is None:
        return
    seats = disclosers.reached(context, rows, heard)
    views = context.views.of(rows, seats)
    # A seat that the restored broker holds gives its ledger back first: whatever was written on it stands there.
    free = [seat for seat in seats if rows.hold.state(seat.seat_id) in {None, RELEASED}]
    meant = [seat for seat in free if _holds_older(views[seat.seat_id], word, bumps[seat.bucket].clock_us)]
    writes = withdrawn(context, rows, meant, word.from_us, bumps)
    crossed(rows, writes, word.case_id)
    if writes:
        _told(context, rows, writes, bumps)


def _newest(context: Context, rows: Rows, cases: frozenset[bytes]) -> _Word | None:
    """The person's newest word in these cases that everything is taken back; not what reached them from others."""
    seats = rows.cases.every(case_ids=cases)
    came = {(row.seat_id, row.ledger_seq) for row in rows.joins.crossings(seat.seat_id for seat in seats)}
    words = []
    for seat in seats:
        for event in context.views.of(rows, [seat])[seat.seat_id].events:
            act = ConsentAct.from_bytes(event.act)
            own = (seat.seat_id, event.ledger_seq) not in came
            if own and act.act == "WITHDRAW_ALL" and act.effective_at_us != VOID_FROM_US:
                since = narrowed_from(act, event.recorded_at_us)
                words.append(_Word(event.recorded_at_us, since, seat.case_id))
    return max(words, key=lambda word: word.recorded_at_us, default=None)


def _holds_older(view: LedgerView, word: _Word, now_us: int) -> bool:
    acts = [ConsentAct.from_bytes(event.act) for event in view.events if event.recorded_at_us <= word.recorded_at_us]
    older = {act.consent_id for act in acts if act.act == "GRANT"}
    return view.broken or any(grant.consent_id in older and grant.end_us > now_us for grant in view.grants)


def _told(context: Context, rows: Rows, writes: Sequence[Write], bumps: dict[int, Bump]) -> None:
    """What a withdrawal of everything brings with it: open deliveries shrink, each discloser has entry and counts."""
    views = {write.seat.seat_id: write.view for write in writes}
    at_us = max(write.event.recorded_at_us for write in writes)
    shrunk = shrink(rows, rows.deliveries.open_of_senders(views), views, context.rules_of(rows), at_us)
    ended = endings.ended(rows, writes, context.rules_of(rows), at_us, shrunk)
    received = endings.received(rows, writes, ended)
    for write in writes:
        seat, event = write.seat, write.event
        found = consequences.affected(write.seat.seat_id, shrunk)
        found += consequences.incidents(context, rows, write, shrunk, bumps[seat.bucket])
        payload = Payload(
            seat_id=seat.seat_id,
            role=seat.role,
            ledger_seq=event.ledger_seq,
            decided_at_us=event.recorded_at_us,
            act=event.to_bytes(),
            affected=found,
            rules_hash=context.rules_of(rows)(seat.unit).hash32,
        )
        controller = context.directory.controller(seat.unit)
        at = event.recorded_at_us
        rows.entries.insert([context.recorder.about_seat(seat, controller, "CONSENT_EVENT", payload, at)])
        if disclosers.closed(seat):
            continue
        counts = consequences.counts_of(seat.seat_id, shrunk, received)
        notice = LedgerNotice(seat_id=seat.seat_id, event=event, counts=counts)
        rows.inbox.put([Item(context.new_id(), seat.unit, "LEDGER", notice.to_bytes())])
    numbers = {write.seat.seat_id: write.event.ledger_seq for write in writes}
    tell_shrunk(context, rows, shrunk, at_us, "WITHDRAWN", numbers)
    # INVARIANT: test_who_holds_data_in_the_other_case_is_told_when_the_two_are_joined
    endings.tell(context, rows, writes, ended, at_us, "WITHDRAWN")
    programme.tell(context, rows, writes, at_us)


async def separate(context: Context, unit: str, request: SeparateRequest) -> SeparateAnswer:
    """Answer `POST /v1/cases:separate`: the two are two persons'. Nothing that was taken back comes into force again.

    Each discloser whose ledger a withdrawal reached over this join is told that it was another person's word. Raises
    `HS-SEAT-UNKNOWN` (also for a join of another unit), `HS-SIGNATURE-INVALID`, `HS-STATE-INVALID`, `HS-CALL-CHANGED`.
    """
    if (before := await answered(context, unit, request)) is not None:
        return SeparateAnswer.from_bytes(before)
    own = await own_seat(context, unit, request.seat_id)
    act, pair = await _separated(context, own, request)

    def work(rows: Rows) -> SeparateAnswer:
        bumps = bumped(rows, {seat.bucket: 1 for seat in pair.values()}, context.now_us())
        at_us = max(bump.clock_us for bump in bumps.values())
        now = rows.joins.get(act.join_id)
        if now is None or now.ended_at_us is not None:
            raise HandslagError("HS-STATE-INVALID", field="join")
        person = {
            now.case_id,
            now.other_case_id,
            *rows.joins.linked(now.case_id),
            *rows.joins.linked(now.other_case_id),
        }
        rows.joins.end(act.join_id, at_us)
        _another_person(context, rows, person, at_us)
        entries = {
            seat_id: _entry(context, seat, request.act, request.signature, at_us, "HS-WRONG-PERSON")
            for seat_id, seat in sorted(pair.items())
        }
        rows.entries.insert(list(entries.values()))
        entry = entries[own.seat_id]
        answer = SeparateAnswer(
            call_id=request.call_id, recorded_at_us=at_us, entry_id=entry.entry_id, leaf_hash=entry.leaf_hash
        )
        rows.units.answer(unit, request.call_id, request_hash(request), answer.to_bytes(), at_us)
        return answer

    return await recorded(context, unit, request, work, SeparateAnswer)


async def _separated(
    context: Context, own: SeatRow, request: SeparateRequest
) -> tuple[CaseSeparation, dict[bytes, SeatRow]]:
    """The signed word, and the unit's two seats in the join that it names."""
    act = CaseSeparation.from_bytes(request.act)
    if (act.case_tag, act.member) != (own.case_tag, own.member):
        raise HandslagError("HS-SIGNATURE-INVALID")
    signed_by_seat(own, request.signature, request.act)
    row = await context.store.read(lambda rows: rows.joins.get(act.join_id))
    # INVARIANT: test_nobody_separates_what_another_joined
    if row is None or own.seat_id not in row.seats:
        raise HandslagError("HS-SEAT-UNKNOWN")
    return act, await context.store.read(lambda rows: rows.cases.seats(row.seats))


def _another_person(context: Context, rows: Rows, cases: Iterable[bytes], at_us: int) -> None:
    """Tell every discloser that a withdrawal on its ledger was another person's, where no join leads there any more.

    It stays in force: only the person can give a consent again.
    """
    # INVARIANT: test_a_wrong_join_is_undone_and_opens_nothing
    for row, reached in rows.joins.untold(cases):
        seat = rows.cases.seat(row.seat_id)
        if seat is None or reached in rows.joins.linked(row.origin_case):
            continue
        rows.joins.told(row)
        payload = Payload(seat_id=seat.seat_id, role=seat.role, ledger_seq=row.ledger_seq, code="HS-WRONG-PERSON")
        controller = context.directory.controller(seat.unit)
        # Not COMBINATION: that word alone would tell of another case.
        entry = context.recorder.about_seat(seat, controller, "ALTERATION", payload, at_us)
        rows.entries.insert([entry])
        if disclosers.closed(seat):  # it records nothing anew
            continue
        notice = Notice(
            seat_id=seat.seat_id,
            code="withdrawal_not_theirs",
            categories=(),
            at_us=at_us,
            entry_id=entry.entry_id,
            leaf_hash=entry.leaf_hash,
        )
        rows.inbox.put([Item(context.new_id(), seat.unit, "NOTICE", notice.to_bytes())])
