"""What tests of repetition send: an attempt to hand an event over, and a bundle of them."""

from __future__ import annotations

import os

from broker import submit
from connectors import sealing
from tests.site import LEAD, ORIGIN, Site


async def bundle(site: Site, submissions) -> None:
    request = sealing.bundle(
        submissions, origin=ORIGIN, unit=site.police.code, bundle_id=os.urandom(16), keys=site.police.keys
    )
    assert (await submit.submit(site.context, site.police.code, request)).refusals == ()


def attempt(site: Site, sealed, number: int = 1):
    everything = frozenset(section.category for section in sealed.sections)
    given = {LEAD: sealing.Given(site.lead.seat.public, everything)}
    return sealing.attempt(sealed, number, site.rules.hash32, None, given)
