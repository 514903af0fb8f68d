"""Which unit received: told to who disclosed, on the record, and the lead never."""

from __future__ import annotations

import os

import pytest

from schemas.calls import AuditQuery, RecipientAnswer, RecipientRequest
from schemas.errors import HandslagError
from schemas.identifiers import parsed
from tests.evil.house import LEAD, POLICE, assessment, grant, request_assessment
from tests.relocation.play import moving


async def asked(move, name, event, role=LEAD, **changed):
    query = AuditQuery(purpose="LAWFULNESS", actor_ref="granskare 1", assurance="ASSERTED", case_number="K-1")
    request = RecipientRequest(
        call_id=os.urandom(16), seat_id=move.seat(name).sid, event_id=parsed(event), role=role, query=query, **changed
    )
    return await move.agency(name).ctx.link.call("/v1/recipients:name", request, RecipientAnswer)


async def test_the_recipient_unit_is_named_on_request_and_the_lead_never(tmp_path):
    """Before a move and after it alike: a refusal that came with the move would tell of it."""
    async with moving(tmp_path) as move:
        police, social = move.agency("police"), move.agency("social")
        social.command(**grant("EX-1", [{"role": POLICE}], ["IC01", "IC04", "IC12"], ["THREAT_ASSESSMENT"]))
        await move.settle(2)
        social.command(**request_assessment("EX-1"))
        police.command(**assessment("PM-1", "LOW"))
        await move.settle(3)
        [told] = social.files("receipts", kind="receipt", event_type="threat_assessment_requested")
        answer = await asked(move, "social", told["event_id"], role=POLICE)
        assert (answer.unit, answer.refused) == (move.agency("police").ctx.settings.unit, None)  # control
        [first] = police.files("receipts", kind="receipt", event_type="threat_assessment_completed")
        before = await asked(move, "police", first["event_id"])
        with pytest.raises(HandslagError) as caught:
            await asked(move, "probation", first["event_id"])  # it disclosed no such thing
        assert caught.value.code == "HS-EVENT-UNKNOWN"
        await move.protected()
        [file] = social.files("receipts", kind="receipt", event_type="case_transfer_changed")
        police.command(**grant("PM-1", [{"role": LEAD}], ["IC04"], ["THREAT_ASSESSMENT"]))
        await move.settle(2)
        police.command(**assessment("PM-1", "HIGH"))
        await move.settle(3)
        second = police.files("receipts", kind="receipt", event_type="threat_assessment_completed")[-1]
        after = await asked(move, "police", second["event_id"])
        assert (before.unit, before.refused) == (after.unit, after.refused) == (None, "HS-UNIT-PROTECTED")
        with pytest.raises(HandslagError) as caught:
            await asked(move, "social", file["event_id"], role="social_services_lead_next")
        assert caught.value.code == "HS-SEAT-UNKNOWN"
