"""Connectors that were restored, or closed themselves, after the copy: the restored broker serves no old one."""

from __future__ import annotations

import os

import pytest

from broker import instances
from connectors import exposure
from connectors.keys import UnitKeyPair
from schemas.checks import sha256
from schemas.errors import HandslagError
from schemas.instances import InstanceRequest, InstanceStatement, RestoreStatement
from tests.evil.house import UNITS
from tests.hold.lost import world
from tests.hold.restored import copied
from tests.site import ORIGIN, Site, Unit

RECOVERY = UnitKeyPair.generate()


async def announced(site: Site, unit: Unit, number: int) -> None:
    restore = RestoreStatement(
        origin=ORIGIN, unit=unit.code, restore_id=os.urandom(16), backup_at_us=site.clock(), restored_at_us=site.clock()
    ).to_bytes()
    said = InstanceStatement(origin=ORIGIN, unit=unit.code, instance=number, restore_hash=sha256(restore)).to_bytes()
    request = InstanceRequest(
        statement=said, unit_signature=unit.keys.sign(said), restore=restore, recovery_signature=RECOVERY.sign(restore)
    )
    await instances.announce(site.context, unit.code, request)
    site.context.directory.replace(await site.store.read(lambda rows: rows.units.all()))


async def test_a_connector_that_was_restored_after_the_copy_takes_its_number_again(site, restore, tmp_path):
    await site.store.write(lambda rows: instances.admitted(rows, site.police.code, RECOVERY.public.signing, same=True))
    here = restore(copied(site, tmp_path / "copy"))
    for number in (1, 2, 3):
        await announced(site, site.police, number)
    with pytest.raises(HandslagError, match="HS-INSTANCE-OLD"):
        await announced(site, site.police, 5)  # the control: outside a hold a number is the next one
    await here.hold()
    await here.go_on()
    for unit in site.units.values():
        await here.give_back(unit)
    assert (await here.confirm(site.police)).state == "CONFIRMED"  # by the copy that was booted beside it
    await announced(here.site, site.police, 3)
    assert here.site.context.directory.get(site.police.code).instance == 3
    for unit in (site.lead, site.probation):
        await here.confirm(unit)
    assert here.keeper.active  # what the old one confirmed does not count
    await here.give_back(site.police)
    await here.confirm(site.police)
    assert not here.keeper.active


async def test_a_unit_that_closed_itself_after_the_copy_closes_itself_again(tmp_path):
    async with world(tmp_path) as lost:
        unit = UNITS["probation"].unit
        copy = lost.copied(tmp_path / "copy")
        await exposure.close_unit(lost.agency("probation").ctx, 5)
        assert unit not in {row.unit for row in await lost.read(lambda rows: rows.units.all())}
        lost.lose()
        await lost.restored(copy)
        assert unit in {row.unit for row in await lost.read(lambda rows: rows.units.all())}
        await lost.settle(1)
        assert unit not in {row.unit for row in await lost.read(lambda rows: rows.units.all())}
