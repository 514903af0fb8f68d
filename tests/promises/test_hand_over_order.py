"""One sender's messages are handed over in the order they were decided, whatever changes one of them meanwhile."""

from __future__ import annotations

from broker import handover
from schemas.acts import Scope
from schemas.calls import FetchRequest
from schemas.envelope import Delivery
from tests.promises.schedule import Stepped, stepped
from tests.promises.test_no_release_after_ack import BOTH, PURPOSE, a_site, categories
from tests.site import LEAD, assessment, to_role


async def test_what_was_sent_later_does_not_pass_what_changed_before_its_hand_over(tmp_path):
    """Between look and hand-over the first of two loses a section; the second does not go before it."""
    site = await a_site(tmp_path)
    consent = await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06"], [PURPOSE])
    for released in (BOTH, frozenset({"IC04"})):
        sealed = site.sealed(
            site.police, "threat_assessment_completed", assessment(), (LEAD,), PURPOSE, released=released
        )
        await site.submit(site.police, sealed)
    await site.decide()

    async def narrowed() -> None:
        await site.act(site.police, "WITHDRAW", consent, scope=Scope(recipients=(), categories=("IC06",), purposes=()))

    context = stepped(site.context, Stepped(site.store, 1, narrowed))
    came: list[Delivery] = []
    for _ in range(3):
        answer = await handover.fetch(context, site.lead.code, FetchRequest(limit=100))
        came += [Delivery.from_bytes(item.body, 1 << 20) for item in answer.items if item.kind == "DELIVERY"]
    assert [categories(one) for one in came] == [frozenset({"IC04"})] * 2
    assert [one.hand_number for one in came] == [1, 1]
    assert came[0].delivery_id < came[1].delivery_id  # decided in this order, handed over in this order
    site.close()


async def test_what_changed_goes_in_the_same_answer(tmp_path):
    """Who waits is not left waiting for other news because the only message for it changed under the hand-over."""
    site = await a_site(tmp_path)
    consent = await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06"], [PURPOSE])
    for item in await site.fetch(site.lead):  # the notices of the case
        await site.ack(site.lead, item.item_id)
    sealed = site.sealed(site.police, "threat_assessment_completed", assessment(), (LEAD,), PURPOSE, released=BOTH)
    await site.submit(site.police, sealed)
    await site.decide()

    async def narrowed() -> None:
        await site.act(site.police, "WITHDRAW", consent, scope=Scope(recipients=(), categories=("IC06",), purposes=()))

    context = stepped(site.context, Stepped(site.store, 1, narrowed))
    answer = await handover.fetch(context, site.lead.code, FetchRequest(limit=100))
    came = [Delivery.from_bytes(item.body, 1 << 20) for item in answer.items if item.kind == "DELIVERY"]
    assert [categories(one) for one in came] == [frozenset({"IC04"})]
    site.close()
