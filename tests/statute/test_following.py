"""A decision that two people made, and rules that change before it went."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from connectors import approving, statute, statute_book
from connectors.enrolment import load_agency_key
from connectors.fields import moment
from connectors.keys import UnitKeyPair
from connectors.statute import Decision
from consent.rules import parse, shipped
from schemas.admin import ACTIVATE, PROPOSE
from schemas.errors import HandslagError
from tests.evil.house import LEAD
from tests.rules.ruling import HEALTH, changed, reviewed
from tests.rules.test_connector import acted, home

__all__ = ["home"]

PROVISION = "OSL-10-27"
WIDER = reviewed(changed((HEALTH, 'categories = ["IC07", "IC08"]')), "2026-11-23")
GIVEN = Decision(
    ref="P-1",
    role=LEAD,
    purpose="PROTECTION",
    provision=PROVISION,
    data={"threat": {"statements": [{"kind": "FACT", "as_of": "2026-11-23", "text": "hot i natt"}]}},
    secrecy=("OSL_35_1",),
    exclusions=("ROUTINE",),
    released=("IC04",),
    necessity="risk för våld",
    balanced="FOR",
)


async def approved(agency, file, *, acute=False, ahead_us=0):
    """As the lawyer's own file has it recorded."""
    ctx = agency.ctx
    keys = load_agency_key(ctx.settings.keys_dir / "agency.key")
    at_us, until = ctx.now() + ahead_us, moment("2036-01-01T00:00:00Z", "until")
    file.write_text(json.dumps(approving.signed(ctx.settings.agency, keys, PROVISION, "jurist-1", at_us, until,
                                                acute=acute)))  # fmt: skip
    await approving.take(ctx, file)


async def test_an_approval_file_dated_in_the_future_is_not_taken(home, tmp_path):
    """The connector asks nobody; a clock that is four minutes ahead is taken, here and at the broker."""
    memory, minute = home.police.ctx.spool.memory, 60 * 1_000_000
    with pytest.raises(HandslagError) as error:
        await approved(home.police, tmp_path / "approval.json", ahead_us=6 * minute)
    assert (error.value.code, error.value.context) == ("HS-APPROVAL-INVALID", {"field": "reviewed_at"})
    assert memory.calls("/v1/provisions:approve") == []
    assert approving.held(home.police.ctx, PROVISION) is None
    await approved(home.police, tmp_path / "approval.json", ahead_us=4 * minute)  # control
    assert approving.held(home.police.ctx, PROVISION) is not None


async def test_a_decision_that_met_other_rules_is_tried_anew(home, tmp_path):
    """The first try is refused and keeps nothing of its attempt; after the connector has followed it goes, once."""
    police = home.police.ctx
    await approved(home.police, tmp_path / "approval.json")
    made = statute.decide(police, GIVEN, "handl-7", UnitKeyPair.generate())
    rules = parse(WIDER.encode())
    await acted(home, PROPOSE, rules, WIDER.encode())
    await acted(home, ACTIVATE, rules)
    other = UnitKeyPair.generate()
    with pytest.raises(HandslagError) as error:
        await statute.confirm(police, made, "handl-9", other, "CONFIRMED")
    assert error.value.code == "HS-RULES-OTHER"
    assert statute_book.one(police, made)["state"] == statute_book.WAITS
    assert "request" not in statute_book.one(police, made)
    await home.settle(2)
    assert police.rules.hash32 not in {shipped()[1].hash32, rules.hash32}
    answer = await statute.confirm(police, made, "handl-9", other, "CONFIRMED")
    assert answer.outcome == "RELEASED"
    await home.settle(2)
    got = home.social.files("out", kind="delivery", event_type="statutory_disclosure")
    assert len(got) == 1


async def answer_lost(ctx, monkeypatch, work):
    """The broker answers and the answer does not come."""
    whole = ctx.link.call

    async def call(path, *given, **how):
        await whole(path, *given, **how)
        raise HandslagError("HS-BROKER-UNREACHABLE")

    with monkeypatch.context() as patched:
        patched.setattr(ctx.link, "call", call)
        with pytest.raises(HandslagError, match="HS-BROKER-UNREACHABLE"):
            await work()


@pytest.mark.parametrize("acute", [False, True])
async def test_a_no_after_a_lost_answer_does_not_say_that_nothing_went(home, tmp_path, monkeypatch, acute):
    """It went: two people's decision stands and is told as what it is; one person's night gets the other's no."""
    police = home.police.ctx
    await approved(home.police, tmp_path / "approval.json", acute=acute)
    given = replace(GIVEN, acute=acute, call_back="010-0000000" if acute else None)
    made, other = statute.decide(police, given, "handl-7", UnitKeyPair.generate()), UnitKeyPair.generate()
    if acute:
        await answer_lost(police, monkeypatch, lambda: statute.send(police, made, None))
    else:
        await answer_lost(police, monkeypatch, lambda: statute.confirm(police, made, "handl-9", other, "CONFIRMED"))
    assert statute_book.one(police, made)["state"] == statute_book.WAITS
    answer = await statute.confirm(police, made, "handl-9", other, "NOT_CONFIRMED")
    assert answer is not None
    assert statute_book.one(police, made)["state"] == statute_book.DONE
    assert statute_book.one(police, made)["outcome"] == "RELEASED"
    await home.settle(2)
    assert len(home.social.files("out", kind="delivery", event_type="statutory_disclosure")) == 1
    assert len(home.social.files("receipts", kind="notice", code="statute_unconfirmed")) == (1 if acute else 0)


async def test_who_gets_it_is_told_that_there_is_no_number_to_call_back(home, tmp_path):
    """The number lies under the seal: only the two connectors can see that it is missing."""
    police = home.police.ctx
    await approved(home.police, tmp_path / "approval.json", acute=True)
    for given in (replace(GIVEN, call_back=None), replace(GIVEN, acute=True, call_back="010-0000000")):
        made = statute.decide(police, given, "handl-7", UnitKeyPair.generate())
        if given.acute:
            await statute.send(police, made, None)
        else:
            await statute.confirm(police, made, "handl-9", UnitKeyPair.generate(), "CONFIRMED")
        await home.settle(2)
    without, called = home.social.files("out", kind="delivery", event_type="statutory_disclosure")
    assert "NO NUMBER TO CALL BACK" in without["warning"]["en"]
    assert "INGET NUMMER" in without["warning"]["sv"]
    assert "warning" not in called  # control


async def test_the_connector_of_a_closed_seat_still_has_the_second_person_speak(home, tmp_path):
    """The unit leaves the case in the morning, and the word about its night comes after."""
    police = home.police.ctx
    await approved(home.police, tmp_path / "approval.json", acute=True)
    made = statute.decide(
        police, replace(GIVEN, acute=True, call_back="010-0000000"), "handl-7", UnitKeyPair.generate()
    )
    assert (await statute.send(police, made, None)).outcome == "RELEASED"
    await home.settle(2)
    home.police.command(do="close", ref="P-1")
    await home.settle(2)
    assert not police.identities.get("P-1").active
    assert statute_book.one(police, made)["state"] == statute_book.SENT
    assert await statute.confirm(police, made, "handl-9", UnitKeyPair.generate(), "CONFIRMED") is not None
    assert statute_book.one(police, made)["state"] == statute_book.DONE
