"""One connector on real files: what it may sign, what it destroys and when, and what it waits for."""

import dataclasses
import json

import pytest

from connectors import commands, executor, inbox, keeping, rotation, sending
from connectors.identity import Retired
from connectors.keys import SeatKeyPair
from connectors.slots import WEEK_US
from connectors.spool.commands import Waiting
from connectors.waiting import OutgoingState
from schemas.errors import HandslagError
from schemas.inbox import InboxItem
from tests.agency.test_flows import SEND
from tests.agency.test_inbox import ASSESSMENT, given, verdicts


def later(world, us: int) -> None:
    now = world.ctx.now() + us
    world.ctx.now = lambda: now


def calls(world) -> list:
    return [row[0] for row in world.ctx.spool.store.all("SELECT path FROM call")]


def queued(world) -> list:
    return [row[0] for row in world.ctx.spool.store.all("SELECT kind FROM command WHERE state='ACCEPTED'")]


@pytest.mark.parametrize(("slots", "sealed"), [(0, 1), (3, 0)])
async def test_a_seat_whose_keys_have_lapsed_signs_nothing_until_it_is_confirmed(world, slots, sealed) -> None:
    later(world, slots * WEEK_US)
    executor.submit(world.ctx, commands.read(json.dumps(SEND).encode()))
    assert sending.seal_due(world.ctx) == sealed
    state = OutgoingState.SEALED if sealed else OutgoingState.ACCEPTED
    assert len(list(world.ctx.spool.outgoing.in_state(state))) == 1


async def test_a_new_key_is_published_only_after_it_is_kept(world, monkeypatch) -> None:
    async def fails(_ctx) -> None:
        raise HandslagError("HS-SPOOL-FAILED")

    later(world, WEEK_US)
    handle = world.ctx.identities.handle("EX-1")
    command_id = b"R" * 16
    world.ctx.spool.commands.accept(command_id, handle, "rotate", {"do": "rotate", "ref": "EX-1"}, narrowing=False)

    async def tried() -> None:
        command: Waiting = world.ctx.spool.commands.get(command_id)
        async with world.ctx.link:
            with pytest.raises(HandslagError):
                await rotation.rotate(world.ctx, command)

    with monkeypatch.context() as broken:
        broken.setattr(keeping, "kept", fails)
        await tried()
    coming = world.ctx.identities.get("EX-1").coming
    assert coming  # durable here, and not a word of it outside
    assert calls(world) == []
    await tried()  # positive control: kept, and then offered to a broker that is away
    assert calls(world) == ["/v1/seats:state"]
    assert world.ctx.identities.get("EX-1").coming == coming
    assert world.ctx.identities.get("EX-1").private == world.seat.private


async def test_a_retired_key_is_destroyed_when_nothing_sealed_to_it_may_still_come(world) -> None:
    ctx, old = world.ctx, SeatKeyPair.generate()
    half, until = old.retired(), ctx.now() + WEEK_US // 100
    retired = Retired(signing=half.signing.hex(), hpke=half.private.hex(), until_us=until)
    seat = ctx.identities.update(dataclasses.replace(world.seat, retired=(retired,)))
    world.seat = dataclasses.replace(seat, private=old.private_bytes())  # what is sealed next is sealed to the old key
    delivery = world.delivery("threat_assessment_completed", ASSESSMENT)
    inbox.take(ctx, InboxItem(item_id=delivery.delivery_id, kind="DELIVERY", body=delivery.to_bytes()))
    ctx.drained_us = until - 1
    ctx.pauses.clear()

    async def due() -> bool:
        await rotation.step(ctx)
        return "destroyed" in queued(world)

    assert not await due()  # its time is not over
    later(world, WEEK_US // 50)
    assert not await due()  # the inbox was not empty since
    ctx.drained_us = ctx.now()
    assert not await due()  # a delivery that the adapter waits for may be recalled, which opens it once more
    assert len(given(world)) == 1  # positive control: the old key opens
    assert await due()
    assert len(ctx.identities.get("EX-1").retired) == 1  # until the broker has answered


async def test_a_delivery_that_comes_before_its_senders_key_is_left_for_the_next_time(world) -> None:
    world.police = SeatKeyPair.generate()
    delivery = world.delivery("threat_assessment_completed", ASSESSMENT)
    for hand in (1, 2):
        again = dataclasses.replace(delivery, hand_number=hand)
        inbox.take(world.ctx, InboxItem(item_id=delivery.delivery_id, kind="DELIVERY", body=again.to_bytes()))
        rejected = {} if hand == 1 else {delivery.delivery_id: (2, "REJECT", "HS-KEY-UNTRUSTED")}
        assert verdicts(world) == rejected
    assert world.ctx.deferred == 1
