"""The verifier over joined cases: every ledger that a withdrawal reached is whole, and the seat signed the join."""

import os
from dataclasses import replace

import pytest

from audit.anchors import Anchors
from audit.trailfile import TrailFile
from audit.verify import verify
from broker.anchor import Anchor
from broker.sealer import Sealer
from schemas.statements import SignedUnit
from tests.promises.case import grant, sent
from tests.promises.trail import trail
from tests.promises.two_cases import two_cases
from tests.site import ORIGIN
from tests.trail.test_real import LOG, beats, entry_keys


async def checked(tmp_path, two, sealer):
    site = two.site
    await beats(site, sealer, 3)
    keys = entry_keys(site, tmp_path / "broker" / "broker.db")
    units = [*two.one.units, *two.other.units]
    anchors = Anchors(agencies={unit.code.rsplit("/", 1)[0]: site._agency.public.signing for unit in units})
    entries = {unit.code: site.entry_of(unit).to_bytes() for unit in units}
    anchors = anchors.with_units(SignedUnit(entry=e, signature=site._agency.sign(e)) for e in entries.values())
    with TrailFile(tmp_path / "broker", lambda: site.cipher) as file:
        return verify(file, origin=ORIGIN, log_keys=[LOG.verifier], keys=keys, anchors=anchors)


@pytest.fixture
async def place(tmp_path):
    two = await two_cases(tmp_path)
    sealer = Sealer(
        store=two.site.store, recorder=two.site.context.recorder,
        anchor=Anchor.open(tmp_path / "anchor", ORIGIN, store_size=0),
        signer=LOG, origin=ORIGIN, now_us=two.site.clock, random=os.urandom,
    )  # fmt: skip
    await sealer.start()
    yield tmp_path, two, sealer
    two.site.close()


async def test_joined_cases_verify_from_the_first_word_to_the_separation(place):
    _tmp_path, two, _sealer = place
    for case in (two.one, two.other):
        await grant(two.use(case))
        await sent(two.site)
    await two.use(two.one).withdraw_case(two.one.lead)  # reaches the older consents of the other by the join
    await two.join()
    await two.use(two.one).withdraw_case(two.one.probation)
    await two.separate(two.other.police)
    report = await checked(*place)
    assert report.findings == []
    assert report.decided >= 2


@pytest.mark.parametrize(
    ("part", "changes"), [("signature", {"act_signature": bytes(64)}), ("content", {"actor_ref": "handläggare 9"})]
)
async def test_a_join_that_the_seat_did_not_sign_is_named(place, part, changes):
    _tmp_path, two, _sealer = place
    await two.join()
    seat = await two.site.store.read(lambda rows: rows.cases.seat(two.one.police.seat_id))
    (true,) = [one for one in await trail(two.site, seat.seat_id) if one.operation == "COMBINATION"]
    controller = two.site.context.directory.controller(seat.unit)
    entry = two.site.context.recorder.about_seat(
        seat, controller, "COMBINATION", replace(true.payload, **changes), two.site.clock.us
    )
    await two.site.store.write(lambda rows: rows.entries.insert([entry]))
    report = await checked(*place)
    assert {(one.check, one.part) for one in report.findings} == {("join", part)}
