"""The same event or acknowledgement said twice changes nothing; another one under the same name is refused."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from hashlib import sha256

import pytest

from broker import acks
from schemas.calls import Ack, AckRequest
from schemas.envelope import Attempt, Core, RoutingItem
from tests.promises.again import attempt, bundle
from tests.promises.case import PURPOSE, deliveries, event, grant, items, ready, receipts, sent, states
from tests.promises.trail import trail
from tests.site import LEAD, Site, to_role


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


# --- submissions


async def test_the_same_submission_twice_gets_the_same_receipt(site):
    await grant(site)
    one = attempt(site, event(site))
    for _ in range(3):
        await bundle(site, [one])
        await site.decide()
    answers = await receipts(site)
    assert len(answers) == 3
    assert answers[0] == answers[1] == answers[2]
    assert await states(site) == ["PENDING"]
    assert sum(r.operation == "DECISION" for r in await trail(site, site.police.seat_id)) == 1


async def test_the_same_submission_twice_in_one_bundle_gets_the_same_receipt(site):
    await grant(site)
    one = attempt(site, event(site))
    await bundle(site, [one, one])
    await site.decide()
    first, second = await receipts(site)
    assert first == second
    assert await states(site) == ["PENDING"]


async def test_another_event_under_a_known_id_is_refused(site):
    await grant(site)
    await sent(site)
    event_id = (await receipts(site))[0].event_id
    other = event(site, event_id=event_id)  # fresh salts and keys: another core hash, other digests, other routing
    await site.submit(site.police, other, number=2)
    await site.decide()
    (refused,) = await receipts(site)
    assert refused.refused_code == "HS-EQUIVOCATION"
    assert await states(site) == ["PENDING"]


@pytest.mark.parametrize("part", ["core", "digests", "routing_item"])
async def test_a_part_that_changed_under_a_known_id_is_refused(site, part):
    """Each of the three alone; the rest of the submission is consistent with it."""
    await grant(site)
    sealed = event(site)
    await bundle(site, [attempt(site, sealed)])
    await site.decide()
    await receipts(site)
    changed = {"core": changed_core, "digests": changed_digests, "routing_item": changed_routing}[part](site, sealed)
    await bundle(site, [changed])
    await site.decide()
    assert [r.refused_code for r in await receipts(site)] == ["HS-EQUIVOCATION"]


def changed_core(site, sealed):
    one = attempt(site, sealed, 2)
    return replace(one, core=replace(Core.from_bytes(one.core), reliability="CONFIRMED").to_bytes())


def changed_digests(site, sealed):
    """One digest of the random fill, moved up by one; the order stays."""
    one = attempt(site, sealed, 2)
    named = {sha256(i).digest() for i in (one.routing_item, *one.recipient_items, *one.section_items)}
    table = [one.digests[i : i + 32] for i in range(0, len(one.digests), 32)]
    at = next(i for i, digest in enumerate(table) if digest not in named)
    table[at] = (int.from_bytes(table[at]) + 1).to_bytes(32)
    return replace(one, digests=b"".join(table))


def changed_routing(site, sealed):
    one = attempt(site, sealed, 2)
    routing = replace(RoutingItem.from_bytes(one.routing_item), is_minor=True).to_bytes()
    digests = [one.digests[i : i + 32] for i in range(0, len(one.digests), 32)]
    old = sha256(one.routing_item).digest()
    table = sorted(sha256(routing).digest() if digest == old else digest for digest in digests)
    order = {digest: at for at, digest in enumerate(table)}
    said = Attempt.from_bytes(one.attempt)
    wraps = tuple(
        replace(
            w, keys=tuple(sorted((replace(k, index=order[digests[k.index]]) for k in w.keys), key=lambda k: k.index))
        )
        for w in said.wraps
    )
    return replace(one, routing_item=routing, digests=b"".join(table), attempt=replace(said, wraps=wraps).to_bytes())


async def test_another_attempt_under_the_same_number_is_refused(site):
    await grant(site)
    sealed = event(site)
    for _ in range(2):  # each attempt draws its own encapsulation
        await bundle(site, [attempt(site, sealed)])
    await site.decide()
    assert [r.refused_code for r in await receipts(site)] == [None, "HS-EQUIVOCATION"]


async def test_an_attempt_older_than_one_decided_is_refused(site):
    await grant(site)
    sealed = event(site)
    for number in (2, 1):
        await bundle(site, [attempt(site, sealed, number)])
        await site.decide()
    assert [r.refused_code for r in await receipts(site)] == [None, "HS-ATTEMPT-INVALID"]


async def ended(site: Site, state: str, consent: bytes) -> None:
    if state in {"HANDED", "ACKED", "REJECTED", "RECALLED"}:
        (item,) = await deliveries(site)
        if state in {"ACKED", "REJECTED"}:
            await site.ack(site.lead, item.item_id, state[:3] if state == "ACKED" else "REJECT")
    if state in {"CANCELLED", "RECALLED"}:
        await site.act(site.police, "WITHDRAW", consent)
        await grant(site)
    assert (await states(site))[-1] == state


@pytest.mark.parametrize(
    ("state", "again"),
    [("PENDING", 0), ("HANDED", 0), ("ACKED", 0), ("REJECTED", 0), ("CANCELLED", 1), ("RECALLED", 1)],
)
async def test_the_next_attempt_gives_only_what_is_not_given(site, state, again):
    """protocol, "idempotence": not what waits, was handed over, acknowledged or rejected."""
    consent = await grant(site)
    sealed = await sent(site)
    await ended(site, state, consent)
    before = len(await states(site))
    await bundle(site, [attempt(site, sealed, 2)])
    await site.decide()
    assert len(await states(site)) - before == again


async def test_the_receipt_names_the_attempt_that_carries_a_section(site):
    """A sender may seal anew before a receipt came; whose delivery it waits for is not to be guessed."""
    await site.grant(site.police, [to_role(LEAD)], ["IC04"], [PURPOSE])
    sealed = await sent(site)
    await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06"], [PURPOSE])
    await bundle(site, [attempt(site, sealed, 2)])
    await site.decide()
    told = [{s.category: s.carried_by for r in one.roles for s in r.sections} for one in await receipts(site)]
    assert told == [{"IC04": None, "IC06": None}, {"IC04": 1, "IC06": None}]


async def test_the_next_attempt_brings_the_section_that_is_missing_and_no_other(site):
    await site.grant(site.police, [to_role(LEAD)], ["IC04"], [PURPOSE])
    sealed = await sent(site)
    (item,) = await deliveries(site)
    await site.ack(site.lead, item.item_id)
    await site.grant(site.police, [to_role(LEAD)], ["IC06"], [PURPOSE])
    await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06"], [PURPOSE])
    await bundle(site, [attempt(site, sealed, 2)])
    await site.decide()
    await deliveries(site)
    first, second = site.lead.deliveries
    assert site.open(site.lead, first).categories == ("IC04",)
    assert site.open(site.lead, second).categories == ("IC06",)


# --- acknowledgements


async def test_the_same_ack_twice_gets_the_same_answer_and_one_entry(site):
    await grant(site)
    await sent(site)
    (item,) = await deliveries(site)
    first = await site.ack(site.lead, item.item_id)
    again = await asyncio.gather(*[site.ack(site.lead, item.item_id) for _ in range(3)])
    assert {first, *again} == {first}
    said = [r for r in await trail(site, site.lead.seat_id) if r.payload.delivery_id == item.item_id]
    assert [r.operation for r in said] == ["HAND_OVER", "ACK"]
    assert len([i for i in await items(site, site.police) if i.kind == "NOTICE"]) == 1


async def test_of_two_words_about_one_delivery_the_first_counts(site):
    await grant(site)
    await sent(site)
    (item,) = await deliveries(site)
    request = AckRequest(
        acks=(
            Ack(item_id=item.item_id, hand_number=1, verdict="ACK"),
            Ack(item_id=item.item_id, hand_number=1, verdict="REJECT", code="HS-SEAL-INVALID"),
        )
    )
    answer = await acks.ack(site.context, site.lead.code, request)
    assert [one.code for one in answer.results] == [None, "HS-STATE-INVALID"]
    assert await states(site) == ["ACKED"]


async def test_nobody_acknowledges_for_another_unit(site):
    await grant(site)
    await sent(site)
    (item,) = await deliveries(site)
    assert (await site.ack(site.probation, item.item_id)).results[0].code == "HS-ITEM-GONE"
    assert (await site.ack(site.probation, os.urandom(16))).results[0].code == "HS-ITEM-GONE"
    assert await states(site) == ["HANDED"]
