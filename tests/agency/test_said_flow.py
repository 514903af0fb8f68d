"""What was said, from the agency's folder to the trail and back to its own auditor, over the real gateway."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from connectors.audit_cli import search
from connectors.said_cli import connector
from tests.evil.house import LEAD, grant, house

NOTE = "EXEMPEL-ANTECKNING ringde kvart över nio"
LOOK = ("--purpose", "LAWFULNESS", "--case-number", "K-7", "--actor", "auditor-3")


@pytest.fixture
async def home(tmp_path):
    async with house(tmp_path) as made:
        await made.case("EX-1", "PM-1")
        speak = grant("PM-1", [{"role": LEAD}], ["IC04"], ["THREAT_ASSESSMENT"])
        made.police.command(**speak, actions=["ORAL_DISCUSS"])
        await made.settle(1)
        yield made


def said(**more):
    return {"do": "record_disclosure", "id": "d1", "ref": "PM-1", "to": [LEAD], "purpose": "THREAT_ASSESSMENT",
            "categories": ["IC04"], "public_interest_released": ["IC04"], "manner": "MEETING", **more}  # fmt: skip


def config(home) -> str:
    return str(Path(home.police.ctx.settings.folder).parent / "connector.toml")


async def typed(command, *arguments):
    return await asyncio.to_thread(CliRunner().invoke, command, [*arguments], catch_exceptions=False)


async def test_what_was_said_comes_back_with_the_decisions_reasons(home):
    home.police.command(**said())
    home.police.command(**said(id="d2", categories=["IC04", "IC06"]))
    await home.settle(2)
    results = {f["id"]: f for f in home.police.files("receipts", kind="result", do="record_disclosure")}
    assert (results["d1"]["covered"], results["d1"]["possible_incident"]) == (True, None)
    assert results["d2"]["possible_incident"]["code"] == "HS-SAID-WITHOUT-CONSENT"
    [role] = results["d2"]["roles"]
    told = {section["category"]: [one["code"] for one in section["reasons"]] for section in role["sections"]}
    assert told["IC04"] == []
    assert "CATEGORY_NOT_COVERED" in told["IC06"]
    # The other seat is told nothing and gets nothing.
    assert home.social.files("out", kind="delivery") == []
    assert home.social.files("receipts", do="record_disclosure") == []


async def test_the_seats_own_auditor_finds_it(home):
    home.police.command(**said(categories=["IC06"]))
    await home.settle(3)
    found = await typed(search, "--ref", "PM-1", *LOOK, "--operation", "DISCLOSURE", "--config", config(home), "--json")
    [entry] = json.loads(found.stdout)["entries"]
    assert (entry["event_type"], entry["manner"], entry["code"]) == ("spoken", "MEETING", "HS-SAID-WITHOUT-CONSENT")
    assert entry["sections"][0]["reasons"]
    assert entry["proof"] is True
    text = await typed(search, "--ref", "PM-1", *LOOK, "--operation", "DISCLOSURE", "--config", config(home))
    assert "SAGT UTAN SAMTYCKE" in text.stdout


async def test_what_was_said_of_somebody_else_is_not_covered_by_the_person_of_the_case(home):
    period = {"since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}
    home.police.command(**said())  # control
    home.police.command(**said(id="d2", persons={"IC04": [0, 1]}))
    home.police.command(**said(id="d3", data_periods={"IC04": period}))
    await home.settle(4)
    results = {f["id"]: f for f in home.police.files("receipts", kind="result", do="record_disclosure")}
    assert {name: one["covered"] for name, one in results.items()} == {"d1": True, "d2": False, "d3": True}
    assert results["d2"]["possible_incident"]["code"] == "HS-SAID-WITHOUT-CONSENT"
    [role] = results["d2"]["roles"]
    [section] = role["sections"]
    assert (section["covered"], [one["code"] for one in section["reasons"]]) == (False, ["OTHER_SUBJECT_NO_CONSENT"])
    assert [one["stated"] for one in results.values()] == [
        {"persons": {}, "data_periods": {}},
        {"persons": {"IC04": [0, 1]}, "data_periods": {}},
        {"persons": {}, "data_periods": {"IC04": period}},
    ]
    # The broker's record has no place for either, and each answer says what it was decided for.
    alone, more = results["d1"]["decided_for"], results["d2"]["decided_for"]
    assert (alone["persons"], alone["data_since"], alone["data_until"]) == ([0], None, None)
    assert "decided for the person of the case (0) alone and for data without a stated time" in alone["en"]
    assert "avgjort här" in more["sv"]


async def test_a_note_never_leaves_the_connector(home, tmp_path):
    home.police.command(**said(note=NOTE))
    await home.settle(3)
    assert home.police.files("receipts", kind="result", do="record_disclosure")
    for path in (tmp_path / "broker").rglob("*"):
        assert not path.is_file() or NOTE.encode() not in path.read_bytes()
    calls = home.police.ctx.spool.store.all("SELECT request FROM call")
    sent = [home.police.ctx.spool.store.key.open("call.request", request) for (request,) in calls]
    assert sent  # the control: what was sent can be read, and the note is not in it
    assert not any(NOTE.encode() in request for request in sent)
    kept = home.police.ctx.spool.store.all("SELECT value FROM command WHERE kind='record_disclosure'")
    opened = [home.police.ctx.spool.store.open_json("command.value", value) for (value,) in kept]
    assert [one["note"] for one in opened] == [NOTE]


async def test_the_command_line_records_while_the_connector_runs(home):
    arguments = ("record-disclosure", "--ref", "PM-1", "--to", LEAD, "--purpose", "THREAT_ASSESSMENT",
                 "--categories", "IC04,IC06", "--manner", "CALL", "--public-interest", "IC04", "--actor", "handl-7",
                 "--config", config(home), "--json")  # fmt: skip
    waiting = asyncio.create_task(typed(connector, *arguments))
    while not waiting.done():
        await home.settle(1)
    done = waiting.result()
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["recorded"], answer["covered"]) == (3, True, False)
    asked = ("may-i", "--ref", "PM-1", "--to", LEAD, "--purpose", "THREAT_ASSESSMENT", "--public-interest", "IC04")
    may = await typed(connector, *asked, "--config", config(home), "--json")
    data = json.loads(may.stdout)
    assert (may.exit_code, data["in_room"], data["copy"]["fresh"]) == (0, ["IC04"], True)
    own = arguments[: arguments.index("--categories")]
    waiting = asyncio.create_task(
        typed(connector, *own, "--categories", "IC04", "--manner", "CALL", "--public-interest", "IC04",
              "--person", "1", "--data-since", "2026-01-01T00:00:00Z", "--config", config(home))
    )  # fmt: skip
    while not waiting.done():
        await home.settle(1)
    assert waiting.result().exit_code == 3
    assert "avgjort här" in waiting.result().stdout


async def test_a_withdrawal_reaches_the_next_answer(home):
    home.social.command(do="withdraw_case", ref="EX-1", method="ORAL_DOCUMENTED")
    await home.settle(1)
    asked = ("may-i", "--ref", "PM-1", "--to", LEAD, "--purpose", "THREAT_ASSESSMENT", "--public-interest", "IC04")
    may = await typed(connector, *asked, "--config", config(home), "--json")
    assert may.exit_code == 3
    assert "WITHDRAWN" in str(json.loads(may.stdout)["each"])
