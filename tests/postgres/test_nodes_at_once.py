"""Three nodes on one database decide, hand over, withdraw and acknowledge at the same time, round after round."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

from broker import acks, acts
from broker.stream.embedded import EmbeddedStream
from broker.views import Views
from schemas.calls import Ack, AckRequest
from schemas.errors import HandslagError
from tests.promises.schedule import Answers
from tests.promises.test_no_release_after_ack import ACTS, BOTH, LEAD, PURPOSE, Round, rest, taken
from tests.promises.trail import trail
from tests.site import Site, assessment

NODES = 3
ROUNDS = 8


def nodes(site):
    """Contexts of further nodes: stores, caches and streams of their own."""
    made = []
    for _ in range(NODES):
        store = site.database.store(site.cipher)
        made.append(replace(site.context, store=store, stream=EmbeddedStream(store), views=Views()))
    return made


async def acked(site, context, one):
    """Acknowledge what was handed over so far, as a recipient does that is quick."""
    for delivery_id, number, _categories in list(one.answers.handed):
        request = AckRequest(acks=(Ack(item_id=delivery_id, hand_number=number, verdict="ACK"),))
        await acks.ack(context, site.lead.code, request)


async def test_no_release_after_ack_with_three_nodes(tmp_path, monkeypatch, new_database):
    monkeypatch.setattr(Site, "databases", staticmethod(new_database))
    site = Site(tmp_path / "broker")
    await site.whole_case()
    await site.take_statements(site.lead)
    one_node, two, three = others = nodes(site)
    handed = Counter()
    for number in range(ROUNDS):
        one = Round(site, ACTS[number % len(ACTS)], Answers())
        await one.prepare()
        for _ in range(5):
            sealed = site.sealed(
                site.police, "threat_assessment_completed", assessment(), (LEAD,), PURPOSE, released=BOTH
            )
            await site.submit(site.police, sealed)
        await asyncio.gather(
            one.decide(one_node), one.fetch(two), one.decide(three), one.fetch(one_node), one.decide(two),
            one.narrow(), one.fetch(three), one.fetch(two), acked(site, three, one),
        )  # fmt: skip
        await rest(site, one, narrowed=True)
        assert one.answers.violations(taken(one.act)) == []
        handed += Counter((delivery_id, hand) for delivery_id, hand, _ in one.answers.handed)
        site.clock.us += 1_000_000
    assert set(handed.values()) == {1}  # each hand number of a delivery was given out once
    recorded = [entry for entry in await trail(site, site.police.seat_id) if entry.operation == "DISCLOSURE"]
    assert Counter((entry.payload.delivery_id, entry.payload.hand_number) for entry in recorded) == handed
    for context in others:
        context.store.close()
    site.close()


async def test_one_call_at_three_nodes_is_recorded_once(tmp_path, monkeypatch, new_database):
    """The same withdrawal, sent again to every node because no answer came: one act, one answer."""
    monkeypatch.setattr(Site, "databases", staticmethod(new_database))
    site = Site(tmp_path / "broker")
    await site.whole_case()
    others = nodes(site)
    before = len(await site.ledger_of(site.police))
    one = Round(site, "WITHDRAW", Answers())
    await one.prepare()
    call_id = b"c" * 16
    kept = site.context

    async def at(context):
        return await acts.consents(context, site.police.code, request)

    body = site.police.consent_act(
        "WITHDRAW", one.consent, site.clock(), terms=None, scope=None, effective_at_us=None, actor_ref="handläggare 1"
    )
    request = site.police.consents_request(body, call_id)
    answers = await asyncio.gather(*[at(context) for context in (kept, *others) * 2], return_exceptions=True)
    assert {answer.to_bytes() for answer in answers if not isinstance(answer, HandslagError)} == {answers[0].to_bytes()}
    assert not [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(await site.ledger_of(site.police)) == before + 2  # the grant, and its withdrawal
    for context in others:
        context.store.close()
    site.close()
