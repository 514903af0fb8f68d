"""The same synchronous call gets the same answer, also at the same time; another one under its id is refused."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest

from broker import acts, cases, invitations
from schemas.acts import ConsentAct
from schemas.calls import CloseRequest, ConsentsRequest
from schemas.errors import HandslagError
from tests.promises.case import grant, ready
from tests.promises.schedule import Stepped, stepped
from tests.site import Site, to_unit


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


def withdrawal(site: Site, consent: bytes, call_id: bytes | None = None) -> ConsentsRequest:
    police = site.police
    body = ConsentAct(
        case_tag=police.members.case_tag, member=police.member, consent_id=consent, seq=1, prev=police.head,
        act="WITHDRAW", effective_at_us=None, actor_ref="handläggare 1", assurance="ASSERTED",
        noted_at_us=site.clock(),
    ).to_bytes()  # fmt: skip
    return ConsentsRequest(
        call_id=call_id or os.urandom(16), seat_id=police.seat_id, act=body, signature=police.seat.sign(body)
    )


async def test_a_repeated_call_gets_the_same_answer(site):
    consent = await grant(site)
    request = withdrawal(site, consent)
    first = await acts.consents(site.context, site.police.code, request)
    assert await acts.consents(site.context, site.police.code, request) == first
    assert len(await site.ledger_of(site.police)) == 2


async def test_the_same_call_at_the_same_time_gets_the_same_answer(site):
    consent = await grant(site)
    request = withdrawal(site, consent)
    answers = await asyncio.gather(*[acts.consents(site.context, site.police.code, request) for _ in range(4)])
    assert len(set(answers)) == 1
    assert len(await site.ledger_of(site.police)) == 2


async def test_a_widening_call_repeated_in_between_gets_the_same_answer(site, monkeypatch):
    """The repetition commits before every store operation of the first: never a stale head, never twice."""
    real = acts.consents
    for at in range(3):
        before = len(await site.ledger_of(site.police))
        answers = []

        async def twice(context, unit, request, at=at, answers=answers):
            async def again() -> None:
                answers.append(await real(context, unit, request))

            answers.append(await real(stepped(context, Stepped(site.store, at, again)), unit, request))
            return answers[0]

        monkeypatch.setattr(acts, "consents", twice)
        await grant(site)
        monkeypatch.setattr(acts, "consents", real)
        assert len(answers) == 2
        assert answers[0] == answers[1]
        assert len(await site.ledger_of(site.police)) == before + 1


async def test_another_request_under_the_same_call_id_is_refused(site):
    consent = await grant(site)
    request = withdrawal(site, consent)
    await acts.consents(site.context, site.police.code, request)
    with pytest.raises(HandslagError) as raised:
        await acts.consents(site.context, site.police.code, withdrawal(site, site.new_id(), request.call_id))
    assert raised.value.code == "HS-CALL-CHANGED"


async def test_closing_twice_at_the_same_time_is_one_answer(site):
    request = CloseRequest(call_id=os.urandom(16), seat_id=site.police.seat_id)
    answers = await asyncio.gather(*[cases.close(site.context, site.police.code, request) for _ in range(3)])
    assert len(set(answers)) == 1


async def test_an_invitation_under_a_known_event_id_is_refused_with_a_code(tmp_path):
    """No error of the engine leaves the store, and nothing is invited twice."""
    site = Site(tmp_path / "broker")
    await site.admit()
    await site.open_case()
    await site.grant(site.lead, [to_unit(site.police.code)], ["IC01", "IC12"], ["INTAKE"])
    kept = []
    real = invitations.invite

    async def catch(context, unit, request):
        kept.append(request)
        return await real(context, unit, request)

    invitations.invite = catch
    try:
        await site.invite(site.police)
    finally:
        invitations.invite = real
    with pytest.raises(HandslagError) as raised:
        await invitations.invite(site.context, site.lead.code, replace(kept[0], call_id=os.urandom(16)))
    assert raised.value.code == "HS-INVITATION-INVALID"
    site.close()
