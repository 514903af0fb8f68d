"""A consent to talk is none to send, whatever action a file names, one that was taken earlier too."""

from __future__ import annotations

import json

import pytest

from connectors import commands
from schemas import codes
from schemas.errors import HandslagError
from tests.evil.house import LEAD, assessment, grant, house
from tests.hostile.test_folder import SEND, Desk, desk, world

OTHERS = sorted(set(codes.table()["action"]) - {"DISCLOSE"})


async def test_a_file_can_name_no_other_action_than_disclosing(desk: Desk) -> None:
    for action in OTHERS:
        told = desk.refused(json.dumps({**SEND, "action": action}).encode())
        assert (told["code"], told["field"]) == ("HS-ACTION-OTHER", "action")
    assert desk.accepted() == 0
    desk.drop(json.dumps({**SEND, "action": "DISCLOSE"}).encode())  # control, and how older files were written
    assert desk.look() == 1
    assert desk.accepted() == 1


async def test_a_consent_to_talk_sends_nothing(tmp_path, monkeypatch) -> None:
    async with house(tmp_path) as home:
        await home.case("EX-1", "PM-1")
        [first, *_] = home.police.files("receipts", kind="result", do="grant")
        home.police.command(do="withdraw", ref="PM-1", consent=first["consent"])
        await home.settle()
        talk = grant("PM-1", [{"role": LEAD}], ["IC04"], ["THREAT_ASSESSMENT"])
        home.police.command(**{**talk, "actions": ["ORAL_DISCUSS", "READ"]})
        await home.settle()
        with pytest.raises(HandslagError, match="HS-ACTION-OTHER"):
            home.police.command(**assessment("PM-1"), action="ORAL_DISCUSS")
        with monkeypatch.context() as before:  # a file that an earlier version took, sealed by this one
            before.setattr(commands, "check_action", lambda *_: None)
            home.police.command(**assessment("PM-1"), action="ORAL_DISCUSS")
        await home.settle(2)
        [refused] = home.police.files("receipts", kind="refused")
        assert refused["code"] == "HS-ACTION-OTHER"
        home.police.command(**assessment("PM-1"))
        await home.settle(2)
        assert home.social.files("out", kind="delivery") == []
        home.police.command(**talk)  # control: a consent to disclose
        await home.settle(3)
        assert len(home.social.files("out", kind="delivery")) == 1


__all__ = ["desk", "world"]
