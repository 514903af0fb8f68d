"""One unit's connector with a consent of its own, and the list of units that vouches for its key."""

from __future__ import annotations

import pytest

from connectors import enrolment
from schemas.calls import UnitsAnswer
from schemas.statements import SignedUnit, UnitEntry
from tests.agency.conftest import DAY_US, World


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    listed(made, tmp_path / "soc")
    yield made
    made.ctx.spool.close()


def listed(made, folder):
    """Give the connector the list of units, as the broker would, with its own entry signed by its agency."""
    ctx = made.ctx
    now, keys = ctx.now(), ctx.unit_keys.public
    entry = UnitEntry(
        unit=ctx.settings.unit, agency=ctx.settings.agency, controller=ctx.settings.controller,
        signing_key=keys.signing, hpke_key=keys.hpke, roles=("social_services_lead",),
        valid_from_us=now - DAY_US, valid_until_us=now + DAY_US,
    ).to_bytes()  # fmt: skip
    agency = enrolment.load_agency_key(folder / "keys" / "agency.key")
    ctx.take_units(UnitsAnswer(units=(SignedUnit(entry=entry, signature=agency.sign(entry)),)))
