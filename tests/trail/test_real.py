"""The verifier over what the broker itself wrote: a case, its sealer, its keys."""

import os
import sqlite3
from dataclasses import replace

import pytest

from audit.anchors import Anchors
from audit.entry import open_beat, open_payload
from audit.trailfile import TrailFile
from audit.verify import verify
from broker.anchor import Anchor
from broker.sealer import Sealer
from broker.store.trailcopy import copy
from connectors.keys import UnitKeyPair
from schemas.errors import HandslagError
from schemas.statements import SignedUnit
from schemas.trail import AuditEntry
from tests.site import LEAD, ORIGIN, UNITS, Site, assessment, to_role
from tests.trail.builder import signer

LOG = signer(ORIGIN)


async def beats(site, sealer, count=2):
    for _ in range(count):
        site.clock.us += 10_000_000
        await sealer.beat()


async def story(site, sealer):
    """Consent, a partial release, a withdrawal of the case, an attempt after it; beats in between."""
    await site.whole_case()
    await beats(site, sealer)
    await site.grant(site.police, [to_role(LEAD)], ["IC04"], ["THREAT_ASSESSMENT"])
    await site.take_statements(site.lead)
    for withdrawn in (False, True):
        sealed = site.sealed(
            site.police, "threat_assessment_completed", assessment(), (LEAD,), "THREAT_ASSESSMENT",
            released=frozenset({"IC04", "IC06"}),
        )  # fmt: skip
        await site.submit(site.police, sealed)
        await site.decide()
        items = await site.fetch(site.lead)
        if not withdrawn:
            await site.ack(site.lead, items[-1].item_id)
            await beats(site, sealer)
            await site.withdraw_case(site.probation)
    await site.fetch(site.police)
    await beats(site, sealer, 3)


def entry_keys(site, path):
    """Every entry's key, found by trying the keys of all seats, units and the operator."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        seats = [seat for (seat,) in db.execute("select seat_id from seat")]
        rows = db.execute("select bytes, blob from entry join payload using (entry_id)").fetchall()
    db.close()
    owners = [site.vault.seat(seat) for seat in seats]
    owners += [site.vault.unit(unit) for unit in UNITS.values()] + [site.vault.operator()]
    found = {}
    for data, blob in rows:
        entry = AuditEntry.from_bytes(site.cipher.open("entry.bytes", data))
        blob = site.cipher.open("payload.blob", blob)  # noqa: PLW2901
        for keys in owners:
            try:
                (open_beat if entry.operation == "BEAT" else open_payload)(entry, blob, keys.dek(entry.entry_id))
            except HandslagError:
                continue
            found[entry.entry_id] = keys.dek(entry.entry_id)
    return found


@pytest.fixture
async def told(tmp_path):
    site = Site(tmp_path / "broker")
    sealer = Sealer(
        store=site.store, recorder=site.context.recorder,
        anchor=Anchor.open(tmp_path / "anchor", ORIGIN, store_size=0),
        signer=LOG, origin=ORIGIN, now_us=site.clock, random=os.urandom,
    )  # fmt: skip
    await sealer.start()
    await story(site, sealer)
    keys = entry_keys(site, tmp_path / "broker" / "broker.db")
    agency = site._agency
    anchors = Anchors(agencies={code.rsplit("/", 1)[0]: agency.public.signing for code in UNITS.values()})
    units = [site.entry_of(unit).to_bytes() for unit in site.units.values()]
    anchors = anchors.with_units(SignedUnit(entry=unit, signature=agency.sign(unit)) for unit in units)
    site.close()
    (tmp_path / "copy").mkdir()
    copy(tmp_path / "broker" / "broker.db", site.cipher, tmp_path / "copy" / "trail.db")
    return tmp_path / "copy", keys, anchors


async def test_what_the_broker_writes_is_whole_and_comes_out_the_same(told):
    folder, keys, anchors = told
    with TrailFile(folder) as trail:
        report = verify(trail, origin=ORIGIN, log_keys=[LOG.verifier], keys=keys, anchors=anchors)
    assert report.findings == []
    assert report.decided >= 2
    assert report.opened == report.entries
    # Grants of three seats, and the withdrawal of all on their three ledgers; two invitations, two events.
    assert report.signatures >= 6
    assert report.evidence >= 4
    assert set(report.not_shown) <= {
        "cosignatures", "segments", "remembered", "newest-beat", "waiting", "uncovered", "unsigned-withdrawal",
    }  # fmt: skip


async def test_without_the_units_keys_the_report_says_what_it_cannot_show(told):
    folder, keys, _ = told
    with TrailFile(folder) as trail:
        report = verify(trail, origin=ORIGIN, log_keys=[LOG.verifier], keys=keys)
    assert report.whole
    assert "units" in report.not_shown


async def test_units_under_other_keys_sent_none_of_it(told):
    folder, keys, anchors = told
    stranger = UnitKeyPair.generate().public.signing
    other = {code: tuple(replace(one, signing_key=stranger) for one in units) for code, units in anchors.units.items()}
    with TrailFile(folder) as trail:
        report = verify(trail, origin=ORIGIN, log_keys=[LOG.verifier], keys=keys, anchors=replace(anchors, units=other))
    assert {"evidence", "seat-key"} == {one.check for one in report.findings}
