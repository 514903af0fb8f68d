"""Promise 1 under concurrency: after a narrowing act is answered no hand-over commits of what it took back.

Judged from answers alone: whatever a recipient was handed of it is named in the answer as HANDED before.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from broker import handover, pipeline
from broker.store.gate import GateMoved
from broker.store.port import Rows
from schemas.acts import Scope, Terms
from schemas.calls import FetchRequest
from schemas.envelope import Delivery, SectionItem
from tests.promises.schedule import Answers, Stepped, UnversionedGate, VersionlessHand, stepped
from tests.promises.trail import trail
from tests.site import LEAD, Site, assessment, to_role

PURPOSE = "THREAT_ASSESSMENT"
BOTH = frozenset({"IC04", "IC06"})
ACTS = ("WITHDRAW", "PART", "BLOCK", "CASE")
_MOST = 40  # more store operations than any of the calls makes


def taken(act: str) -> frozenset[str]:
    return frozenset({"IC06"}) if act == "PART" else BOTH


def categories(delivery: Delivery) -> frozenset[str]:
    return frozenset(SectionItem.from_bytes(s.item, 1 << 20).category for s in delivery.sections)


@dataclass
class Round:
    """One grant, one event, one narrowing act."""

    site: Site
    act: str
    answers: Answers
    consent: bytes = b""

    async def prepare(self) -> None:
        site = self.site
        self.consent = await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06"], [PURPOSE])
        sealed = site.sealed(site.police, "threat_assessment_completed", assessment(), (LEAD,), PURPOSE, released=BOTH)
        await site.submit(site.police, sealed)

    async def narrow(self, context: Any = None) -> None:
        site, context = self.site, context or self.site.context
        kept, site.context = site.context, context
        try:
            if self.act == "CASE":
                await site.withdraw_case(site.probation)
                recorded = await trail(site, site.police.seat_id)
                answer = next(r.payload for r in reversed(recorded) if r.operation == "CONSENT_EVENT")
                events = await site.ledger_of(site.police)
                site.police.head = events[-1].head
            elif self.act == "BLOCK":
                answer = await site.act(site.police, "BLOCK", site.new_id(), terms=block(site))
            else:
                scope = Scope(recipients=(), categories=("IC06",), purposes=()) if self.act == "PART" else None
                answer = await site.act(site.police, "WITHDRAW", self.consent, scope=scope)
        finally:
            site.context = kept
        self.answers.affected += answer.affected

    async def decide(self, context: Any) -> None:
        for bucket in await context.stream.waiting():
            while True:
                try:
                    if not await pipeline.decide_next(context, bucket):
                        break
                except GateMoved:
                    continue

    async def fetch(self, context: Any) -> None:
        answer = await handover.fetch(context, self.site.lead.code, FetchRequest(limit=100))
        for item in answer.items:
            if item.kind == "DELIVERY":
                delivery = Delivery.from_bytes(item.body, 1 << 20)
                self.answers.handed.append((delivery.delivery_id, delivery.hand_number, categories(delivery)))


def block(site: Site) -> Terms:
    now = site.clock()
    return Terms(
        recipients=(), categories=(), purposes=(), actions=(), valid_from_us=now, valid_until_us=now + 1000,
        reservations=(), text_version="", terms_version="", processing_acknowledged=False, given_by="SELF",
        method="WRITTEN",
    )  # fmt: skip


async def narrowed_in_the_middle(site: Site, act: str, *, narrows_first: bool = False) -> list[Any]:
    """The act before every store operation of deciding and handing over, then those before every one of the act."""
    found: list[Any] = []
    for at in range(_MOST):
        one = Round(site, act, Answers())
        await one.prepare()
        store = Stepped(site.store, at, one.narrow)
        await one.decide(stepped(site.context, store))
        await one.fetch(stepped(site.context, store))
        await rest(site, one, store.fired)
        found += one.answers.violations(taken(act))
        site.clock.us += 1_000_000  # past the block's end
        if not store.fired:
            break
    for at in range(_MOST):
        one = Round(site, act, Answers())
        await one.prepare()

        async def both(one: Round = one, plain: Any = site.context) -> None:
            await one.decide(plain)
            await one.fetch(plain)

        store = Stepped(site.store, at, both, narrows_first=narrows_first)
        await one.narrow(stepped(site.context, store))
        await rest(site, one, narrowed=True)
        found += one.answers.violations(taken(act))
        site.clock.us += 1_000_000
        if not store.fired:
            break
    return found


async def narrowed_after_deciding(site: Site, act: str) -> list[Any]:
    """Decided and waiting; only then the act, between the operations of the deciding call's commit and the fetch."""
    one = Round(site, act, Answers())
    await one.prepare()

    async def decide_then() -> None:
        await one.narrow()

    await one.decide(site.context)
    store = Stepped(site.store, 1, decide_then)
    await one.fetch(stepped(site.context, store))
    await rest(site, one, store.fired)
    return one.answers.violations(taken(act))


async def rest(site: Site, one: Round, narrowed: bool) -> None:
    """What comes after the answer: everything decided and fetched again, also what was leased."""
    if not narrowed:
        await one.narrow()
    await one.decide(site.context)
    await one.fetch(site.context)
    site.clock.us += site.context.lease_us + 1
    await one.fetch(site.context)


async def a_site(tmp_path, rows=Rows) -> Site:
    site = Site(tmp_path / "broker", rows)
    await site.whole_case()
    await site.take_statements(site.lead)
    return site


@pytest.mark.parametrize("act", ACTS)
async def test_no_release_after_ack(tmp_path, act):
    site = await a_site(tmp_path)
    assert await narrowed_in_the_middle(site, act) == []
    site.close()


async def test_the_check_hands_over_when_nothing_is_narrowed(tmp_path):
    """Positive control: without the act the same calls hand over both sections, and the check would call it out."""
    site = await a_site(tmp_path)
    one = Round(site, "WITHDRAW", Answers())
    await one.prepare()
    await one.decide(site.context)
    await one.fetch(site.context)
    assert [handed[1:] for handed in one.answers.handed] == [(1, BOTH)]
    assert one.answers.violations(BOTH) == one.answers.handed
    await one.narrow()
    assert one.answers.violations(BOTH) == []  # named as HANDED
    site.close()


async def test_a_gate_that_ignores_the_version_releases_after_the_answer(tmp_path):
    site = await a_site(tmp_path, UnversionedGate)
    assert await narrowed_in_the_middle(site, "WITHDRAW")
    site.close()


async def test_narrowing_before_the_bump_releases_after_the_answer(tmp_path):
    site = await a_site(tmp_path)
    assert await narrowed_in_the_middle(site, "WITHDRAW", narrows_first=True)
    site.close()


async def test_a_hand_over_that_ignores_the_row_version_releases_after_the_answer(tmp_path):
    site = await a_site(tmp_path, VersionlessHand)
    assert await narrowed_after_deciding(site, "PART")
    site.close()


async def test_many_at_once(tmp_path):
    """Deciders, fetchers and a withdrawal as concurrent tasks, round after round on one store."""
    site = await a_site(tmp_path)
    for number in range(12):
        one = Round(site, ACTS[number % len(ACTS)], Answers())
        await one.prepare()
        for _ in range(3):
            sealed = site.sealed(
                site.police, "threat_assessment_completed", assessment(), (LEAD,), PURPOSE, released=BOTH
            )
            await site.submit(site.police, sealed)
        await asyncio.gather(
            one.decide(site.context), one.fetch(site.context), one.decide(site.context), one.narrow(),
            one.fetch(site.context), one.fetch(site.context),
        )  # fmt: skip
        await rest(site, one, narrowed=True)
        assert one.answers.violations(taken(one.act)) == []
        site.clock.us += 1_000_000
    site.close()
