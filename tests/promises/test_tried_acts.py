"""An act that is tried does what trying it said, and trying tells no more than recording would."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from broker import foreseeing
from consent import texts
from schemas.acts import ConsentAct, InformationGiven, RecipientRef, Scope
from schemas.errors import HandslagError
from schemas.explain import SimulateAnswer, SimulateRequest
from schemas.said import AnnulNotice
from tests.promises.case import deliveries, items, ready, sent
from tests.promises.test_consent_acts import act, given, whole
from tests.promises.test_explain import QUERY, suppose
from tests.site import DAY, LEAD, PROBATION, terms_of, to_role

NOBODYS = "secure_youth_care"  # a role that no unit of these cases holds


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


async def tried(site, kind: str, consent: bytes, *, unit=None, **changes) -> SimulateAnswer:
    """As `suppose`, with every field of an act."""
    who = unit or site.police
    said = {name: changes.pop(name, None) for name in ("terms", "scope", "effective_at_us")}
    raw = who.consent_act(kind, consent, site.clock(), actor_ref="h", **said)
    body = replace(ConsentAct.from_bytes(raw), **changes).to_bytes()
    request = SimulateRequest(call_id=os.urandom(16), seat_id=who.seat_id, query=QUERY, act=body)
    return await foreseeing.simulate(site.context, who.code, request)


async def recorded(site, kind: str, consent: bytes, **changes) -> str | None:
    """Record it; the code with which it was refused."""
    try:
        await act(site, kind, consent, **changes)
    except HandslagError as error:
        return error.code
    return None


def own_text(site) -> InformationGiven:
    """What a person was told in a wording of this broker's own."""
    own = texts.Text("EXEMPEL-EGEN-1", "sv", "STANDARD", b"h" * 32)
    site.context = replace(site.context, texts=texts.shipped() | {own})
    return InformationGiven(
        language="sv", form="STANDARD", interpreter=False, how="READ_ALOUD", consequences_told=True,
        voluntary_told=True, refusal_told=True, text_hash=own.sha256,
    )  # fmt: skip


async def test_trying_a_consent_knows_the_wordings_of_this_broker(site):
    told = own_text(site)
    terms = whole(site, information=told, text_version="EXEMPEL-EGEN-1")
    assert (await suppose(site, "GRANT", site.new_id(), terms=terms)).refused is None
    other = replace(terms, information=replace(told, text_hash=b"o" * 32))
    assert (await suppose(site, "GRANT", site.new_id(), terms=other)).refused == "HS-TEXT-UNKNOWN"  # the control
    assert await recorded(site, "GRANT", site.new_id(), terms=other) == "HS-TEXT-UNKNOWN"
    assert await recorded(site, "GRANT", site.new_id(), terms=terms) is None


async def _three_ways(site) -> None:
    """One delivery received, one handed over, one that waits."""
    await sent(site)
    [first] = await deliveries(site)
    await site.ack(site.lead, first.item_id)
    await sent(site)
    await deliveries(site)
    await sent(site)


@pytest.mark.parametrize("kind", ["AMEND", "GRANT"])
@pytest.mark.parametrize("categories", [("IC04", "IC06"), ("IC04",), ("IC01",)], ids=["all", "less", "none"])
async def test_an_amendment_to_a_role_does_what_simulating_it_said(site, kind, categories):
    """A role without the id of who holds it: whoever holds it is meant, when it is tried as when it is recorded."""
    consent = await given(site)
    await _three_ways(site)
    terms = whole(site, categories=categories, evidence_hash=b"e" * 32)
    about = consent if kind == "AMEND" else site.new_id()
    terms = terms if kind == "AMEND" else replace(terms, supersedes=consent)
    told = await suppose(site, kind, about, terms=terms)
    gone = tuple(sorted({"IC04", "IC06"} - set(categories)))
    lost = {1: {("ACKED", ("IC06",)), ("HANDED", ("IC06",)), ("PENDING", ("IC06",))}, 0: set()}
    every = {(state, ("IC04", "IC06")) for state in ("ACKED", "HANDED", "PENDING")}
    assert {(one.state, one.removed) for one in told.deliveries} == lost.get(len(gone), every)
    done = await act(site, kind, about, terms=terms)
    assert (told.refused, told.counts) == (None, done.counts)
    stopped = {one.event_id for one in done.affected if one.removed}
    assert {one.event_id for one in told.deliveries if one.state != "ACKED"} == stopped


async def test_trying_an_act_does_not_tell_whether_a_role_is_held(site):
    """A role that somebody holds and one that nobody holds, named by no consent of the seat: all answers are alike."""
    consent = await given(site)
    await _three_ways(site)
    block = site.new_id()
    await site.act(site.police, "BLOCK", block, terms=terms_of([], ["IC09"], [], (), site.clock(), None))

    async def told(role: str, member: bytes | None) -> list:
        ref = RecipientRef(kind="ROLE", id=role, member=member, follows_role=False)
        terms = whole(site, recipients=(ref,), evidence_hash=b"e" * 32)
        both = replace(terms, recipients=(to_role(LEAD), ref))
        lifted = {"scope": Scope(recipients=(ref,), categories=(), purposes=()), "lift_until_us": site.clock() + DAY}
        answers = [
            await tried(site, "GRANT", site.new_id(), terms=terms),
            await tried(site, "GRANT", site.new_id(), terms=replace(both, supersedes=consent)),
            await tried(site, "AMEND", consent, terms=both),
            await tried(site, "AMEND", consent, terms=terms),
            await tried(site, "AMEND", consent, terms=replace(both, evidence_hash=None)),
            await tried(site, "LIFT", block, **lifted),
        ]
        return [(one.refused, one.counts, one.deliveries) for one in answers]

    first = await told(NOBODYS, None)
    assert [refused for refused, _counts, _listed in first] == [None] * 4 + ["HS-GRANT-INCOMPLETE", None]
    assert [len(listed) for _refused, _counts, listed in first] == [0, 0, 0, 3, 0, 0]
    for member in (None, os.urandom(16), site.probation.member):
        assert await told(PROBATION, member) == await told(NOBODYS, member) == first


async def test_whoever_has_a_consent_for_a_role_is_told_that_nobody_holds_it_any_more(site):
    """The control: of a role that a recorded consent names, trying says what recording would be answered."""
    consent = await given(site)
    terms = whole(site, evidence_hash=b"e" * 32)
    ref = RecipientRef(kind="ROLE", id=LEAD, member=os.urandom(16), follows_role=False)
    other = replace(terms, recipients=(ref,))
    for about, said in ((consent, other), (consent, terms)):
        code = (await suppose(site, "AMEND", about, terms=said)).refused
        assert code == ("HS-RECIPIENT-CHANGED" if said is other else None)
    assert await recorded(site, "AMEND", consent, terms=other) == "HS-RECIPIENT-CHANGED"
    await site.store.write(lambda rows: rows.units.revoke(site.lead.code, site.clock()))
    assert (await suppose(site, "AMEND", consent, terms=terms)).refused == "HS-NO-HOLDER"
    assert await recorded(site, "AMEND", consent, terms=terms) == "HS-NO-HOLDER"


async def test_a_withdrawal_of_everything_from_tomorrow_is_refused_when_it_is_tried(site):
    later = site.clock() + DAY
    assert (await suppose(site, "WITHDRAW_ALL", bytes(16), effective_at_us=later)).refused == "HS-GRANT-INCOMPLETE"
    with pytest.raises(HandslagError, match="HS-GRANT-INCOMPLETE"):
        await site.withdraw_case(site.police, effective_at_us=later)
    assert (await suppose(site, "WITHDRAW_ALL", bytes(16))).refused is None


async def _notices(site) -> dict[bytes, int]:
    """By event, how many sections the lead is told were never released on a consent."""
    found = [AnnulNotice.from_bytes(item.body) for item in await items(site, site.lead) if item.kind == "ANNULMENT"]
    return {one.event_id: len(one.digests) for one in found}


@pytest.mark.parametrize("kind", ["ANNUL", "ANNUL_WRONG_PERSON"])
async def test_annulling_tells_whom_trying_it_named(site, kind):
    """Also of what another consent covers by now, and of what is past: its recipient relied on this one."""
    consent = await given(site)
    await sent(site)
    [item] = await deliveries(site)
    await site.ack(site.lead, item.item_id, "REJECT", "HS-SIGNATURE-INVALID")
    await _three_ways(site)
    told = await suppose(site, kind, consent)
    states = [(one.state, one.removed, one.kept) for one in told.deliveries]
    assert sorted(states) == [
        ("ACKED", ("IC04", "IC06"), ()), ("HANDED", ("IC04", "IC06"), ()), ("PENDING", ("IC04", "IC06"), ()),
        ("REJECTED", ("IC04", "IC06"), ()),
    ]  # fmt: skip
    await given(site, valid_until_us=site.clock() + 60 * DAY, categories=("IC04",))
    beside = await suppose(site, kind, consent)
    assert {one.state: one.kept for one in beside.deliveries} == {
        "ACKED": (), "HANDED": (), "PENDING": ("IC04",), "REJECTED": (),
    }  # fmt: skip
    done = await act(site, kind, consent)
    assert done.counts == beside.counts
    assert await _notices(site) == {one.event_id: len(one.removed) for one in beside.deliveries if one.kept == ()}
    # Once for each ground: it is annulled already, and nobody is told of it anew.
    assert (await suppose(site, kind, consent)).deliveries == ()
    await act(site, kind, consent)
    assert await _notices(site) == {}
