"""A role of a case passes to another unit: what follows, what does not, and who is told what."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import replace

import pytest

from broker import cases
from connectors import membership
from schemas import projection
from schemas.acts import RecipientRef
from schemas.calls import StateRequest
from schemas.errors import HandslagError
from schemas.inbox import Notice, StatementNotice
from schemas.statements import MemberStatement
from tests.promises.case import items, receipts
from tests.site import DAY, LEAD, POLICE, START, Site, Unit, to_unit
from tests.units import terms_of

NORD = "POL/EXEMPEL/NORD"


def meeting() -> dict[str, bytes]:
    at = dt.datetime(2026, 10, 1, 9, tzinfo=dt.UTC)
    return projection.split(
        "coordination_meeting_scheduled",
        {"meeting_id": "EXEMPEL-1", "at": at, "mode": "DIGITAL", "agenda_codes": [], "requires_consent_ref": "EX"},
    )


def to_police(*, follows: bool) -> RecipientRef:
    return RecipientRef(kind="ROLE", id=POLICE, follows_role=follows)


async def taken_out(site: Site, unit: Unit) -> None:
    lead = site.lead
    assert lead.members is not None
    removed = membership.remove_statement(members=lead.members, lead=lead.seat, member=unit.member, at_us=site.clock())
    request = StateRequest(call_id=os.urandom(16), seat_id=lead.seat_id, statement=removed)
    await cases.state(site.context, lead.code, request)
    lead.members = lead.members.applied(removed)


async def changed_hands(site: Site) -> Unit:
    """The police's seat passes to another police unit, which nobody but the lead invited."""
    await taken_out(site, site.police)
    nord = Unit(NORD, POLICE)
    site.units["nord"] = nord
    await site.admit()
    await site.grant(site.lead, [to_unit(NORD)], ["IC01", "IC12"], ["INTAKE"])
    await site.invite(nord)
    await site.join(nord)
    return nord


async def sent(site: Site, unit: Unit, to: Unit) -> None:
    sealed = site.sealed(unit, "coordination_meeting_scheduled", meeting(), (POLICE,), "PLANNING")
    await site.submit(unit, sealed, keys={POLICE: to.seat.public})
    await site.decide()


@pytest.fixture
async def site(tmp_path):
    site = Site(tmp_path / "broker")
    await site.whole_case()
    for unit in (site.lead, site.police, site.probation):
        await site.take_statements(unit)
    yield site
    assert site.faults == []
    site.close()


def told(found, kind):
    return [item for item in found if item.kind == kind]


@pytest.mark.parametrize("follows", [True, False])
async def test_a_consent_goes_with_the_role_only_when_it_says_so(site, follows):
    await site.grant(site.lead, [to_police(follows=follows)], ["IC13"], ["PLANNING"])
    await site.take_statements(site.lead)
    await sent(site, site.lead, site.police)
    assert [one.roles[0].outcome for one in await receipts(site, site.lead)] == ["RELEASED"]  # control: its holder then
    nord = await changed_hands(site)
    found = await items(site, site.lead)
    notices = [n for n in (Notice.from_bytes(i.body) for i in told(found, "NOTICE")) if n.code == "recipient_changed"]
    assert [(n.role, n.seat_id, n.event_id, n.detail) for n in notices] == (
        [] if follows else [(POLICE, site.lead.seat_id, None, None)]
    )
    await sent(site, site.lead, nord)
    [receipt] = await receipts(site, site.lead)
    [section] = receipt.roles[0].sections
    assert section.released is follows
    assert section.reasons[:1] == (() if follows else ("RECIPIENT_CHANGED",))
    await site.fetch(nord)
    mine = [d for d in nord.deliveries if d.seat_id == nord.seat_id]
    assert len(mine) == (1 if follows else 0)
    if follows:
        assert site.open(nord, mine[0]).core.event_type == "coordination_meeting_scheduled"


@pytest.mark.parametrize("follows", [False, True])
async def test_an_amendment_does_not_follow_a_role_by_itself(site, follows):
    """The same words reach another unit by now: that is the person's to say, unless the consent follows the role."""
    consent = await site.grant(site.lead, [to_police(follows=follows)], ["IC13"], ["PLANNING"])
    await site.take_statements(site.lead)
    nord = await changed_hands(site)
    shorter = terms_of([to_police(follows=follows)], ["IC13"], ["PLANNING"], ("DISCLOSE",), site.clock(), START + DAY)
    if not follows:
        with pytest.raises(HandslagError) as refused:
            await site.act(site.lead, "AMEND", consent, terms=shorter)
        assert (refused.value.code, refused.value.context) == ("HS-GRANT-INCOMPLETE", {"field": "evidence"})
        await site.take_statements(site.lead)
        await sent(site, site.lead, nord)
        assert [one.roles[0].outcome for one in await receipts(site, site.lead)] == ["WITHHELD"]
        shorter = replace(shorter, evidence_hash=bytes(32))  # control: the person was asked about the new holder
    await site.act(site.lead, "AMEND", consent, terms=shorter)
    await site.take_statements(site.lead)
    await sent(site, site.lead, nord)
    assert [one.roles[0].outcome for one in await receipts(site, site.lead)] == ["RELEASED"]


async def test_another_discloser_is_told_the_role_and_never_the_unit(site):
    """Probation's consent stays with the one who held the role: it learns that, and neither unit nor key."""
    await site.grant(site.probation, [to_police(follows=False)], ["IC12"], ["INTAKE"])
    await site.take_statements(site.probation)
    nord = await changed_hands(site)
    found = await items(site, site.probation)
    codes = [(n.code, n.role) for n in (Notice.from_bytes(item.body) for item in told(found, "NOTICE"))]
    assert codes == [("recipient_changed", POLICE)]
    for item in found:
        assert NORD.encode() not in item.body
        for secret in (nord.member, nord.seat_id, nord.seat.public.signing, nord.keys.public.signing):
            assert secret not in item.body
    assert [MemberStatement.from_bytes(s.statement).kind for s in _statements(found)] == ["REMOVE"]


async def test_a_discloser_whose_consent_follows_learns_the_new_keys_and_no_unit(site):
    await site.grant(site.probation, [to_police(follows=True)], ["IC12"], ["INTAKE"])
    await site.take_statements(site.probation)
    nord = await changed_hands(site)
    found = await items(site, site.probation)
    assert told(found, "NOTICE") == []
    statements = [MemberStatement.from_bytes(one.statement) for one in _statements(found)]
    kinds = {(one.kind, one.member == nord.member) for one in statements}
    assert ("JOIN", True) in kinds
    for item in found:
        assert NORD.encode() not in item.body
    # And it learns when that one leaves again: a member whose keys it has.
    await taken_out(site, nord)
    later = [MemberStatement.from_bytes(s.statement) for s in _statements(await items(site, site.probation))]
    assert [(one.kind, one.member) for one in later] == [("REMOVE", nord.member)]


async def test_who_named_nobody_in_that_role_is_told_nothing(site):
    await site.grant(site.probation, [RecipientRef(kind="ROLE", id=LEAD, follows_role=True)], ["IC13"], ["PLANNING"])
    for unit in (site.probation, site.lead):
        await site.take_statements(unit)
    await changed_hands(site)
    assert await items(site, site.probation) == []


async def test_a_consent_that_is_over_follows_nobody(site):
    """Neither introduction nor notice: the role's holder is no concern of a discloser without a consent in force."""
    for follows in (True, False):
        consent = await site.grant(site.probation, [to_police(follows=follows)], ["IC12"], ["INTAKE"])
        await site.act(site.probation, "WITHDRAW", consent)
    await site.take_statements(site.probation)
    nord = await changed_hands(site)
    found = await items(site, site.probation)
    assert told(found, "NOTICE") == []
    assert nord.member not in b"".join(item.body for item in found)


def _statements(found):
    return [s for item in told(found, "STATEMENT") for s in StatementNotice.from_bytes(item.body).statements]
