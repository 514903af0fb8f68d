"""The verifier over disclosures with support in law: a basis of its own, with who decided, or a finding."""

import os
from dataclasses import replace

import pytest

from broker import deadlines
from broker.anchor import Anchor
from broker.sealer import Sealer
from connectors.keys import UnitKeyPair
from schemas.statute import SecondWord, SignedDisclosure, StatutoryDisclosure
from tests.promises.case import HOUR, deliveries, ready
from tests.promises.trail import trail
from tests.rules.force import Office, in_force
from tests.rules.ruling import HEALTH, changed
from tests.rules.test_law import shut
from tests.site import LEAD, ORIGIN
from tests.statute.making import Desk
from tests.trail.test_real import LOG
from tests.trail.test_said import checked

WIDER = (HEALTH, 'categories = ["IC07", "IC08"]')


@pytest.fixture
async def place(tmp_path):
    site = await ready(tmp_path)
    sealer = Sealer(
        store=site.store, recorder=site.context.recorder,
        anchor=Anchor.open(tmp_path / "anchor", ORIGIN, store_size=0),
        signer=LOG, origin=ORIGIN, now_us=site.clock, random=os.urandom,
    )  # fmt: skip
    await sealer.start()
    desk = Desk(site, site.police)
    await desk.approve()
    yield tmp_path, desk, sealer
    site.close()


async def found(place):
    tmp_path, desk, sealer = place
    report = await checked(tmp_path, desk.site, sealer)
    return {(one.check, one.part) for one in report.findings}


async def recorded_acts(site, office):
    """The operator's first acts, so that the trail tells which rules the installation began with."""
    await office.record(site)


async def handed(desk):
    for item in await deliveries(desk.site):
        await desk.site.ack(desk.site.lead, item.item_id)


async def test_disclosures_with_support_in_law_verify(place):
    tmp_path, desk, sealer = place
    await desk.disclose()
    await handed(desk)
    refused = desk.sealed()
    await desk.send(desk.request(refused, desk.statement(refused, secrecy=("OSL_26_1",))))
    _answer, told = await desk.disclose(second=False, acute=True)
    await handed(desk)
    desk.site.clock.us += HOUR
    await desk.confirm(told)
    await desk.disclose(second=False, acute=True)
    desk.site.clock.us += 25 * HOUR
    await deadlines.sweep(desk.site.context)
    desk.site.clock.us += HOUR
    await desk.disclose()
    report = await checked(tmp_path, desk.site, sealer)
    assert report.findings == []
    assert report.decided >= 5


async def lie(desk, *, operation="STATUTORY_DISCLOSURE", at=0, number=None, outcome=None, **changes):
    """Write an entry that says something else than a true one."""
    own = await trail(desk.site, desk.unit.seat_id)
    one = [each for each in own if each.operation == operation][at]
    entry = desk.site.context.recorder.about_seat(
        await desk.site.store.read(lambda rows: rows.cases.seat(desk.unit.seat_id)),
        one.raw.owner, operation, replace(one.payload, **changes), desk.site.clock(),
        outcome=outcome or one.outcome, reason_class=one.raw.reason_class,
    )  # fmt: skip
    await desk.site.store.write(lambda rows: rows.entries.insert([entry]))


async def signed_of(desk):
    own = await trail(desk.site, desk.unit.seat_id)
    (one,) = [each for each in own if each.operation == "STATUTORY_DISCLOSURE"]
    return one.payload, SignedDisclosure.from_bytes(one.payload.act)


STRANGER = UnitKeyPair.generate()


def forged(signed, **changes):
    """The statement changed and signed again by everybody but the one who is asked about."""
    raw = replace(StatutoryDisclosure.from_bytes(signed.statement), **changes).to_bytes()
    return replace(signed, statement=raw)


PARTS = {
    "decider": lambda s: replace(s, decider_signature=bytes(64)),
    "second": lambda s: replace(s, second_signature=bytes(64)),
    "signature": lambda s: replace(s, seat_signature=bytes(64)),
    "approval": lambda s: replace(s, approval_signature=STRANGER.sign(s.approval)),
    "unit-signature": lambda s: replace(s, unit_signature=STRANGER.sign(s.statement)),
    "form": lambda s: replace(s, second=None),
}


@pytest.mark.parametrize("part", PARTS)
async def test_a_statutory_disclosure_that_does_not_hold_is_named(place, part):
    _tmp, desk, _sealer = place
    await desk.disclose()
    _payload, signed = await signed_of(desk)
    await lie(desk, act=PARTS[part](signed).to_bytes())
    assert ("statute", part) in await found(place)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"counter_role": "prison_probation"}, "content"),
        ({"basis": "CONSENT"}, "content"),
        ({"purpose": "PLANNING"}, "content"),
        ({"event_id": bytes(16)}, "content"),
        ({"sections": ()}, "sections"),
        ({"evidence": None}, "evidence"),
        ({"act": b""}, "form"),
    ],
)
async def test_an_entry_that_says_something_else_is_named(place, change, part):
    _tmp, desk, _sealer = place
    await desk.disclose()
    await lie(desk, **change)
    assert ("statute", part) in await found(place)


async def test_a_refusal_told_as_a_release_is_named(place):
    _tmp, desk, _sealer = place
    refused = desk.sealed()
    await desk.send(desk.request(refused, desk.statement(refused, secrecy=("OSL_26_1",))))
    payload, _signed = await signed_of(desk)
    given = tuple(replace(section, released=True, reasons=()) for section in payload.sections)
    own = await trail(desk.site, desk.unit.seat_id)
    one = next(each for each in own if each.operation == "STATUTORY_DISCLOSURE")
    entry = desk.site.context.recorder.about_seat(
        await desk.site.store.read(lambda rows: rows.cases.seat(desk.unit.seat_id)),
        one.raw.owner, "STATUTORY_DISCLOSURE", replace(payload, sections=given), desk.site.clock(), outcome="RELEASED",
    )  # fmt: skip
    await desk.site.store.write(lambda rows: rows.entries.insert([entry]))
    assert ("statute", "outcome") in await found(place)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"event_id": bytes(16)}, "decision"),
        ({"counter_role": "prison_probation"}, "decision"),
        ({"basis": "CONSENT"}, "basis"),
        ({"event_type": "threat_assessment_completed"}, "basis"),
        ("fewer", "sections"),
        ("granted", "grants"),
    ],
)
async def test_a_hand_over_on_a_law_that_nobody_decided_is_named(place, change, part):
    _tmp, desk, _sealer = place
    await desk.disclose()
    await handed(desk)
    own = await trail(desk.site, desk.unit.seat_id)
    payload = next(each for each in own if each.operation == "DISCLOSURE").payload
    if change == "fewer":
        change = {"sections": payload.sections[:1]}
    elif change == "granted":
        change = {"sections": tuple(replace(section, grants=(bytes(16),)) for section in payload.sections)}
    await lie(desk, operation="DISCLOSURE", **change)
    assert ("statute", part) in await found(place)


async def test_an_unconfirmed_night_that_nobody_was_told_of_is_named(place):
    _tmp, desk, _sealer = place
    await desk.disclose(second=False, acute=True)
    desk.site.clock.us += 23 * HOUR
    await desk.disclose()
    assert await found(place) == set()  # there is time left
    desk.site.clock.us += 2 * HOUR
    await desk.disclose()
    assert await found(place) == {("statute", "unconfirmed")}


async def test_a_word_of_the_decider_herself_confirms_nothing(place):
    _tmp, desk, _sealer = place
    _answer, told = await desk.disclose(second=False, acute=True)
    desk.other = desk.decider
    own = desk.second(told).to_bytes()
    await lie(desk, act=own, code="CONFIRMED", evidence=None, sections=(), outcome=None)
    assert ("statute", "confirmation") in await found(place)


async def test_a_word_from_before_the_decision_is_named(place):
    """With the disclosure, and afterwards: a broker that recorded such a word took what it must refuse."""
    _tmp, desk, _sealer = place
    await desk.disclose()
    _payload, signed = await signed_of(desk)
    word = replace(SecondWord.from_bytes(signed.second), at_us=1).to_bytes()
    by, seat = desk.other.keys.sign(word), desk.unit.seat.sign(word)
    early = replace(signed, second=word, second_signature=by, second_seat_signature=seat)
    await lie(desk, act=early.to_bytes())
    assert ("statute", "second") in await found(place)


async def test_a_word_from_before_the_night_confirms_nothing(place):
    _tmp, desk, _sealer = place
    _answer, told = await desk.disclose(second=False, acute=True)
    early = desk.second(told, at_us=1).to_bytes()
    await lie(desk, act=early, code="CONFIRMED", evidence=None, sections=(), outcome=None)
    assert ("statute", "confirmation") in await found(place)


async def test_a_disclosure_by_other_rules_than_its_units_is_named(place):
    _tmp, desk, _sealer = place
    before, office = desk.site.rules, Office()
    await recorded_acts(desk.site, office)
    await desk.disclose()
    wider = await in_force(desk.site, office, changed(WIDER))
    await desk.disclose()
    assert await found(place) == set()
    for number, by in enumerate((before, wider)):
        await lie(desk, at=1 + number, rules_hash=by.hash32)
        assert await found(place) == {("rules", "effective")}


async def test_a_hand_over_on_a_law_after_a_closing_is_named(place):
    _tmp, desk, _sealer = place
    office = Office()
    await recorded_acts(desk.site, office)
    await desk.disclose()
    await handed(desk)
    await in_force(desk.site, office, changed(WIDER, shut("social_services_lead")))
    assert await found(place) == set()
    await lie(desk, operation="DISCLOSURE", hand_number=2)
    assert await found(place) == {("statute", "rules")}


__all__ = ["LEAD"]
