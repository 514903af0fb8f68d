"""The verifier over what was said: the seat signed it, and the decision about it comes out the same."""

import os
from dataclasses import replace

import pytest

from audit.anchors import Anchors
from audit.trailfile import TrailFile
from audit.verify import verify
from broker.anchor import Anchor
from broker.sealer import Sealer
from schemas.errors import HandslagError
from schemas.said import SpokenDisclosure
from schemas.statements import SignedUnit
from tests.promises.case import grant, ready
from tests.promises.test_annul import answered, handed, told
from tests.promises.test_said import say, spoken_entries, talk
from tests.promises.test_void import void
from tests.site import LEAD, ORIGIN, PROBATION, UNITS
from tests.trail.test_real import LOG, beats, entry_keys


async def checked(tmp_path, site, sealer):
    await beats(site, sealer, 3)
    keys = entry_keys(site, tmp_path / "broker" / "broker.db")
    agency = site._agency
    anchors = Anchors(agencies={code.rsplit("/", 1)[0]: agency.public.signing for code in UNITS.values()})
    units = [site.entry_of(unit).to_bytes() for unit in site.units.values()]
    anchors = anchors.with_units(SignedUnit(entry=unit, signature=agency.sign(unit)) for unit in units)
    with TrailFile(tmp_path / "broker", lambda: site.cipher) as trail:
        return verify(trail, origin=ORIGIN, log_keys=[LOG.verifier], keys=keys, anchors=anchors)


@pytest.fixture
async def place(tmp_path):
    site = await ready(tmp_path)
    sealer = Sealer(
        store=site.store, recorder=site.context.recorder,
        anchor=Anchor.open(tmp_path / "anchor", ORIGIN, store_size=0),
        signer=LOG, origin=ORIGIN, now_us=site.clock, random=os.urandom,
    )  # fmt: skip
    await sealer.start()
    consent = await talk(site)
    await say(site, categories=("IC04", "IC07"), roles=(LEAD, PROBATION, "health_care"))
    await site.act(site.police, "WITHDRAW", consent)
    await say(site)
    yield tmp_path, site, sealer
    site.close()


async def test_what_was_said_verifies_with_and_without_consent(place):
    tmp_path, site, sealer = place
    report = await checked(tmp_path, site, sealer)
    assert report.findings == []
    assert len(await spoken_entries(site)) == 4
    assert report.decided >= 4


async def test_annulled_consents_and_a_void_case_verify(place):
    """Whatever was released, recalled, told and answered: the trail holds, decisions of before come out as before."""
    tmp_path, site, sealer = place
    consent = await grant(site)
    await handed(site)
    await handed(site, ack=False)
    await site.act(site.police, "ANNUL_WRONG_PERSON", consent)
    await grant(site)
    await handed(site)
    for notice in await told(site):
        await answered(site, notice, "LOCKED")
    await void(site)
    for unit in site.units.values():
        for notice in await told(site, unit):
            await answered(site, notice, "KEPT", "EVIDENCE", unit=unit)
    report = await checked(tmp_path, site, sealer)
    assert report.findings == []
    assert report.decided >= 7


async def lie(site, **changes):
    """An entry as a lying broker would write it: another content, sealed as well as it can."""
    payload = (await spoken_entries(site))[-1].payload
    seat = await site.store.read(lambda rows: rows.cases.seat(site.police.seat_id))
    wrong = replace(payload, **changes)
    outcome = "RELEASED" if wrong.sections[0].released else "WITHHELD"
    entry = site.context.recorder.about_seat(
        seat, site.context.directory.controller(seat.unit), "DISCLOSURE", wrong, site.clock.us, outcome=outcome
    )
    await site.store.write(lambda rows: rows.entries.insert([entry]))


async def found(place):
    report = await checked(*place)
    return {(one.check, one.part) for one in report.findings}


async def test_a_no_that_was_written_as_a_yes_is_named(place):
    _tmp_path, site, _sealer = place
    section = (await spoken_entries(site))[-1].payload.sections[0]
    yes = replace(section, released=True, reasons=(), grants=(next(iter(site.police.consents)),))
    await lie(site, sections=(yes,))
    assert ("decision", "released") in await found(place)


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("signature", {"act_signature": bytes(64)}),
        ("content", {"purpose": "HOUSING"}),
        ("content", {"decided_at_us": 1}),
        ("role", {"counter_role": "provider"}),
    ],
)
async def test_a_recording_that_the_seat_did_not_sign_is_named(place, part, changes):
    await lie(place[1], **changes)
    assert ("said", part) in await found(place)


async def test_words_that_the_broker_made_up_are_named(place):
    _tmp_path, site, _sealer = place
    said = SpokenDisclosure.from_bytes((await spoken_entries(site))[-1].payload.act)
    await lie(site, act=replace(said, categories=("IC04", "IC06")).to_bytes())
    assert ("said", "signature") in await found(place)


async def test_a_shape_without_the_signed_word_is_named(place):
    await lie(place[1], act=None)
    assert ("schema", "act") in await found(place)


async def test_unreadable_words_never_reach_the_trail(place):
    _tmp_path, site, _sealer = place
    before = len(await spoken_entries(site))
    with pytest.raises(HandslagError):
        await say(site, manner="")
    assert len(await spoken_entries(site)) == before
