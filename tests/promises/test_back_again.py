"""A unit that was shut out is admitted again: what was held back is decided anew, and never let go blindly."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from broker import entering, instances
from broker.admissions import Admission
from connectors.keys import UnitKeyPair
from schemas.errors import HandslagError
from schemas.trail import Payload
from tests.promises.case import deliveries, grant, notices, ready, sent, states
from tests.site import START, Site, Unit


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


async def shut_out(site: Site, unit: Unit, stolen: bytes | None = None) -> int | None:
    controller = site.context.directory.controller(unit.code)
    entry = site.context.recorder.about_unit(unit.code, controller, "ADMIN", Payload(code="HS-UNIT-UNKNOWN"), START)
    held = await instances.shut_out(site.context, unit.code, entry, stolen)
    site.context.directory.replace(await site.store.read(lambda rows: rows.units.all()))
    return held


async def back(site: Site, unit: Unit) -> bool:
    entry = site.entry_of(unit)
    admission = Admission(
        unit=unit.code, agency=entry.agency, controller=entry.controller, agency_key=b"", entry=entry.to_bytes(),
        signature=site._agency.sign(entry.to_bytes()), certificate_pem="", certificate_sha256=os.urandom(32),
        admitted_at_us=site.clock(),
    )  # fmt: skip
    taken = await entering.take_in(site.context, admission)
    site.context.directory.replace(await site.store.read(lambda rows: rows.units.all()))
    return taken


@pytest.mark.parametrize("who", ["police", "lead"])
async def test_what_was_held_back_is_decided_anew_when_the_unit_comes_back(site, who):
    """Sender or recipient: still consented to, it goes."""
    await grant(site)
    await sent(site)
    unit = getattr(site, who)
    assert await shut_out(site, unit) == 1
    if who == "police":
        assert await deliveries(site) == []
    assert await back(site, unit)
    assert len(await deliveries(site)) == 1


async def test_what_is_not_covered_any_more_does_not_go(site):
    """The consent ended while the unit was shut out: stopped, and its sender is told."""
    until = site.clock() + 3_600_000_000
    await grant(site, until_us=until)
    await sent(site)
    await shut_out(site, site.lead)
    site.clock.us = until + 1
    await back(site, site.lead)
    assert await deliveries(site) == []
    assert await states(site) == ["CANCELLED"]
    assert len(await notices(site, "delivery_cancelled")) == 1


async def test_what_is_held_for_another_reason_stays_held(site):
    """The other side is shut out as well."""
    await grant(site)
    await sent(site)
    await shut_out(site, site.lead)
    await shut_out(site, site.police)
    await back(site, site.lead)
    assert await deliveries(site) == []
    await back(site, site.police)
    assert len(await deliveries(site)) == 1  # the control


async def test_nothing_that_a_thief_may_have_sent_is_let_go(site):
    """With other keys, or after a theft, what was held back stays where it is until it has expired."""
    await grant(site)
    await sent(site)
    stolen = site.police.keys.public.signing
    await shut_out(site, site.police, stolen)
    with pytest.raises(HandslagError) as refused:
        await back(site, site.police)
    assert refused.value.code == "HS-UNIT-COMPROMISED"
    await back(site, replace(site.police, keys=UnitKeyPair.generate()))
    assert await deliveries(site) == []
    assert await states(site) == ["PENDING"]
