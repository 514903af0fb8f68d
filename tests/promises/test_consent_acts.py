"""The acts that came after the first ones, against the real broker: what is open shrinks, and nobody is told more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker import acts
from schemas import limits
from schemas.acts import ConsentAct, Giver, Scope
from schemas.envelope import Delivery
from schemas.errors import HandslagError
from schemas.explain import ExplainAsk
from schemas.inbox import Recall
from tests.promises.case import BOTH, PURPOSE, deliveries, grant, items, notices, ready, sent, states
from tests.promises.test_explain import ask
from tests.site import LEAD, PROBATION, to_role
from tests.units import terms_of

DAY = 24 * 3600 * 1_000_000


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


def whole(site, **changes):
    now = site.clock()
    return replace(terms_of([to_role(LEAD)], sorted(BOTH), [PURPOSE], ("DISCLOSE",), now, now + 30 * DAY), **changes)


async def given(site, **changes):
    consent = site.new_id()
    await site.act(site.police, "GRANT", consent, terms=whole(site, **changes))
    return consent


async def act(site, kind, consent=None, **changes):
    consent = consent or site.new_id()
    said = {name: changes.pop(name, None) for name in ("terms", "scope", "effective_at_us")}
    raw = site.police.consent_act(kind, consent, site.clock(), actor_ref="handläggare 1", **said)
    body = replace(ConsentAct.from_bytes(raw), **changes).to_bytes()
    answer = await acts.consents(site.context, site.police.code, site.police.consents_request(body, None))
    site.police.head = answer.head
    site.police.consents[consent] = site.police.consents.get(consent, -1) + 1
    return answer


@pytest.mark.parametrize(
    ("kind", "why"), [("SUSPEND", "SUSPENDED"), ("AMEND", "SUPERSEDED"), ("GRANT", "SUPERSEDED"), ("EXPIRE", "EXPIRED")]
)
async def test_what_waits_stops_and_what_is_on_its_way_is_recalled(site, kind, why):
    consent = await given(site, until_event="PLACEMENT_ENDED")
    await sent(site)
    await deliveries(site)  # handed over
    await sent(site)  # waits
    less = whole(site, categories=("IC01",), until_event="PLACEMENT_ENDED", evidence_hash=b"e" * 32)
    changes = {
        "SUSPEND": {}, "EXPIRE": {"ended_event": "PLACEMENT_ENDED"}, "AMEND": {"terms": less},
        "GRANT": {"terms": replace(less, supersedes=consent)},
    }[kind]  # fmt: skip
    answer = await act(site, kind, None if kind in {"GRANT", "EXPIRE"} else consent, **changes)
    assert [(c.stopped, c.may_have_arrived) for c in answer.counts] == [(1, 1)]
    assert sorted(await states(site)) == ["CANCELLED", "RECALLED"]
    recalls = [Recall.from_bytes(item.body) for item in await items(site, site.lead) if item.kind == "RECALL"]
    assert [one.code for one in recalls] == [why]
    await sent(site)
    assert await deliveries(site) == []
    if kind == "SUSPEND":
        await act(site, "RESUME", consent)
        await sent(site)
        assert len(await deliveries(site)) == 1


async def test_a_delivery_shrinks_to_what_an_amendment_leaves(site):
    consent = await given(site)
    await sent(site)
    await act(site, "AMEND", consent, terms=whole(site, categories=("IC04",), evidence_hash=b"e" * 32))
    (item,) = await deliveries(site)
    assert len(Delivery.from_bytes(item.body, limits.SUBMISSION).sections) == 1
    assert await states(site) == ["HANDED"]


async def test_a_widening_amendment_needs_a_new_word_at_the_broker(site):
    consent = await given(site, categories=("IC04",))
    with pytest.raises(HandslagError, match="HS-GRANT-INCOMPLETE"):
        await act(site, "AMEND", consent, terms=whole(site))
    await act(site, "AMEND", consent, terms=whole(site, evidence_hash=b"e" * 32))
    await sent(site)
    assert len(await deliveries(site)) == 1


async def test_a_lifted_block_holds_again(site):
    await grant(site)
    block = site.new_id()
    await act(site, "BLOCK", block, terms=whole(site, recipients=(), categories=(), purposes=(), actions=()))
    await sent(site)
    assert await deliveries(site) == []
    await act(site, "LIFT", block, lift_until_us=site.clock() + DAY, scope=Scope(
        recipients=(to_role(LEAD),), categories=(), purposes=(),
    ))  # fmt: skip
    await sent(site)
    assert len(await deliveries(site)) == 1
    with pytest.raises(HandslagError, match="HS-GRANT-INCOMPLETE"):
        await act(site, "LIFT", block, lift_until_us=site.clock() - DAY)


async def test_a_unit_that_was_shut_out_is_no_holder_of_a_new_consent(site):
    """Nor is any key given away by one. Narrowing waits for nobody; who is there is consented to as before."""
    consent, block = await given(site), site.new_id()
    assert "STATEMENT" in {item.kind for item in await items(site, site.police)}  # control
    await site.store.write(lambda rows: rows.units.revoke(site.lead.code, site.clock()))
    to_lead = Scope(recipients=(to_role(LEAD),), categories=(), purposes=())
    await act(site, "BLOCK", block, terms=whole(site))
    for kind, about, changes in (
        ("GRANT", None, {"terms": whole(site)}),
        ("AMEND", consent, {"terms": whole(site, evidence_hash=b"e" * 32)}),
        ("LIFT", block, {"scope": to_lead, "lift_until_us": site.clock() + DAY}),
    ):
        with pytest.raises(HandslagError) as refused:
            await act(site, kind, about, **changes)
        assert refused.value.code == "HS-NO-HOLDER", kind
    assert [item.kind for item in await items(site, site.police) if item.kind == "STATEMENT"] == []
    await act(site, "WITHDRAW", consent, scope=to_lead)
    await given(site, recipients=(to_role(PROBATION),))  # control


@pytest.mark.parametrize("kind", ["WITHDRAW", "BLOCK", "REFUSE", "AMEND", "WITHDRAW_ALL"])
async def test_who_leaves_out_an_agency_brings_a_review_and_no_denial(site, kind):
    needed = await given(site, all_agencies_required=True)
    other = await given(site)
    assert await notices(site, "programme_review", site.lead) == []
    nothing = whole(site, recipients=(), categories=(), purposes=(), actions=())
    changes = {
        "BLOCK": {"terms": replace(nothing, categories=("IC13",))},
        "REFUSE": {"terms": replace(nothing, all_agencies_required=True)},
        "AMEND": {"terms": whole(site, all_agencies_required=True, categories=("IC04",), evidence_hash=b"e" * 32)},
    }.get(kind, {})
    if kind == "WITHDRAW_ALL":
        await site.withdraw_case(site.lead)
    else:
        await act(site, kind, site.new_id() if kind in {"BLOCK", "REFUSE"} else needed, **changes)
    (notice,) = await notices(site, "programme_review", site.lead)
    assert (notice.role, notice.categories, notice.detail, notice.event_id) == (LEAD, (), None, None)
    assert await notices(site, "programme_review", site.police) == []
    if kind != "WITHDRAW_ALL":
        await sent(site)  # the other consent stands: protection goes on
        assert len(await deliveries(site)) == 1
        await act(site, "WITHDRAW", other)
        assert await notices(site, "programme_review", site.lead) == []


async def test_a_delivery_that_would_rest_on_a_stricter_consent_stops(site):
    """The recipient was told no duty; another consent that asks for one cannot carry what it was given."""
    plain = await given(site)
    await given(site, recipient_obligations=("DELETE_ON_WITHDRAWAL",), valid_until_us=site.clock() + 10 * DAY)
    await sent(site)
    await act(site, "WITHDRAW", plain)
    assert await deliveries(site) == []
    await sent(site)
    (item,) = await deliveries(site)
    assert b"DELETE_ON_WITHDRAWAL" in item.body


async def test_asking_and_being_refused_stops_nothing(site):
    consent = await given(site)
    await sent(site)
    for kind in ("REQUEST", "REFUSE", "CONFIRM"):
        answer = await act(site, kind, consent if kind == "CONFIRM" else None)
        assert answer.counts == ()
    assert len(await deliveries(site)) == 1


async def test_a_suspension_waits_for_no_head(site):
    consent = await given(site)
    site.police.head, known = bytes(32), site.police.head
    await act(site, "SUSPEND", consent)
    site.police.head = known
    with pytest.raises(HandslagError, match="HS-HEAD-STALE"):
        await act(site, "RESUME", consent)


@pytest.mark.parametrize(("kind", "changes"), [("SUSPEND", {}), ("EXPIRE", {"ended_event": "PLACEMENT_ENDED"})])
async def test_what_was_handed_over_after_it_took_effect_is_listed(site, kind, changes):
    """Said earlier than it was recorded: each hand-over between the two is a possible incident of the discloser."""
    consent = await given(site, until_event="PLACEMENT_ENDED")
    said = site.clock()
    await sent(site)
    (item,) = await deliveries(site)
    await site.ack(site.lead, item.item_id)
    answer = await act(site, kind, consent if kind == "SUSPEND" else None, effective_at_us=said, **changes)
    assert [(c.stopped, c.may_have_arrived, c.received) for c in answer.counts] == [(0, 0, 1)]
    assert [(one.delivery_id, one.state_before) for one in answer.affected] == [(item.item_id, "ACKED")]


async def test_a_consent_about_somebody_else_says_who_gave_it(site):
    """At the broker too: an officer who records two persons and one word has recorded nothing."""
    two = (0, 1)
    for about in (two, (1,)):
        with pytest.raises(HandslagError) as refused:
            await given(site, about=about)
        assert (refused.value.code, refused.value.context["field"]) == ("HS-GRANT-INCOMPLETE", "givers")
    assert (await ask(site)).outcome == "WITHHELD"
    shared = tuple(ExplainAsk(category=one, persons=two, public_interest_released=True) for one in ("IC04", "IC06"))
    each = [Giver(person=one, capacity="SELF", method="WRITTEN", at_us=site.clock()) for one in two]
    await given(site, givers=(each[0],))
    assert (await ask(site, sections=shared)).outcome == "WITHHELD"
    await given(site, about=two, givers=tuple(each))  # control: both gave it
    assert (await ask(site, sections=shared)).outcome == "RELEASED"
