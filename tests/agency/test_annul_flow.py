"""A namesake's form was recorded in the wrong file: from the mistake to the last answer, over the real gateway."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from connectors import inbox, incidents, upkeep
from connectors.annul_cli import consent as consent_group
from connectors.said_cli import connector
from schemas.errors import HandslagError
from schemas.inbox import InboxItem
from schemas.said import AnnulNotice
from tests.evil.house import LEAD, POLICE, assessment, grant, house, request_assessment

HOUR = 3600 * 1_000_000


@pytest.fixture
async def home(tmp_path):
    async with house(tmp_path) as made:
        await made.case("EX-1", "PM-1")
        yield made


def granted(agency, place=-1) -> str:
    return agency.files("receipts", kind="result", do="grant")[place]["consent"]


def config(agency) -> str:
    return str(Path(agency.ctx.settings.folder).parent / "connector.toml")


async def released(home):
    """The police were given the request and the name; social services the assessment."""
    home.social.command(**request_assessment("EX-1"))
    home.police.command(**assessment("PM-1"))
    await home.settle()
    assert len(home.police.files("out", kind="delivery")) == 1
    assert len(home.social.files("out", kind="delivery")) == 1


async def test_a_namesake_mix_up(home):
    await released(home)
    wrong = granted(home.social)
    home.social.command(do="annul", id="a1", ref="EX-1", consent=wrong, ground="WRONG_PERSON", actor_ref="handl-7")
    await home.settle()

    # Stopped: what is sent now waits, and nothing reaches the police.
    home.social.command(**request_assessment("EX-1", text="Efter upptäckten."))
    await home.settle()
    assert len(home.police.files("out", kind="delivery")) == 1

    # The police are told to lock it, by codes, with the categories that they themselves were given.
    [notice] = home.police.files("out", kind="annulled")
    assert (notice["ground"]["code"], notice["ref"], notice["from_role"]) == ("WRONG_PERSON", "PM-1", LEAD)
    assert notice["delivery_id"] == home.police.files("out", kind="delivery")[0]["delivery_id"]
    assert notice["categories"] == home.police.files("out", kind="delivery")[0]["categories"]
    assert "data" not in notice

    # Social services have the incident with its clock, and protecting the person stands first: IC12 was in it.
    incident = home.social.files("receipts", kind="incident")[-1]
    assert incident["steps"][0]["code"] == "PROTECT_PERSON"
    assert incident["counts"] == {
        "releases": 1, "recipients": 1, "said": 0, "answered": 0, "kept": 0, "unanswered": 1
    }  # fmt: skip
    assert incident["releases"][0]["role"] == POLICE
    assert incident["in_force_everywhere"] is True

    # The police first keep a part as evidence, then lock it; each answer makes a new version of the file.
    for number, (verdict, reason) in enumerate((("KEPT", "EVIDENCE"), ("LOCKED", None))):
        home.police.command(do="answer_annulment", notice=notice["notice"], verdict=verdict, reason=reason)
        await home.settle(3)
        newest = home.social.files("receipts", kind="incident")[-1]
        assert newest["version"] == incident["version"] + number + 1
        assert (newest["releases"][0]["verdict"], newest["releases"][0]["reason"]) == (verdict, reason)
        assert (newest["counts"]["unanswered"], newest["counts"]["kept"]) == (0, int(verdict == "KEPT"))
    codes = [f["code"] for f in home.social.files("receipts", kind="notice")]
    assert {"annul_kept", "annul_acknowledged"} <= set(codes)

    # The consent of the right person opens what comes after, and only that.
    home.social.command(**grant("EX-1", [{"role": POLICE}], ["IC01", "IC04", "IC12"], ["THREAT_ASSESSMENT"]))
    home.social.command(**request_assessment("EX-1", text="Rätt person."))
    await home.settle()
    assert len(home.police.files("out", kind="delivery")) >= 2
    assert not [*home.social.files("receipts", kind="alarm"), *home.police.files("receipts", kind="alarm")]


async def test_the_incident_is_open_before_the_broker_has_answered(home):
    async def away(_honest, *_arguments):
        raise HandslagError("HS-NOT-READY")

    await released(home)
    home.liar.lies["consents"] = away
    home.social.command(do="annul", ref="EX-1", consent=granted(home.social), ground="CONSENT_INVALID")
    await home.settle(1)
    [stopped] = home.social.files("receipts", kind="stopped_here", do="annul")
    [incident] = home.social.files("receipts", kind="incident")
    assert stopped["ref"] == "EX-1"
    assert (incident["in_force_everywhere"], incident["version"]) == (False, 1)
    # Before the list has come, everything that the consent named may have gone out.
    assert [one["code"] for one in incident["exposed"]] == ["IC01", "IC04", "IC12"]
    assert incident["steps"][0]["code"] == "PROTECT_PERSON"
    assert home.social.connector.stopped("EX-1")
    del home.liar.lies["consents"]
    home.social.ctx.spool.commands.soon()
    await home.settle(2)
    assert home.social.files("receipts", kind="incident")[-1]["in_force_everywhere"] is True
    assert not home.social.connector.stopped("EX-1")


async def test_protect_the_person_stands_first_where_it_must(home):
    """Only where somebody's life may hang on it: an assessment is IC04, the name with the wish to leave is IC12."""
    await released(home)
    home.police.command(**grant("PM-1", [{"role": LEAD}], ["IC06"], ["PROTECTION"]))
    await home.settle(1)
    harmless = granted(home.police)
    home.police.command(do="annul", ref="PM-1", consent=harmless, ground="CONSENT_INVALID")
    await home.settle(2)
    calm = home.police.files("receipts", kind="incident")[-1]
    assert calm["steps"][0]["code"] == "ASSESS_RISK"
    assert calm["counts"]["releases"] == 0


async def test_what_was_said_under_it_is_listed_and_must_be_phoned(home):
    home.social.command(**grant("EX-1", [{"role": POLICE}], ["IC08"], ["PLANNING"]), actions=["ORAL_DISCUSS"])
    await home.settle(2)
    consent = granted(home.social)
    home.social.command(
        do="record_disclosure", ref="EX-1", to=[POLICE], purpose="PLANNING", categories=["IC08"], manner="CALL"
    )
    await home.settle(1)
    home.social.command(do="annul", ref="EX-1", consent=consent, ground="WRONG_PERSON")
    await home.settle(2)
    incident = home.social.files("receipts", kind="incident")[-1]
    assert (incident["counts"]["said"], incident["said"][0]["role"]) == (1, POLICE)
    assert "FIND_WORDS" in [step["code"] for step in incident["steps"]]
    assert home.police.files("out", kind="annulled") == []  # words bring no notice: codes follow releases only


async def test_the_agency_is_reminded_of_the_72_hours_once(home):
    await released(home)
    home.social.command(do="annul", ref="EX-1", consent=granted(home.social), ground="WRONG_PERSON")
    await home.settle(2)

    def due() -> list[str]:
        return [f["code"] for f in home.social.files("receipts", kind="incident_due")]

    for hours, expected in ((47, []), (49, ["HS-INCIDENT-DUE"]), (71, ["HS-INCIDENT-DUE"]),
                            (73, ["HS-INCIDENT-DUE", "HS-INCIDENT-OVERDUE"]), (99, None)):  # fmt: skip
        home.social.ahead_us = hours * HOUR
        await incidents.follow(home.social.ctx)
        home.social.folder.give_out()
        assert due() == (expected if expected is not None else ["HS-INCIDENT-DUE", "HS-INCIDENT-OVERDUE"])


async def test_a_void_case_from_the_lead_to_every_discloser(home):
    await released(home)
    home.social.command(do="void_case", ref="EX-1", ground="WRONG_PERSON", actor_ref="handl-7")
    await home.settle()

    # Both sides disclosed: each has an incident of its own releases, once, and each was told what it got to lock.
    for agency, releases in ((home.social, 2), (home.police, 1)):
        files = agency.files("receipts", kind="incident")
        assert len({one["incident"] for one in files}) == 1
        assert files[-1]["counts"]["releases"] == releases
        assert (files[-1]["consent"], files[-1]["in_force_everywhere"]) == (None, True)
        assert files[-1]["steps"][0]["code"] == "PROTECT_PERSON"
    assert len(home.police.files("out", kind="annulled")) == 2  # the request, and the invitation before it
    assert len(home.social.files("out", kind="annulled")) == 1
    assert not home.social.connector.stopped("EX-1")

    # Nothing is granted in it again.
    home.police.command(**grant("PM-1", [{"role": LEAD}], ["IC04"], ["THREAT_ASSESSMENT"]))
    await home.settle(2)
    assert home.police.files("receipts", kind="refused", do="grant")[-1]["code"] == "HS-CASE-VOID"
    for agency in (home.social, home.police):
        assert not [*agency.files("receipts", kind="alarm"), *agency.files("receipts", kind="rejected")]


async def test_a_notice_that_the_broker_made_up_is_followed_and_raises_the_alarm(home):
    """Stopping is never the wrong direction; but what is in no log is told of."""
    seat = home.police.ctx.identities.get("PM-1")
    made_up = AnnulNotice(
        seat_id=seat.sid, notice_id=os.urandom(16), delivery_id=os.urandom(16), event_id=os.urandom(16),
        ground="EXEMPEL-CANARY", from_role=LEAD, digests=(), at_us=1, entry_id=os.urandom(16),
        leaf_hash=os.urandom(32),
    )  # fmt: skip
    item = InboxItem(item_id=os.urandom(16), kind="ANNULMENT", body=made_up.to_bytes())
    inbox.take_all(home.police.ctx, [item, item])
    inbox.take_all(home.police.ctx, [replace(item, item_id=os.urandom(16), body=b"junk")])
    await home.settle(1)
    [told] = home.police.files("out", kind="annulled")
    assert told["ground"]["code"] == "WRONG_PERSON"
    assert "CANARY" not in str([told, *home.police.files("receipts", kind="rejected")])
    assert [f["code"] for f in home.police.files("receipts", kind="rejected")] == ["HS-PAYLOAD-REJECTED"]
    home.police.ahead_us = 700_000_000
    upkeep.alarm_late(home.police.ctx)
    home.police.folder.give_out()
    late = [f["leaf_hash"] for f in home.police.files("receipts", kind="alarm")]
    assert made_up.leaf_hash.hex() in late


async def test_a_list_that_does_not_come_keeps_the_case_stopped(home):
    """The act is recorded and the recipients are told; until the discloser has the list it is not over here."""

    async def away(_honest, *_arguments):
        raise HandslagError("HS-NOT-READY")

    await released(home)
    home.liar.lies["annulments"] = away
    home.social.command(do="annul", ref="EX-1", consent=granted(home.social), ground="WRONG_PERSON")
    await home.settle(2)
    assert len(home.police.files("out", kind="annulled")) == 1
    assert home.social.connector.stopped("EX-1")
    del home.liar.lies["annulments"]
    home.social.ctx.spool.commands.soon()
    await home.settle(2)
    assert not home.social.connector.stopped("EX-1")
    assert [f["version"] for f in home.social.files("receipts", kind="incident")] == [1, 2]
    assert len(home.police.files("out", kind="annulled")) == 1


async def typed(command, *arguments):
    return await asyncio.to_thread(CliRunner().invoke, command, [*arguments], catch_exceptions=False)


async def test_the_command_line_annuls_while_the_connector_runs(home):
    await released(home)
    arguments = ("annul", "--ref", "EX-1", "--consent", granted(home.social), "--ground", "WRONG_PERSON",
                 "--actor", "handl-7", "--config", config(home.social))  # fmt: skip
    waiting = asyncio.create_task(typed(consent_group, *arguments))
    while not waiting.done():
        await home.settle(1)
    lines = waiting.result().stdout.splitlines()
    assert lines[0].startswith("1. SKYDDA PERSONEN")
    assert len(home.police.files("out", kind="annulled")) == 1
    asked = ("may-i", "--ref", "EX-1", "--to", POLICE, "--purpose", "THREAT_ASSESSMENT", "--manner", "LETTER", "--json")
    may = json.loads((await typed(connector, *asked, "--config", config(home.social))).stdout)
    assert may["answer"] == "NOTHING"
    assert "INVALIDATED" in str(may["each"])


async def test_the_form_is_checked_at_once(home):
    for command, code in (
        ({"do": "annul", "ref": "EX-1", "consent": "0" * 32, "ground": "WRONG_PERSON"}, "HS-EVENT-UNKNOWN"),
        ({"do": "annul", "ref": "EX-1", "consent": "0" * 32, "ground": "BAD_DAY"}, "HS-CODE-UNKNOWN"),
        ({"do": "void_case", "ref": "EX-2", "ground": "WRONG_PERSON"}, "HS-REF-UNKNOWN"),
        ({"do": "answer_annulment", "notice": "0" * 32, "verdict": "LOCKED"}, "HS-ITEM-GONE"),
        ({"do": "answer_annulment", "notice": "0" * 32, "verdict": "KEPT"}, "HS-INPUT-INVALID"),
    ):
        with pytest.raises(HandslagError) as refused:
            home.social.command(**command)
        assert refused.value.code == code
    assert home.social.files("receipts", kind="incident") == []
    assert not home.social.connector.stopped("EX-1")
