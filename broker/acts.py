"""Consent calls: every ledger write, in its order.

Bump the gate, append the acts, look at what is open, decide it anew, shrink it, count, record, answer: one
transaction, and the answer after COMMIT.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType

from audit.entry import SealedEntry
from broker import affected as consequences
from broker import annulments, disclosers, endings, programme
from broker.acks import outcome_entries
from broker.affected import Write
from broker.calls import answered, recorded, signed_by_known_seat
from broker.context import Context
from broker.holders import holders, noted
from broker.narrowing import Shrunk, shrink
from broker.recordable import require_recordable, require_whole
from broker.store.cases import SeatRow
from broker.store.gate import Bump, GateMoved
from broker.store.inbox import Item
from broker.store.port import Rows
from broker.visibility import changed, introduce_keys
from broker.writes import append, bumped, crossed, positions, withdrawn
from consent.admission import WIDENING
from schemas import codec, limits
from schemas.acts import CaseWithdrawal, ConsentAct
from schemas.calls import ConsentsAnswer, ConsentsRequest
from schemas.codes import DeliveryState, SeatState, table
from schemas.errors import HandslagError
from schemas.inbox import AffectedDelivery, LedgerNotice, Notice, RoleCount
from schemas.statements import MemberStatement, SignedStatement
from schemas.trail import Payload

_ANSWER_S = 0.9  # a consent call is repeated inside until then, and after it answered "not yet recorded, repeat"
_RETRIES = 20  # a case-wide withdrawal reads its seats first; a seat that joins between makes it look again


async def in_time(context: Context, unit: str, request: ConsentsRequest) -> ConsentsAnswer:
    """As `consents`, repeated inside while nothing is recorded; raises `HS-NOT-RECORDED` after 900 ms: repeat."""

    async def repeated() -> ConsentsAnswer:
        while True:
            try:
                return await consents(context, unit, request)
            except HandslagError as error:
                if error.code != "HS-NOT-RECORDED":
                    raise
            if context.room is not None:  # a full disk is one reason why nothing was recorded
                await asyncio.to_thread(context.room.look)
            await asyncio.sleep(0.02)

    try:
        return await asyncio.wait_for(repeated(), _ANSWER_S)
    except TimeoutError:
        raise HandslagError("HS-NOT-RECORDED") from None


async def consents(context: Context, unit: str, request: ConsentsRequest) -> ConsentsAnswer:
    """Answer `POST /v1/consents`: one act of the caller's seat, or the person's withdrawal of everything.

    Raises the codes of `check_act`, `HS-SEAT-UNKNOWN`, `HS-SIGNATURE-INVALID`, `HS-NO-HOLDER`,
    `HS-RECIPIENT-CHANGED`, `HS-STATE-INVALID` (the lead has not vouched for the seat), `HS-CALL-CHANGED`,
    `HS-NOT-RECORDED`.
    """
    started_us = context.now_us()
    if (before := await answered(context, unit, request)) is not None:
        return ConsentsAnswer.from_bytes(before)
    if len(request.act) > limits.ACT:
        raise HandslagError("HS-TOO-LARGE", limit=limits.ACT)
    seat = await own_seat(context, unit, request.seat_id)
    whole = codec.name_of(request.act) == CaseWithdrawal.SCHEMA
    await signed_by_known_seat(context, seat, request.signature, request.act)
    for _ in range(_RETRIES):
        reached = await context.store.read(lambda rows: _reached(context, rows, request, seat, whole=whole))
        # INVARIANT: test_keys_are_in_memory_before_a_ledger_write_begins
        await asyncio.to_thread(context.recorder.ready, [one.seat_id for one in reached])
        try:
            work = _Transaction(context, unit, request, seat, positions(reached) if whole else Counter[int]())
            write = work.withdraw_case if whole else work.record_act
            answer = await recorded(context, unit, request, write, ConsentsAnswer, shared=True)
        except GateMoved:
            continue
        except HandslagError as error:
            if error.code == "HS-RECIPIENT-CHANGED":
                await context.store.write(lambda rows: _tell_changed(context, rows, seat, request.act))
            raise
        if whole or ConsentAct.from_bytes(request.act).act == "WITHDRAW":  # a grant has no hurry and would flatter it
            context.metrics.withdrew((context.now_us() - started_us) / 1e6)
        return answer
    raise HandslagError("HS-NOT-RECORDED")


def _reach(rows: Rows, request: ConsentsRequest, seat: SeatRow) -> list[bytes]:
    """The cases that a withdrawal of everything reaches: its own, and those joined with it as the same person's.

    Whoever declares a case void speaks of that case only.
    """
    # INVARIANT: test_a_void_case_voids_no_other
    if annulments.ground_of(CaseWithdrawal.from_bytes(request.act)) is not None:
        return [seat.case_id]
    # INVARIANT: test_what_the_person_takes_back_in_one_case_is_taken_back_in_both
    return [seat.case_id, *rows.joins.linked(seat.case_id)]


def _reached(context: Context, rows: Rows, request: ConsentsRequest, seat: SeatRow, *, whole: bool) -> list[SeatRow]:
    """The seats on whose ledgers it writes, or whose deliveries it may take back."""
    if not whole:
        return rows.cases.of_cases([seat.case_id])
    return disclosers.reached(context, rows, _reach(rows, request, seat))


def widens(request: ConsentsRequest) -> bool:
    """Whether the act would permit something; raises PayloadRejected and its kin for what is no act."""
    if codec.name_of(request.act) == CaseWithdrawal.SCHEMA:
        return False
    return ConsentAct.from_bytes(request.act).act in WIDENING


async def own_seat(context: Context, unit: str, seat_id: bytes) -> SeatRow:
    """The caller's open seat; closed, unknown and foreign seats raise `HS-SEAT-UNKNOWN` alike."""
    seat = await context.store.read(lambda rows: rows.cases.seat(seat_id))
    if seat is None or seat.unit != unit or seat.state == SeatState.CLOSED:
        raise HandslagError("HS-SEAT-UNKNOWN")
    return seat


def why(act: ConsentAct) -> str:
    """The code in the notices about what the act stopped."""
    if act.act == "GRANT":  # without a name that it takes the place of, it ends what was granted under its own
        supersedes = act.terms is not None and act.terms.supersedes is not None
        return "SUPERSEDED" if supersedes else "INVALIDATED"
    return str(table()["consent_act"][act.act].get("why", "EXPIRED"))


@dataclass(frozen=True, slots=True)
class _Narrowed:
    """What a ledger write did: what it stopped, what had been handed over before and ended, counts by seat."""

    shrunk: list[Shrunk]
    ended: list[Shrunk]
    counts: dict[bytes, tuple[RoleCount, ...]]


class _Transaction:
    """The body of one ledger write; runs on the store's writer."""

    def __init__(
        self, context: Context, unit: str, request: ConsentsRequest, seat: SeatRow, wanted: Counter[int]
    ) -> None:
        self.context = context
        self.unit = unit
        self.request = request
        self.seat = seat
        self.wanted = wanted

    def record_act(self, rows: Rows) -> ConsentsAnswer:
        """One act of the discloser's own seat."""
        bump = rows.gate.bump(self.seat.bucket, 1, self.context.now_us())
        seat = _still_open(rows, self.seat.seat_id)
        act = ConsentAct.from_bytes(self.request.act)
        named = require_recordable(self.context, rows, seat, act, bump.clock_us, noted)
        write = append(self.context, rows, seat, act, self.request.act, self.request.signature, named, bump, 0)
        narrowed = self._narrow(rows, [write], bump)
        if act.act in {"GRANT", "AMEND"}:
            introduce_keys(self.context, rows, seat, named)
        return self._finish(rows, [write], write, narrowed, bump)

    def withdraw_case(self, rows: Rows) -> ConsentsAnswer:
        """The person's withdrawal of everything, noted by any seat: on every ledger of all its cases at once."""
        bumps = bumped(rows, self.wanted | Counter([self.seat.bucket]), self.context.now_us())
        bump = bumps[self.seat.bucket]
        own = _still_open(rows, self.seat.seat_id)
        withdrawal = CaseWithdrawal.from_bytes(self.request.act)
        said_us = withdrawal.effective_at_us
        require_whole(rows, own, withdrawal.case_tag, withdrawal.recorder, said_us, bump.clock_us)
        ground = annulments.ground_of(withdrawal)
        if ground is not None and not opened_case(rows, own):
            raise HandslagError("HS-SENDER-NOT-ALLOWED")
        if ground is not None:
            rows.annulments.void(own.case_id, ground, bump.clock_us)  # before anything of it is decided anew
        cases = _reach(rows, self.request, own)
        seats = disclosers.reached(self.context, rows, cases)
        if positions(seats) != self.wanted:
            raise GateMoved
        later = set()  # what came before it on their ledgers is not here yet: they wait
        for case_id in cases:
            missing, hold = rows.hold.unreplayed(case_id), rows.hold.active()
            if missing and hold:
                rows.hold.note_withdrawal(hold.hold_id, case_id, bump.clock_us, said_us)
            later |= missing
        reached = [seat for seat in seats if seat.seat_id not in later]
        writes = withdrawn(self.context, rows, reached, said_us, bumps)
        crossed(rows, writes, own.case_id)
        narrowed = self._narrow(rows, writes, bump)
        mine = next(write for write in writes if write.seat.seat_id == own.seat_id)
        if ground is not None:
            annulments.void_case(self.context, rows, own.case_id, ground, narrowed.shrunk, bump.clock_us)
        return self._finish(rows, writes, mine, narrowed, bump)

    def _narrow(self, rows: Rows, writes: Sequence[Write], bump: Bump) -> _Narrowed:
        """Shrink what is open, and only then look at what was handed over, and count."""
        views, rules_of = {write.seat.seat_id: write.view for write in writes}, self.context.rules_of(rows)
        shrunk = shrink(rows, rows.deliveries.open_of_senders(views), views, rules_of, bump.clock_us)
        ended = endings.ended(rows, writes, rules_of, bump.clock_us, shrunk)
        received = endings.received(rows, writes, ended)
        counts = {seat_id: consequences.counts_of(seat_id, shrunk, received) for seat_id in views}
        return _Narrowed(shrunk, ended, counts)

    def _finish(
        self, rows: Rows, writes: Sequence[Write], mine: Write, narrowed: _Narrowed, bump: Bump
    ) -> ConsentsAnswer:
        """Entries, recalls and notices, then the answer, all in this transaction."""
        shrunk, counts = narrowed.shrunk, narrowed.counts
        affected = {
            write.seat.seat_id: consequences.affected(write.seat.seat_id, shrunk)
            + consequences.incidents(self.context, rows, write, shrunk, bump)
            for write in writes
        }
        entries = {write.seat.seat_id: self._entry(rows, write, affected[write.seat.seat_id], mine) for write in writes}
        rows.entries.insert(list(entries.values()))
        annulments.tell(self.context, rows, mine, shrunk, bump.clock_us)
        programme.tell(self.context, rows, writes, bump.clock_us)
        numbers = {write.seat.seat_id: write.event.ledger_seq for write in writes}
        tell_shrunk(self.context, rows, shrunk, bump.clock_us, why(mine.act), numbers)
        if not rows.annulments.is_void(mine.seat.case_id):  # of a void case everybody is told more than that
            endings.tell(self.context, rows, writes, narrowed.ended, bump.clock_us, why(mine.act))
        others = [write for write in writes if write is not mine and not disclosers.closed(write.seat)]
        rows.inbox.put([self._ledger_item(write, counts[write.seat.seat_id]) for write in others])
        entry = entries[mine.seat.seat_id]
        answer = ConsentsAnswer(
            call_id=self.request.call_id,
            ledger_seq=mine.event.ledger_seq,
            head=mine.event.head,
            recorded_at_us=bump.clock_us,
            counts=counts[mine.seat.seat_id],
            affected=affected[mine.seat.seat_id],
            entry_id=entry.entry_id,
            leaf_hash=entry.leaf_hash,
        )
        request_hash = sha256(self.request.to_bytes()).digest()
        rows.units.answer(self.unit, self.request.call_id, request_hash, answer.to_bytes(), bump.clock_us)
        return answer

    def _entry(self, rows: Rows, write: Write, affected: tuple[AffectedDelivery, ...], mine: Write) -> SealedEntry:
        payload = Payload(
            seat_id=write.seat.seat_id,
            role=write.seat.role,
            ledger_seq=write.event.ledger_seq,
            decided_at_us=write.event.recorded_at_us,
            act=write.event.to_bytes(),
            act_signature=self.request.signature if write is mine else None,
            # What the recorder signed is kept with it alone: the others are not told who noted a withdrawal.
            case_withdrawal=self.request.act if write is mine and write.event.signature is None else None,
            affected=affected,
            actor_ref=write.act.actor_ref if write is mine else None,
            assurance=write.act.assurance if write is mine else None,
            rules_hash=self.context.rules_of(rows)(write.seat.unit).hash32,
        )
        controller = self.context.directory.controller(write.seat.unit)
        at_us = write.event.recorded_at_us
        return self.context.recorder.about_seat(write.seat, controller, "CONSENT_EVENT", payload, at_us)

    def _ledger_item(self, write: Write, counts: tuple[RoleCount, ...]) -> Item:
        notice = LedgerNotice(seat_id=write.seat.seat_id, event=write.event, counts=counts)
        return Item(self.context.new_id(), write.seat.unit, "LEDGER", notice.to_bytes())


def tell_shrunk(
    context: Context,
    rows: Rows,
    shrunk: Sequence[Shrunk],
    at_us: int,
    code: str,
    numbers: Mapping[bytes, int] = MappingProxyType({}),
) -> None:
    """RECALL to who may hold removed sections, a notice to each sender, and the entries of recalls.

    `numbers`: of an act, its number on the ledger of each discloser's seat.
    """
    seats = rows.cases.seats(
        {one.row.sender_seat for one in shrunk} | {one.row.recipient_seat for one in shrunk if one.row.recipient_seat}
    )
    told: list[SealedEntry] = []
    items: list[Item] = []
    for one in shrunk:
        row = one.row
        if row.state == DeliveryState.HANDED:
            ours, theirs = outcome_entries(
                context, row, one.removed, seats, at_us, endings.RECALLED, numbers.get(row.sender_seat)
            )
            told += [ours, theirs]
            items.append(endings.recall(context, row, one.removed, code, theirs))
        notice = Notice(
            seat_id=row.sender_seat,
            code="delivery_cancelled",
            event_id=row.event_id,
            attempt=row.attempt,
            role=row.role,
            categories=tuple(sorted(section.category for section in one.removed)),
            detail=row.state,
            at_us=at_us,
        )
        items.append(Item(context.new_id(), row.sender_unit, "NOTICE", notice.to_bytes()))
    rows.entries.insert(told)
    rows.inbox.put(items)


def _still_open(rows: Rows, seat_id: bytes) -> SeatRow:
    seat = rows.cases.seat(seat_id)
    if seat is None or seat.state == SeatState.CLOSED:
        raise HandslagError("HS-SEAT-UNKNOWN")
    return seat


def _tell_changed(context: Context, rows: Rows, seat: SeatRow, raw: bytes) -> None:
    """Who names the former holder of a role whose keys go on in one chain is told the id of the present one."""
    terms = ConsentAct.from_bytes(raw).terms
    named = {(ref.id, ref.member) for ref in terms.recipients} if terms else set()
    others = [other for other in holders(rows, seat.case_id).values() if other.chain is not None]
    rows.inbox.put([
        changed(context, seat, other, context.now_us()) for other in others
        if any(role == other.role and member != other.member for role, member in named)
    ])  # fmt: skip


def opened_case(rows: Rows, seat: SeatRow) -> bool:
    """Whether the seat is the lead's, whose OPEN statement begins the case."""
    signed = [SignedStatement.from_bytes(raw) for raw in rows.cases.statements(seat.case_id, seat.chain_id)]
    return any(MemberStatement.from_bytes(one.statement).kind == "OPEN" for one in signed)
