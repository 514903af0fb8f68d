"""Asking whether something would be released, and what an act would do: by the discloser's own seat, on record."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import event as listening
from sqlalchemy import func, select

from broker import explaining, foreseeing
from broker.store import tables
from schemas.acts import Scope
from schemas.calls import AuditQuery
from schemas.errors import HandslagError
from schemas.explain import ExplainAnswer, ExplainAsk, ExplainRequest, SimulateAnswer, SimulateRequest
from tests.promises.case import HOUR, PURPOSE, deliveries, grant, items, ready, receipts, sent, states
from tests.site import DAY, LEAD, PROBATION, terms_of, to_role, to_unit

QUERY = AuditQuery(purpose="LAWFULNESS", actor_ref="auditor-3", assurance="ASSERTED", case_number="K-7")


def question(site, **changes) -> ExplainRequest:
    asked = {
        "call_id": os.urandom(16),
        "seat_id": site.police.seat_id,
        "query": QUERY,
        "role": LEAD,
        "event_type": "threat_assessment_completed",
        "purpose": PURPOSE,
        "action": "DISCLOSE",
        "sections": tuple(
            ExplainAsk(category=each, persons=(0,), public_interest_released=True) for each in ("IC04", "IC06")
        ),
    }
    return ExplainRequest(**{**asked, **changes})


async def ask(site, unit=None, **changes) -> ExplainAnswer:
    return await explaining.explain(site.context, (unit or site.police).code, question(site, **changes))


async def suppose(site, act: str, consent: bytes, unit=None, **how) -> SimulateAnswer:
    who = unit or site.police
    return await foreseeing.simulate(site.context, who.code, supposed(site, act, consent, who.seat_id, **how))


def supposed(site, act: str, consent: bytes, seat_id: bytes, **how) -> SimulateRequest:
    said = {"terms": None, "scope": None, "effective_at_us": None, **how}
    body = site.police.consent_act(act, consent, site.clock(), actor_ref="h", **said)
    return SimulateRequest(call_id=os.urandom(16), seat_id=seat_id, query=QUERY, act=body)


async def counted(site) -> Counter:
    """Rows of every table."""
    found = tables.metadata.sorted_tables
    return Counter(
        await site.store.read(
            lambda rows: {t.name: rows.gate._c.execute(select(func.count()).select_from(t)).scalar() for t in found}
        )
    )


async def test_a_unit_that_was_shut_out_is_no_holder_in_an_explanation_either(tmp_path):
    site = await ready(tmp_path)
    await grant(site)
    assert (await ask(site)).outcome == "RELEASED"  # control
    await site.store.write(lambda rows: rows.units.revoke(site.lead.code, site.clock()))
    await sent(site)
    (receipt,) = await receipts(site)
    told = [(one.released, one.reasons) for one in (await ask(site)).sections]
    assert told == [(one.released, one.reasons) for one in receipt.roles[0].sections] != []
    assert not any(released for released, _reasons in told)


async def test_every_record_is_named_with_why_it_does_not_apply(tmp_path):
    site = await ready(tmp_path)
    gone = await grant(site)
    await site.act(site.police, "WITHDRAW", gone)
    other = await site.grant(site.police, [to_role(PROBATION)], ["IC04"], ["PROTECTION"])
    used = await site.grant(site.police, [to_role(LEAD)], ["IC04"], [PURPOSE])
    blocked = site.new_id()
    await site.act(site.police, "BLOCK", blocked, terms=terms_of([to_role(LEAD)], ["IC06"], [], (), site.clock(), None))
    answer = await ask(site)
    assert answer.outcome == "PARTIAL"
    assert [(one.category, one.released, one.grants) for one in answer.sections] == [
        ("IC04", True, (used,)), ("IC06", False, ()),
    ]  # fmt: skip
    assert set(answer.sections[1].reasons) >= {"BLOCK_IN_FORCE"}
    told = {(one.place, one.consent_id): (one.kind, one.effect, set(one.why_not)) for one in answer.records}
    assert len(told) == len(answer.records) == 2 * 4
    assert told[0, gone] == ("GRANT", None, {"WITHDRAWN"})
    assert told[0, other] == ("GRANT", None, {"RECIPIENT_NOT_COVERED", "PURPOSE_MISMATCH"})
    assert told[0, used] == ("GRANT", "USED", set())
    assert told[1, used] == ("GRANT", None, {"CATEGORY_NOT_COVERED"})
    assert (told[0, blocked][1], told[1, blocked][1]) == ("BLOCK_OTHER", "BLOCKS")


async def test_it_answers_on_both_axes_of_time(tmp_path):
    site = await ready(tmp_path)
    consent = await grant(site)
    given_us = site.clock()
    site.clock.us += 2 * HOUR
    await site.act(site.police, "WITHDRAW", consent, effective_at_us=site.clock() - HOUR)
    assert (await ask(site)).outcome == "WITHHELD"
    assert (await ask(site, as_of_us=given_us)).outcome == "RELEASED"
    assert (await ask(site, known_seq=1)).outcome == "RELEASED"
    assert (await ask(site, known_seq=1)).ledger_seq == 1
    assert (await ask(site, as_of_us=given_us, known_seq=0)).sections[0].reasons[0] == "NO_RECORD"


async def test_nothing_is_explained_without_an_entry(tmp_path):
    site = await ready(tmp_path)
    await grant(site)
    before = await counted(site)
    request = question(site)
    answer = await explaining.explain(site.context, site.police.code, request)
    after = await counted(site)
    assert {name for name in after if after[name] != before[name]} <= {"call", "entry", "payload"}
    assert sum((after - before).values()) == 3
    assert answer.entry_id != bytes(16)
    # The same call again: the same answer, and no second entry.
    assert await explaining.explain(site.context, site.police.code, request) == answer
    assert await counted(site) == after
    with pytest.raises(HandslagError) as refused:
        await explaining.explain(site.context, site.police.code, question(site, call_id=request.call_id, as_of_us=1))
    assert refused.value.code == "HS-CALL-CHANGED"


@pytest.mark.parametrize("ask_it", [ask, None], ids=["explain", "simulate"])
async def test_a_foreign_seat_is_answered_as_one_that_does_not_exist(tmp_path, ask_it):
    """The same code, no context, the same statements to the store, no entry; with the owner as the control."""
    site = await ready(tmp_path)
    consent = await grant(site)
    seen: list[str] = []
    engine = await site.store.read(lambda rows: rows.gate._c.engine)
    listening.listen(engine, "before_cursor_execute", lambda *told: seen.append(told[2]))
    kinds = []
    for seat_id in (site.police.seat_id, os.urandom(16)):
        before = await counted(site)
        seen.clear()
        if ask_it:
            call = explaining.explain(site.context, site.probation.code, question(site, seat_id=seat_id))
        else:
            asked = supposed(site, "WITHDRAW", consent, seat_id)
            call = foreseeing.simulate(site.context, site.probation.code, asked)
        with pytest.raises(HandslagError) as refused:
            await call
        kinds.append((refused.value.code, dict(refused.value.context), list(seen)))
        assert await counted(site) == before
    assert kinds[0] == kinds[1]
    assert kinds[0][0] == "HS-SEAT-UNKNOWN"
    assert (await ask(site)).outcome == "RELEASED"


async def test_asking_does_not_tell_whether_a_role_is_held(tmp_path):
    """A role that somebody holds and one that nobody holds answer alike while no consent of the seat names them."""
    site = await ready(tmp_path)
    one = (ExplainAsk(category="IC04", persons=(0,), public_interest_released=True),)

    async def told(role):
        answer = await ask(site, role=role, sections=one)
        return answer.outcome, [each.reasons for each in answer.sections], [each.why_not for each in answer.records]

    assert (
        await told(PROBATION) == await told("secure_youth_care") == ("WITHHELD", [("NO_RECORD", "TYPE_WITHHELD")], [])
    )
    await grant(site)
    assert await told(PROBATION) == await told("secure_youth_care")
    assert (await told(LEAD))[0] == "RELEASED"


async def test_a_withdrawal_does_what_simulating_it_said(tmp_path):
    site = await ready(tmp_path)
    consent = await grant(site)
    await sent(site)
    [first] = await deliveries(site)
    await site.ack(site.lead, first.item_id)  # received
    await sent(site)
    assert len(await deliveries(site)) == 1  # handed over
    await sent(site)  # waits
    await items(site, site.police)
    part = Scope(recipients=(), categories=("IC06",), purposes=())
    before = await states(site)
    answer = await suppose(site, "WITHDRAW", consent, scope=part)
    assert await states(site) == before == ["ACKED", "HANDED", "PENDING"]
    assert sorted((one.state, one.removed, one.kept) for one in answer.deliveries) == [
        ("ACKED", ("IC06",), ("IC04",)), ("HANDED", ("IC06",), ("IC04",)), ("PENDING", ("IC06",), ("IC04",)),
    ]  # fmt: skip
    done = await site.act(site.police, "WITHDRAW", consent, scope=part)
    assert done.counts == answer.counts
    assert sorted((one.event_id, one.role) for one in done.affected) == sorted(
        (one.event_id, one.role) for one in answer.deliveries if one.state != "ACKED"
    )
    whole = await suppose(site, "WITHDRAW_ALL", bytes(16))
    assert {one.role for one in whole.counts} == {LEAD}
    assert all(one.kept == () for one in whole.deliveries)


def _tried(site, consent: bytes, unit: str) -> dict:
    """Acts that name a unit: (act, consent, terms, scope)."""
    now, evidence = site.clock(), b"e" * 32
    block = terms_of([to_unit(unit)], [], [], (), now, None)
    given = terms_of([to_unit(unit)], ["IC04", "IC06"], [PURPOSE], ("DISCLOSE",), now, now + 20 * DAY)
    return {
        "BLOCK": (site.new_id(), {"terms": block}),
        "WITHDRAW": (consent, {"scope": Scope(recipients=(to_unit(unit),), categories=(), purposes=())}),
        "AMEND": (consent, {"terms": replace(given, evidence_hash=evidence)}),
        "GRANT": (site.new_id(), {"terms": replace(given, supersedes=consent)}),
    }


async def _three_ways(site) -> None:
    """One delivery received, one handed over, one that waits."""
    await sent(site)
    [first] = await deliveries(site)
    await site.ack(site.lead, first.item_id)
    await sent(site)
    await deliveries(site)
    await sent(site)


async def test_trying_an_act_does_not_tell_which_unit_sits_there(tmp_path):
    """The unit that holds the role and another of its authority, named in every act: all answers are the same."""
    site = await ready(tmp_path)
    consent = await grant(site)
    await _three_ways(site)
    here, elsewhere = site.lead.code, "SOC/EXEMPEL/NORR"

    async def told(unit: str) -> dict:
        found = {}
        for act, (about, how) in _tried(site, consent, unit).items():
            answer = await suppose(site, act, about, **how)
            found[act] = (answer.refused, answer.counts, answer.deliveries)
        return found

    first = await told(elsewhere)
    assert [(refused, len(listed)) for refused, _counts, listed in first.values()] == [(None, 3)] * 4
    assert await told(here) == first
    for guess in (here, elsewhere):  # over when it is noted: it stops nothing, and names the unit
        long_ago = terms_of([to_unit(guess)], [], [], (), site.clock() - 2 * HOUR, site.clock() - HOUR)
        await site.act(site.police, "BLOCK", site.new_id(), terms=long_ago)
        assert await states(site) == ["ACKED", "HANDED", "PENDING"]
        assert await told(elsewhere) == await told(here) == first


async def test_trying_an_act_is_exact_about_a_unit_that_a_consent_names(tmp_path):
    """The control: whoever has the person's consent for a unit knows it, and what is tried is what is done."""
    site = await ready(tmp_path)
    here, elsewhere = site.lead.code, "SOC/EXEMPEL/NORR"
    consent = await site.grant(site.police, [to_unit(here)], ["IC04", "IC06"], [PURPOSE])
    await grant(site)
    await site.act(site.police, "WITHDRAW", list(site.police.consents)[-1])
    await _three_ways(site)
    for act, (about, how) in _tried(site, consent, elsewhere).items():
        answer = await suppose(site, act, about, **how)
        stops = act in {"AMEND", "GRANT"}
        assert len(answer.deliveries) == (3 if stops else 0), act
    about, how = _tried(site, consent, here)["BLOCK"]
    tried = await suppose(site, "BLOCK", about, **how)
    done = await site.act(site.police, "BLOCK", about, **how)
    assert done.counts == tried.counts != ()


async def test_simulating_changes_nothing_but_the_trail(tmp_path):
    site = await ready(tmp_path)
    consent = await grant(site)
    await sent(site)
    before, ledger = await counted(site), await site.ledger_of(site.police)
    answer = await suppose(site, "WITHDRAW", consent)
    assert [(one.stopped, one.received) for one in answer.counts] == [(1, 0)]
    after = await counted(site)
    assert {name for name in after if after[name] != before[name]} <= {"call", "entry", "payload"}
    assert await site.ledger_of(site.police) == ledger
    assert len(await deliveries(site)) == 1


async def test_an_act_that_would_be_refused_says_with_what(tmp_path):
    site = await ready(tmp_path)
    consent = await grant(site)
    backdated = await suppose(site, "UNBLOCK", consent, effective_at_us=site.clock() - HOUR)
    assert (backdated.refused, backdated.counts) == ("HS-GRANT-BACKDATED", ())
    ahead = await suppose(site, "WITHDRAW", consent, effective_at_us=site.clock() + DAY)
    assert ahead.refused == "HS-GRANT-INCOMPLETE"
