"""`handslag connector waiting`: what waits for consent or for a person, in Swedish unless English was asked for."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.evil.house import assessment, house
from tests.gateway.test_cli import run


@pytest.fixture
async def home(tmp_path):
    async with house(tmp_path) as made:
        await made.case("EX-1", "PM-1")
        yield made


async def waiting(agency, *front: str, json_too: bool = False) -> list[str]:
    config = agency.ctx.settings.folder.parent / "connector.toml"
    words = (*front, "connector", "waiting", "--config", config, *(["--json"] if json_too else []))
    code, out, err = await asyncio.to_thread(run, *words)
    assert code == 0, err
    return out.splitlines()


async def test_what_waits_is_told_in_swedish_unless_english_is_asked_for(home):
    police = home.police
    assert await waiting(police) == await waiting(police, "--lang", "sv") == ["Ingenting väntar."]
    assert await waiting(police, "--lang", "en") == ["Nothing waits."]
    police.command(do="withdraw", ref="PM-1", consent=police.files("receipts", kind="result", do="grant")[0]["consent"])
    await home.settle()
    police.command(**assessment("PM-1"))
    await home.settle()
    police.command(**assessment("PM-1", "LOW"))  # what it overtakes speaks of the past: a person decides
    await home.settle(2)
    told = {language: await waiting(police, "--lang", language) for language in ("sv", "en")}
    assert await waiting(police) == told["sv"]
    assert sorted(
        (line.split()[1], "en person måste avgöra" in line, "väntar, går" in line) for line in told["sv"]
    ) == [
        ("EXPIRED", True, False),
        ("WAITING", False, True),
    ]
    assert sorted((line.split()[1], "a person has to" in line, "waits, goes" in line) for line in told["en"]) == [
        ("EXPIRED", True, False),
        ("WAITING", False, True),
    ]
    # Machines are told one thing in both.
    [swedish], [english] = [await waiting(police, "--lang", each, json_too=True) for each in ("sv", "en")]
    assert swedish == english
    assert {row["state"] for row in json.loads(swedish)["waiting"]} == {"EXPIRED", "WAITING"}
