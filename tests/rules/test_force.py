"""Rule sets in the broker: what closes stops at once, what opens waits for the discloser, many wait for their turn."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest

from audit.administration import Acts
from broker import pipeline, ruling
from broker.rulebook import RuleBook
from broker.store.gate import GateMoved
from consent.rules import parse, shipped
from consent.rules_change import effective
from schemas.codes import DeliveryState
from schemas.errors import HandslagError
from schemas.inbox import Recall
from tests.promises.case import deliveries, event, grant, notices, receipts, sent
from tests.rules.force import Office, approval, in_force, rows_of, state
from tests.rules.ruling import CLOSED, OPENING, SHIPPED, reviewed
from tests.site import LEAD

BACK = SHIPPED + "\n# the version after it\n"


async def refusal(site, unit) -> str | None:
    return (await receipts(site, unit))[-1].refused_code


async def test_what_closes_is_stopped_in_the_transaction_that_activates_it(site):
    await grant(site)
    await sent(site)
    office = Office()
    office.propose(CLOSED)
    await office.record(site)
    assert [row.state for row in await rows_of(site)] == ["PENDING"]  # proposed is not in force
    office.activate(parse(CLOSED.encode()))
    await office.record(site)
    assert [row.state for row in await rows_of(site)] == [DeliveryState.CANCELLED]
    assert await deliveries(site) == []
    [told] = await notices(site, "delivery_cancelled")
    assert (told.role, set(told.categories)) == (LEAD, {"IC04", "IC06"})  # the name alone tells IC04


async def test_what_was_handed_over_is_recalled(site):
    await grant(site)
    await sent(site)
    assert len(await deliveries(site)) == 1
    await in_force(site, Office(), CLOSED)
    [recall] = [Recall.from_bytes(item.body) for item in await site.fetch(site.lead) if item.kind == "RECALL"]
    assert recall.code == "CATEGORY_NOT_ALLOWED"


async def test_an_attempt_by_the_rules_before_is_refused_and_the_next_is_not(site):
    await grant(site)
    office, before = Office(), site.rules
    closing = await in_force(site, office, SHIPPED.replace('["IC04", "IC12"]', '["IC12"]'))
    assert site.rules is not before
    assert site.rules.hash32 == closing.hash32  # it opens nothing: no hash of its own
    now, site.rules = site.rules, before
    await sent(site)
    assert await refusal(site, site.police) == "HS-RULES-OTHER"
    site.rules = now
    await sent(site)
    assert len(await deliveries(site)) == 1


async def test_what_opens_waits_for_the_discloser_s_own_approval(site):
    """A closing and the step back: the police seat's releases stay closed until the police unit has approved it."""
    office = Office()
    await grant(site)
    await in_force(site, office, CLOSED)
    back = await in_force(site, office, BACK)
    assert site.rules.hash32 not in {back.hash32, parse(CLOSED.encode()).hash32, shipped()[1].hash32}
    await sent(site)
    assert await refusal(site, site.police) is None
    assert await deliveries(site) == []
    await state(site, site.lead, approval(site.lead, back))  # another unit's approval is its own
    await sent(site)
    assert await deliveries(site) == []
    answer = await state(site, site.police, approval(site.police, back))
    assert answer.effective == back.hash32
    site.rules = back
    await sent(site)
    assert len(await deliveries(site)) == 1


async def test_only_the_unit_itself_approves_for_its_releases(site):
    office = Office()
    rules = await in_force(site, office, BACK)
    stolen = approval(site.lead, rules, unit=site.police.code)
    for given, code in (
        (approval(site.lead, rules), "HS-RULES-OTHER"),
        (approval(site.police, rules, origin="other.example"), "HS-RULES-OTHER"),
        (stolen, "HS-SIGNATURE-INVALID"),
        (approval(site.police, rules, rules_hash=bytes(32)), "HS-RULES-UNKNOWN"),
    ):
        with pytest.raises(HandslagError) as refused:
            await state(site, site.police, given)
        assert refused.value.code == code
    assert (await state(site, site.police)).approvals == ()
    first = await state(site, site.police, approval(site.police, rules))
    assert [one.rules_hash for one in first.approvals] == [rules.hash32]
    assert (await state(site, site.police, approval(site.police, rules))).approvals == first.approvals  # once


async def test_a_batch_decided_by_the_rules_before_is_not_written(site, monkeypatch):
    await grant(site)
    office = Office()
    office.propose(CLOSED)
    await site.submit(site.police, event(site))
    [bucket] = await site.context.stream.waiting()
    prepare = pipeline.prepare

    async def meanwhile(*arguments):
        effects = await prepare(*arguments)
        office.activate(parse(CLOSED.encode()))
        await office.record(site)
        return effects

    monkeypatch.setattr(pipeline, "prepare", meanwhile)
    with pytest.raises(GateMoved):
        await pipeline.decide_next(site.context, bucket)
    monkeypatch.setattr(pipeline, "prepare", prepare)
    await site.decide()
    assert await refusal(site, site.police) == "HS-RULES-OTHER"
    assert await deliveries(site) == []


async def test_rules_that_another_node_put_in_force_hold_here_at_the_next_batch(site):
    await grant(site)
    await sent(site)
    assert len(await deliveries(site)) == 1  # this node's book has been read
    office, other = Office(), replace(site.context, book=RuleBook())
    office.activate(office.propose(CLOSED))
    await office.record(site, other)
    await sent(site)
    assert await refusal(site, site.police) == "HS-RULES-OTHER"


async def test_many_open_deliveries_are_held_until_each_was_decided_anew(site, monkeypatch):
    monkeypatch.setattr(ruling, "AT_ONCE", 2)
    monkeypatch.setattr(ruling, "_PIECE", 2)
    await grant(site)
    for _ in range(4):
        await sent(site)
    office = Office()
    # Four are more than two; those rules close nothing of this and must only be held for a moment.
    await in_force(site, office, SHIPPED.replace('["IC04", "IC12"]', '["IC12"]'))
    assert {row.held for row in await rows_of(site)} == {True}
    assert await deliveries(site) == []
    assert await ruling.recheck(site.context) == 4
    assert {row.held for row in await rows_of(site)} == {False}
    await in_force(site, office, CLOSED)
    assert {(row.state, row.held) for row in await rows_of(site)} == {("PENDING", True)}
    assert await ruling.recheck(site.context) == 4
    assert {row.state for row in await rows_of(site)} == {"CANCELLED"}
    assert await ruling.recheck(site.context) == 0
    assert await deliveries(site) == []


async def test_a_withdrawal_reaches_what_new_rules_hold_back(site, monkeypatch):
    monkeypatch.setattr(ruling, "AT_ONCE", 0)
    consent = await grant(site)
    await sent(site)
    await in_force(site, Office(), SHIPPED.replace('["IC04", "IC12"]', '["IC12"]'))
    await site.act(site.police, "WITHDRAW", consent)
    await ruling.recheck(site.context)
    assert [row.state for row in await rows_of(site)] == ["CANCELLED"]
    assert await deliveries(site) == []


def test_what_was_not_proposed_does_not_take_effect():
    office, other = Office(), parse(BACK.encode())
    with pytest.raises(HandslagError) as refused:
        office.activate(other)
    assert refused.value.context == {"check": "subject"}
    office.propose(BACK)
    office.activate(other)
    assert office.chain.steps == (other.hash32,)
    for again in (lambda: office.propose(BACK), lambda: office.activate(other)):
        with pytest.raises(HandslagError):
            again()
    with pytest.raises(HandslagError) as refused:
        office.act("PROPOSE", subject=bytes(32), rules=b"x")
    assert refused.value.context == {"check": "subject"}
    with pytest.raises(HandslagError) as refused:
        office.act("RULES", subject=bytes(32), rules=b"x")
    assert refused.value.context == {"check": "rules"}
    office.act("RULES", subject=bytes(32))
    assert office.chain.steps == ()  # an installation of its own: what was on top of the other is not on top of it
    assert isinstance(office.chain, Acts)


def test_rules_once_in_force_come_back_under_no_approval_of_then():
    """Closed again since, approved once: also on top of another installation's rules it takes a version of its own."""
    office = Office()
    opening = office.propose(reviewed(OPENING, "2026-11-23"))
    office.activate(opening)
    office.activate(office.propose(reviewed(SHIPPED, "2026-11-24")))
    office.act("RULES", subject=bytes(32))
    with pytest.raises(HandslagError) as refused:
        office.activate(opening)
    assert refused.value.context == {"check": "subject"}
    again = office.propose(reviewed(OPENING, "2026-11-25"))
    office.activate(again)  # control
    assert office.chain.steps == (again.hash32,)
    approved = {opening.hash32}
    assert effective((shipped()[1], again), approved).hash32 not in {opening.hash32, again.hash32}


def test_only_a_fit_file_is_proposed():
    today = datetime.date(2026, 11, 22)
    ruling.fit(reviewed().encode(), today)
    with pytest.raises(HandslagError) as refused:
        ruling.fit(SHIPPED.encode(), today)
    assert (refused.value.code, refused.value.context) == ("HS-RULES-UNREADY", {})


async def test_what_lay_on_rules_does_not_lie_on_them_when_they_come_back(site):
    """From these rules to others and back: broker and chain agree that nothing of then stands on top."""
    await grant(site)
    office, base = Office(), site.rules
    closing = await in_force(site, office, CLOSED)
    assert (await state(site, site.police)).steps == office.chain.steps == (closing.hash32,)  # control
    office.act("RULES", subject=bytes(32))
    office.act("RULES", subject=base.hash32)
    await office.record(site)
    answer = await state(site, site.police)
    assert (answer.steps, answer.effective) == ((), base.hash32)
    assert office.chain.steps == ()
    site.rules = base
    await sent(site)
    assert len(await deliveries(site)) == 1
    # What takes effect from here on lies on top, and closes what is on its way.
    again = await in_force(site, office, reviewed(CLOSED))
    assert (await state(site, site.police)).steps == office.chain.steps == (again.hash32,)
    assert {row.state for row in await rows_of(site)} == {"RECALLED"}
    assert len([item for item in await site.fetch(site.lead) if item.kind == "RECALL"]) == 1


async def test_a_store_of_before_learns_where_rules_came_back(site, monkeypatch):
    """Acts recorded before the store kept where an installation's rules took force are noted at the next start."""
    office, base = Office(), site.rules
    with monkeypatch.context() as before:
        before.setattr(ruling, "_install", lambda *_: None)
        await in_force(site, office, CLOSED)
        office.act("RULES", subject=bytes(32))
        office.act("RULES", subject=base.hash32)
        await office.record(site)
        assert len((await state(site, site.police)).steps) == 1  # as it was
    await office.record(site)
    answer = await state(site, site.police)
    assert (answer.steps, answer.effective) == ((), base.hash32)
    await office.record(site)  # once
    assert await site.store.read(lambda rows: rows.rules.installed()) == [2, 5, 6]


@pytest.mark.parametrize("early", [False, True])
async def test_an_approval_opens_nothing_that_was_closed_after_it(site, early):
    """It was told what the rule set opened then; what is closed before that takes effect, it was not told of."""
    await grant(site)
    office = Office()
    opening = office.propose(reviewed(OPENING, "2026-11-25"))
    await office.record(site)
    if early:
        await state(site, site.police, approval(site.police, opening))
    closing = await in_force(site, office, CLOSED)
    if not early:
        await state(site, site.police, approval(site.police, opening))  # control: told of the closing
    office.activate(opening)
    await office.record(site)
    answer = await state(site, site.police)
    narrowed = effective((shipped()[1], closing, opening), () if early else {opening.hash32})
    assert answer.effective == narrowed.hash32
    assert [one.rules_hash for one in answer.approvals] == ([] if early else [opening.hash32])
    site.rules = narrowed
    await sent(site)
    assert len(await deliveries(site)) == (0 if early else 1)


async def test_an_approval_beside_other_rules_of_the_installation_does_not_count(site):
    office, base = Office(), site.rules
    opening = office.propose(reviewed(OPENING, "2026-11-25"))
    await office.record(site)
    assert len((await state(site, site.police, approval(site.police, opening))).approvals) == 1
    office.act("RULES", subject=bytes(32))
    office.act("RULES", subject=base.hash32)
    office.activate(opening)
    await office.record(site)
    answer = await state(site, site.police)
    assert (answer.effective, answer.approvals) == (effective((base, opening), ()).hash32, ())
