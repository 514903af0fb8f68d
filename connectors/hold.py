"""When the broker was restored from a copy: give back what it lost, and once our people follow its log, confirm.

Giving back needs nobody's leave: acts are only ever repeated as they were signed and recorded, and while the broker
holds the seat nothing is released on them. Confirming does: `resume.py`, a command of the agency.
"""

from __future__ import annotations

from connectors import exposure, giving_back, joining, ledgers, operators, reports, sending
from connectors.context import Context
from connectors.identity import Seat
from connectors.waiting import OutgoingState
from schemas.errors import HandslagError
from schemas.hold import (
    ConfirmRequest,
    HeadConfirmation,
    HoldAnswer,
    HoldSeatAnswer,
)

_FOLLOWED = "hold.followed"
_DONE = "hold.done"
_GIVEN = "hold.given"
_NOTHING = b"-"
# Nothing that this connector could do would change it: a seat that the broker lost, or another history.
_HOPELESS = frozenset({
    "HS-SEAT-UNKNOWN", "HS-CASE-INCOMPLETE", "HS-HOLD-NONE", "HS-HEAD-STALE",
    "HS-SIGNATURE-INVALID", "HS-KEY-UNTRUSTED", "HS-STATE-INVALID",
})  # fmt: skip


async def step(ctx: Context) -> None:
    """One look, when something said that the broker was restored; raises HandslagError of its calls."""
    if not (ctx.link.held or ctx.witness.stopped or pending(ctx)):
        return
    answer = await ctx.link.get("/v1/hold", HoldAnswer)
    ctx.link.held = False
    if await exposure.closed_again(ctx):
        return
    if answer.statements and ctx.witness.must_follow(answer):
        # INVARIANT: test_only_a_person_makes_a_connector_follow_a_continued_log
        ctx.witness.halt_once("HS-LOG-CONTINUED", answer.statements[-1].statement, ctx.now())
    if not answer.active or answer.hold_id is None:
        _ended(ctx)
        return
    if ctx.spool.memory.get(_GIVEN) != answer.hold_id:
        await _give_back_all(ctx, answer.hold_id)
    followed = ctx.spool.memory.get(_FOLLOWED) == answer.hold_id and not ctx.witness.stopped
    if followed and ctx.spool.memory.get(_DONE) != answer.hold_id:
        await _confirm_all(ctx, answer, answer.hold_id)


async def _give_back_all(ctx: Context, hold_id: bytes) -> None:
    """The operator's acts, removals, closings and approvals once more, then what every seat holds."""
    await operators.give_back(ctx, hold_id)
    await giving_back.narrowed(ctx)
    await giving_back.approved(ctx)
    kept = giving_back.kept(ctx)
    for seat in _seats(ctx):
        await _given_or_alarmed(ctx, hold_id, seat, kept[seat.sid])
    ctx.spool.memory.put(_GIVEN, hold_id)


async def _confirm_all(ctx: Context, answer: HoldAnswer, hold_id: bytes) -> None:
    """Every seat's confirmation; one that the broker does not take yet is given back and tried again next time."""
    waits = False
    kept = giving_back.kept(ctx)
    for seat in _seats(ctx):
        try:
            await _confirmed(ctx, answer.origin, hold_id, seat)
        except HandslagError as error:
            if error.code == "HS-HEAD-LOST":
                waits |= await _given_or_alarmed(ctx, hold_id, seat, kept[seat.sid])
            elif error.code in _HOPELESS:
                _alarm(ctx, hold_id, seat, error)
            else:
                raise
    if not waits:
        await joining.again(ctx)
        ctx.spool.memory.put(_DONE, hold_id)
        _soon(ctx)


async def _given_or_alarmed(ctx: Context, hold_id: bytes, seat: Seat, held: giving_back.Kept) -> bool:
    """Give a seat back; False, and the agency is told, when it can never be. Others must not wait for that one."""
    # INVARIANT: test_one_seat_that_cannot_come_back_stops_no_other
    try:
        await _given_back(ctx, hold_id, seat, held)
    except HandslagError as error:
        if error.code not in _HOPELESS:
            raise
        _alarm(ctx, hold_id, seat, error)
        return False
    return True


def _seats(ctx: Context) -> list[Seat]:
    """Every seat that the broker ever gave an id; closed ones may know of a withdrawal too."""
    return [seat for seat in ctx.identities.all() if seat.seat_id is not None]


def pending(ctx: Context) -> bool:
    """Whether our people follow a restored broker's log and some seat is not confirmed there yet."""
    followed = ctx.spool.memory.get(_FOLLOWED)
    return followed is not None and followed not in {_NOTHING, ctx.spool.memory.get(_DONE)}


def require_given(ctx: Context) -> None:
    """Raise HS-HOLD while this connector has still to give back: until then the broker's heads are behind ours."""
    followed = ctx.spool.memory.get(_FOLLOWED)
    if followed not in {None, _NOTHING} and followed != ctx.spool.memory.get(_GIVEN):
        raise HandslagError("HS-HOLD")


def follow(ctx: Context, hold_id: bytes) -> None:
    """Our people follow: from now on seats are confirmed, and what nobody has acknowledged goes again."""
    ctx.spool.memory.put(_FOLLOWED, hold_id)
    ctx.spool.memory.put(_DONE, _NOTHING)
    send_again(ctx)
    _soon(ctx)


def _soon(ctx: Context) -> None:
    """What was put off while the broker took nothing goes now, not when its own patience ends."""
    ctx.spool.outgoing.soon()
    ctx.spool.commands.soon()


def send_again(ctx: Context) -> int:
    """Everything that was released and not acknowledged goes as a new attempt; returns how many.

    The broker may have lost it or not. A section that it still carries keeps its delivery, and a recipient that was
    given one is not given it twice.
    """
    # INVARIANT: test_what_was_released_and_not_acknowledged_goes_again
    again = 0
    for event in list(ctx.spool.outgoing.in_state(OutgoingState.DECIDED)):
        if sending.may_go_anew(ctx, event) and ctx.spool.outgoing.reopen(event.event_id):
            ctx.spool.outgoing.move(event.event_id, OutgoingState.WAITING)
            sending.send_anew(ctx, event.event_id)
            again += 1
    return again


async def replay_all(ctx: Context) -> None:
    """Give every seat's acts back, because the broker refused one for want of those before it."""
    answer = await ctx.link.get("/v1/hold", HoldAnswer)
    if answer.active and answer.hold_id is not None:
        await _give_back_all(ctx, answer.hold_id)


async def _given_back(ctx: Context, hold_id: bytes, seat: Seat, held: giving_back.Kept) -> None:
    await giving_back.seat_of(ctx, hold_id, seat, held)
    await giving_back.repeated(ctx, seat, held)


async def _confirmed(ctx: Context, origin: str, hold_id: bytes, seat: Seat) -> None:
    """Say that the broker's ledger is ours, and whom we know in the case."""
    if await giving_back.is_held(ctx, hold_id, seat):  # nor is a ledger compared that is known to be behind
        raise HandslagError("HS-HEAD-LOST")
    await ledgers.sync(ctx, seat)
    seq, head = ctx.spool.memory.head(seat.sid)
    view = ctx.members(seat)
    said = HeadConfirmation(
        origin=origin,
        hold_id=hold_id,
        seat_id=seat.sid,
        ledger_seq=seq,
        head=head,
        members=tuple(sorted(view.members.keys() - view.removed.keys())),
        removed=tuple(sorted(view.removed)),
        at_us=ctx.now(),
    ).to_bytes()
    request = ConfirmRequest(statement=said, signature=seat.keys.sign(said))
    await ctx.link.call("/v1/hold:confirm", request, HoldSeatAnswer)


def _alarm(ctx: Context, hold_id: bytes, seat: Seat, error: HandslagError) -> None:
    """Tell the agency once per hold of a seat that stays held."""
    value = {"kind": "alarm", "ref": seat.ref, **reports.error_value(error)}
    ctx.spool.incoming.put(f"hold-{hold_id.hex()}-{seat.sid.hex()}", "receipts", value)


def _ended(ctx: Context) -> None:
    """No seat is held any more."""
    if pending(ctx):
        ctx.spool.memory.put(_FOLLOWED, _NOTHING)
