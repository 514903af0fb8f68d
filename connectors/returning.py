"""A restored connector comes back: what its backup cannot know is made safe first, then it takes a new number.

Between the backup and the loss the lost connector went on: it may have given deliveries to the agency's system, sent
what the backup still holds as unsent, and carried out what the backup holds as waiting. So after a restore

 - what the backup holds, or the broker hands out again, of deliveries that may have been given is held for a person;
 - what would permit or tell something and was waiting is not carried out by itself: the person may have taken it back;
 - events that may have left keep their sealed bytes and go on under higher attempt numbers; those never sealed wait
   for a person, because the lost connector may have sealed them otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from connectors import command_consents, executor, instance, rekeying, reports, transfers
from connectors.cases import drawn
from connectors.context import Context
from connectors.fields import shown_moment
from connectors.identity import Seat
from connectors.instance import Restored, restored
from connectors.keys import UnitKeyPair
from connectors.waiting import OutgoingState
from schemas import limits
from schemas.calls import FetchAnswer, FetchRequest
from schemas.checks import sha256
from schemas.envelope import Core, Delivery
from schemas.errors import HandslagError
from schemas.identifiers import shown
from schemas.instances import InstanceAnswer, InstanceRequest, InstanceStatement, RestoreStatement

# A narrowing command is carried out again; an opening or acceptance whose keys the backup holds goes on under its own
# call id; a closing harms nobody twice.
_NOT_BY_ITSELF = frozenset({*command_consents.WIDENS, "invite", "remove"})
_GAP = 1000  # more attempts than anybody makes in the hours between a backup and a loss
_TRIES = 3


def prepare(ctx: Context, keys: UnitKeyPair, *, backup_at_us: int, number: int) -> dict[str, Any]:
    """Make a freshly unpacked spool safe, and sign its restore with the recovery key; returns what a person must know.

    One transaction: a spool is prepared whole or is still the bare copy.
    """
    now = ctx.now()
    statement = RestoreStatement(
        origin=ctx.settings.origin,
        unit=ctx.settings.unit,
        restore_id=ctx.random(16),
        backup_at_us=backup_at_us,
        restored_at_us=now,
    ).to_bytes()
    with ctx.spool.transaction():
        instance.keep(
            ctx.spool,
            Restored(
                backup_at_us=backup_at_us,
                restored_at_us=now,
                announced_at_us=0,
                instance=number + 1,
                statement=statement.hex(),
                signature=keys.sign(statement).hex(),
            ),
        )
        if ctx.spool.memory.get("halt") == b"HS-INSTANCE-OLD":
            ctx.spool.memory.put("halt", b"")  # this copy was the old one, and is the new one now
        return {
            "given_before": _found_given(ctx),
            "held": _hold_unwritten(ctx),
            "not_carried_out": _end_commands(ctx),
            "waits_for_a_person": _end_unsealed(ctx),
            "sent_again": ctx.spool.outgoing.unsure(_GAP),
            "acknowledgement_unknown": len(list(ctx.spool.outgoing.in_state(OutgoingState.DECIDED))),
        }


def _found_given(ctx: Context) -> int:
    """Files of an agency folder that survived the loss were given, whatever the backup says."""
    folder = ctx.settings.folder / "out"
    names = {path.name.lstrip(".").removesuffix(".json") for path in folder.glob("*.json")}  # hidden ones as well
    for item in ctx.spool.incoming.to_write(limit=1_000_000):
        if item.folder == "out" and item.name in names:
            ctx.spool.incoming.written(item)
    for name in names:
        ctx.spool.incoming.found(name)
    return len(names)


def _hold_unwritten(ctx: Context) -> int:
    count = 0
    for item in ctx.spool.incoming.to_write(limit=1_000_000):
        if item.delivery_id is not None:
            ctx.spool.incoming.hold(item.delivery_id)
            _tell_held(ctx, item.delivery_id, item.value)
            count += 1
    return count


def _end_commands(ctx: Context) -> int:
    """What would widen is asked for anew by a person; nothing is signed on a head that may be older than a refusal."""
    # INVARIANT: test_a_grant_that_waited_in_the_backup_is_not_recorded_after_the_restore
    count = 0
    for command in ctx.spool.commands.waiting():
        if command.kind in _NOT_BY_ITSELF or (command.kind == "accept" and not drawn(command)):
            executor.give_up(ctx, command, HandslagError("HS-RESTORED"))
            count += 1
    return count


def _end_unsealed(ctx: Context) -> int:
    """Events that the backup holds unsealed: the lost connector may have sealed and sent them under the same id."""
    events = list(ctx.spool.outgoing.in_state(OutgoingState.ACCEPTED))
    for event in events:
        ctx.spool.outgoing.move(event.event_id, OutgoingState.EXPIRED)
        what = {"kind": "waits_for_a_person", **reports.error_value(HandslagError("HS-RESTORED"))}
        reports.event_notice(ctx, event.event_id, event.event_type, event.event.get("id", ""), what)
    return len(events)


async def announce(ctx: Context) -> bool:
    """Take the next number at the broker, if this spool was restored and has not done so; returns whether it did.

    Until it counts the link makes no other call. Raises the error of the call: `HS-INSTANCE-UNPROVEN` when the broker
    knows another recovery key, or this restore was announced before.
    """
    # INVARIANT: test_a_restored_connector_says_nothing_before_its_number_counts
    state = restored(ctx.spool)
    if state is None or (state.announced_at_us and not ctx.link.forgotten):
        return False
    ctx.link.forgotten = False
    number = state.instance
    for _ in range(_TRIES):
        try:
            answer = await _announced(ctx, state, number)
        except HandslagError as error:
            current = error.context.get("instance")
            if error.code != "HS-INSTANCE-OLD" or not isinstance(current, int) or current < number:
                raise
            number = current + 1  # another restore came before this one
            continue
        _in_service(ctx, state, answer)
        return True
    raise HandslagError("HS-NOT-READY", field="instance")


async def _announced(ctx: Context, state: Restored, number: int) -> InstanceAnswer:
    restore = bytes.fromhex(state.statement)
    statement = InstanceStatement(
        origin=ctx.settings.origin, unit=ctx.settings.unit, instance=number, restore_hash=sha256(restore)
    ).to_bytes()
    request = InstanceRequest(
        statement=statement,
        unit_signature=ctx.unit_keys.sign(statement),
        restore=restore,
        recovery_signature=bytes.fromhex(state.signature),
    )
    ctx.link.numbered(number)
    return await ctx.link.call(instance.INSTANCES, request, InstanceAnswer)


def _in_service(ctx: Context, state: Restored, answer: InstanceAnswer) -> None:
    own = {seat.seat_id for seat in ctx.identities.all()}
    lost = tuple(sorted(seat_id.hex() for seat_id in answer.seats if seat_id not in own))
    with ctx.spool.transaction():
        instance.take_number(ctx.spool, answer.instance)
        now = instance.keep(
            ctx.spool, replace(state, announced_at_us=ctx.now(), instance=answer.instance, lost_seats=lost)
        )
        for seat in ctx.identities.all():
            if seat.active and seat.seat_id not in answer.seats:
                # Handed over since the backup was made, perhaps: the place must not come back with a copy.
                transfers.erase(ctx, seat)
        ctx.spool.memory.want_proof(answer.leaf_hash, "instance", ctx.now())
        value = {"kind": "restored", **summary(now), "receipts_again": answer.receipts, "sv": _words("sv", now),
                 "en": _words("en", now)}  # fmt: skip
        ctx.spool.incoming.put(f"restored-{answer.instance}", "receipts", value)
    ctx.link.open_again()


def summary(state: Restored) -> dict[str, Any]:
    """The restore in names and times, for `status` and the agency's file."""
    return {
        "instance": state.instance,
        "backup_made_at": shown_moment(state.backup_at_us),
        "restored_at": shown_moment(state.restored_at_us),
        "in_service_since": shown_moment(state.announced_at_us) if state.announced_at_us else None,
        "lost_seats": list(state.lost_seats),
    }


def _words(language: str, state: Restored) -> str:
    """What nobody can know by machine, in a sentence each."""
    since = shown_moment(state.backup_at_us)
    if language == "sv":
        return (
            f"Allt som noterades efter {since} och inte hann till mäklaren är borta: gå igenom egna anteckningar,"
            " återkallelser först. Meddelanden som inte hann lämna maskinen skickas på nytt av er. Leveranser som kan"
            " ha lämnats till verksamhetssystemet hålls kvar: `handslag connector held`. Säten i lost_seats har"
            " nycklar som ingen kopia rymmer: stäng dem och bjud in på nytt."
        )
    return (
        f"All that was noted after {since} and did not reach the broker is gone: go through your own notes, withdrawals"
        " first. Messages that had not left the machine are yours to send again. Deliveries that may have been given to"
        " your system are held: `handslag connector held`. Seats in lost_seats have keys that no backup holds: close"
        " them and invite anew."
    )


async def fetch(ctx: Context, request: FetchRequest) -> FetchAnswer:
    """One fetch of the inbox; a copy beside the instance in service stops itself when it is told so."""
    try:
        return await ctx.link.call("/v1/inbox:fetch", request, FetchAnswer)
    except HandslagError as error:
        if error.code == "HS-INSTANCE-OLD":
            # INVARIANT: test_an_old_snapshot_beside_the_living_one_is_refused_and_stops
            ctx.witness.halt(error.code, b"", ctx.now())
        raise


def perhaps_given(ctx: Context, seat: Seat, delivery: Delivery, core: Core) -> bool:
    """Whether a delivery that this spool never saw may have been given by the connector that was lost.

    It was handed over before (`hand_number` counts), and sealed before this connector was the only one; of a seat lost
    with no backup, the broker named it when this connector first asked.
    """
    # INVARIANT: test_a_delivery_that_may_have_been_given_waits_for_a_person
    if rekeying.handed_before(ctx, seat, core.event_id):
        return True
    state = restored(ctx.spool) if delivery.hand_number > 1 else None
    return state is not None and core.sent_at_us <= state.since_us + limits.SENT_AHEAD_US


def hold(ctx: Context, delivery: Delivery, value: dict[str, Any]) -> None:
    """Keep a stored delivery from the agency's system until a person has looked, and say so without its content."""
    name = delivery.delivery_id.hex()
    if ctx.spool.incoming.is_written(name):  # its file survived in the agency's folder
        ctx.spool.incoming.given(delivery.delivery_id)
        return
    ctx.spool.incoming.hold(delivery.delivery_id)
    _tell_held(ctx, delivery.delivery_id, value)


def _tell_held(ctx: Context, delivery_id: bytes, value: dict[str, Any]) -> None:
    error = HandslagError("HS-PERHAPS-GIVEN")
    told = {
        "kind": "perhaps_given",
        **reports.error_value(error),
        "delivery_id": shown(delivery_id),
        **{name: value.get(name) for name in ("ref", "event_id", "event_type", "from_role", "sent_at", "categories")},
    }
    ctx.spool.incoming.put(f"perhaps-given-{delivery_id.hex()}", "receipts", told)


def was_lost(ctx: Context, seat: Seat) -> bool:
    """Whether another connector was at work for a seat, of which this spool does not know all."""
    return bool(seat.key_floor) or restored(ctx.spool) is not None


def unknown_receipt(ctx: Context, seat: Seat, item_id: bytes, value: dict[str, Any]) -> bool:
    """A receipt of an event this spool never had: the lost connector sent it after the backup; tell of its fate.

    Returns False where nothing was lost: then nobody here ever sent it.
    """
    if not was_lost(ctx, seat):
        return False
    told = {**value, "kind": "sent_before_the_loss", "ref": seat.ref}
    ctx.spool.incoming.put(item_id.hex(), "receipts", told)
    return True
