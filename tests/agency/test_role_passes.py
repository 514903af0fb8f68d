"""Connectors when a role passes to another seat: what waits goes by itself where the consent follows the role."""

from __future__ import annotations

import json

import pytest

from connectors import cases, commands, membership
from schemas.errors import HandslagError
from tests.evil.house import PERSON, POLICE, UNITS, grant, house, request_assessment


@pytest.mark.parametrize("follows", [True, False])
async def test_what_waits_goes_to_the_new_holder_where_the_consent_follows(tmp_path, follows):
    async with house(tmp_path) as home:
        await home.case("EX-1", "PM-1")
        await home.settle(2)
        if follows:
            recipients = [{"role": POLICE, "follows_role": True}]
            home.social.command(**grant("EX-1", recipients, ["IC01", "IC04", "IC12"], ["THREAT_ASSESSMENT"]))
            await home.settle(2)
        home.social.command(do="remove", ref="EX-1", role=POLICE)
        await home.settle(2)
        home.social.command(**request_assessment("EX-1"))  # nobody holds the role: it waits
        await home.settle(2)
        assert home.police.files("out", kind="delivery") == []
        home.social.command(
            do="invite", ref="EX-1", unit=UNITS["police"].unit, role=POLICE, contact="Konsult EXEMPEL", person=PERSON
        )
        await home.settle(2)
        invitation = home.police.files("out", kind="invitation")[-1]["invitation"]
        home.police.command(do="accept", ref="PM-2", invitation=invitation)
        await home.settle(4)
        assert home.police.ctx.identities.get("PM-2").active
        assert [file["ref"] for file in home.police.files("out", kind="delivery")] == (["PM-2"] if follows else [])
        told = [file for file in home.social.files("receipts", kind="notice") if file["code"] == "recipient_changed"]
        # The first consent of the case is bound to the holder of its day, so the discloser is told either way.
        assert [(file["role"], file["ref"]) for file in told] == [(POLICE, "EX-1")]
        assert UNITS["police"].unit not in str(told)
        decision = home.social.connector.may_receive(
            "EX-1", POLICE, "threat_assessment_requested", "THREAT_ASSESSMENT", ["IC04"]
        )
        [section] = decision.sections
        assert section.released is follows
        assert ("RECIPIENT_CHANGED" in section.reasons) is not follows


@pytest.mark.parametrize(
    "wrong",
    [
        {"recipients": [{"unit": UNITS["police"].unit, "follows_role": True}]},
        {"do": "block", "recipients": [{"role": POLICE, "follows_role": True}], "method": "WRITTEN"},
    ],
)
def test_only_a_consent_to_a_role_can_follow(wrong):
    given = grant("EX-1", [{"role": POLICE, "follows_role": True}], ["IC12"], ["INTAKE"])
    assert commands.read(json.dumps(given).encode()).recipients[0].follows_role
    command = {**given, **wrong} if "do" not in wrong else {"ref": "EX-1", **wrong}
    with pytest.raises(HandslagError) as caught:
        commands.read(json.dumps(command).encode())
    assert (caught.value.code, caught.value.context["field"]) == ("HS-INPUT-INVALID", "follows_role")


async def test_who_takes_a_role_has_not_introduced_itself(world):
    """A contact card is the old holder's: the officer is asked to confirm before anything goes to the new one."""
    world.ctx.identities.introduced(world.seat, POLICE)
    assert world.ctx.identities.get("EX-1").introduced == (POLICE,)
    members = world.ctx.members(world.seat)
    removed = membership.remove_statement(
        members=members, lead=world.seat.keys, member=b"p" * 16, at_us=world.ctx.now()
    )
    cases.add_statement(world.ctx, world.seat, removed)
    assert world.ctx.identities.get("EX-1").introduced == ()
