"""What this connector gives back to a broker that was restored from a copy, as it kept it.

Per seat: the keys of its case, its consent acts and the withdrawals that it noted; then what only narrows or records,
under the call ids of the first time, so that a broker which has it does it once: removals, closings, keys that are
destroyed, what was said outside the broker, approvals of provisions, the word of a second person about acute danger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from connectors.context import Context
from connectors.identity import Seat
from schemas import codec, limits
from schemas.acts import CaseWithdrawal, LedgerEvent
from schemas.calls import (
    CloseRequest,
    ConsentsAnswer,
    ConsentsRequest,
    DestroyedRequest,
    SeatAnswer,
    StateRequest,
)
from schemas.errors import HandslagError
from schemas.hold import HoldSeatAnswer, RecordedWithdrawal, ReplayRequest
from schemas.said import DisclosureAnswer, DisclosureRequest
from schemas.statements import MemberStatement, SignedStatement
from schemas.statute import ApprovalRequest, RecordedAnswer, SecondRequest

_Noted = tuple[int, RecordedWithdrawal]
"""A withdrawal with its number in the ledger of the seat that noted it."""
_ROOM = 2 * limits.CALL  # bytes of acts in one call; the gateway takes twice as much
_OVERHEAD = 512  # of one item beside its bytes
# It is done already, or the broker cannot know whom it concerns.
_SETTLED = frozenset({
    "HS-SEAT-UNKNOWN", "HS-STATE-INVALID", "HS-KEY-UNTRUSTED", "HS-SIGNATURE-INVALID", "HS-CALL-CHANGED",
    "HS-NO-HOLDER", "HS-CODE-UNKNOWN", "HS-APPROVAL-OLD", "HS-APPROVAL-INVALID", "HS-PROVISION-UNKNOWN",
    "HS-STATUTE-INVALID", "HS-STATUTE-SECOND",
})  # fmt: skip
_Item = TypeVar("_Item")


@dataclass(slots=True)
class Kept:
    """Of one seat: withdrawals of everything that it noted, keys that it destroyed, what it said and had recorded.

    `seconds`: the words of second persons about what one person disclosed in acute danger.
    """

    withdrawals: list[_Noted] = field(default_factory=list)
    destroyed: list[DestroyedRequest] = field(default_factory=list)
    said: list[DisclosureRequest] = field(default_factory=list)
    seconds: list[SecondRequest] = field(default_factory=list)


async def seat_of(ctx: Context, hold_id: bytes, own: Seat, held: Kept) -> None:
    """What the broker lacks of a seat: keys of its case, its acts, and the withdrawals of everything that it noted.

    INVARIANT: test_a_withdrawal_that_the_copy_lacks_releases_nothing_until_its_connector_is_back.
    """

    async def replay(
        statements: tuple[SignedStatement, ...],
        events: tuple[LedgerEvent, ...],
        withdrawals: tuple[RecordedWithdrawal, ...],
        *,
        last: bool = False,
    ) -> HoldSeatAnswer:
        request = ReplayRequest(
            hold_id=hold_id,
            seat_id=own.sid,
            statements=statements,
            events=events,
            withdrawals=withdrawals,
            last=last,
        )
        return await ctx.link.call("/v1/hold:replay", request, HoldSeatAnswer)

    answer = await replay((), (), ())
    # INVARIANT: test_keys_are_given_back_by_whoever_holds_them
    for part in _parts(_keys(ctx, own, answer), lambda one: len(one.statement) + len(one.hpke_key or b"")):
        await replay(part, (), ())
    after = answer.ledger_seq
    withdrawals = tuple(one for seq, one in held.withdrawals if seq > after)
    parts = list(_parts(ctx.spool.memory.ledger(own.sid, after), lambda one: len(one.act))) or [()]
    for at, events in enumerate(parts):
        # With the first part: were it with the last, a call lost between would leave the others untold for ever.
        await replay((), events, () if at else withdrawals, last=at == len(parts) - 1)


async def is_held(ctx: Context, hold_id: bytes, own: Seat) -> bool:
    """Whether the broker still waits for what this seat holds; raises the errors of the call."""
    request = ReplayRequest(hold_id=hold_id, seat_id=own.sid, events=(), withdrawals=(), last=False)
    return (await ctx.link.call("/v1/hold:replay", request, HoldSeatAnswer)).state == "HELD"


def _keys(ctx: Context, own: Seat, known: HoldSeatAnswer) -> list[SignedStatement]:
    """Rotations and words for them of the members that the broker names, where its own are older."""
    newest = {one.member: one.seq for one in known.keys}
    found = []
    for raw in ctx.spool.memory.statements(ctx.identities.case_handle(own.case_tag)):
        signed = SignedStatement.from_bytes(raw)
        said = MemberStatement.from_bytes(signed.statement)
        seq = newest.get(said.member)
        if seq is None or said.seq < seq:
            continue
        if said.kind == "CONFIRM" or (said.kind == "ROTATE" and said.seq > seq and signed.hpke_key is not None):
            found.append((said.seq, said.kind == "CONFIRM", signed))
    return [signed for _seq, _word, signed in sorted(found, key=lambda one: one[:2])]


def _parts(items: Iterable[_Item], size: Callable[[_Item], int]) -> Iterator[tuple[_Item, ...]]:
    """Items in order, as many together as one call has room for."""
    part: list[_Item] = []
    room = _ROOM
    for item in items:
        if part and size(item) + _OVERHEAD > room:
            yield tuple(part)
            part, room = [], _ROOM
        part.append(item)
        room -= size(item) + _OVERHEAD
    if part:
        yield tuple(part)


def kept(ctx: Context) -> dict[bytes, Kept]:
    """What of the kept calls is given back, by seat; read once, a connector keeps years of them."""
    found: dict[bytes, Kept] = defaultdict(Kept)
    calls = ctx.spool.memory.calls
    for request, answer in calls("/v1/consents"):
        asked = ConsentsRequest.from_bytes(request, limits.CALL)
        if answer is None or codec.name_of(asked.act) != CaseWithdrawal.SCHEMA:
            continue
        told = ConsentsAnswer.from_bytes(answer, 4 * limits.SUBMISSION)
        one = RecordedWithdrawal(act=asked.act, signature=asked.signature, recorded_at_us=told.recorded_at_us)
        found[asked.seat_id].withdrawals.append((told.ledger_seq, one))
    for request, answer in calls("/v1/seats:destroyed"):
        if answer is not None:
            gone = DestroyedRequest.from_bytes(request, limits.CALL)
            found[gone.seat_id].destroyed.append(gone)
    for request, answer in calls("/v1/disclosures:record"):
        if answer is not None:
            spoken = DisclosureRequest.from_bytes(request, limits.CALL)
            found[spoken.seat_id].said.append(spoken)
    for request, answer in calls("/v1/disclosures:confirm"):
        if answer is not None:
            second = SecondRequest.from_bytes(request, limits.CALL)
            found[second.seat_id].seconds.append(second)
    return found


async def narrowed(ctx: Context) -> None:
    """Removals and closings that were ever asked for here, as they were asked; the broker does them once."""
    # INVARIANT: test_a_removed_member_stays_removed_after_a_restore
    for request, _answer in ctx.spool.memory.calls("/v1/seats:state"):
        state = StateRequest.from_bytes(request, limits.CALL)
        if MemberStatement.from_bytes(state.statement.statement).kind == "REMOVE":
            await _once_more(ctx, "/v1/seats:state", state, SeatAnswer)
    for request, _answer in ctx.spool.memory.calls("/v1/seats:close"):
        await _once_more(ctx, "/v1/seats:close", CloseRequest.from_bytes(request, limits.CALL), SeatAnswer)


async def approved(ctx: Context) -> None:
    """Every approval of a provision, oldest first, so that one that was ended early is not in force again."""
    # INVARIANT: test_an_approval_that_was_ended_after_the_copy_stays_ended
    for request, answer in ctx.spool.memory.calls("/v1/provisions:approve"):
        if answer is None:
            continue
        approval = ApprovalRequest.from_bytes(request, limits.CALL)
        told = await _once_more(ctx, "/v1/provisions:approve", approval, RecordedAnswer)
        if told is not None:
            ctx.spool.memory.want_proof(told.leaf_hash, "approval", ctx.now())


async def repeated(ctx: Context, own: Seat, held: Kept) -> None:
    """Keys that are gone, what was said outside the broker, second persons' words: an entry each where it has none."""
    # INVARIANT: test_what_the_copy_holds_sealed_to_a_destroyed_key_is_sealed_anew
    for gone in held.destroyed:
        await _once_more(ctx, "/v1/seats:destroyed", gone, SeatAnswer)
    # INVARIANT: test_what_was_said_after_the_copy_is_recorded_again
    for spoken in held.said:
        told = await _once_more(ctx, "/v1/disclosures:record", spoken, DisclosureAnswer)
        for role in told.roles if told is not None else ():
            ctx.spool.memory.want_proof(role.leaf_hash, "said", ctx.now(), own.sid)
    # INVARIANT: test_a_second_person_s_word_after_the_copy_is_recorded_again
    for second in held.seconds:
        heard = await _once_more(ctx, "/v1/disclosures:confirm", second, RecordedAnswer)
        if heard is not None:
            ctx.spool.memory.want_proof(heard.leaf_hash, "statute", ctx.now(), own.sid)


_Request = StateRequest | CloseRequest | DestroyedRequest | DisclosureRequest | ApprovalRequest | SecondRequest
_Answer = TypeVar("_Answer", SeatAnswer, DisclosureAnswer, RecordedAnswer)


async def _once_more(ctx: Context, path: str, request: _Request, answer: type[_Answer]) -> _Answer | None:
    try:
        return await ctx.link.call(path, request, answer)
    except HandslagError as error:
        if error.entry.retriable or error.code not in _SETTLED:
            raise
    return None
