"""The operator's acts made after the copy: given back by the connectors that were shown them, or by the operator."""

from __future__ import annotations

import shutil

import pytest

from broker.actfiles import ActFiles, private_key, signed_by
from broker.restoring import Known
from connectors import operators
from schemas.admin import REVOKE, AdminTarget, SignedAdminAct
from schemas.errors import HandslagError
from schemas.hold import HoldActsRequest
from tests.evil.house import UNITS
from tests.hold.lost import World, world


@pytest.fixture
async def lost(tmp_path):
    async with world(tmp_path) as made:
        yield made


def drawn_up(lost: World, files: ActFiles, unit: str, reason: str) -> SignedAdminAct:
    named = lost.node.settings.administration
    target = AdminTarget(unit=unit, subject=files.chain().admitted[unit])
    signed = files.draft(REVOKE, 1, targets=[target], reason=reason)
    for key in (named.first_key_file, named.second_key_file):
        signed = signed_by(signed, private_key(key), files.chain)
    return signed


async def revoke(lost: World, unit: str) -> None:
    """`handslag agency revoke`, at the broker that will be lost."""
    files = lost.node.files
    files.append(drawn_up(lost, files, unit, "EXEMPEL"))
    await lost.core.record_acts(files.all())
    await lost.core.revoke(unit)


async def admitted(lost: World) -> set[str]:
    return {row.unit for row in await lost.read(lambda rows: rows.units.all())}


async def test_a_revocation_after_the_copy_is_not_undone(lost, tmp_path):
    unit = UNITS["probation"].unit
    copy = lost.copied(tmp_path / "copy")
    await revoke(lost, unit)
    lost.off.add("probation")
    await lost.settle(2)
    before = lost.node.files.chain()
    lost.lose()
    await lost.restored(copy)
    assert unit in await admitted(lost)  # the copy admits it
    await lost.settle(2)
    assert unit not in await admitted(lost)
    assert lost.node.files.chain() == before
    recorded = await lost.read(lambda rows: rows.admin.hashes())
    assert len(recorded) == before.count
    await lost.whole_again()
    for name in ("social", "police"):
        now = operators.remembered(lost.agency(name).ctx)
        assert (now.count, now.admitted) == (before.count + 1, before.admitted)  # one more: that the log goes on
        assert not lost.agency(name).files("receipts", kind="alarm", code="HS-ADMIN-ACT-INVALID")


async def test_acts_that_survived_are_taken_in_by_the_restore(lost, tmp_path):
    unit = UNITS["probation"].unit
    copy = lost.copied(tmp_path / "copy")
    await revoke(lost, unit)
    survived = shutil.copytree(lost.node.settings.data_dir / "acts", tmp_path / "survived")
    lost.lose()
    told = await lost.restored(copy, Known(acts=survived))
    assert (told["acts_added"], told["revoked"], told["admit_again"]) == (1, [unit], [])
    assert unit not in await admitted(lost)  # before any connector has spoken
    with pytest.raises(HandslagError, match="HS-UNIT-UNKNOWN"):
        await lost.core.seen(unit, 0, None)


async def test_only_acts_of_the_same_chain_are_taken_back(lost, tmp_path):
    copy = lost.copied(tmp_path / "copy")
    unit = UNITS["probation"].unit
    one, other = (drawn_up(lost, lost.node.files, unit, reason) for reason in ("one", "other"))
    await lost.lost_and_restored(copy)
    hold = lost.core.keeper.row.hold_id

    async def given(*acts: SignedAdminAct) -> int:
        return (await lost.core.hold_acts(UNITS["social"].unit, HoldActsRequest(hold_id=hold, acts=acts))).count

    kept = await given()
    with pytest.raises(HandslagError, match="HS-ADMIN-UNSIGNED"):
        await given(SignedAdminAct(act=one.act, signatures=one.signatures[:1]))
    with pytest.raises(HandslagError, match="HS-ADMIN-ACT-INVALID"):
        await given(SignedAdminAct(act=one.act, signatures=other.signatures))
    assert (await given(one), await given(one)) == (kept + 1, kept + 1)
    with pytest.raises(HandslagError, match="HS-ADMIN-ACT-INVALID"):
        await given(other)
    with pytest.raises(HandslagError, match="HS-HOLD-NONE"):
        await lost.core.hold_acts(unit, HoldActsRequest(hold_id=bytes(16), acts=()))
    assert unit not in await admitted(lost)
