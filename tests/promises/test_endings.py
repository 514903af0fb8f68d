"""Whoever was given something under a consent is told when it ends, and that they know of it comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schemas import limits
from schemas.acts import Giver, MinorGround, Scope
from schemas.calls import ConsentsAnswer
from schemas.envelope import Delivery
from schemas.errors import HandslagError
from schemas.inbox import ConsentEnded, Recall, RoleCount
from tests.promises.case import BOTH, HOUR, PURPOSE, deliveries, grant, items, notices, ready, sent, states
from tests.promises.test_consent_acts import act, given, whole
from tests.promises.test_explain import suppose
from tests.promises.trail import trail
from tests.site import DAY, LEAD, PROBATION, UNITS, assessment, terms_of, to_role, to_unit


async def consent_and_received(site, **terms) -> bytes:
    """A consent, and one delivery under it that the lead has acknowledged; returns the consent."""
    consent = await grant(site, **terms)
    await received(site)
    return consent


async def received(site, place: int = 1) -> None:
    """One delivery that the lead has acknowledged, the first of the police's or a later one."""
    await sent(site)
    [item] = await deliveries(site)
    await site.ack(site.lead, item.item_id)
    await items(site, site.police)
    assert await states(site) == ["ACKED"] * place


async def words(site, kind: str = "ENDED") -> list:
    """What the lead is told, still in its inbox."""
    return [item for item in await site.fetch(site.lead) if item.kind == kind]


def by_guardians(site) -> dict[str, object]:
    """Terms that two guardians gave for a child below twelve."""
    now = site.clock()
    until = now + 20 * DAY
    return {
        "minor": MinorGround(
            rule_id="L6", age_band="UNDER_12", maturity="INSUFFICIENT", child_view="AGREES", guardians=2,
            guardians_excluded=0, reassess_at_us=until,
        ),
        "givers": tuple(
            Giver(person=person, capacity="GUARDIAN", method="WRITTEN", at_us=now, authority_from_us=0,
                  authority_until_us=until)
            for person in (2, 3)
        ),
    }  # fmt: skip


async def consented(site, end: str) -> bytes:
    """A consent to both categories that `end` will end."""
    return await given(site, until_event="PLACEMENT_ENDED", **(by_guardians(site) if end == "LAPSE" else {}))


async def ended(site, end: str, consent: bytes) -> ConsentsAnswer:
    """The act that ends it: by its own id, by what happened, by another consent in its place or under its name."""
    less = whole(site, categories=("IC04",), evidence_hash=b"e" * 32)
    named, changes = {
        "EXPIRE": (None, {"ended_event": "PLACEMENT_ENDED"}),
        "LAPSE": (None, {"scope": Scope(recipients=(), categories=(), purposes=(), givers=(3,))}),
        "AMEND": (consent, {"terms": less}),
        "GRANT": (None, {"terms": replace(less, supersedes=consent)}),
        "GRANT AGAIN": (consent, {"terms": less}),
    }.get(end, (consent, {}))
    return await act(site, end.split(maxsplit=1)[0], named, **changes)


ENDS = {
    "WITHDRAW": "WITHDRAWN",
    "SUSPEND": "SUSPENDED",
    "AMEND": "SUPERSEDED",
    "GRANT": "SUPERSEDED",
    "GRANT AGAIN": "INVALIDATED",
    "EXPIRE": "EXPIRED",
    "LAPSE": "GUARDIAN_AUTHORITY_ENDED",
}
LESS = {"AMEND", "GRANT"}  # these leave IC04
LONG = pytest.mark.long


@pytest.mark.parametrize("end", sorted(ENDS))
async def test_who_holds_data_under_a_consent_is_told_that_it_ended(tmp_path, end):
    site = await ready(tmp_path)
    consent = await consented(site, end)
    await received(site)
    await ended(site, end, consent)
    [item] = await words(site)
    told = ConsentEnded.from_bytes(item.body)
    assert (told.seat_id, told.code, told.role) == (site.lead.seat_id, ENDS[end], site.police.role)
    assert set(told.categories) == ({"IC06"} if end in LESS else BOTH)
    assert await states(site) == ["ACKED"]  # what was received stays what it is
    # Nothing of it is told to anybody else, and nothing a second time.
    assert not [one for one in await items(site, site.probation) if one.kind == "ENDED"]
    await site.ack(site.lead, item.item_id)
    await site.act(site.police, "WITHDRAW", consent)
    # What covers IC04 still is no end, and a suspension is not the last word; a withdrawal is.
    assert len(await words(site)) == (1 if end in {"AMEND", "SUSPEND"} else 0)


async def supposing(site, end: str, consent: bytes) -> tuple[RoleCount, ...]:
    """What simulating the act says that it would stop; every act but the giving of other terms has a test already."""
    terms = whole(site, categories=("IC04",), evidence_hash=b"e" * 32, supersedes=consent if end == "GRANT" else None)
    named = site.new_id() if end == "GRANT" else consent
    return (await suppose(site, end.split(maxsplit=1)[0], named, terms=terms)).counts


COUNTED = [
    *sorted(LESS),
    "GRANT AGAIN",
    "BLOCK",
    *(pytest.param(one, marks=LONG) for one in sorted(ENDS.keys() - LESS - {"GRANT AGAIN"})),
]


@pytest.mark.parametrize("end", COUNTED)
async def test_the_answer_counts_who_received_what_the_act_takes_a_consent_from(tmp_path, end):
    """Also where other terms take its place, or a block forbids beside it: whoever is told is counted, and no more."""
    site = await ready(tmp_path)
    await given(site, categories=("IC01",))  # rests on another consent: neither counted nor told
    consent = await consented(site, end)
    await received(site)
    before = await supposing(site, end, consent) if end in {*LESS, "GRANT AGAIN"} else None
    if end == "BLOCK":
        answer = await act(site, end, terms=terms_of([to_role(LEAD)], ["IC06"], [], (), site.clock(), None))
    else:
        answer = await ended(site, end, consent)
    assert [(one.role, one.stopped, one.may_have_arrived, one.received) for one in answer.counts] == [(LEAD, 0, 0, 1)]
    assert before in {None, answer.counts}
    assert len(await words(site)) == 1


PARTS = {
    "ROLE": lambda: Scope(recipients=(to_role(PROBATION),), categories=(), purposes=()),
    "UNIT": lambda: Scope(recipients=(to_unit(UNITS[PROBATION]),), categories=(), purposes=()),
    "PURPOSE": lambda: Scope(recipients=(to_role(PROBATION),), categories=("IC06",), purposes=(PURPOSE,)),
}


@pytest.mark.parametrize("part", PARTS)
async def test_a_part_of_one_recipient_counts_that_recipient_alone(tmp_path, part):
    """In the answer, in the simulation before it, and where it was said before it was recorded."""
    site = await ready(tmp_path)
    consent = await given(site, recipients=(to_role(LEAD), to_role(PROBATION)))
    said = site.clock()
    site.clock.us += HOUR
    await to_both(site)
    site.clock.us += HOUR
    scope = PARTS[part]()
    before = await suppose(site, "WITHDRAW", consent, scope=scope)
    answer = await act(site, "WITHDRAW", consent, scope=scope, effective_at_us=said)
    told = [(one.role, one.stopped, one.may_have_arrived, one.received) for one in answer.counts]
    assert told == [(PROBATION, 0, 0, 1)]
    assert before.counts == answer.counts
    assert [one.role for one in answer.affected] == [PROBATION]
    assert await words(site) == []
    rest = await act(site, "WITHDRAW", consent, effective_at_us=said)  # control: all of it, of both
    assert {one.role: one.received for one in rest.counts} == {LEAD: 1, PROBATION: 1}


async def test_a_part_for_another_purpose_counts_nobody(tmp_path):
    site = await ready(tmp_path)
    consent = await given(site, purposes=(PURPOSE, "PLANNING"))
    await received(site)
    other = Scope(recipients=(), categories=(), purposes=("PLANNING",))
    assert (await act(site, "WITHDRAW", consent, scope=other)).counts == ()


async def to_both(site) -> None:
    """One event that the lead and the probation service have acknowledged."""
    sealed = site.sealed(
        site.police, "threat_assessment_completed", assessment(), (LEAD, PROBATION), PURPOSE, released=BOTH
    )
    await site.submit(site.police, sealed)
    await site.decide()
    for unit in (site.lead, site.probation):
        for item in await site.fetch(unit):
            await site.ack(unit, item.item_id)


@pytest.mark.parametrize("kind", ["WITHDRAW", "BLOCK"])
async def test_what_went_between_a_block_and_its_recording_is_listed(tmp_path, kind):
    """As of a withdrawal: what the person had forbidden by then, and what was received."""
    site = await ready(tmp_path)
    consent = await given(site)
    await received(site)  # before the person spoke
    site.clock.us += HOUR
    said = site.clock()
    site.clock.us += HOUR
    await received(site, 2)
    between = site.lead.deliveries[-1].delivery_id
    site.clock.us += HOUR
    if kind == "BLOCK":
        other = terms_of([to_role(PROBATION)], [], [], (), said, None)  # control: it forbids somebody else
        assert (await act(site, "BLOCK", terms=other, effective_at_us=said)).affected == ()
        over = terms_of([to_role(LEAD)], [], [], (), said - HOUR, said)  # control: it was over before it went
        assert (await act(site, "BLOCK", terms=over, effective_at_us=said)).affected == ()
        now = terms_of([to_role(LEAD)], [], [], (), site.clock(), None)  # control: said when it is recorded
        first = site.new_id()
        assert (await act(site, "BLOCK", first, terms=now)).affected == ()
        await act(site, "UNBLOCK", first)
    terms = terms_of([to_role(LEAD)], ["IC06"], [], (), said, None) if kind == "BLOCK" else None
    answer = await act(site, kind, consent if kind == "WITHDRAW" else None, terms=terms, effective_at_us=said)
    assert [(one.delivery_id, one.role, one.state_before) for one in answer.affected] == [(between, LEAD, "ACKED")]
    assert [(one.role, one.received) for one in answer.counts] == [(LEAD, 2)]


@pytest.mark.parametrize("end", ["AMEND", "GRANT"])
async def test_what_the_new_terms_cover_is_counted_by_nobody(tmp_path, end):
    site = await ready(tmp_path)
    consent = await consent_and_received(site)
    same = whole(site, evidence_hash=b"e" * 32, supersedes=consent if end == "GRANT" else None)
    answer = await act(site, end, consent if end == "AMEND" else None, terms=same)
    assert answer.counts == ()
    assert await words(site) == []


@pytest.mark.parametrize("beside", ["WITHDRAW", pytest.param("BLOCK", marks=LONG), pytest.param("EXPIRE", marks=LONG)])
async def test_what_happens_beside_a_consent_that_rests_is_no_end_of_it(tmp_path, beside):
    """The recipient was told that it rests; what ends another consent says nothing of this one, foreseen or done."""
    site = await ready(tmp_path)
    consent = await given(site, until_event="PLACEMENT_ENDED")
    other = await given(site, categories=("IC01",), until_event="RELEASED_FROM_CUSTODY")
    await received(site)
    await act(site, "SUSPEND", consent)
    [item] = await words(site)
    await site.ack(site.lead, item.item_id)
    if beside == "WITHDRAW":
        assert (await suppose(site, "WITHDRAW", other)).deliveries == ()
        await act(site, "WITHDRAW", other)
    elif beside == "BLOCK":
        await act(site, "BLOCK", terms=terms_of([to_role(LEAD)], ["IC01"], [], (), site.clock(), None))
    else:
        await act(site, "EXPIRE", ended_event="RELEASED_FROM_CUSTODY")
    assert await words(site) == []
    [supposed] = (await suppose(site, "WITHDRAW", consent)).deliveries
    assert (supposed.state, set(supposed.removed)) == ("ACKED", BOTH)
    await act(site, "WITHDRAW", consent)
    assert len(await words(site)) == 1


async def test_what_only_another_consent_carried_ends_with_it_while_one_rests(tmp_path):
    site = await ready(tmp_path)
    consent = await given(site)
    other = await given(site)
    await received(site)
    await act(site, "SUSPEND", consent)
    assert await words(site) == []  # the other covers it
    await act(site, "WITHDRAW", other)
    assert len(await words(site)) == 1


async def test_what_came_with_an_invitation_ends_in_the_seat_that_it_led_to(tmp_path):
    site = await ready(tmp_path)
    await items(site, site.lead)
    await site.act(site.lead, "WITHDRAW", next(iter(site.lead.consents)))
    [item] = [one for one in await site.fetch(site.police) if one.kind == "ENDED"]
    told = ConsentEnded.from_bytes(item.body)
    assert (told.seat_id, told.categories) == (site.police.seat_id, ("IC01", "IC12"))
    await site.ack(site.police, item.item_id)

    async def acks(seat_id):
        return [one.raw.entry_id for one in await trail(site, seat_id) if one.operation == "ACK" and one.payload.code]

    [theirs, _knows] = await acks(site.police.seat_id)
    assert theirs == told.entry_id
    assert len(await acks(site.lead.seat_id)) == 2


async def test_a_block_and_the_end_of_everything_are_told_too(tmp_path):
    site = await ready(tmp_path)
    await consent_and_received(site)
    blocked = terms_of([to_role(LEAD)], ["IC06"], [], (), site.clock(), None)
    await site.act(site.police, "BLOCK", site.new_id(), terms=blocked)
    [first] = await words(site)
    assert ConsentEnded.from_bytes(first.body).categories == ("IC06",)
    assert ConsentEnded.from_bytes(first.body).code == "BLOCK_IN_FORCE"
    await site.ack(site.lead, first.item_id)
    await site.withdraw_case(site.lead)  # noted by another seat
    [second] = await words(site)
    # Also of what the block held back: that was told of a block, and no consent had ended.
    assert ConsentEnded.from_bytes(second.body).categories == ("IC04", "IC06")


async def test_what_another_consent_still_covers_is_not_said_to_have_ended(tmp_path):
    site = await ready(tmp_path)
    first = await consent_and_received(site)
    second = await grant(site)
    await site.act(site.police, "WITHDRAW", first)
    assert await words(site) == []
    await site.act(site.police, "WITHDRAW", second)
    assert len(await words(site)) == 1


async def test_what_ended_by_itself_is_no_news_when_it_is_withdrawn(tmp_path):
    """Without the duty to erase on withdrawal no more rests on that word, and it would tell of the person."""
    site = await ready(tmp_path)
    consent = await consent_and_received(site, days=1)
    site.clock.us += 2 * DAY
    await site.act(site.police, "WITHDRAW", consent)
    assert await words(site) == []


async def test_each_recipients_acknowledgement_reaches_the_discloser_once(tmp_path):
    site = await ready(tmp_path)
    consent = await consent_and_received(site)
    await site.act(site.police, "WITHDRAW", consent)
    [item] = await words(site)
    assert await notices(site, "end_acknowledged") == []
    await site.ack(site.lead, item.item_id)
    [told] = await notices(site, "end_acknowledged")
    assert (told.seat_id, told.role, told.event_id) == (site.police.seat_id, LEAD, told.event_id)
    assert told.entry_id is not None
    await site.ack(site.lead, item.item_id)
    assert await notices(site, "end_acknowledged") == []


async def test_a_recall_is_acknowledged_too_and_a_refusal_is_no_acknowledgement(tmp_path):
    site = await ready(tmp_path)
    consent = await grant(site)
    await sent(site)
    assert len(await deliveries(site)) == 1  # handed over, not acknowledged
    await items(site, site.police)
    await site.act(site.police, "WITHDRAW", consent, scope=Scope(recipients=(), categories=("IC06",), purposes=()))
    await site.act(site.police, "WITHDRAW", consent)
    first, second = await words(site, "RECALL")
    assert [len(Recall.from_bytes(one.body).digests) for one in (first, second)] == [1, 1]
    await site.ack(site.lead, first.item_id, "REJECT", "HS-SEAL-INVALID")
    assert await notices(site, "end_acknowledged") == []
    await site.ack(site.lead, second.item_id)
    assert len(await notices(site, "end_acknowledged")) == 1


# Of the others the first tier has the same promise in `test_consent_acts`.
FIRST = {"WITHDRAW", "SUSPEND", "ANNUL", "LAPSE", "GRANT AGAIN"}


@pytest.mark.parametrize("end", [pytest.param(one, marks=() if one in FIRST else LONG) for one in [*ENDS, "ANNUL"]])
async def test_every_act_that_ends_a_consent_stops_what_waits_under_it(tmp_path, end):
    """In the call that records it, and nothing comes back by it: deliveries shrink, never grow."""
    site = await ready(tmp_path)
    consent = await consented(site, end)
    await sent(site)
    await deliveries(site)  # handed over
    await sent(site)
    assert await states(site) == ["HANDED", "PENDING"]
    await given(site, categories=("IC01",))  # the control: what has nothing to do with it stops nothing
    answer = await ended(site, end, consent)
    assert [(one.role, one.stopped, one.may_have_arrived) for one in answer.counts] == [(LEAD, 1, 1)]
    assert await states(site) == (["HANDED", "PENDING"] if end in LESS else ["RECALLED", "CANCELLED"])
    told = await site.fetch(site.lead)
    left = [Delivery.from_bytes(one.body, limits.SUBMISSION).sections for one in told if one.kind == "DELIVERY"]
    assert [len(sections) for sections in left] == ([1] if end in LESS else [])
    [recall] = [one for one in told if one.kind == "RECALL"]
    assert len(Recall.from_bytes(recall.body).digests) == (1 if end in LESS else 2)


async def test_the_end_of_a_god_mans_appointment_ends_what_he_gave_and_is_told(tmp_path):
    """Of any representative, not of guardians alone; one who gave nothing here is not recorded in silence."""
    site = await ready(tmp_path)
    man = Giver(person=2, capacity="GOD_MAN", method="WRITTEN", at_us=site.clock(), authority_from_us=0)
    await given(site, givers=(man,), given_by="GOD_MAN")
    await received(site)
    nobody = Scope(recipients=(), categories=(), purposes=(), givers=(3,))
    with pytest.raises(HandslagError, match="HS-LAPSE-EMPTY"):
        await act(site, "LAPSE", scope=nobody)
    assert (await suppose(site, "LAPSE", site.new_id(), scope=nobody)).refused == "HS-LAPSE-EMPTY"
    assert await words(site) == []  # control: nothing ended
    supposed = await suppose(site, "LAPSE", site.new_id(), scope=replace(nobody, givers=(2,)))
    answer = await act(site, "LAPSE", scope=replace(nobody, givers=(2,)))
    assert (supposed.refused, supposed.counts) == (None, answer.counts)
    [item] = await words(site)
    assert ConsentEnded.from_bytes(item.body).code == "GUARDIAN_AUTHORITY_ENDED"
