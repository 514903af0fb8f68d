"""A protected relocation: the police invite, the lead sees a key, the role changes hands in the weekly slot."""

from __future__ import annotations

import pytest

from connectors.link import Link
from schemas.calls import AuditFetchRequest, AuditPage, AuditQuery, LedgerFetchRequest, LedgerPage
from schemas.errors import HandslagError
from schemas.said import AnnulmentsPage, AnnulmentsRequest, CorrectAnswer, CorrectRequest
from tests.evil.house import LEAD, assessment, grant
from tests.relocation.play import ALFA, BETA, NEXT, Seen, moving


async def answers(move, name, seat_id):
    """What the calls about a seat are answered with: code and context."""
    ctx, found = move.agency(name).ctx, []
    query = AuditQuery(purpose="SELF_MONITORING", actor_ref="a", assurance="ASSERTED", case_number="1")
    calls = [
        ("/v1/ledger:fetch", LedgerFetchRequest(seat_id=seat_id, after_seq=0), LedgerPage),
        ("/v1/audit:fetch",
         AuditFetchRequest(call_id=bytes(16), seat_id=seat_id, query=query, after=0, limit=10), AuditPage),
        ("/v1/annulments:list", AnnulmentsRequest(seat_id=seat_id, consent_id=bytes(16)), AnnulmentsPage),
        ("/v1/corrections", CorrectRequest(call_id=bytes(16), seat_id=seat_id, event_id=bytes(16)), CorrectAnswer),
    ]  # fmt: skip
    for path, request, answer in calls:
        assert isinstance(ctx.link, Link)
        with pytest.raises(HandslagError) as caught:
            await ctx.link.call(path, request, answer)
        found.append((caught.value.code, caught.value.context))
    return found


async def test_the_role_changes_hands_in_the_slot_and_the_old_lead_learns_nothing(tmp_path):
    async with moving(tmp_path, ALFA) as move:
        seen = Seen("SOC/EXEMPEL/KONSULT")
        seen.watch(move.home.liar)
        await move.police_invites()
        await move.new_accepts()
        assert (move.seat(move.new).role, move.seat(move.new).state) == (NEXT, "ACTIVE")
        ready = move.agency("social").files("receipts", kind="successor")
        assert [(f["ref"], f["role"], f["state"]) for f in ready] == [("EX-1", NEXT, "ACTIVE")]
        await move.file_is_sealed()
        [given] = move.agency(move.new).files("out", kind="delivery")
        assert (given["event_type"], given["categories"]) == ("case_transfer_changed", ["IC08", "IC10", "IC13"])
        await move.lead_hands_over()
        assert move.seat("social").state == "ACTIVE"  # nothing happens before the slot
        before = move.seat("social").member
        await move.slot()
        new = move.seat(move.new)
        assert (new.role, new.state, new.chain_id) == (LEAD, "ACTIVE", before)
        assert move.seat("social").state == "CLOSED"
        await move.slot()  # the new lead rotates and confirms everybody
        keys = move.key_ids_of("police", "probation", move.new)
        await move.slot()
        assert not keys & move.key_ids_of("police", "probation", move.new)
        for name in ("social", "police", "probation", move.new):
            assert move.refused(name) == []
        # Who consents that it follows learned of a rotation; who does not is told, and no unit.
        told = {
            name: [(f["role"], f["detail"]) for f in move.agency(name).files("receipts", code="recipient_changed")]
            for name in ("police", "probation")
        }
        assert told == {"police": [(LEAD, None)], "probation": []}
        # The unit stands nowhere at the old lead or at probation, and in none of the answers it was given; the police
        # invited it and know (control), and the list of units, the same for all, is no answer about the case.
        for name in ("social", "probation"):
            told = [f for f in move.agency(name).files("receipts") if f["kind"] != "operator_act"]
            assert ALFA not in str(told) + str(move.agency(name).files("out"))
        assert [f for f in move.agency("social").files("receipts", kind="operator_act") if ALFA in str(f)]
        assert all(ALFA.encode() not in body for call, _code, body in seen.calls)
        known = str(move.agency("police").ctx.spool.memory.invitations("ACCEPTED"))
        assert ALFA.encode().hex() in known
        # A closed seat is a seat that never was.
        closed = await answers(move, "social", move.seat("social").sid)
        assert closed == await answers(move, "social", bytes(16)) == await answers(move, "social", new.sid)
        assert [code for code, _context in closed] == ["HS-SEAT-UNKNOWN"] * 4
        last = [body for call, _code, body in seen.calls if call == "fetch"][-1]
        assert move.seat("social").sid not in last  # nor is it listed


async def test_a_consent_that_does_not_follow_waits_for_the_person(tmp_path):
    async with moving(tmp_path, BETA) as move:
        await move.protected()
        police, ref = move.agency("police"), move.refs["police"]
        police.command(**assessment(ref))
        await move.settle(2)
        [receipt] = police.files("receipts", kind="receipt", event_type="threat_assessment_completed")
        [section] = receipt["roles"][0]["sections"]
        assert [reason["code"] for reason in section["reasons"]][:1] == ["RECIPIENT_CHANGED"]
        assert "SENDER_WITHHELD" in [reason["code"] for reason in section["reasons"]]  # nothing left the police either
        police.command(**grant(ref, [{"role": LEAD}], ["IC04"], ["THREAT_ASSESSMENT"]))
        await move.settle(4)
        given = move.agency(move.new).files("out", kind="delivery", event_type="threat_assessment_completed")
        assert [f["categories"] for f in given] == [["IC04"]]
        assert move.agency("social").files("out", kind="delivery") == []
        # And on: the person moves again, again by the police; the second municipality learns nothing either.
        await move.again(ALFA)
        assert (move.seat("alfa").role, move.seat("alfa").state) == (LEAD, "ACTIVE")
        assert move.seat("beta").state == "CLOSED"
        told = move.agency("beta").files("receipts", kind="seat", role=LEAD)
        assert [f["state"] for f in told] == ["ACTIVE", "CLOSED"]
        await move.slot()
        for name in ("police", "probation", "alfa", "beta"):
            assert move.refused(name) == []
