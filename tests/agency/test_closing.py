"""A unit that leaves a case: what was given until the case closes ends by its own signed act, and then the seat."""

from __future__ import annotations

import pytest

from consent import history
from schemas.acts import ConsentAct
from schemas.errors import HandslagError
from schemas.identifiers import shown
from tests.evil.house import LEAD, assessment, grant, house


@pytest.fixture
async def home(tmp_path):
    async with house(tmp_path) as made:
        await made.case("EX-1", "P-1")
        yield made


def until_closed() -> dict[str, object]:
    return {**grant("P-1", [{"role": LEAD}], ["IC04"], ["THREAT_ASSESSMENT"]), "until_event": "CASE_CLOSED"}


def acts(home):
    ctx = home.police.ctx
    return [ConsentAct.from_bytes(one.act) for one in ctx.spool.memory.ledger(ctx.identities.get("P-1").sid)]


def in_force(home):
    """By the event with which each ends, whether the consents of the seat are in force."""
    ctx = home.police.ctx
    view = ctx.ledger(ctx.identities.get("P-1"))
    return {grant.until_event: known for grant, known in history.standing(view, ctx.now()).grants}


async def left(home):
    home.police.command(do="close", ref="P-1")
    await home.settle(2)
    assert not home.police.ctx.identities.get("P-1").active


async def test_what_was_given_until_the_case_closes_ends_when_its_seat_does(home):
    home.police.command(**until_closed())
    home.police.command(do="withdraw", ref="P-1", consent=shown(acts(home)[0].consent_id))
    await home.settle(1)
    home.police.command(**assessment("P-1"))
    await home.settle(2)
    assert home.social.files("out", kind="delivery", event_type="threat_assessment_completed")
    assert in_force(home) == {None: False, "CASE_CLOSED": True}
    await left(home)
    last = acts(home)[-1]
    assert (last.act, last.ended_event) == ("EXPIRE", "CASE_CLOSED")
    assert in_force(home) == {None: False, "CASE_CLOSED": False}
    assert home.police.files("receipts", kind="result", do="close")
    await home.settle(1)
    [told] = home.social.files("out", kind="consent_ended")
    assert told["reason"]["code"] == "EXPIRED"
    assert home.police.ctx.spool.memory.proof_counts()[1] == 0  # its entry is in the log


async def test_a_case_with_nothing_to_end_closes_without_an_act(home):
    """A consent with a date of its own stays as it was given; nothing goes on it any more."""
    before = len(acts(home))
    await left(home)
    assert len(acts(home)) == before


async def test_it_is_recorded_once_however_often_closing_is_tried(home):
    home.police.command(**until_closed())
    await home.settle(1)

    async def lost(call, *_):
        await call()
        raise HandslagError("HS-NOT-RECORDED")

    home.liar.lies["close"] = lost
    home.police.command(do="close", ref="P-1")
    await home.settle(1)
    assert home.police.ctx.identities.get("P-1").active
    home.liar.lies.clear()
    home.police.ahead_us += 3600 * 1_000_000
    await home.settle(2)
    assert not home.police.ctx.identities.get("P-1").active
    assert [one.act for one in acts(home)].count("EXPIRE") == 1
