"""The broker's way of a disclosure without consent: whole, to one role, recorded as what it is, never a fallback."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from sqlalchemy import select

from broker import acute, cases, deadlines, statute
from broker.store.erasures import BEGUN, ErasureRow
from broker.store.tables import delivery
from connectors.keys import UnitKeyPair
from schemas.calls import CloseRequest
from schemas.envelope import Core
from schemas.errors import HandslagError
from schemas.statute import StatutoryDisclosure
from tests.promises.case import HOUR, PURPOSE, deliveries, notices, receipts, sent
from tests.promises.trail import trail
from tests.site import DAY, LEAD, PROBATION, assessment, to_role
from tests.statute.making import Officer, said


async def entries(desk, operation="STATUTORY_DISCLOSURE"):
    return [one for one in await trail(desk.site, desk.unit.seat_id) if one.operation == operation]


async def count(desk):
    query = select(delivery.c.delivery_id).where(delivery.c.sender_seat == desk.unit.seat_id)
    return len(await desk.site.store.read(lambda rows: list(rows.gate._c.execute(query))))


async def refused(desk, request, code, check=None):
    before = (len(await trail(desk.site, desk.unit.seat_id)), await count(desk))
    with pytest.raises(HandslagError) as error:
        await desk.send(request)
    assert error.value.code == code
    if check is not None:
        assert error.value.context.get("check", error.value.context.get("field")) == check
    assert (len(await trail(desk.site, desk.unit.seat_id)), await count(desk)) == before


async def test_it_reaches_one_role_sealed_and_is_recorded_as_what_it_is(desk):
    answer, told = await desk.disclose()
    assert (answer.outcome, answer.confirm_by_us) == ("RELEASED", None)
    (item,) = await deliveries(desk.site)
    opened = desk.site.open(desk.site.lead, desk.site.lead.deliveries[-1])
    assert opened.core.event_type == "statutory_disclosure"
    assert opened.merged["threat"]["statements"][0]["text"] == "hot"
    assert opened.categories == ("IC04", "IC06")
    assert not [i for i in await desk.site.fetch(desk.site.probation) if i.kind == "DELIVERY"]
    await desk.site.ack(desk.site.lead, item.item_id)
    (decided,) = await entries(desk)
    assert (decided.outcome, decided.payload.basis, decided.payload.actor_ref) == ("RELEASED", "STATUTORY", "handl-7")
    assert decided.raw.entry_id == answer.entry_id
    assert all(section.grants == () for section in decided.payload.sections)
    (handed,) = await entries(desk, "DISCLOSURE")
    assert (handed.payload.basis, handed.payload.event_id) == ("STATUTORY", decided.payload.event_id)
    assert handed.payload.recipient_sealed is not None
    theirs = [one for one in await trail(desk.site, desk.site.lead.seat_id) if one.operation == "HAND_OVER"]
    assert theirs[-1].payload.basis == "STATUTORY"
    assert told.role == LEAD
    assert [n.code for n in await notices(desk.site, "delivery_acknowledged")] == ["delivery_acknowledged"]


async def test_the_same_call_gets_the_same_answer_and_one_delivery(desk):
    sealed = desk.sealed()
    request = desk.request(sealed, desk.statement(sealed))
    assert await desk.send(request) == await desk.send(request)
    assert await count(desk) == 1
    await refused(desk, replace(request, call_id=os.urandom(16)), "HS-STATUTE-INVALID", "event")


async def test_a_statutory_disclosure_goes_to_one_role_and_no_other(desk):
    two = desk.sealed(roles=(LEAD, PROBATION))
    await refused(desk, desk.request(two, desk.statement(two)), "HS-STATUTE-INVALID", "role")
    other = desk.sealed(roles=(PROBATION,))
    await refused(desk, desk.request(other, desk.statement(other)), "HS-STATUTE-INVALID", "role")


CHANGES = {
    "another event": ({"core_hash": bytes(32)}, "HS-STATUTE-INVALID", "event"),
    "another case": ({"case_tag": bytes(16)}, "HS-STATUTE-INVALID", "member"),
    "another member": ({"member": bytes(16)}, "HS-STATUTE-INVALID", "member"),
    "another approval": ({"approval_hash": bytes(32)}, "HS-STATUTE-INVALID", "approval"),
    "another purpose": ({"purpose": "PLANNING"}, "HS-STATUTE-INVALID", "purpose"),
    "less than is sealed": ({"categories": ("IC04",)}, "HS-STATUTE-INVALID", "sections"),
    "another release decision": ({"public_interest_released": ("IC04",)}, "HS-STATUTE-INVALID", "release"),
    "a list of another day": ({"provisions_hash": bytes(32)}, "HS-RULES-OTHER", None),
    "a typed name": ({"assurance": "ASSERTED"}, "HS-NOT-YET", "assurance"),
    "no secrecy": ({"secrecy": ()}, "HS-STATUTE-INCOMPLETE", "secrecy"),
    "an unknown code": ({"consent_sought": "PERHAPS"}, "HS-CODE-UNKNOWN", None),
    "an unknown provision": ({"provision_id": "OSL-99"}, "HS-PROVISION-UNKNOWN", None),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_what_does_not_hold_leaves_nothing_behind(desk, name):
    change, code, check = CHANGES[name]
    sealed = desk.sealed()
    await refused(desk, desk.request(sealed, desk.statement(sealed, **change)), code, check)


async def test_what_was_decided_long_ago_is_decided_anew(desk):
    sealed = desk.sealed()
    told = desk.statement(sealed, decided_at_us=desk.site.clock() - 25 * HOUR)
    await refused(desk, desk.request(sealed, told), "HS-STATUTE-INVALID", "decided_at")


AHEAD = 5 * 60 * 1_000_000  # what two clocks may differ by


async def test_nobody_confirms_what_was_not_decided_yet(desk):
    """Nor in the future, beyond what two clocks may differ by."""
    sealed = desk.sealed()
    told = desk.statement(sealed)

    def dated(at_us):
        request, word = desk.request(sealed, told), desk.word(told.to_bytes(), at_us=at_us)
        by, seat = desk.other.keys.sign(word), desk.unit.seat.sign(word)
        signed = replace(request.disclosure, second=word, second_signature=by, second_seat_signature=seat)
        return replace(request, disclosure=signed)

    for at_us in (1, told.decided_at_us - 1, desk.site.clock() + AHEAD + HOUR):
        await refused(desk, dated(at_us), "HS-STATUTE-INVALID", "second_at")
    assert (await desk.send(dated(told.decided_at_us))).outcome == "RELEASED"  # control


async def test_nobody_confirms_a_night_that_had_not_been(desk):
    """As above of what went in acute danger; the broker keeps when it was recorded, and two clocks may differ."""
    answer, told = await desk.disclose(second=False, acute=True)
    for at_us in (1, answer.decided_at_us - AHEAD - 1, desk.site.clock() + AHEAD + HOUR):
        with pytest.raises(HandslagError) as error:
            await desk.confirm(told, at_us=at_us)
        assert (error.value.code, error.value.context) == ("HS-STATUTE-INVALID", {"check": "second_at"})
    assert [one.payload.code for one in await entries(desk)] == [None]
    await desk.confirm(told, at_us=answer.decided_at_us - AHEAD)  # control
    assert [one.payload.code for one in await entries(desk)] == [None, "CONFIRMED"]


@pytest.mark.parametrize("part", ["seat", "unit", "decider", "second", "second_seat"])
async def test_every_signature_counts(desk, part):
    sealed = desk.sealed()
    name = f"{part}_signature"
    request = desk.request(sealed, desk.statement(sealed), **{name: bytes(64)})
    await refused(desk, request, "HS-SIGNATURE-INVALID")


async def test_a_section_held_back_is_no_whole_disclosure(desk):
    sealed = desk.sealed()
    request = desk.request(sealed, desk.statement(sealed), give=frozenset({"IC04"}))
    await refused(desk, request, "HS-STATUTE-INVALID", "whole")


async def test_one_person_alone_decides_nothing_that_is_not_acute(desk):
    sealed = desk.sealed()
    await refused(desk, desk.request(sealed, desk.statement(sealed), second=False), "HS-STATUTE-SECOND")
    desk.other = Officer("handl-9", desk.decider.keys)
    await refused(desk, desk.request(sealed, desk.statement(sealed)), "HS-STATUTE-SECOND")
    desk.other = Officer("handl-7")
    await refused(desk, desk.request(sealed, desk.statement(sealed)), "HS-STATUTE-SECOND")


async def test_an_approval_of_another_agency_approves_nothing(desk):
    good = desk.approval_of()
    other = UnitKeyPair.generate()
    forged = replace(good, approval_signature=other.sign(good.approval))
    foreign = replace(forged, agency_key=other.public.signing)
    renamed = desk.approval_of(agency="SOC/EXEMPEL")
    for wrong in (forged, foreign, renamed, desk.approval_of(provision_hash=bytes(32))):
        with pytest.raises(HandslagError) as error:
            await statute.approve(desk.site.context, desk.unit.code, wrong)
        assert error.value.code == "HS-APPROVAL-INVALID"


async def test_an_approval_that_was_ended_is_not_used_again(desk):
    """The newest act counts: ending one early is a newer one whose time is over."""
    old = desk.approval
    await desk.approve(valid_until_us=desk.site.clock())
    sealed = desk.sealed()
    await refused(desk, desk.request(sealed, desk.statement(sealed)), "HS-PROVISION-UNREVIEWED")
    desk.approval = old
    await refused(desk, desk.request(sealed, desk.statement(sealed)), "HS-APPROVAL-OLD")
    with pytest.raises(HandslagError) as error:
        await statute.approve(desk.site.context, desk.unit.code, desk.approval_of(reviewed_at_us=1))
    assert error.value.code == "HS-APPROVAL-OLD"


async def test_an_approval_is_not_dated_in_the_future(desk):
    """None could end it before that day, for the newest dated counts; five minutes between two clocks are no future."""
    ahead = desk.site.clock() + 5 * 60 * 1_000_000
    before = len(await trail(desk.site, desk.unit.seat_id))
    for late in (ahead + DAY, ahead + 1_000):
        with pytest.raises(HandslagError) as error:
            await desk.approve(reviewed_at_us=late, valid_until_us=late + DAY)
        assert (error.value.code, error.value.context) == ("HS-APPROVAL-INVALID", {"field": "reviewed_at"})
    assert len(await trail(desk.site, desk.unit.seat_id)) == before
    assert (await desk.disclose())[0].outcome == "RELEASED"  # what was approved before it stands
    await desk.approve(reviewed_at_us=ahead)
    await desk.approve(reviewed_at_us=ahead + 1, valid_until_us=desk.site.clock())  # ended at once
    sealed = desk.sealed()
    await refused(desk, desk.request(sealed, desk.statement(sealed)), "HS-PROVISION-UNREVIEWED")


async def test_what_is_confirmed_after_the_approval_ended_does_not_go(desk):
    site = desk.site
    await desk.approve(valid_until_us=site.clock() + DAY // 24)
    in_time = await desk.disclose()
    assert in_time[0].outcome == "RELEASED"  # control
    sealed = desk.sealed()
    request = desk.request(sealed, desk.statement(sealed))
    site.clock.us += DAY // 2
    await refused(desk, request, "HS-PROVISION-UNREVIEWED")


async def test_an_approval_is_in_the_agencys_trail(desk):
    (recorded,) = [
        one for one in await trail(desk.site, unit=desk.unit.code) if one.payload.code == "PROVISION_APPROVED"
    ]
    assert (recorded.operation, recorded.payload.act) == ("ADMIN", desk.approval)


async def test_a_no_is_recorded_and_nothing_goes(desk):
    sealed = desk.sealed()
    told = desk.statement(sealed, secrecy=("OSL_26_1",))  # excepted by 10:27
    answer = await desk.send(desk.request(sealed, told))
    assert (answer.outcome, {s.reasons for s in answer.sections}) == ("REFUSED", {("STATUTORY_EXCLUDED",)})
    waits = desk.sealed()
    answer = await desk.send(desk.request(waits, desk.statement(waits, exclusions=())))
    assert answer.outcome == "NEEDS_HUMAN"
    assert [one.outcome for one in await entries(desk)] == ["REFUSED", "NEEDS_HUMAN"]
    assert await count(desk) == 0
    assert await deliveries(desk.site) == []


# --- consent and law never meet


async def test_nothing_that_is_submitted_can_claim_another_basis_than_consent(desk):
    """Neither a statutory event nor an ordinary one that calls itself so passes the stream, with a grant or not."""
    site = desk.site
    await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06", "IC12"], [PURPOSE])
    await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06"], ["PROTECTION"])
    disguised = desk.sealed(event_type="threat_assessment_completed", sections=assessment(), purpose=PURPOSE)
    for one in (desk.sealed(), desk.sealed(basis="CONSENT"), disguised):
        await site.submit(site.police, one)
    await site.decide()
    codes = [one.refused_code for one in await receipts(site)]
    assert codes == ["HS-STATUTE-INVALID", "HS-NOT-YET", "HS-STATUTE-INVALID"]
    assert await deliveries(site) == []
    await sent(site)  # and what consent covers goes as before
    assert len(await deliveries(site)) == 1


async def test_no_consent_outcome_leads_into_a_statutory_disclosure(desk):
    """Withheld, refused, waiting for a human: nothing of the kind appears by itself, however long one waits."""
    site = desk.site
    await sent(site)  # no consent at all
    consent = await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06"], [PURPOSE])
    await site.act(site.police, "WITHDRAW", consent)
    await sent(site)
    await site.withdraw_case(site.lead)
    await sent(site)
    for _ in range(3):
        site.clock.us += DAY
        await deadlines.sweep(site.context)
        await site.decide()
    assert [one.roles[0].outcome for one in await receipts(site)] == ["WITHHELD"] * 3
    assert await entries(desk) == []
    assert await deliveries(site) == []
    answer, _told = await desk.disclose()  # the control: decided by people, it goes
    assert answer.outcome == "RELEASED"


async def test_no_consent_act_touches_a_statutory_disclosure(desk):
    """Pending or handed over: what was decided without consent is neither stopped, recalled nor counted."""
    site = desk.site
    consent = await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06"], [PURPOSE])
    await desk.disclose()
    by_consent = await sent(site)
    answer = await site.act(site.police, "WITHDRAW", consent)
    assert [(one.role, one.stopped) for one in answer.counts] == [(LEAD, 1)]
    assert {one.event_id for one in answer.affected} == {Core.from_bytes(by_consent.core).event_id}
    (item,) = await deliveries(site)
    assert site.open(site.lead, site.lead.deliveries[-1]).core.event_type == "statutory_disclosure"
    await site.ack(site.lead, item.item_id)
    answer = await site.withdraw_case(site.police)
    assert answer.counts == ()
    assert answer.affected == ()


async def test_it_ends_with_the_recipients_seat(desk):
    """What waits for a unit that leaves the case is not handed over to it."""
    site = desk.site
    await desk.disclose()
    await cases.close(site.context, site.police.code, CloseRequest(call_id=os.urandom(16), seat_id=site.police.seat_id))
    assert await deliveries(site) == []


# --- acute danger


async def test_one_person_at_night_and_another_within_a_day(desk):
    answer, told = await desk.disclose(second=False, acute=True)
    assert answer.outcome == "RELEASED"
    assert answer.confirm_by_us == answer.decided_at_us + 24 * HOUR
    assert len(await deliveries(desk.site)) == 1  # at once
    desk.site.clock.us += 23 * HOUR
    await deadlines.sweep(desk.site.context)
    await desk.confirm(told)
    desk.site.clock.us += 2 * HOUR
    await deadlines.sweep(desk.site.context)
    assert await notices(desk.site, "statute_unconfirmed") == []
    assert [(one.outcome, one.payload.code) for one in await entries(desk)] == [("RELEASED", None), (None, "CONFIRMED")]
    with pytest.raises(HandslagError) as error:
        await desk.confirm(told)
    assert error.value.code == "HS-STATUTE-INVALID"


async def test_what_nobody_confirms_is_told_to_both_units(desk):
    _answer, told = await desk.disclose(second=False, acute=True)
    desk.site.clock.us += 24 * HOUR + 1
    for _ in range(2):  # and once only
        await deadlines.sweep(desk.site.context)
    for unit in (desk.site.police, desk.site.lead):
        (notice,) = await notices(desk.site, "statute_unconfirmed", unit)
        assert (notice.seat_id, notice.categories) == (unit.seat_id, ())
    assert await notices(desk.site, "statute_unconfirmed", desk.site.probation) == []
    assert [one.payload.code for one in await entries(desk)] == [None, "HS-STATUTE-UNCONFIRMED"]
    await desk.confirm(told)  # late is better than never, and both stand in the trail
    assert [one.payload.code for one in await entries(desk)][-1] == "CONFIRMED"


async def test_a_second_person_who_says_no_is_told_at_once(desk):
    _answer, told = await desk.disclose(second=False, acute=True)
    await desk.confirm(told, verdict="NOT_CONFIRMED")
    for unit in (desk.site.police, desk.site.lead):
        assert len(await notices(desk.site, "statute_unconfirmed", unit)) == 1


async def test_the_decider_does_not_confirm_her_own_night(desk):
    _answer, told = await desk.disclose(second=False, acute=True)
    for other in (desk.decider, Officer(desk.decider.ref), Officer("handl-9", desk.decider.keys)):
        desk.other = other
        with pytest.raises(HandslagError) as error:
            await desk.confirm(told)
        assert error.value.code == "HS-STATUTE-SECOND"
    desk.other = Officer("handl-9")
    with pytest.raises(HandslagError) as error:
        await desk.confirm(told, assurance="ASSERTED")
    assert (error.value.code, error.value.context) == ("HS-NOT-YET", {"field": "assurance"})
    with pytest.raises(HandslagError) as error:
        await desk.confirm(replace(told, role=PROBATION))
    assert error.value.code == "HS-STATUTE-INVALID"


async def left(desk):
    """The unit closes its seat; what it disclosed is with the recipient."""
    for item in await deliveries(desk.site):
        await desk.site.ack(desk.site.lead, item.item_id)
    request = CloseRequest(call_id=os.urandom(16), seat_id=desk.unit.seat_id)
    await cases.close(desk.site.context, desk.unit.code, request)


async def unknown(desk, request, unit=None):
    with pytest.raises(HandslagError) as error:
        await acute.confirm(desk.site.context, (unit or desk.unit).code, request)
    assert (error.value.code, error.value.context) == ("HS-SEAT-UNKNOWN", {})


@pytest.mark.parametrize("verdict", ["CONFIRMED", "NOT_CONFIRMED"])
@pytest.mark.parametrize("late", [False, True])
async def test_the_second_person_speaks_also_after_the_seat_closed(desk, verdict, late):
    """Before the day is over and after both were told; then there is nothing more to be spoken of."""
    _answer, told = await desk.disclose(second=False, acute=True)
    await left(desk)
    desk.site.clock.us += 25 * HOUR if late else HOUR
    await deadlines.sweep(desk.site.context)
    await desk.confirm(told, verdict=verdict)
    codes = [one.payload.code for one in await entries(desk)]
    assert codes == [None, *(["HS-STATUTE-UNCONFIRMED"] if late else []), verdict]
    desk.site.clock.us += 25 * HOUR
    await deadlines.sweep(desk.site.context)
    for unit in (desk.site.police, desk.site.lead):
        assert len(await notices(desk.site, "statute_unconfirmed", unit)) == (late or verdict == "NOT_CONFIRMED")
    await unknown(desk, desk.second(told))
    assert [one.payload.code for one in await entries(desk)] == codes


async def test_everything_else_about_a_closed_seat_stays_refused(desk):
    _answer, told = await desk.disclose(second=False, acute=True)
    sealed = desk.sealed()
    next_night = desk.request(sealed, desk.statement(sealed, acute=True), second=False)
    await left(desk)
    await refused(desk, next_night, "HS-SEAT-UNKNOWN")
    await unknown(desk, replace(desk.second(told), disclosure_id=os.urandom(16)))
    await unknown(desk, desk.second(told), desk.site.lead)
    await unknown(desk, replace(desk.second(told), seat_id=os.urandom(16)))
    with pytest.raises(HandslagError) as error:
        await desk.confirm(replace(told, role=PROBATION))
    assert error.value.code == "HS-STATUTE-INVALID"
    await desk.confirm(told)  # control


async def test_nobody_speaks_for_a_seat_that_is_being_erased(desk):
    """Its key is gone: what would be recorded could be read by nobody."""
    _answer, told = await desk.disclose(second=False, acute=True)
    await left(desk)
    row = ErasureRow(1, BEGUN, desk.unit.seat_id, "RETENTION_OVER", bytes(16), bytes(16), bytes(16), desk.site.clock())
    await desk.site.store.write(lambda rows: rows.erasures.put(row))
    await unknown(desk, desk.second(told))
    await desk.site.store.write(lambda rows: rows.erasures.put(replace(row, seat_id=desk.site.lead.seat_id)))
    await desk.confirm(told)  # control: it is another seat that is erased


async def test_at_night_nothing_but_threat_and_measures(desk):
    sealed = desk.sealed({"threat": said("hot", call_back="010"), "enforcement": said("häktad")})
    told = desk.statement(sealed, acute=True)
    await refused(desk, desk.request(sealed, told, second=False), "HS-STATUTE-ACUTE")
    await desk.approve(acute=False)
    sealed = desk.sealed()
    await refused(desk, desk.request(sealed, desk.statement(sealed, acute=True), second=False), "HS-STATUTE-ACUTE")


def test_a_statement_names_no_consent_and_no_event_before_it():
    names = set(StatutoryDisclosure.__dataclass_fields__)
    assert not [name for name in names if "grant" in name or "event" in name or "replaces" in name]
    assert {name for name in names if "consent" in name} == {"consent_sought"}
