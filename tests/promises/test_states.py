"""Deliveries and seats through their states, by the verbs alone: what the tables allow happens, nothing else does."""

from __future__ import annotations

import os

import pytest

from broker import cases, deadlines, queries
from broker.acts import own_seat
from connectors import inviting, membership
from schemas.acts import Scope, Terms
from schemas.calls import AcceptRequest, CloseRequest, LedgerFetchRequest, StateRequest
from schemas.codes import DELIVERY_TRANSITIONS, DeliveryState
from schemas.errors import HandslagError
from schemas.inbox import InvitationDelivery
from tests.promises.case import BOTH, HOUR, PURPOSE, deliveries, event, grant, notices, ready, receipts, sent, states
from tests.site import DAY, LEAD, POLICE, PROBATION, Site, assessment, to_role, to_unit


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


async def withdraw(site, consent, item=None):
    await site.act(site.police, "WITHDRAW", consent)


async def expire(site, consent, item=None):
    site.clock.us += 73 * HOUR
    await deadlines.sweep(site.context)


async def accept(site, consent, item=None):
    return await said(site, item, "ACK")


async def reject(site, consent, item=None):
    return await said(site, item, "REJECT", "HS-SEAL-INVALID")


async def hand(site, consent, item=None):
    site.clock.us += site.context.lease_us + 1
    await site.fetch(site.lead)


async def leave(site, consent, item=None):
    await cases.close(site.context, site.police.code, CloseRequest(call_id=os.urandom(16), seat_id=site.police.seat_id))


async def said(site, item, verdict, code=None):
    if item is None:
        item = site.waiting
    return (await site.ack(site.lead, item, verdict, code)).results[0]


VERBS = {
    "withdraw": withdraw, "expire": expire, "ack": accept, "reject": reject, "hand": hand, "close": leave,
}  # fmt: skip
WALK = {  # (state, verb) -> state; what is not here stays as it is
    ("PENDING", "withdraw"): "CANCELLED",
    ("PENDING", "close"): "CANCELLED",
    ("PENDING", "expire"): "EXPIRED",
    ("PENDING", "hand"): "HANDED",
    ("HANDED", "hand"): "HANDED",
    ("HANDED", "ack"): "ACKED",
    ("HANDED", "reject"): "REJECTED",
    ("HANDED", "withdraw"): "RECALLED",
    ("HANDED", "close"): "RECALLED",
    ("HANDED", "expire"): "EXPIRED",
}
WAY = {  # verbs that lead to each state
    "PENDING": [], "HANDED": ["hand"], "ACKED": ["hand", "ack"], "REJECTED": ["hand", "reject"],
    "RECALLED": ["hand", "withdraw"], "CANCELLED": ["withdraw"], "EXPIRED": ["expire"],
}  # fmt: skip


async def newest(site: Site) -> bytes:
    waiting = await site.store.read(lambda rows: rows.deliveries.open_of_senders([site.police.seat_id]))
    return waiting[-1].delivery_id


async def brought(site: Site, state: str) -> bytes:
    consent = await grant(site)
    await sent(site)
    site.waiting = await newest(site)
    for verb in WAY[state]:
        await VERBS[verb](site, consent)
    assert await states(site) == [state]
    return consent


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", WAY)
async def test_a_delivery_goes_where_the_table_says(site, state, verb):
    consent = await brought(site, state)
    answer = await VERBS[verb](site, consent)
    expected = WALK.get((state, verb), state)
    assert await states(site) == [expected]
    assert expected == state or DeliveryState(expected) in DELIVERY_TRANSITIONS[DeliveryState(state)]
    if verb in {"ack", "reject"} and expected == state and state != {"ack": "ACKED", "reject": "REJECTED"}[verb]:
        assert answer.code == "HS-STATE-INVALID"


def test_the_walk_covers_the_table():
    """RESEAL is reached by no verb yet; everything else of the table is walked above."""
    table = {(a.value, b.value) for a, after in DELIVERY_TRANSITIONS.items() for b in after}
    walked = {(state, after) for (state, _), after in WALK.items()}
    assert table - walked == {("PENDING", "RESEAL"), ("HANDED", "RESEAL")}
    assert walked <= table


@pytest.mark.parametrize("state", ["ACKED", "REJECTED", "RECALLED", "CANCELLED", "EXPIRED"])
async def test_an_ended_delivery_keeps_no_content(site, state):
    await brought(site, state)
    rows = await site.store.read(lambda rows: rows.deliveries.get([site.waiting]))
    assert rows[site.waiting].body is None
    sections = await site.store.read(lambda rows: rows.deliveries.sections([site.waiting]))
    assert all(s.item is None and s.wrapped_key is None for s in sections[site.waiting])


async def test_a_part_taken_out_leaves_the_state(site):
    for state in ("PENDING", "HANDED"):
        consent = await brought_again(site, state)
        await site.act(site.police, "WITHDRAW", consent, scope=Scope(recipients=(), categories=("IC06",), purposes=()))
        assert (await states(site))[-1] == state
        left = await site.store.read(lambda rows: rows.deliveries.sections([site.waiting]))
        assert [section.category for section in left[site.waiting]] == ["IC04"]


async def brought_again(site: Site, state: str) -> bytes:
    consent = await grant(site)
    await sent(site)
    site.waiting = await newest(site)
    if state == "HANDED":
        await site.fetch(site.lead)
    return consent


async def test_a_seat_that_is_only_accepted_neither_gives_nor_gets(tmp_path):
    site = Site(tmp_path / "broker")
    await site.admit()
    await site.open_case()
    police = site.police
    await site.grant(site.lead, [to_unit(police.code)], ["IC01", "IC12"], ["INTAKE"])
    await site.invite(police)
    await accepted_only(site, police)
    with pytest.raises(HandslagError) as refused:
        await site.act(police, "GRANT", site.new_id(), terms=terms(site))
    assert refused.value.code == "HS-STATE-INVALID"
    with pytest.raises(HandslagError) as nobody:
        await site.grant(site.lead, [to_role(POLICE)], ["IC12"], ["PLANNING"])
    assert nobody.value.code == "HS-NO-HOLDER"
    site.close()


def terms(site):
    now = site.clock()
    return Terms(
        recipients=(to_role(LEAD),), categories=("IC04",), purposes=("THREAT_ASSESSMENT",), actions=("DISCLOSE",),
        valid_from_us=now, valid_until_us=now + DAY, reservations=(), text_version="sv-2026-1",
        terms_version="2026-1", processing_acknowledged=True, given_by="SELF", method="WRITTEN",
    )  # fmt: skip


async def accepted_only(site, unit) -> None:
    """The invited unit has accepted, the lead has not vouched yet."""
    item = next(i for i in await site.fetch(unit) if i.kind == "INVITATION")
    invited = inviting.open_invitation(
        InvitationDelivery.from_bytes(item.body, 1 << 20), unit=unit.code, keys={unit.keys.key_id: unit.keys},
        directory=site.trusted(), may_send=lambda *_: True, now_us=site.clock(),
    )  # fmt: skip
    unit.member = os.urandom(16)
    acceptance, signature = inviting.accept(invited, member=unit.member, seat=unit.seat.public, keys=unit.keys)
    answer = await cases.accept(
        site.context, unit.code,
        AcceptRequest(call_id=os.urandom(16), invitation_id=invited.invitation.invitation_id, acceptance=acceptance,
                      unit_signature=signature, hpke_key=unit.seat.public.hpke),
    )  # fmt: skip
    assert answer.state == "ACCEPTED"
    unit.seat_id, unit.members = answer.seat_id, invited.members


async def removed(site: Site, unit) -> None:
    statement = membership.remove_statement(
        members=site.lead.members, lead=site.lead.seat, member=unit.member, at_us=site.clock()
    )
    request = StateRequest(call_id=os.urandom(16), seat_id=site.lead.seat_id, statement=statement)
    await cases.state(site.context, site.lead.code, request)


async def test_a_closed_seat_is_final_and_answers_like_one_that_never_was(site):
    """Closed, unknown and foreign: one answer for every call that names a seat."""
    await leave(site, b"")
    errors = set()
    for seat_id in (site.police.seat_id, os.urandom(16), site.lead.seat_id):
        request = CloseRequest(call_id=os.urandom(16), seat_id=seat_id)
        look = LedgerFetchRequest(seat_id=seat_id, after_seq=0)
        for call in (
            cases.close(site.context, site.police.code, request),
            queries.ledger_fetch(site.context, site.police.code, look),
            own_seat(site.context, site.police.code, seat_id),
        ):
            with pytest.raises(HandslagError) as raised:
                await call
            errors.add((raised.value.code, str(raised.value), tuple(raised.value.context)))
    assert len(errors) == 1
    assert next(iter(errors))[0] == "HS-SEAT-UNKNOWN"


async def test_an_own_open_seat_is_answered(site):
    """Positive control of the test above."""
    page = await queries.ledger_fetch(
        site.context, site.police.code, LedgerFetchRequest(seat_id=site.police.seat_id, after_seq=0)
    )
    assert page.ledger_seq == 0


async def test_submissions_for_closed_unknown_and_foreign_seats_are_refused_alike(site):
    mine = site.police.seat_id
    await leave(site, b"")
    refusals = []
    for seat_id in (mine, os.urandom(16), site.lead.seat_id):
        site.police.seat_id = seat_id
        refusals.append((await site.submit(site.police, event(site))).refusals)
    assert refusals[0] == refusals[1] == refusals[2]
    assert refusals[0][0].code == "HS-SEAT-UNKNOWN"


async def test_what_waits_of_a_seat_that_closes_is_not_decided_for_it(site):
    await grant(site)
    await site.submit(site.police, event(site))
    await leave(site, b"")
    await site.decide()
    assert await deliveries(site) == []
    assert [r.roles[0].outcome for r in await receipts(site)] == ["REFUSED"]


async def to_probation(site: Site) -> None:
    await site.grant(site.police, [to_role(PROBATION)], ["IC04", "IC06"], [PURPOSE])
    sealed = site.sealed(site.police, "threat_assessment_completed", assessment(), (PROBATION,), PURPOSE, released=BOTH)
    await site.submit(site.police, sealed)
    await site.decide()


@pytest.mark.parametrize("handed", [False, True])
async def test_a_member_that_is_removed_is_handed_nothing_more(site, handed):
    await to_probation(site)
    if handed:
        assert [i.kind for i in await site.fetch(site.probation)].count("DELIVERY") == 1
    await removed(site, site.probation)
    assert await states(site) == ["RECALLED" if handed else "CANCELLED"]
    site.clock.us += site.context.lease_us + 1
    kinds = [item.kind for item in await site.fetch(site.probation)]
    assert ("DELIVERY" in kinds, "RECALL" in kinds) == (False, handed)
    assert len(await notices(site, "delivery_cancelled")) == 1
    await to_no_holder(site)


async def to_no_holder(site: Site) -> None:
    sealed = site.sealed(site.police, "threat_assessment_completed", assessment(), (PROBATION,), PURPOSE, released=BOTH)
    await site.submit(site.police, sealed)
    await site.decide()
    (outcome,) = (await receipts(site))[-1].roles
    assert outcome.outcome == "REFUSED"
    assert {reason for section in outcome.sections for reason in section.reasons} == {"RECIPIENT_NOT_COVERED"}
