"""What a connector does not believe: a broker that keeps acts back, plays them late, or only says "recorded"."""

from __future__ import annotations

import dataclasses
import json

import pytest

from connectors import cases, commands, executor, ledgers, outbound, sending
from connectors.waiting import OutgoingState
from consent.ledger import head_after
from schemas.acts import LedgerEvent
from schemas.calls import ConsentsAnswer, ConsentsRequest
from schemas.errors import HandslagError

SEND = {
    "do": "send", "ref": "EX-1", "event_type": "threat_assessment_requested", "to": ["police_coordination"],
    "purpose": "THREAT_ASSESSMENT", "confirmed": True,
    "data": {"reason_code": "EXIT_WISH", "urgency": "ACUTE", "known_facts": []},
}  # fmt: skip
GRANT = {
    "do": "grant", "ref": "EX-1", "recipients": [{"role": "police_coordination"}], "categories": ["IC04"],
    "purposes": ["THREAT_ASSESSMENT"], "valid_until": "2099-01-01T00:00:00Z", "text_version": "1",
    "terms_version": "1", "processing_acknowledged": True, "method": "WRITTEN",
}  # fmt: skip
INVITE = {
    "do": "invite", "ref": "EX-1", "unit": "POL/EXEMPEL/SYD", "role": "prison_probation", "contact": "EXEMPEL",
    "person": {},
}  # fmt: skip
WITHDRAW_ALL = {"do": "withdraw_case", "ref": "EX-1", "method": "ORAL_DOCUMENTED"}


def submitted(world, command: dict) -> bytes:
    return executor.submit(world.ctx, commands.read(json.dumps(command).encode()))


def told(event: LedgerEvent) -> ConsentsAnswer:
    return ConsentsAnswer(
        call_id=b"c" * 16, ledger_seq=event.ledger_seq, head=event.head, recorded_at_us=event.recorded_at_us,
        counts=(), affected=(), entry_id=b"e" * 16, leaf_hash=b"l" * 32,
    )  # fmt: skip


async def test_a_broker_that_only_says_recorded_lifts_no_stop(world) -> None:
    grant = world.act("GRANT", ("IC04",))
    ledgers.take(world.ctx, world.seat, [grant])
    withdrawal = world.act("WITHDRAW", ())
    request = ConsentsRequest(
        call_id=b"c" * 16, seat_id=world.seat.sid, act=withdrawal.act, signature=withdrawal.signature
    )
    for answer in (told(withdrawal), told(grant)):  # not in our copy; another act than the one we sent
        with pytest.raises(HandslagError, match="HS-NOT-RECORDED"):
            ledgers.require_recorded(world.ctx, world.seat, request, answer)
    ledgers.take(world.ctx, world.seat, [withdrawal])
    ledgers.require_recorded(world.ctx, world.seat, request, told(withdrawal))


async def test_a_grant_kept_back_opens_nothing_after_a_withdrawal(world) -> None:
    kept_back = world.act("GRANT", ("IC04",))
    ledgers.take(world.ctx, world.seat, [world.act("WITHDRAW_ALL", (), sign=False)])
    seq, head = world.ctx.spool.memory.head(world.seat.sid)
    now = world.ctx.now()
    late = dataclasses.replace(
        kept_back, ledger_seq=seq + 1, recorded_at_us=now, head=head_after(head, seq + 1, kept_back.act, (), now)
    )
    with pytest.raises(HandslagError, match="HS-TRAIL-ROLLBACK"):
        ledgers.take(world.ctx, world.seat, [late])
    ledgers.take(world.ctx, world.seat, [world.act("GRANT", ("IC04",))])  # signed on the head it follows


async def test_a_grant_noted_before_a_case_withdrawal_is_not_recorded_after_it(world) -> None:
    grant = submitted(world, GRANT)
    withdrawal = submitted(world, WITHDRAW_ALL)
    assert world.ctx.spool.commands.get(grant).value["error"] == "HS-OVERTAKEN"
    assert [each.command_id for each in world.ctx.spool.commands.due(world.ctx.now())] == [withdrawal]
    later = submitted(world, GRANT)  # the person may say yes again, afterwards
    assert world.ctx.spool.commands.get(later).state == "ACCEPTED"


async def test_a_grant_on_its_way_when_everything_is_withdrawn_is_answered_once(world) -> None:
    grant = submitted(world, GRANT)
    command = world.ctx.spool.commands.get(grant)
    async with world.ctx.link:
        assert not await executor.run(world.ctx, command)  # signed and posted, and nobody answered
    submitted(world, WITHDRAW_ALL)
    posted = world.ctx.spool.commands.get(grant)
    assert posted.state == "ACCEPTED"  # the broker may have it: its answer is still to be fetched
    # The answer says that the ledger moved on: the withdrawal came first. Nothing is signed anew on the new head.
    cases.keep(world.ctx, posted, {"consent": posted.value["drawn"]["consent"]})
    async with world.ctx.link:
        assert await executor.run(world.ctx, posted)
    assert world.ctx.spool.commands.get(grant).value["error"] == "HS-OVERTAKEN"
    told = [item.value["kind"] for item in world.ctx.spool.incoming.to_write() if item.value.get("do") == "grant"]
    assert told == ["refused"]


async def test_no_invitation_leaves_while_a_withdrawal_stands_noted(world) -> None:
    command = world.ctx.spool.commands.get(submitted(world, INVITE))
    submitted(world, {"do": "block", "ref": "EX-1", "method": "ORAL_DOCUMENTED"})
    async with world.ctx.link:
        assert not await executor.run(world.ctx, command)
    assert world.ctx.spool.commands.get(command.command_id).tries == 0  # it was not even tried
    assert "drawn" not in world.ctx.spool.commands.get(command.command_id).value


async def test_bytes_do_not_leave_after_their_consent_ended(world) -> None:
    ledgers.take(world.ctx, world.seat, [world.act("GRANT", ("IC04",))])
    event_id = outbound.accept(world.ctx, world.seat, commands.read(json.dumps(SEND).encode()))
    assert sending.seal_due(world.ctx) == 1
    assert [each.event_id for each in sending._chosen(world.ctx)] == [event_id]
    start = world.ctx.now()
    world.ctx.now = lambda: start + 25 * 3600 * 1_000_000  # the grant holds a day
    assert sending._chosen(world.ctx) == []
    world.ctx.now = lambda: start + 80 * 3600 * 1_000_000  # and the message three
    sending.seal_due(world.ctx)
    assert world.ctx.spool.outgoing.get(event_id).state is OutgoingState.EXPIRED
