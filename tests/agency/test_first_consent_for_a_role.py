"""Before the first consent for a role its discloser knows nobody who holds it: what trying that consent says."""

from __future__ import annotations

import json

import pytest

from connectors.enrolment import Unit
from tests.agency.test_effect_flow import answer, run
from tests.evil import house as houses
from tests.evil.house import PERSON, PROBATION, assessment, grant, house

UNIT = "KV/EXEMPEL/FRI"
PLACE = Unit(unit=UNIT, agency="KV/EXEMPEL", controller="KV-EXEMPEL", roles=(PROBATION,))


@pytest.fixture
async def home(tmp_path, monkeypatch):
    """A case of social services and the police; the probation service is there, and in no case yet."""
    monkeypatch.setitem(houses.UNITS, "probation", PLACE)
    async with house(tmp_path) as made:
        await made.case("EX-1", "PM-1")
        made.police.command(**{**assessment("PM-1"), "to": [PROBATION]})
        await made.settle()
        yield made


async def joined(home) -> None:
    """The probation service takes its seat; the police are not told."""
    probation = home.agencies["probation"]
    home.social.command(**grant("EX-1", [{"unit": UNIT}], ["IC01", "IC12"], ["INTAKE"]))
    await home.settle(1)
    home.social.command(do="invite", ref="EX-1", unit=UNIT, role=PROBATION, contact="K", person=PERSON)
    while not (found := probation.files("out", kind="invitation")):
        await home.settle(1)
    probation.command(do="accept", ref="KV-1", invitation=found[-1]["invitation"])
    await home.settle(3)
    assert probation.ctx.identities.get("KV-1").active


async def test_a_first_grant_to_a_role_releases_what_simulating_it_said(home, tmp_path):
    given = grant("PM-1", [{"role": PROBATION}], ["IC04"], ["THREAT_ASSESSMENT"])
    (tmp_path / "grant.json").write_text(json.dumps(given))
    tried = ("simulate", "--act", str(tmp_path / "grant.json"))

    async def told() -> dict:
        value = await answer(home.police, *tried, ref="PM-1")
        return {name: value[name] for name in ("would_be_refused", "counts", "deliveries", "here")}

    vacant = await told()
    [waits] = vacant["here"]
    assert (waits["role"], waits["goes"], waits["stays"], waits["by_itself"], waits["if_held"]) == (
        PROBATION, ["IC04"], [], True, True,
    )  # fmt: skip
    assert "om någon innehar rollen" in (await run(home.police, *tried, ref="PM-1")).stdout
    await joined(home)
    assert await told() == vacant  # whether it is held is not to be had by trying
    probation = home.agencies["probation"]
    assert probation.files("out", kind="delivery") == []
    home.police.command(**given)
    await home.settle(6)
    [came] = probation.files("out", kind="delivery")
    assert (came["event_type"], came["categories"]) == (waits["event_type"], waits["goes"])


async def test_a_consent_that_does_not_cover_it_lets_nothing_go_whoever_holds_the_role(home, tmp_path):
    for recipients, categories in (([{"unit": UNIT}], ["IC04"]), ([{"role": PROBATION}], ["IC01"])):
        given = grant("PM-1", recipients, categories, ["THREAT_ASSESSMENT"])
        (tmp_path / "grant.json").write_text(json.dumps(given))
        asked = await answer(home.police, "simulate", "--act", str(tmp_path / "grant.json"), ref="PM-1")
        assert asked["here"] == []
