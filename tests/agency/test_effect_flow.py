"""Asked before, done, and looked back on: simulate, explain and effect as commands, over the real gateway."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from connectors.effect_cli import consent as group
from connectors.fields import moment
from schemas.errors import HandslagError
from tests.evil.house import LEAD, POLICE, assessment, grant, house, request_assessment

NOBODYS = "01a2016d-eb13-7b39-819c-a99e16436ddb"  # of no consent in any of these cases
LOOK = ("--purpose", "LAWFULNESS", "--case-number", "K-7", "--actor", "auditor-3")
ASKED = ("--to", POLICE, "--event-type", "threat_assessment_requested", "--for", "THREAT_ASSESSMENT")


@pytest.fixture
async def home(tmp_path):
    async with house(tmp_path) as made:
        await made.case("EX-1", "PM-1")
        yield made


def granted(agency, place=-1) -> str:
    return agency.files("receipts", kind="result", do="grant")[place]["consent"]


async def run(agency, command: str, *arguments: str, ref: str = "EX-1", lang: str = "en"):
    config = str(Path(agency.ctx.settings.folder).parent / "connector.toml")
    return await asyncio.to_thread(
        CliRunner().invoke, group, [command, "--ref", ref, *LOOK, *arguments, "--config", config],
        catch_exceptions=False, obj={"lang": lang},
    )  # fmt: skip


async def answer(agency, command: str, *arguments: str, ref: str = "EX-1") -> dict:
    done = await run(agency, command, *arguments, "--json", ref=ref)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


async def test_a_withdrawal_from_the_question_to_the_last_acknowledgement(home):
    home.social.command(**request_assessment("EX-1"))
    await home.settle()
    assert len(home.police.files("out", kind="delivery")) == 1
    consent = granted(home.social)

    asked = await answer(home.social, "simulate", "--withdraw", consent)
    assert asked["counts"] == [{"role": POLICE, "stopped": 0, "may_have_arrived": 0, "received": 1}]
    assert [(one["state"], one["kept"]) for one in asked["deliveries"]] == [("ACKED", [])]
    assert "POL/EXEMPEL" not in json.dumps(asked)
    assert (await answer(home.social, "effect"))["effects"] == []
    explained = await answer(home.social, "explain", *ASKED, "--category", "IC04")
    assert (explained["outcome"], explained["own_copy"]["agrees"]) == ("RELEASED", True)
    assert consent in {one["consent"] for one in explained["records"] if one["effect"] == "USED"}

    home.social.command(do="withdraw", ref="EX-1", consent=consent)
    await home.settle()
    # The agency's system at the police is told, in codes.
    [told] = home.police.files("out", kind="consent_ended")
    assert (told["ref"], told["from_role"], told["reason"]["code"]) == ("PM-1", LEAD, "WITHDRAWN")
    assert told["delivery_id"] == home.police.files("out", kind="delivery")[0]["delivery_id"]
    assert set(told["categories"]) == set(home.police.files("out", kind="delivery")[0]["categories"])
    assert [one["role"] for one in home.social.files("receipts", code="end_acknowledged")] == [POLICE]

    [one] = (await answer(home.social, "effect", "--consent", consent))["effects"]
    assert (one["act"], one["consent"]) == ("WITHDRAW", consent)
    [role] = one["roles"]
    assert (role["role"], role["stopped"], role["told"], role["acknowledged"]) == (POLICE, 0, 1, 1)
    assert one["said_at"] <= one["in_force_everywhere_at"] <= one["all_know_at"]
    assert one["seconds_until_all_knew"] >= 0
    assert "POL/EXEMPEL" not in json.dumps(one)
    assert not [*home.social.files("receipts", kind="alarm"), *home.police.files("receipts", kind="alarm")]

    explained = await answer(home.social, "explain", *ASKED, "--category", "IC04")
    assert explained["outcome"] == "WITHHELD"
    assert "WITHDRAWN" in explained["sections"][0]["reasons"]
    assert {tuple(one["why_not"]) for one in explained["records"] if one["consent"] == consent} == {("WITHDRAWN",)}
    # A sentence for each record and section, in both languages, with the same consents named.
    for language, word in (("sv", "samtycket är återkallat"), ("en", "the consent is withdrawn")):
        lines = [line for line in explained["sentences"][language] if consent in line]
        assert len(lines) == 1
        assert word in lines[0].lower()
    shown = await run(home.social, "effect")
    assert "1" in shown.stdout


PART = ("--to", LEAD, "--event-type", "threat_assessment_completed", "--for", "THREAT_ASSESSMENT", "--category", "IC04",
        "--category", "IC06")  # fmt: skip
OWN = {"sv": "beslut om utlämnande av uppgifter under 18 kap. osl saknas", "en": "no release decision for secrecy"}
HEADLINE = {"sv": "ett villkor för utlämnandet är inte uppfyllt", "en": "a condition of the release is not met"}


@pytest.mark.parametrize("language", ["sv", "en"])
async def test_what_the_agency_s_own_decision_holds_back_is_not_said_to_be_the_person_s(home, language):
    """The person has consented to all of it; for one section the agency has not decided, and its name goes with it."""
    home.police.command(do="withdraw", ref="PM-1", consent=granted(home.police))
    home.police.command(**grant("PM-1", [{"role": LEAD}], ["IC04", "IC06"], ["THREAT_ASSESSMENT"]))
    await home.settle()
    decided = ("--public-interest", "IC06")
    shown = await run(home.police, "explain", *PART, *decided, "--lang", language, ref="PM-1")
    text = shown.stdout.lower()
    asked = await answer(home.police, "explain", *PART, *decided, ref="PM-1")
    assert asked["outcome"] == "WITHHELD"
    assert {reason for one in asked["sections"] for reason in one["reasons"]} == {
        "PUBLIC_INTEREST_NOT_RELEASED", "TYPE_WITHHELD",
    }  # fmt: skip
    assert OWN[language] in text
    assert HEADLINE[language] in text.splitlines()[0]
    # Where it is the person's, the same words are true, and the section says so.
    home.police.command(do="withdraw", ref="PM-1", consent=granted(home.police))
    await home.settle()
    both = (*decided, "--public-interest", "IC04")
    gone = (await run(home.police, "explain", *PART, *both, "--lang", language, ref="PM-1")).stdout.lower()
    assert OWN[language] not in gone
    assert gone.splitlines()[0] == text.splitlines()[0]


@pytest.mark.parametrize("do", ["withdraw", "withdraw_case"])
async def test_time_to_effect_counts_from_the_note_also_of_everything(home, do):
    home.social.ahead_us = -3600 * 1_000_000  # noted an hour ago, and the broker was away until now
    what = {"consent": granted(home.social)} if do == "withdraw" else {"method": "ORAL_DOCUMENTED"}
    home.social.command(do=do, ref="EX-1", **what)
    noted_us = home.social.ctx.now()
    home.social.ahead_us = 0
    await home.settle()
    [one] = (await answer(home.social, "effect"))["effects"][-1:]
    assert 3600 <= one["seconds_to_force"] < 3600 + 60
    assert one["said_at"] == one["noted_at"]
    assert abs(moment(one["noted_at"], "noted_at") - noted_us) < 60_000_000
    if do == "withdraw_case":  # that another unit noted it before it was recorded is not the police's to know
        [told] = (await answer(home.police, "effect", ref="PM-1"))["effects"]
        assert (told["act"], told["said_at"], told["noted_at"], told["seconds_to_force"]) == (
            "WITHDRAW_ALL", None, None, None,
        )  # fmt: skip
        assert told["in_force_everywhere_at"]
        assert "antecknat av en annan enhet" in (await run(home.police, "effect", ref="PM-1")).stdout


async def test_whom_data_concern_and_when_they_are_from_can_be_asked_about(home):
    terms = grant("PM-1", [{"role": LEAD}], ["IC06"], ["THREAT_ASSESSMENT"])
    home.police.command(**terms, data_from="2026-01-01T00:00:00Z", data_until="2026-07-01T00:00:00Z")
    await home.settle()
    asked = (*PART, "--public-interest", "IC04", "--public-interest", "IC06")
    dated = ("--data-since", "2026-02-01T00:00:00Z", "--data-until", "2026-03-01T00:00:00Z")
    for command in ("explain", "decide"):
        found = await answer(home.police, command, *asked, ref="PM-1")
        assert "DATA_PERIOD" in found["sections"][1]["reasons"]
        assert found["decided_for"] == {"persons": [0], "data_since": None, "data_until": None}
        found = await answer(home.police, command, *asked, *dated, ref="PM-1")
        assert found["outcome"] == "RELEASED"
        assert (found["decided_for"]["data_since"], found["decided_for"]["data_until"]) == (dated[1], dated[3])
        found = await answer(home.police, command, *asked, *dated, "--person", "0", "--person", "1", ref="PM-1")
        assert "OTHER_SUBJECT_NO_CONSENT" in found["sections"][1]["reasons"]
        shown = await run(home.police, command, *asked, *dated, "--person", "1", "--lang", "en", ref="PM-1")
        assert "Decided for persons number 1 and data from 2026-02-01T00:00:00Z" in shown.stdout


async def test_somebody_who_has_not_acknowledged_is_seen(home):
    home.social.command(**request_assessment("EX-1"))
    await home.settle()
    consent = granted(home.social)
    home.social.command(do="suspend", ref="EX-1", consent=consent)
    await home.social.beat()
    [one] = (await answer(home.social, "effect"))["effects"]
    assert (one["act"], one["all_know_at"], one["roles"][0]["told"], one["roles"][0]["acknowledged"]) == (
        "SUSPEND", None, 1, 0,
    )  # fmt: skip
    await home.settle()
    [one] = (await answer(home.social, "effect"))["effects"]
    assert one["roles"][0]["acknowledged"] == 1


async def test_a_grant_releases_what_simulating_it_said(home, tmp_path):
    home.police.command(do="withdraw", ref="PM-1", consent=granted(home.police))
    await home.settle()
    home.police.command(**assessment("PM-1"))
    await home.settle()
    assert home.social.files("out", kind="delivery") == []
    given = grant("PM-1", [{"role": LEAD}], ["IC04"], ["THREAT_ASSESSMENT"])
    (tmp_path / "grant.json").write_text(json.dumps(given))
    before = home.police.ctx.spool.memory.head(home.police.ctx.identities.get("PM-1").sid)
    asked = await answer(home.police, "simulate", "--act", str(tmp_path / "grant.json"), ref="PM-1")
    assert [(one["role"], one["goes"], one["stays"], one["by_itself"]) for one in asked["here"]] == [
        (LEAD, ["IC04"], [], True)
    ]
    assert asked["counts"] == []
    await home.settle()
    assert home.social.files("out", kind="delivery") == []  # nothing went by asking, and nothing was recorded
    assert home.police.ctx.spool.memory.head(home.police.ctx.identities.get("PM-1").sid) == before
    home.police.command(**given)
    await home.settle(4)
    [came] = home.social.files("out", kind="delivery")
    assert came["categories"] == ["IC04"]


@pytest.mark.parametrize(
    ("command", "refused"),
    [
        ({"do": "expire", "ended_event": "PLACEMENT_ENDED"}, None),
        ({"do": "lapse"}, "HS-LAPSE-EMPTY"),
        ({"do": "suspend"}, None),
    ],
)
async def test_an_act_that_names_no_consent_is_tried_like_any_other(home, tmp_path, command, refused):
    """Of a happening and of an authority that ended the broker says what they would do, as of one consent's end."""
    named = {"consent": granted(home.police)} if command["do"] == "suspend" else {}
    (tmp_path / "act.json").write_text(json.dumps({"ref": "PM-1", **command, **named}))
    asked = await answer(home.police, "simulate", "--act", str(tmp_path / "act.json"), ref="PM-1")
    assert asked["would_be_refused"] == refused


async def test_what_cannot_be_simulated_is_refused(home, tmp_path):
    (tmp_path / "act.json").write_text(json.dumps({"do": "void_case", "ground": "WRONG_PERSON"}))
    refused = await asyncio.to_thread(
        CliRunner().invoke, group,
        ["simulate", "--ref", "EX-1", *LOOK, "--act", str(tmp_path / "act.json"), "--config",
         str(Path(home.social.ctx.settings.folder).parent / "connector.toml")],
    )  # fmt: skip
    assert getattr(refused.exception, "code", None) == "HS-NOT-YET"
    assert (await run(home.social, "simulate")).exit_code == 2
    for words in (("simulate", "--withdraw", NOBODYS), ("effect", "--consent", NOBODYS)):
        with pytest.raises(HandslagError) as unknown:
            await run(home.social, *words)
        assert unknown.value.code == "HS-CONSENT-UNKNOWN"
    other = await run(home.social, "simulate", "--withdraw", granted(home.social), "--withdraw-case")
    assert other.exit_code == 2
