"""Connectors follow proposals and activations, approve for their own unit, and decide by the outcome, also offline."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from hashlib import sha256

import pytest

from broker.actfiles import private_key, signed_by
from connectors import operators, ruled, rulesets
from consent.rules import Rules, parse, shipped
from consent.rules_diff import changes
from schemas.admin import ACTIVATE, PROPOSE
from schemas.errors import HandslagError
from tests.evil.house import House, assessment, house
from tests.gateway.test_cli import run
from tests.rules.ruling import CLOSED, SHIPPED, reviewed

BACK = reviewed(SHIPPED, "2026-11-23-b")
CLOSING = reviewed(CLOSED, "2026-11-23")


async def acted(home: House, kind: str, rules: Rules, file: bytes | None = None) -> None:
    """As `handslag rules propose` and `activate` have it done."""
    files, named = home.node.files, home.node.settings.administration
    signed = files.draft(kind, 1, subject=rules.hash32, rules=file)
    for key in (named.first_key_file, named.second_key_file):
        signed = signed_by(signed, private_key(key), files.chain)
    files.append(signed)
    await home.liar.record_acts(files.all())


async def in_force(home: House, text: str) -> Rules:
    rules = parse(text.encode())
    await acted(home, PROPOSE, rules, text.encode())
    await acted(home, ACTIVATE, rules)
    await home.settle(2)
    return rules


def received(home: House) -> int:
    return len(home.social.files("out", kind="delivery", event_type="threat_assessment_completed"))


@pytest.fixture
async def home(tmp_path):
    async with house(tmp_path) as made:
        await made.case("EX-1", "P-1")
        made.police.command(**assessment("P-1"))
        await made.settle(2)
        assert received(made) == 1  # the control of every test here: it does go
        yield made


async def test_what_opens_goes_by_itself_once_the_agency_has_approved_it(home):
    closing = await in_force(home, CLOSING)
    assert home.police.ctx.rules.hash32 == closing.hash32
    [told] = home.police.files("receipts", kind="rules_proposed")
    assert (told["version"], told["opens"], told["closes"]) == ("2026-11-23", False, True)
    assert any("STÄNGER" in line for line in told["sv"])
    home.police.command(**assessment("P-1", "LOW"))
    await home.settle(2)
    assert received(home) == 1
    back = await in_force(home, BACK)
    assert back.hash32 not in {home.police.ctx.rules.hash32, shipped()[1].hash32}
    assert not changes(closing, home.police.ctx.rules)
    assert received(home) == 1
    assert home.police.failed == []
    rulesets.approve(home.police.ctx, back, "jurist 1")
    await home.settle(3)
    assert received(home) == 2
    assert home.police.ctx.rules.hash32 == back.hash32
    assert home.social.ctx.rules.hash32 != back.hash32  # it has approved nothing for its own releases
    await home.settle(2)
    assert home.police.ctx.spool.memory.proof_counts()[1] == 0  # the approval's entry is in the log


async def test_a_connector_starts_with_the_rules_it_was_last_told(home):
    closing = await in_force(home, CLOSING)
    steps, rules = ruled.kept(home.police.ctx.spool.memory)
    assert rules.hash32 == closing.hash32
    assert [each.hash32 for each in steps] == [shipped()[1].hash32, closing.hash32]


async def test_an_approval_that_only_the_broker_remembers_opens_nothing(home):
    await in_force(home, CLOSING)
    back = await in_force(home, BACK)
    rulesets.approve(home.police.ctx, back, "jurist 1")
    await home.settle(2)
    home.police.ctx.spool.memory.drop("rules-approvals")
    with pytest.raises(HandslagError) as refused:
        await rulesets.follow(home.police.ctx)
    assert refused.value.code == "HS-RULES-OTHER"
    assert home.police.ctx.rules.hash32 != back.hash32
    rulesets.approve(home.police.ctx, back, "jurist 1")  # its own word, said again
    await rulesets.follow(home.police.ctx)
    assert home.police.ctx.rules.hash32 == back.hash32


async def test_a_broker_that_claims_an_approval_opens_nothing(home):
    await in_force(home, CLOSING)
    back = await in_force(home, BACK)

    async def claimed(honest, *_):
        answer = await honest()
        return replace(answer, effective=back.hash32)

    home.liar.lies["rules_state"] = claimed
    home.police.command(**assessment("P-1", "LOW"))
    await home.settle(2)
    assert "HS-RULES-OTHER" in home.police.failed
    assert home.police.ctx.rules.hash32 != back.hash32
    assert received(home) == 1


async def test_the_agency_lists_and_approves_by_command(home):
    await in_force(home, CLOSING)
    back = await in_force(home, BACK)
    config = home.police.ctx.settings.folder.parent / "connector.toml"
    code, out, err = await asyncio.to_thread(run, "rules", "list", "--config", config, "--json")
    assert code == 0, err
    listed = json.loads(out)["rule_sets"]
    assert [(row["version"], row["in_force"], row["approved"]) for row in listed] == [
        ("2026-11-23", True, False),
        ("2026-11-23-b", True, False),
    ]
    words = ("rules", "approve", "2026-11-23-b", "--actor", "jurist-3", "--config", config, "--yes", "--json")
    code, out, err = await asyncio.to_thread(run, *words)
    assert code == 0, err
    assert "OPENS" in err or "ÖPPNAR" in err
    assert json.loads(out)["effective"] == back.hash32.hex()
    code, _out, err = await asyncio.to_thread(run, "rules", "approve", "1999", "--actor", "x", "--config", config)
    assert (code, "HS-RULES-UNKNOWN" in err) == (1, True)


async def test_the_days_before_are_decided_again(home, tmp_path):
    """The control's decision was released; by the closing file it would not have been, approved or not."""
    config = home.police.ctx.settings.folder.parent / "connector.toml"
    words = ("--purpose", "SELF_MONITORING", "--case-number", "K-7", "--actor", "jurist-3", "--config", config)
    for text, flips in ((CLOSING, [("IC04", True, False, False)]), (BACK, [])):
        file = tmp_path / "new.toml"
        file.write_text(text, encoding="utf-8")
        code, out, err = await asyncio.to_thread(run, "rules", "simulate", file, "--days", 2, *words, "--json")
        assert code == 0, err
        data = json.loads(out)
        assert data["decisions"] == 1
        assert [(each["category"], each["now"], each["at_once"], each["approved"]) for each in data["flips"]] == flips
        assert "1/1: 1" in err
    code, out, _err = await asyncio.to_thread(run, "--lang", "sv", "rules", "simulate", file, *words)
    assert (code, "Inget beslut hade blivit ett annat." in out) == (0, True)
    code, _out, err = await asyncio.to_thread(run, "rules", "simulate", file, "--operator", *words)
    assert (code, "HS-NOT-YET" in err) == (1, True)
    assert received(home) == 1  # nothing was sent
    assert {each["what"] for _at, each in home.police.ctx.spool.memory.readings()} == {"rules simulate"}


async def test_a_file_that_cannot_be_read_is_missed_only_when_it_is_in_force(home):
    """As one of a later version is read here: not at all."""
    later = SHIPPED.replace("[[never]]", "[later]\n\n[[never]]").encode()
    unread = replace(shipped()[1], hash32=sha256(later).digest())
    await acted(home, PROPOSE, unread, later)
    closing = await in_force(home, CLOSING)
    assert home.police.failed == []
    assert home.police.ctx.rules.hash32 == closing.hash32


async def test_an_approval_before_a_closing_is_given_anew(home):
    """Approved, then something else closed, then put in force: it waits for an approval told of the closing."""
    ctx, opening = home.police.ctx, parse(BACK.encode())
    await acted(home, PROPOSE, opening, BACK.encode())
    await home.settle(2)
    rulesets.approve(ctx, opening, "jurist 1")
    assert rulesets.approved(ctx, opening.hash32) is True
    await home.settle(2)
    closing = await in_force(home, CLOSING)
    assert rulesets.approved(ctx, opening.hash32) is None
    await acted(home, ACTIVATE, opening)
    await home.settle(2)
    assert home.police.failed == []
    assert not any(one.opens for one in changes(closing, ctx.rules))
    home.police.command(**assessment("P-1", "LOW"))
    await home.settle(2)
    assert received(home) == 1
    config = ctx.settings.folder.parent / "connector.toml"
    code, out, err = await asyncio.to_thread(run, "--lang", "en", "rules", "list", "--config", config)
    assert (code, "must be approved anew" in out) == (0, True), err
    words = ("rules", "approve", opening.version, "--actor", "jurist-3", "--config", config, "--yes", "--json")
    code, out, err = await asyncio.to_thread(run, *words)
    assert code == 0, err
    assert (json.loads(out)["approved"], json.loads(out)["again"]) == (True, False)
    await home.settle(3)
    assert ctx.rules.hash32 == opening.hash32
    assert received(home) == 2


async def test_an_approval_before_it_is_in_force_counts_when_nothing_came_between(home):
    closing = await in_force(home, CLOSING)
    back = parse(BACK.encode())
    await acted(home, PROPOSE, back, BACK.encode())
    await home.settle(2)
    rulesets.approve(home.police.ctx, back, "jurist 1")
    await home.settle(2)
    assert home.police.ctx.rules.hash32 == closing.hash32
    await acted(home, ACTIVATE, back)
    await home.settle(3)
    assert home.police.ctx.rules.hash32 == back.hash32
    assert home.police.failed == []


async def test_what_was_shown_counts_not_what_came_while_it_was_read(home):
    back = parse(BACK.encode())
    await acted(home, PROPOSE, back, BACK.encode())
    await home.settle(2)
    seen = operators.remembered(home.police.ctx).count
    await in_force(home, CLOSING)
    rulesets.approve(home.police.ctx, back, "jurist 1", seen)
    assert rulesets.approved(home.police.ctx, back.hash32) is None
    rulesets.approve(home.police.ctx, back, "jurist 1")  # control
    assert rulesets.approved(home.police.ctx, back.hash32) is True


async def test_an_approval_that_lapsed_is_told(home):
    """Once for each approval, of a rule set that waits or is in force, and to the unit whose approval it was."""
    police, opening = home.police, parse(BACK.encode())
    await acted(home, PROPOSE, opening, BACK.encode())
    await home.settle(2)
    rulesets.approve(police.ctx, opening, "jurist 1")
    await home.settle(2)
    assert police.files("receipts", kind="rules_approval_lapsed") == []  # nothing came between
    await in_force(home, CLOSING)
    await home.settle(2)
    [told] = police.files("receipts", kind="rules_approval_lapsed")
    assert (told["version"], told["hash"], told["in_force"]) == (opening.version, opening.hash32.hex(), False)
    assert (told["code"], "godkänns på nytt" in told["sv"], "anew" in told["en"]) == (
        "rules_approval_lapsed", True, True,
    )  # fmt: skip
    assert "jurist" not in json.dumps(told)
    assert home.social.files("receipts", kind="rules_approval_lapsed") == []  # it has approved nothing
    rulesets.approve(police.ctx, opening, "jurist 1")  # told of the closing: it counts, until something comes again
    await home.settle(2)
    assert len(police.files("receipts", kind="rules_approval_lapsed")) == 1
    await in_force(home, reviewed(CLOSED, "2026-11-23-c"))
    await acted(home, ACTIVATE, opening)
    await home.settle(2)
    assert sorted(one["in_force"] for one in police.files("receipts", kind="rules_approval_lapsed")) == [False, False]
    rulesets.approve(police.ctx, opening, "jurist 1")
    await home.settle(3)
    assert police.ctx.rules.hash32 == opening.hash32
    assert len(police.files("receipts", kind="rules_approval_lapsed")) == 2


async def test_an_approval_given_in_time_is_no_lapse(home):
    """Approved when it was in force already, and superseded later: nobody has to do anything."""
    await in_force(home, CLOSING)
    back = await in_force(home, BACK)
    rulesets.approve(home.police.ctx, back, "jurist 1")
    await home.settle(2)
    assert home.police.ctx.rules.hash32 == back.hash32
    await in_force(home, reviewed(CLOSED, "2026-11-23-c"))
    await home.settle(2)
    assert home.police.files("receipts", kind="rules_approval_lapsed") == []


async def test_an_approval_given_while_the_broker_answers_has_not_lapsed(home):
    """The command and the connector are two processes on one database."""
    await in_force(home, CLOSING)
    back = await in_force(home, BACK)
    ctx, asked = home.police.ctx, []

    async def meanwhile(honest, unit, _request):
        answer = await honest()
        if not asked and unit == ctx.settings.unit:
            rulesets.approve(ctx, back, "jurist 1")
            asked.append(answer)
        return answer

    home.liar.lies["rules_state"] = meanwhile
    await home.settle(3)
    assert [len(answer.approvals) for answer in asked] == [0]
    assert ctx.rules.hash32 == back.hash32
    assert home.police.files("receipts", kind="rules_approval_lapsed") == []
