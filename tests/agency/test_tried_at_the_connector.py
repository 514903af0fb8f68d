"""A random story with real connectors: what trying an act says would go from here at once is what then arrives."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from tests.agency.test_effect_flow import answer, granted
from tests.evil.house import LEAD, assessment, grant, house

REF = "PM-1"
PURPOSES = ["THREAT_ASSESSMENT"]
KINDS = ("grant", "grant", "grant", "supersede", "amend", "suspend", "resume", "block", "unblock", "lift", "withdraw")


def both() -> dict:
    """An assessment with its two sections, both released by the police's own decision."""
    sent = assessment(REF)
    sent["data"]["recommended_protection"] = ["ALARM"]
    return {**sent, "public_interest_released": ["IC04", "IC06"]}


class Story:
    """The police send to social services; consents and blocks of the police's seat come and go."""

    def __init__(self, home, seed: int) -> None:
        self.home, self.police = home, home.police
        self.chance = random.Random(seed)
        self.consents = [granted(self.police)]
        self.blocks: list[str] = []

    def command(self) -> dict:
        kind = self.chance.choice(KINDS)
        if kind in {"unblock", "lift"} and not self.blocks:
            kind = "block"
        known = {"ref": REF, "consent": self.chance.choice(self.consents)}
        if kind in {"grant", "supersede", "amend"}:
            categories = self.chance.choice([["IC04"], ["IC04", "IC06"], ["IC12"]])
            evidence = {"evidence_hash": self.chance.randbytes(32).hex()}
            given = {**grant(REF, [{"role": LEAD}], categories, PURPOSES), **evidence}
            more = {"grant": {}, "supersede": {"supersedes": known["consent"]},
                    "amend": {"do": "amend", "consent": known["consent"]}}  # fmt: skip
            return {**given, **more[kind]}
        if kind == "block":
            refs = self.chance.choice([[], [{"role": LEAD}]])
            categories = self.chance.choice([[], ["IC06"]])
            return {"do": "block", "ref": REF, "recipients": refs, "categories": categories, "purposes": [],
                    "actions": [], "method": "ORAL_DOCUMENTED"}  # fmt: skip
        if kind in {"unblock", "lift"}:
            known["consent"] = self.chance.choice(self.blocks)
        if kind == "lift":
            known["lift_until"] = (datetime.now(UTC) + timedelta(days=3)).isoformat()
        if kind == "withdraw" and self.chance.random() < 0.5:
            known["scope"] = {"recipients": [], "categories": ["IC06"], "purposes": []}
        return {"do": kind, **known}

    def arrived(self) -> Counter:
        """What social services were given: how often each event with each set of categories."""
        found = self.home.social.files("out", kind="delivery")
        return Counter((one["event_id"], tuple(sorted(one["categories"]))) for one in found)

    async def sends(self) -> None:
        self.police.command(**both())
        await self.home.settle(2)

    async def step(self, path) -> str:
        if self.chance.random() < 0.7:
            await self.sends()
        command = self.command()
        path.write_text(json.dumps(command))
        told = await answer(self.police, "simulate", "--act", str(path), ref=REF)
        before = self.arrived()
        done = len(self.police.files("receipts", kind="result", do=command["do"]))
        self.police.command(**command)
        await self.home.settle(3)
        results = self.police.files("receipts", kind="result", do=command["do"])[done:]
        assert (told["would_be_refused"] is None) == bool(results), (command, told)
        if not results:
            return "refused"
        assert told["counts"] == results[-1]["counts"], (command, told)
        goes = [one for one in told["here"] if one["goes"] and one["by_itself"]]
        expected = Counter((one["event_id"], tuple(one["goes"])) for one in goes)
        assert self.arrived() - before == expected, (command, told)
        if command["do"] in {"grant", "block"}:
            (self.blocks if command["do"] == "block" else self.consents).append(results[-1]["consent"])
        return "went" if expected else "stayed"


@pytest.fixture
async def home(tmp_path):
    async with house(tmp_path) as made:
        await made.case("EX-1", REF)
        yield made


async def test_the_rest_of_an_event_does_not_go_and_trying_says_so(home, tmp_path):
    """The event's name tells IC04. Once that went, the rest is for a person to send anew, whatever is consented to."""
    story = Story(home, 0)
    await story.sends()
    [(event_id, first)] = story.arrived()
    assert first == ("IC04",)
    given = grant(REF, [{"role": LEAD}], ["IC04", "IC06"], PURPOSES)
    (tmp_path / "grant.json").write_text(json.dumps(given))
    assert (await answer(home.police, "simulate", "--act", str(tmp_path / "grant.json"), ref=REF))["here"] == []
    home.police.command(**given)
    await home.settle(4)
    assert story.arrived() == {(event_id, ("IC04",)): 1}
    await story.sends()  # the control: a new event goes whole
    assert sorted(categories for _event, categories in story.arrived()) == [("IC04",), ("IC04", "IC06")]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
async def test_what_trying_an_act_says_would_go_is_what_arrives(tmp_path, seed):
    async with house(tmp_path) as home:
        await home.case("EX-1", REF)
        story = Story(home, seed)
        seen = Counter([await story.step(tmp_path / "act.json") for _ in range(14)])
        assert seen["stayed"], seen
