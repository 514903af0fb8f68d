"""The broker took a bundle and its answer was lost: the receipt is the answer. Found by kills, seed 3."""

import pytest

from connectors import commands, executor, inbox, ledgers, sending
from connectors.waiting import OutgoingState, SectionState
from schemas.inbox import InboxItem, Notice, Receipt, RoleOutcome, SectionOutcome

SEND = (
    b'{"do": "send", "ref": "EX-1", "event_type": "threat_assessment_requested", "to": ["police_coordination"],'
    b' "purpose": "THREAT_ASSESSMENT", "confirmed": true,'
    b' "data": {"person_name": "EXEMPEL", "reason_code": "EXIT_WISH", "urgency": "ACUTE", "known_facts": []}}'
)


def posted(world) -> bytes:
    """An event that was sealed and posted, as it lies in the spool when the answer never came."""
    ledgers.take(world.ctx, world.seat, [world.act("GRANT", ("IC01", "IC04"))])
    event_id = executor.submit(world.ctx, commands.read(SEND))
    assert sending.seal_due(world.ctx) == 1
    world.ctx.spool.outgoing.posting([event_id])
    return event_id


def receipt(world, event_id: bytes, *, released: bool, attempt: int = 1, by: int | None = None) -> None:
    """The broker's receipt of an attempt, which was posted."""
    sql = "UPDATE outgoing SET attempt=? WHERE event_id=? AND posted AND attempt<?"
    world.ctx.spool.store.run(sql, attempt, event_id, attempt)
    sections = tuple(SectionOutcome(category=c, released=released, carried_by=by, reasons=()) for c in ("IC01", "IC04"))
    outcome = RoleOutcome(role="police_coordination", outcome="RELEASED" if released else "WITHHELD",
                          sections=sections, obligations=(), entry_id=b"e" * 16, leaf_hash=b"l" * 32)  # fmt: skip
    told = Receipt(seat_id=world.seat.sid, event_id=event_id, attempt=attempt, decided_at_us=world.ctx.now(),
                   roles=(outcome,), ledger_seq=1, entry_id=b"e" * 16, leaf_hash=b"l" * 32)  # fmt: skip
    inbox.take(world.ctx, InboxItem(item_id=b"r" * 16, kind="RECEIPT", body=told.to_bytes()))


@pytest.mark.parametrize(("released", "state"), [(True, OutgoingState.DECIDED), (False, OutgoingState.WAITING)])
async def test_a_receipt_stands_for_a_lost_answer(world, released: bool, state: OutgoingState) -> None:
    event_id = posted(world)
    receipt(world, event_id, released=released)
    assert world.ctx.spool.outgoing.get(event_id).state is state


async def test_what_an_earlier_attempt_released_is_not_sealed_again(world) -> None:
    event_id = posted(world)
    ledgers.take(world.ctx, world.seat, [world.act("GRANT", ("IC12",))])
    assert sending.seal_due(world.ctx) == 1  # the ground moved: a second attempt waits to be sent
    receipt(world, event_id, released=True)
    ledgers.take(world.ctx, world.seat, [world.act("GRANT", ("IC13",))])
    sending.seal_due(world.ctx)
    event = world.ctx.spool.outgoing.get(event_id)
    assert event.state is OutgoingState.DECIDED
    assert event.event["data"]["person_name"] == "EXEMPEL"  # kept until it is acknowledged
    assert {row.state for row in world.ctx.spool.outgoing.sections(event_id)} == {SectionState.LIVE}


def acknowledged(world, event_id: bytes, attempt: int) -> None:
    """The broker's notice that the role has what an attempt released."""
    told = Notice(seat_id=world.seat.sid, code="delivery_acknowledged", event_id=event_id, attempt=attempt,
                  role="police_coordination", categories=("IC01", "IC04"), at_us=world.ctx.now())  # fmt: skip
    inbox.take(world.ctx, InboxItem(item_id=b"n" * 16, kind="NOTICE", body=told.to_bytes()))


async def test_a_notice_waits_for_the_receipt_it_speaks_of(world) -> None:
    event_id = posted(world)
    acknowledged(world, event_id, 1)  # the receipt was leased to a process that died: the notice overtakes it
    assert [ack.item_id for ack in world.ctx.spool.incoming.acks()] == []
    receipt(world, event_id, released=True)
    assert world.ctx.spool.outgoing.get(event_id).state is OutgoingState.DECIDED
    acknowledged(world, event_id, 1)
    assert world.ctx.spool.outgoing.get(event_id).state is OutgoingState.DONE
    assert {ack.item_id for ack in world.ctx.spool.incoming.acks()} == {b"r" * 16, b"n" * 16}


async def test_a_notice_about_an_earlier_release_does_not_undo_a_later_one(world) -> None:
    event_id = posted(world)
    receipt(world, event_id, released=True, attempt=1)
    receipt(world, event_id, released=True, attempt=2)
    cancelled = Notice(seat_id=world.seat.sid, code="delivery_cancelled", event_id=event_id, attempt=1,
                       role="police_coordination", categories=("IC04",), at_us=world.ctx.now())  # fmt: skip
    inbox.take(world.ctx, InboxItem(item_id=b"c" * 16, kind="NOTICE", body=cancelled.to_bytes()))
    assert {row.state for row in world.ctx.spool.outgoing.sections(event_id)} == {SectionState.LIVE}
    receipt(world, event_id, released=True, attempt=1)
    acknowledged(world, event_id, 2)
    assert {row.state for row in world.ctx.spool.outgoing.sections(event_id)} == {SectionState.ACKED}


async def test_an_attempt_that_found_an_earlier_one_on_its_way_waits_for_that_one(world) -> None:
    event_id = posted(world)
    receipt(world, event_id, released=True, attempt=2)
    receipt(world, event_id, released=True, attempt=3, by=2)  # sealed before the second's receipt came: nothing new
    acknowledged(world, event_id, 2)
    assert {row.state for row in world.ctx.spool.outgoing.sections(event_id)} == {SectionState.ACKED}
