"""A joint plan: each party gets its own part, as an event of its own, and no part of another's."""

from __future__ import annotations

import pytest

from connectors import outbound
from schemas.errors import HandslagError
from schemas.views import check_view
from tests.evil.house import POLICE, grant, house

PURPOSE = "PLANNING"


def plan(party: str = POLICE, *, to: list[str] | None = None, does: str | None = None, **more) -> dict:
    action = {"action_code": "CONTACT_PERSON", "responsible": (does or party).upper(), "start": None,
              "due": "2027-03-01"}  # fmt: skip
    return {
        "do": "send", "ref": "EX-1", "event_type": "joint_plan_adopted", "to": to or [party], "purpose": PURPOSE,
        "confirmed": True,
        "data": {"plan_id": "EXEMPEL-PLAN", "version": 1, "view_of": party.upper(), "goals": ["WORK_OR_STUDIES"],
                 "actions": [action], "next_review": "2027-06-01", "lead": "SOCIAL_SERVICES_LEAD",
                 "subject_participated": True, **more},
    }  # fmt: skip


@pytest.fixture
async def case(tmp_path):
    async with house(tmp_path) as home:
        await home.case("EX-1", "PM-1")
        await home.settle(2)
        home.social.command(**grant("EX-1", [{"role": POLICE}], ["IC13"], [PURPOSE]))
        await home.settle(2)
        yield home


async def test_a_party_is_sent_its_own_view_only(case):
    refused = [
        plan(to=[POLICE, "prison_probation"]),  # one event, two parties: both would see the same
        plan("prison_probation", to=[POLICE]),
        plan(does="prison_probation"),  # the police's view with what somebody else does
    ]
    for command in refused:
        with pytest.raises(HandslagError) as caught:
            case.social.command(**command)
        assert caught.value.code == "HS-VIEW-OTHER"
    case.social.command(**plan())
    case.social.command(**plan("prison_probation"))  # another party's view is another event; nobody holds that role
    await case.settle(2)
    [given] = case.police.files("out", kind="delivery")
    assert given["data"]["view_of"] == "POLICE_COORDINATION"
    assert [one["responsible"] for one in given["data"]["actions"]] == ["POLICE_COORDINATION"]
    assert given["data"]["actions"][0]["due"] == "2027-03-01"


async def test_a_plan_waits_for_consent_like_anything_else(case):
    case.social.command(do="block", ref="EX-1", recipients=[{"role": POLICE}], categories=["IC13"], method="WRITTEN")
    await case.settle(2)
    case.social.command(**plan())
    await case.settle(2)
    assert case.police.files("out", kind="delivery") == []


async def test_a_view_of_another_party_is_not_given_out(case, monkeypatch):
    """A sender whose connector does not look: the recipient's does, and tells it by a code."""
    monkeypatch.setattr(outbound, "check_view", lambda *_: None)
    case.social.command(**plan("prison_probation", to=[POLICE]))
    case.social.command(**plan(does="prison_probation"))
    await case.settle(3)
    assert case.police.files("out", kind="delivery") == []
    assert [file["code"] for file in case.police.files("receipts", kind="rejected")] == ["HS-VIEW-OTHER"] * 2
    told = [file for file in case.social.files("receipts", kind="notice") if file["code"] == "delivery_rejected"]
    assert len(told) == 2


def test_other_types_have_no_views():
    check_view("coordination_meeting_scheduled", {"view_of": "PROVIDER"}, ["police_coordination", "provider"])
    check_view("joint_plan_adopted", {}, ["provider"])  # nothing of it was released


async def test_one_plan_sealed_to_two_parties_is_refused_by_the_broker(case, monkeypatch):
    """A sender whose connector does not look would show each what the others do; the broker sees two roles."""
    monkeypatch.setattr(outbound, "check_view", lambda *_: None)
    case.social.command(**plan(to=[POLICE, "prison_probation"]))
    await case.settle(3)
    [receipt] = [f for f in case.social.files("receipts", kind="receipt") if f["event_type"] == "joint_plan_adopted"]
    assert receipt["refused"]["code"] == "HS-VIEW-OTHER"
    assert case.police.files("out", kind="delivery") == []
    case.social.command(**plan())  # the control: one party
    await case.settle(2)
    assert len(case.police.files("out", kind="delivery")) == 1
