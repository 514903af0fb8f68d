"""Two cases of one person at a unit that sits in both, over the real gateway: joined, taken back, wrongly joined."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from connectors import joining
from connectors.case_cli import case as case_group
from connectors.ledgers import view
from schemas.errors import HandslagError
from tests.evil.house import LEAD, POLICE, assessment, grant, house, request_assessment


@pytest.fixture
async def home(tmp_path):
    async with house(tmp_path) as made:
        await made.case("EX-1", "PM-1")
        await made.case("EX-2", "PM-2")
        yield made


def in_force(agency, ref: str) -> int:
    """How many consents of a seat are in force, by this connector's own copy of the ledger."""
    seat = agency.ctx.identities.get(ref)
    return sum(each.end_us > agency.ctx.now() for each in view(agency.ctx, seat).grants)


async def joined(home) -> str:
    home.police.command(do="join_cases", id="j1", ref="PM-1", other="PM-2", actor_ref="samordnare-3")
    await home.settle(2)
    [told] = home.police.files("receipts", kind="result", do="join_cases")
    assert (told["ref"], told["other"], told["id"]) == ("PM-1", "PM-2", "j1")
    return told["join"]


async def test_joined_taken_back_and_found_to_be_a_namesakes(home):
    home.police.command(**assessment("PM-1"))
    await home.settle(3)
    before = home.social.files("receipts"), home.social.files("out")
    join = await joined(home)
    assert (home.social.files("receipts"), home.social.files("out")) == before  # told of nothing
    home.social.command(**request_assessment("EX-2"))
    home.police.command(**assessment("PM-2"))
    await home.settle(2)
    assert len(home.social.files("out", kind="delivery")) == 2  # one of each case

    # The person tells social services, in the first case: everything is taken back, in both.
    home.social.command(do="withdraw_case", ref="EX-1", method="ORAL_DOCUMENTED")
    await home.settle(2)
    assert [in_force(home.social, ref) for ref in ("EX-1", "EX-2")] == [0, 0]
    assert [in_force(home.police, ref) for ref in ("PM-1", "PM-2")] == [0, 0]

    # It was a namesake. Who had consents taken back is told, in codes; what was sent meanwhile is to be looked through.
    home.police.command(do="separate_cases", ref="PM-2", join=join, actor_ref="samordnare-3")
    await home.settle(2)
    [told] = home.police.files("receipts", kind="result", do="separate_cases")
    [row] = told["look_through"]  # not what was sent before the join, and not what others sent
    assert (row["ref"], row["event_type"], row["roles"]) == ("PM-2", "threat_assessment_completed", [LEAD])
    assert told["report_by"] > told["aware_at"]
    codes = [(f["ref"], f["code"]) for f in home.social.files("receipts", kind="notice")]
    assert ("EX-2", "withdrawal_not_theirs") in codes
    assert ("EX-1", "withdrawal_not_theirs") not in codes
    assert in_force(home.social, "EX-2") == 0  # asked anew, never given back by itself
    home.social.command(**grant("EX-2", [{"role": POLICE}], ["IC04", "IC12"], ["THREAT_ASSESSMENT"]))
    await home.settle(1)
    home.social.command(do="withdraw_case", ref="EX-1", method="ORAL_DOCUMENTED")
    await home.settle(2)
    assert in_force(home.social, "EX-2") == 1
    for agency in (home.social, home.police):
        assert not [*agency.files("receipts", kind="alarm"), *agency.files("receipts", kind="rejected")]


async def test_a_withdrawal_noted_in_one_stops_the_other_at_once_also_offline(home):
    async def away(_honest, *_arguments):
        raise HandslagError("HS-NOT-READY")

    await joined(home)
    home.liar.lies["consents"] = away
    home.police.command(do="withdraw_case", ref="PM-1", method="ORAL_DOCUMENTED")
    assert home.police.connector.stopped("PM-1")
    assert home.police.connector.stopped("PM-2")
    home.police.command(**assessment("PM-2"))
    await home.settle(2)
    assert home.liar.submissions == []
    del home.liar.lies["consents"]
    home.police.ctx.spool.commands.soon()
    await home.settle(2)
    assert not home.police.connector.stopped("PM-2")
    assert in_force(home.police, "PM-2") == 0
    assert home.social.files("out", kind="delivery") == []


async def test_a_broker_that_does_not_carry_it_over_lifts_no_stop(home):
    """The broker forgets the join and says "recorded": this unit's own seat in the other case stays stopped."""
    await joined(home)
    store = home.node.context.store
    await store.write(lambda rows: rows.gate._c.exec_driver_sql("UPDATE case_join SET ended_at_us=1"))
    home.police.command(do="withdraw_case", ref="PM-1", method="ORAL_DOCUMENTED")
    await home.settle(2)
    assert not home.police.connector.stopped("PM-1")
    assert home.police.connector.stopped("PM-2")
    [alarm] = home.police.files("receipts", kind="alarm")
    assert (alarm["code"], alarm["ref"]) == ("HS-NOT-RECORDED", "PM-2")
    home.police.command(do="withdraw_case", ref="PM-2", method="ORAL_DOCUMENTED")  # said there as well, it is lifted
    home.police.ctx.spool.commands.soon()
    await home.settle(2)
    home.police.ctx.spool.commands.soon()
    await home.settle(1)
    assert not home.police.connector.stopped("PM-2")


async def test_a_case_that_was_another_persons_stops_nothing_here(home):
    await joined(home)
    home.social.command(do="void_case", ref="EX-1", ground="WRONG_PERSON", actor_ref="handl-7")
    await home.settle(2)
    home.police.command(do="withdraw_case", ref="PM-1", method="ORAL_DOCUMENTED")
    assert not home.police.connector.stopped("PM-2")
    await home.settle(2)
    assert in_force(home.police, "PM-2") == 1


async def test_a_restored_broker_is_told_of_joins_and_separations_again(home):
    """Its copy is older than a join, or than its separation: the connector that made them tells it, once each."""
    store, ctx = home.node.context.store, home.police.ctx

    async def lost(sql: str) -> None:
        await store.write(lambda rows: rows.gate._c.exec_driver_sql(sql))

    join = await joined(home)
    await joining.again(ctx)  # the broker has it: nothing happens
    await lost("DELETE FROM case_join")
    await joining.again(ctx)
    home.social.command(do="withdraw_case", ref="EX-1", method="ORAL_DOCUMENTED")
    await home.settle(2)
    assert in_force(home.police, "PM-2") == 0
    home.police.command(do="separate_cases", ref="PM-2", join=join, actor_ref="samordnare-3")
    await home.settle(1)
    await lost("UPDATE case_join SET ended_at_us=NULL")
    await joining.again(ctx)
    home.police.command(**grant("PM-2", [{"role": LEAD}], ["IC04"], ["THREAT_ASSESSMENT"]))
    await home.settle(1)
    home.social.command(do="withdraw_case", ref="EX-1", method="ORAL_DOCUMENTED")
    await home.settle(2)
    assert in_force(home.police, "PM-2") == 1
    assert home.police.files("receipts", kind="alarm") == []


async def typed(*arguments):
    return await asyncio.to_thread(CliRunner().invoke, case_group, [*arguments], catch_exceptions=False)


async def test_the_command_line_joins_lists_and_separates(home):
    """A named person decides, and the form is checked at once."""

    config = ("--config", str(Path(home.police.ctx.settings.folder).parent / "connector.toml"))

    async def ran(*arguments):
        waiting = asyncio.create_task(typed(*arguments, *config))
        while not waiting.done():
            await home.settle(1)
        return waiting.result().stdout

    named = {"actor_ref": "samordnare-3"}
    for command, code in (
        ({"do": "join_cases", "ref": "PM-1", "other": "PM-2"}, "HS-INPUT-INVALID"),
        ({"do": "join_cases", "ref": "PM-1", "other": "PM-1", **named}, "HS-INPUT-INVALID"),
        ({"do": "join_cases", "ref": "PM-1", "other": "PM-9", **named}, "HS-REF-UNKNOWN"),
        ({"do": "separate_cases", "ref": "PM-1", "join": "0" * 32, **named}, "HS-EVENT-UNKNOWN"),
        ({"do": "separate_cases", "ref": "PM-1", "join": "0" * 32}, "HS-INPUT-INVALID"),
    ):
        with pytest.raises(HandslagError) as refused:
            home.police.command(**command)
        assert refused.value.code == code
    assert "Inga ärenden" in await ran("joins")
    text = await ran("join", "--ref", "PM-1", "--other", "PM-2", "--actor", "samordnare-3")
    assert "samma person" in text
    [row] = json.loads(await ran("joins", "--json"))["joins"]
    assert row["refs"] == ["PM-1", "PM-2"]
    with pytest.raises(HandslagError) as refused:
        home.police.command(do="join_cases", ref="PM-2", other="PM-1", **named)
    assert refused.value.code == "HS-STATE-INVALID"
    told = json.loads(
        await ran("separate", "--ref", "PM-2", "--join", row["join"], "--actor", "samordnare-3", "--json")
    )
    assert (told["recorded"], told["other"], told["look_through"]) == (True, "PM-1", [])
    assert json.loads(await ran("joins", "--json"))["joins"] == []
