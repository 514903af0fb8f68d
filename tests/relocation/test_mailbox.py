"""What still comes to who left: corrections of what it was given, in codes, in the weekly slot."""

from __future__ import annotations

from schemas.said import AnnulNotice
from tests.evil.house import assessment
from tests.relocation.play import Seen, moving


async def test_a_correction_comes_to_who_left_in_the_weekly_slot_and_nothing_else_does(tmp_path):
    async with moving(tmp_path) as move:
        police, social = move.agency("police"), move.agency("social")
        police.command(**assessment("PM-1", "LOW"))
        await move.settle(3)
        [given] = social.files("out", kind="delivery")
        await move.protected()
        told = len(social.files("receipts"))
        seen = Seen("SOC/EXEMPEL/KONSULT")
        seen.watch(move.home.liar)
        # A new event, and one that corrects what the old lead was given; the person has consented for nobody new.
        police.command(**assessment("PM-1", "HIGH"))
        await move.settle(2)
        police.command(**{**assessment("PM-1", "HIGH"), "replaces": given["event_id"]})
        await move.settle(3)
        assert social.files("out", kind="annulled") == []  # it waits, whatever the day
        assert {name for name, code, _body in seen.calls if code} == set()
        assert len({len(body) for name, _code, body in seen.calls if name == "fetch"}) == 1
        await move.slot(2)
        [correction] = social.files("out", kind="annulled")
        assert correction["ground"]["code"] == "CORRECTED"
        assert (correction["ref"], correction["event_id"]) == ("EX-1", given["event_id"])
        assert correction["categories"] == ["IC04"]
        assert len(social.files("out", kind="delivery")) == 1  # the corrected text does not come
        assert [f["kind"] for f in social.files("receipts")[told:] if f["kind"] != "consent_review_due"] == []
        items = [body for name, _code, body in seen.calls if name == "fetch" and b"CORRECTED" in body]
        assert items
        assert AnnulNotice.SCHEMA
        # Its answer goes back to who corrected, and no more becomes of it.
        social.command(do="answer_annulment", notice=correction["notice"], verdict="LOCKED")
        await move.settle(2)
        assert [f["detail"] for f in police.files("receipts", code="annul_acknowledged")] == ["LOCKED"]
        assert police.files("receipts", kind="refused") == []
