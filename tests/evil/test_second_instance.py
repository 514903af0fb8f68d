"""Two connectors of one unit at once, over HTTPS: a restored one, and the copy that it takes over from."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from broker import admissions
from connectors import enrolment, exposure, recovery, restoring, returning, settings
from connectors.cli import connector
from connectors.client import Connector
from connectors.context import Context
from connectors.keys import UnitKeyPair
from schemas.errors import HandslagError
from tests.evil.house import Agency, House, assessment, house, request_assessment


class Home:
    """The house with a case, and a recovery key of social services whose shares the test holds."""

    def __init__(self, made: House, folder: Path) -> None:
        self.house, self.folder = made, folder
        self.social, self.police = made.social, made.police
        self.config = folder / "social" / "connector.toml"

    def backed_up(self) -> Path:
        arguments = ["backup", "--config", str(self.config), "-o", str(self.folder / "copy"), "--json"]
        done = CliRunner().invoke(connector, arguments, catch_exceptions=False, standalone_mode=False)
        return Path(json.loads(done.stdout)["file"])

    def unpacked(self, backup: Path, keys: UnitKeyPair, name: str = "new") -> Path:
        made = restoring.unpack(backup, keys, self.folder / name)
        ctx = Context.load(settings.load(made.config))
        returning.prepare(ctx, keys, backup_at_us=made.backup_at_us, number=made.instance)
        ctx.spool.close()
        return made.config

    def snapshot(self) -> Path:
        """The folder as it lies on the disk now, as a machine's image holds it."""
        shutil.copytree(self.config.parent, self.folder / "snapshot")
        return self.folder / "snapshot" / "connector.toml"

    @asynccontextmanager
    async def started(self, config: Path) -> AsyncIterator[Agency]:
        async with Connector(config) as running:
            yield Agency(running)


@pytest.fixture
async def home(tmp_path, monkeypatch):
    drawn = {}
    create = recovery.create

    def keep():
        public, shares = create()
        drawn[public.key_id] = shares
        return public, shares

    monkeypatch.setattr(recovery, "create", keep)  # the shares as `init` would have printed them
    async with house(tmp_path) as made:
        await made.case("EX-1", "PM-1")
        await made.settle(2)
        ready = Home(made, tmp_path)
        ready.shares = drawn[recovery.public_of(tmp_path / "social" / "keys").key_id]
        yield ready


async def test_an_old_snapshot_beside_the_living_one_is_refused_and_stops(home):
    keys = recovery.opened(home.shares[:2])
    config = home.unpacked(home.backed_up(), keys)
    async with home.started(config) as restored:
        await restored.beat()
        await restored.beat()
        assert restored.failed == []
        [told] = restored.files("receipts", kind="restored")
        assert (told["instance"], told["lost_seats"]) == (2, [])
        # the one that was in service until now
        home.police.command(**assessment("PM-1"))
        await home.house.settle()
        assert home.social.files("out", kind="delivery") == []
        assert "HS-INSTANCE-OLD" in home.social.failed
        assert home.social.ctx.witness.stopped
        [alarm] = home.social.files("receipts", kind="alarm")
        assert alarm["code"] == "HS-INSTANCE-OLD"
        calls = len(home.house.liar.submissions)
        home.social.command(**request_assessment("EX-1"))
        await home.house.settle()
        assert len(home.house.liar.submissions) == calls
        # positive control: the restored one gets what was sent, and sends
        restored.command(**request_assessment("EX-1"))
        for _ in range(2):
            await restored.beat()
            await home.house.settle(1)
        await restored.beat()
        assert len(restored.files("out", kind="delivery")) == 1
        assert len(home.police.files("out", kind="delivery")) == 1


async def test_a_second_restore_takes_a_higher_number_and_the_first_stops(home):
    keys = recovery.opened(home.shares[:2])
    backup = home.backed_up()
    first, second = home.unpacked(backup, keys, "first"), home.unpacked(backup, keys, "second")
    async with home.started(first) as one:
        await one.beat()
        async with home.started(second) as two:
            await two.beat()
            assert [f["instance"] for f in two.files("receipts", kind="restored")] == [3]
            await one.beat()
            assert one.ctx.witness.stopped
            assert not two.ctx.witness.stopped


async def test_a_disk_without_the_sheets_does_not_take_over(home):
    """Its holder knows the format, and signs the restore with what lies on the disk."""
    config = home.snapshot()
    ctx = Context.load(settings.load(config))
    thief = UnitKeyPair.from_private_bytes(ctx.unit_keys.private_bytes())
    returning.prepare(ctx, thief, backup_at_us=ctx.now(), number=1)
    ctx.spool.close()
    async with home.started(config) as stolen:
        with pytest.raises(HandslagError) as caught:
            await returning.announce(stolen.ctx)
        assert caught.value.code == "HS-INSTANCE-UNPROVEN"
    await home.social.beat()
    assert home.social.failed == []  # the living one goes on


async def test_a_connector_that_was_taken_over_can_still_close_its_unit(home):
    keys = recovery.opened(home.shares[:2])
    config = home.unpacked(home.backed_up(), keys)
    async with home.started(config) as restored:
        await restored.beat()
        await home.social.beat()
        assert home.social.ctx.witness.stopped
        ctx = Context.load(settings.load(home.config))
        async with ctx.link:
            assert await exposure.close_unit(ctx, 5.0) is not None
        ctx.spool.close()
        await restored.beat()
        assert set(restored.failed) == {"HS-UNIT-UNKNOWN"}


async def test_a_unit_that_was_shut_out_stays_out_after_a_restart(home):
    ctx = Context.load(settings.load(home.config))
    async with ctx.link:
        await exposure.close_unit(ctx, 5.0)
    ctx.spool.close()
    data = home.house.node.settings.data_dir
    core = await home.house.node.open_log()  # what a start does with the admissions in the folder
    certificates = {each.unit: each.certificate_sha256 for each in admissions.load_all(data)}
    unit = home.social.ctx.settings.unit
    assert await core.unit_of(certificates[unit]) is None
    [mine] = [each for each in admissions.load_all(data) if each.unit == unit]
    with pytest.raises(HandslagError) as caught:  # the stolen keys under a fresh certificate
        await core.admit(replace(mine, certificate_sha256=bytes(32)))
    assert caught.value.code == "HS-UNIT-COMPROMISED"
    assert await core.unit_of(certificates[home.police.ctx.settings.unit]) is not None  # positive control


def test_a_recovery_key_that_the_agency_did_not_sign_is_refused(tmp_path):
    who = enrolment.Unit(unit="SOC/EXEMPEL/KONSULT", agency="EX", controller="EX", roles=("social_services_lead",))
    enrolment.initialise(tmp_path / "a", who, None, {})
    raw = json.loads((tmp_path / "a" / "request.json").read_text())
    honest = admissions.read_request(json.dumps(raw).encode())
    assert admissions.recovery_key(honest) == recovery.public_of(tmp_path / "a" / "keys").signing
    public, _shares = recovery.create()
    operator = UnitKeyPair.generate()
    for forged in (
        enrolment.recovery_request(who.unit, public, operator),
        {**raw["recovery"], "entry_b64": enrolment.recovery_request(who.unit, public, operator)["entry_b64"]},
        enrolment.recovery_request(
            "SOC/EXEMPEL/TVA", public, enrolment.load_agency_key(tmp_path / "a" / "keys" / "agency.key")
        ),
        {"entry_b64": "AAAA", "signature_b64": "AAAA"},
    ):
        with pytest.raises(HandslagError) as caught:
            admissions.recovery_key(admissions.read_request(json.dumps({**raw, "recovery": forged}).encode()))
        assert (caught.value.code, caught.value.context["field"]) == ("HS-ADMISSION-INVALID", "recovery")
    del raw["recovery"]  # a connector of an earlier version
    assert admissions.recovery_key(admissions.read_request(json.dumps(raw).encode())) is None
