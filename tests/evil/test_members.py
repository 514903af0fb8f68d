"""A broker that keeps statements about members back, or passes on two that contradict each other.

What is detectable and when: who made a statement knows it at once, whatever the broker does with it; a statement that
the broker says it recorded has a proof in ten minutes or an alarm; whoever it is kept from learns of it from a meeting,
from the lead's own trail, and at the latest when the keys it does not know are over.
"""

from __future__ import annotations

import dataclasses
import os

import pytest

from connectors.keys import SeatKeyPair
from schemas.calls import SeatAnswer
from schemas.codes import SeatState
from schemas.errors import HandslagError
from schemas.inbox import InboxItem, StatementNotice
from schemas.statements import MemberStatement, SignedStatement
from tests.evil.house import POLICE, assessment, changed, house, request_assessment


def kept_back(case, agency, *kinds):
    """No STATEMENT with a statement of these kinds reaches the agency; returns what was kept back."""
    held = []

    def speaks(item):
        if item.kind != "STATEMENT":
            return False
        told = StatementNotice.from_bytes(item.body).statements
        return any(MemberStatement.from_bytes(one.statement).kind in kinds for one in told)

    async def lie(honest, unit, _request):
        answer = await honest()
        if unit != agency.ctx.settings.unit:
            return answer
        held.extend(item for item in answer.items if speaks(item))
        return changed(answer, lambda items: [item for item in items if not speaks(item)])

    case.liar.lies["fetch"] = lie
    return held


async def test_a_join_kept_back_gives_nobody_a_seat(home):
    """The invited unit is never told that the lead vouched for it: it sends nothing and is given nothing."""
    held = kept_back(home, home.police, "JOIN")
    with pytest.raises(AssertionError):
        await home.case("EX-1", "PM-1")
    assert held
    seat = home.police.ctx.identities.get("PM-1")
    assert seat.state == SeatState.ACCEPTED
    with pytest.raises(HandslagError, match="HS-STATE-INVALID"):
        home.police.command(**assessment("PM-1"))
    home.social.command(**request_assessment("EX-1"))
    await home.settle(2)
    assert home.police.files("out", kind="delivery") == []
    told = list(held)

    async def lie(honest, unit, _request):
        answer = await honest()
        if unit == home.police.ctx.settings.unit and told:
            return changed(answer, lambda items: [*items, told.pop()])
        return answer

    home.liar.lies["fetch"] = lie
    await home.settle(2)
    assert home.police.ctx.identities.get("PM-1").active  # positive control: the same statement, told
    home.social.command(**request_assessment("EX-1"))
    await home.settle(2)
    assert home.police.files("out", kind="delivery")


async def test_a_remove_that_the_broker_swallows_counts_here_at_once_and_has_no_proof(tmp_path):
    async with house(tmp_path, proof_alarm_s=2.0) as home:
        await home.case("EX-1", "PM-1")
        await home.settle(2)
        seat = home.social.ctx.identities.get("EX-1")

        async def state(_honest, _unit, request):
            return SeatAnswer(
                call_id=request.call_id, seat_id=seat.sid, state="ACTIVE", ledger_seq=0, head=bytes(32),
                entry_id=os.urandom(16), leaf_hash=os.urandom(32),
            )  # fmt: skip

        home.liar.lies["state"] = state
        home.social.command(do="remove", ref="EX-1", role=POLICE)
        await home.settle(1)
        sent = len(home.liar.submissions)
        home.social.command(**request_assessment("EX-1"))
        home.police.command(**assessment("PM-1"))
        await home.settle(2)
        # The lead's connector knows what it signed: nothing is sealed to the removed member, nothing of it is taken.
        own = home.police.ctx.identities.get("PM-1").sid
        mine = [one for one in home.liar.submissions[sent:] if own not in one.routing_item]
        assert not [one for one in mine if one.section_items]
        assert home.police.files("out", kind="delivery") == []
        assert home.social.files("out", kind="delivery") == []
        assert {f["code"] for f in home.social.files("receipts", kind="rejected")} == {"HS-KEY-EXPIRED"}
        home.social.ahead_us += 3_000_000
        await home.settle(2)
        assert {f["code"] for f in home.social.files("receipts", kind="alarm")} == {"HS-PROOF-LATE"}


@pytest.mark.parametrize("which", ["other keys", "other role"])
async def test_two_statements_of_one_number_raise_the_alarm(case, which):
    """Both are signed by the lead's key, stolen or willing, and the broker passes both on: neither counts."""
    lead, police = case.social.ctx.identities.get("EX-1"), case.police.ctx.identities.get("PM-1")
    await case.settle(1)
    members = case.social.ctx.members(lead)
    first = MemberStatement.from_bytes(members.holder(POLICE, case.social.ctx.now()).statement)
    keys = SeatKeyPair.generate()
    second = dataclasses.replace(
        first, signing_key=keys.public.signing, hpke_key_hash=keys.public.hpke_hash,
        **({"role": "health_care"} if which == "other role" else {}),
    ).to_bytes()  # fmt: skip
    signed = SignedStatement(statement=second, signature=lead.keys.sign(second), hpke_key=keys.public.hpke)
    notice = StatementNotice(seat_id=lead.sid, statements=(signed,))
    once = [InboxItem(item_id=os.urandom(16), kind="STATEMENT", body=notice.to_bytes())]

    async def lie(honest, unit, _request):
        answer = await honest()
        if unit == case.social.ctx.settings.unit and once:
            return changed(answer, lambda items: [once.pop(), *items])
        return answer

    assert case.social.files("receipts", kind="alarm") == []
    case.liar.lies["fetch"] = lie
    await case.settle(2)
    [alarm] = case.social.files("receipts", kind="alarm")
    assert (alarm["code"], alarm["ref"]) == ("HS-EQUIVOCATION", "EX-1")
    assert POLICE in alarm["roles"]
    sent = len(case.liar.submissions)
    case.social.command(**request_assessment("EX-1"))
    case.police.command(**assessment("PM-1"))
    await case.settle(2)
    mine = [one for one in case.liar.submissions[sent:] if police.sid not in one.routing_item]
    assert not [one for one in mine if one.section_items]
    assert keys.key_id not in case.liar.sealed_to()
    assert case.social.files("out", kind="delivery") == []
