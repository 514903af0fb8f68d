"""Backups: sealed to a key that is nowhere on the disk, whole or refused, and durable before a new key is published."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from connectors import commands, enrolment, executor, inbox, keeping, recovery, restoring, returning, sending, settings
from connectors.box import DataKey
from connectors.cli import connector
from connectors.context import Context
from connectors.identity import Identities
from connectors.sealedfile import CHUNK, SealedReader, SealedWriter
from connectors.spool import Spool
from schemas.errors import HandslagError
from schemas.inbox import InboxItem
from tests.agency.conftest import World
from tests.canaries.scan import everything, in_bytes, in_files


def run(*arguments: object, text: str | None = None) -> dict:
    result = CliRunner().invoke(
        connector, [*map(str, arguments), "--json"], input=text, catch_exceptions=False, standalone_mode=False
    )
    return json.loads(result.stdout)


def refused(*arguments: object, text: str | None = None) -> HandslagError:
    with pytest.raises(HandslagError) as caught:
        run(*arguments, text=text)
    return caught.value


def remove(file: str) -> None:
    Path(file).unlink()


@pytest.fixture
def shares(world: World) -> list[str]:
    """A recovery key whose shares the test holds, in place of the one that `init` drew."""
    made = enrolment.new_recovery_key(world.config, world.config.parent / "keys" / "agency.key")
    return list(made.shares)


def sealed(data: bytes) -> tuple[bytes, list[str]]:
    public, shares = recovery.create()
    file = io.BytesIO()
    writer = SealedWriter(file, public)
    writer.write(data)
    writer.close()
    return file.getvalue(), list(shares)


def opened(data: bytes, shares: list[str]) -> bytes:
    reader = SealedReader(io.BytesIO(data), recovery.opened(shares))
    parts = []
    while part := reader.read(100_000):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_what_was_sealed_comes_back(size: int) -> None:
    plain = os.urandom(size)
    data, shares = sealed(plain)
    assert opened(data, shares[:2]) == plain
    assert opened(data, [shares[2], shares[0]]) == plain


def test_a_backup_that_is_cut_or_changed_is_refused() -> None:
    plain = os.urandom(2 * CHUNK + 10)
    data, shares = sealed(plain)
    head = 4 + int.from_bytes(data[:4], "big")
    chunk = CHUNK + 16
    whole = [data[head : head + chunk], data[head + chunk : head + 2 * chunk], data[head + 2 * chunk :]]
    broken = {
        "cut after a chunk": data[: head + chunk],
        "cut within one": data[: head + chunk + 100],
        "last chunk cut": data[:-1],
        "two chunks changed places": data[:head] + whole[1] + whole[0] + whole[2],
        "one left out": data[:head] + whole[0] + whole[2],
        "one twice": data[:head] + whole[0] + whole[0] + whole[1] + whole[2],
        "one bit": data[: head + 5] + bytes([data[head + 5] ^ 1]) + data[head + 6 :],
        "something added": data + b"x",
        "header only": data[:head],
        "nothing": b"",
        "part of a header": data[:100],
        "a bit of the header": data[: head - 3] + bytes([data[head - 3] ^ 1]) + data[head - 2 :],
    }
    for name, bad in broken.items():
        with pytest.raises(HandslagError) as caught:
            opened(bad, shares[:2])
        assert caught.value.code == "HS-BACKUP-INVALID", name
    assert opened(data, shares[:2]) == plain  # positive control


def test_one_share_or_shares_of_two_keys_open_nothing() -> None:
    data, shares = sealed(b"x")
    _, other = sealed(b"y")
    wrong = {
        "count": [shares[0]],
        "count ": [shares[0], shares[0]],
        "mixed": [shares[0], other[1]],
        "first share": [shares[0].replace(shares[0].split()[5], "acid", 1), shares[1]],
        "second share": [shares[0], " ".join(shares[1].split()[:-1])],
    }
    for check, given in wrong.items():
        with pytest.raises(HandslagError) as caught:
            recovery.opened(given)
        assert (caught.value.code, caught.value.context["check"]) == ("HS-SHARES-INVALID", check.strip())
        assert not set(str(caught.value).split()) & set(shares[0].split()[3:])
    with pytest.raises(HandslagError) as caught:
        opened(data, other[:2])
    assert (caught.value.code, caught.value.context["check"]) == ("HS-BACKUP-INVALID", "key")


def test_a_sheet_of_paper_gives_its_shares_back() -> None:
    public, shares = recovery.create()
    text = recovery.sheet("SOC/EXEMPEL/KONSULT", public, shares)
    assert recovery.from_sheet(text) == list(shares)
    assert recovery.from_sheet("\n".join(shares)) == list(shares)
    for number, share in enumerate(shares, start=1):
        assert f"SHARE {number}" in text
        assert recovery.check_of(share) in text
    assert "Förvara" in text
    assert "Keep" in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_private_half_of_the_recovery_key_is_nowhere_on_the_disk(tmp_path: Path) -> None:
    made = run(
        "init", "--dir", tmp_path / "c", "--unit", "SOC/EXEMPEL/KONSULT", "--agency", "EXEMPELKOMMUN",
        "--controller", "EX", "--role", "social_services_lead",
    )  # fmt: skip
    shares = made["shares"]
    assert len(shares) == recovery.SHARES
    private = recovery.opened(shares[:2]).private_bytes()
    wanted = {"signing": private[:32], "mlkem": private[32:96], "x25519": private[96:]}
    for path in everything(tmp_path):
        data = path.read_bytes()
        assert not [name for name, secret in wanted.items() if secret in data or secret.hex().encode() in data]
        assert shares[0].split()[6:9] != data.split()[6:9]
    words = {f"share {n}": " ".join(share.split()[4:]) for n, share in enumerate(shares)}
    assert in_files(everything(tmp_path), words, tmp_path) == []
    (tmp_path / "control").write_text(shares[0])
    assert in_files(everything(tmp_path), words, tmp_path)  # positive control
    assert recovery.public_of(tmp_path / "c" / "keys").key_id.hex()[:16] == made["recovery_key"]


def test_shares_go_to_a_file_that_is_written_once(tmp_path: Path) -> None:
    file = tmp_path / "sheets.txt"
    arguments = ["--unit", "SOC/EXEMPEL/KONSULT", "--agency", "EX", "--controller", "EX", "--role",
                 "social_services_lead", "--shares", file]  # fmt: skip
    made = run("init", "--dir", tmp_path / "a", *arguments)
    assert (made["shares"], made["shares_file"]) == ([], str(file))
    assert file.stat().st_mode & 0o077 == 0
    assert len(recovery.from_sheet(file.read_text())) == recovery.SHARES
    assert refused("init", "--dir", tmp_path / "b", *arguments).code == "HS-KEY-FILE"
    again = run("init", "--dir", tmp_path / "d", *arguments[:-2],
                "--recovery-key", tmp_path / "a" / "keys" / "recovery.pub")  # fmt: skip
    assert (again["recovery_key"], again["shares"]) == (made["recovery_key"], [])


async def test_a_seat_key_is_published_only_after_a_backup_holds_it(world: World, shares: list[str]) -> None:
    ctx = world.ctx
    assert keeping.last(ctx.spool) is None
    await keeping.kept(ctx)
    first = keeping.last(ctx.spool)
    assert first is not None
    await keeping.kept(ctx)
    assert keeping.last(ctx.spool) == first  # nothing new, nothing written
    ctx.identities.update(replace(world.seat, private=world.police.private_bytes()))
    await keeping.kept(ctx)
    second = keeping.last(ctx.spool)
    assert second is not None
    assert second.number == first.number + 1
    remove(second.file)
    await keeping.kept(ctx)
    assert keeping.there(keeping.last(ctx.spool))  # type: ignore[arg-type]


async def test_without_a_durable_backup_no_key_leaves(world: World, shares: list[str]) -> None:
    """The folder for backups is a file: the command waits, the agency is told, and the broker is not even asked."""
    ctx = world.ctx
    world.config.write_text(world.config.read_text() + 'backup_dir = "nowhere"\n')
    (world.config.parent / "nowhere").write_text("")
    world.reopen()
    ctx = world.ctx
    executor.submit(ctx, commands.read(b'{"do": "open_case", "ref": "EX-2", "role": "social_services_lead"}'))
    assert await executor.run_due(ctx) == 0
    [alarm] = [i.value for i in ctx.spool.incoming.to_write() if i.value["kind"] == "alarm"]
    assert alarm["code"] == "HS-BACKUP-FAILED"
    assert ctx.spool.store.all("SELECT count(*) FROM call") == [(0,)]
    (world.config.parent / "nowhere").unlink()
    ctx.spool.commands.soon()
    with pytest.raises(AssertionError, match="link is used"):  # now it asks, and the test has no network
        await executor.run_due(ctx)
    assert ctx.spool.store.all("SELECT count(*) FROM call") == [(1,)]


def test_backups_are_counted_and_the_oldest_go(world: World, shares: list[str]) -> None:
    world.config.write_text(world.config.read_text() + "backups_kept = 2\n")
    folder = world.config.parent / "backup"
    names = [Path(run("backup", "--config", world.config)["file"]).name for _ in range(4)]
    (folder / "another-units.handslag").write_bytes(b"x")
    run("backup", "--config", world.config)
    left = sorted(path.name for path in folder.glob("*.handslag"))
    assert len(left) == 3
    assert names[0] not in left
    assert "another-units.handslag" in left
    status = run("status", "--config", world.config)["backup"]
    assert status["there"]
    assert status["holds_every_key"]
    assert 0 <= status["age_s"] < 60
    assert not list((world.config.parent / "data").glob(".backup*"))


def test_nothing_of_a_backup_is_readable(world: World, shares: list[str]) -> None:
    ctx = world.ctx
    ctx.spool.incoming.put("x", "out", {"kind": "delivery", "data": "Tolvan Exempelsson"})
    file = Path(run("backup", "--config", world.config, "-o", world.config.parent / "copy")["file"])
    secrets = {
        "data key": (world.config.parent / "keys" / "data.key").read_bytes(),
        "unit key": (world.config.parent / "keys" / "unit-signing.key").read_bytes(),
    }
    canaries = {"person": "Tolvan Exempelsson", "unit": "EXEMPEL/KONSULT", "file": "connector.db",
                "engine": "SQLite format 3", "trust": "signing_key", "certificate": "BEGIN CERTIFICATE"}  # fmt: skip
    data = file.read_bytes()
    assert in_bytes(data, canaries, "backup") == []
    assert not [name for name, secret in secrets.items() if secret in data]
    plain = opened(data, shares[:2])  # positive control: with two shares it is all there
    found = {hit.canary for hit in in_bytes(plain, canaries, "plain")}
    assert found >= {"unit", "file", "engine", "trust", "certificate"}
    assert [name for name, secret in secrets.items() if secret in plain] == list(secrets)
    assert file.stat().st_mode & 0o077 == 0


def test_restore_rebuilds_the_folder_or_writes_nothing(world: World, shares: list[str], tmp_path: Path) -> None:
    file = Path(run("backup", "--config", world.config)["file"])
    two = tmp_path / "two.txt"
    two.write_text("\n".join(shares[1:]))
    cut = tmp_path / "cut"
    cut.write_bytes(file.read_bytes()[:-1])
    target = tmp_path / "new"
    assert refused("restore", cut, "--dir", target, "--shares", two).code == "HS-BACKUP-INVALID"
    one = tmp_path / "one.txt"
    one.write_text(shares[0])
    assert refused("restore", file, "--dir", target, "--shares", one).code == "HS-SHARES-INVALID"
    assert not target.exists()
    assert not list(tmp_path.glob(".new*"))
    made = run("restore", file, "--dir", target, "--shares", two)
    assert made["unit"] == "SOC/EXEMPEL/KONSULT"
    current = settings.load(target / "connector.toml")
    for path in target.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
    spool = Spool(current.database, DataKey.load(current.data_key))
    assert Identities(spool.store).get("EX-1").private == world.seat.private
    spool.close()
    for name in keeping.KEYS:
        assert (target / "keys" / name).read_bytes() == (world.config.parent / "keys" / name).read_bytes()
    status = run("status", "--config", target / "connector.toml")
    assert status["restored"]["in_service_since"] is None
    assert status["restored"]["instance"] == 2
    assert refused("restore", file, "--dir", target, "--shares", two).code == "HS-RESTORE-EXISTS"


def test_shares_are_asked_for(world: World, shares: list[str], tmp_path: Path) -> None:
    file = run("backup", "--config", world.config)["file"]
    made = run("restore", file, "--dir", tmp_path / "new", text=f"{shares[0]}\n{shares[2].upper()}\n")
    assert Path(made["config"]).is_file()


async def test_a_restored_connector_says_nothing_before_its_number_counts(
    world: World, shares: list[str], tmp_path: Path
) -> None:
    file = Path(run("backup", "--config", world.config)["file"])
    unpacked = restoring.unpack(file, recovery.opened(shares[:2]), tmp_path / "new")
    ctx = Context.load(settings.load(unpacked.config))
    returning.prepare(ctx, recovery.opened(shares[:2]), backup_at_us=1, number=unpacked.instance)
    ctx.spool.close()
    ctx = Context.load(settings.load(unpacked.config))
    async with ctx.link:
        with pytest.raises(HandslagError) as caught:
            await ctx.link.raw("/v1/checkpoint")
        assert caught.value.code == "HS-NOT-READY"
        with pytest.raises(HandslagError) as caught:
            await returning.announce(ctx)
        assert caught.value.code == "HS-BROKER-UNREACHABLE"  # positive control: this call it makes
    ctx.spool.close()


async def test_a_grant_that_waited_in_the_backup_is_not_recorded_after_the_restore(
    world: World, shares: list[str], tmp_path: Path
) -> None:
    ctx = world.ctx
    grant = {
        "do": "grant", "ref": "EX-1", "recipients": [{"role": "police_coordination"}], "categories": ["IC04"],
        "purposes": ["THREAT_ASSESSMENT"], "valid_until": "2030-01-01T00:00:00Z", "text_version": "1",
        "terms_version": "1", "processing_acknowledged": True, "method": "WRITTEN",
    }  # fmt: skip
    withdraw = {"do": "withdraw_case", "ref": "EX-1", "method": "WRITTEN"}
    executor.submit(ctx, commands.read(json.dumps(grant).encode()))
    send = {"do": "send", "ref": "EX-1", "event_type": "threat_assessment_requested", "to": ["police_coordination"],
            "purpose": "THREAT_ASSESSMENT", "confirmed": True,
            "data": {"reason_code": "EXIT_WISH", "urgency": "SOON", "known_facts": []}}  # fmt: skip
    executor.submit(ctx, commands.read(json.dumps(send).encode()))
    file = Path(run("backup", "--config", world.config)["file"])
    unpacked = restoring.unpack(file, recovery.opened(shares[:2]), tmp_path / "new")
    restored = Context.load(settings.load(unpacked.config))
    counts = returning.prepare(restored, recovery.opened(shares[:2]), backup_at_us=1, number=1)
    assert (counts["not_carried_out"], counts["waits_for_a_person"]) == (1, 1)
    assert restored.spool.commands.waiting() == []
    codes = {item.value.get("code") for item in restored.spool.incoming.to_write()}
    assert "HS-RESTORED" in codes
    assert [row["state"] for row in sending.waiting_list(restored)] == ["EXPIRED"]
    restored.spool.close()
    # positive control: what narrows stays and is carried out
    executor.submit(ctx, commands.read(json.dumps(withdraw).encode()))
    file = Path(run("backup", "--config", world.config)["file"])
    unpacked = restoring.unpack(file, recovery.opened(shares[:2]), tmp_path / "later")
    restored = Context.load(settings.load(unpacked.config))
    returning.prepare(restored, recovery.opened(shares[:2]), backup_at_us=1, number=1)
    assert [command.kind for command in restored.spool.commands.waiting()] == ["withdraw_case"]
    assert restored.spool.commands.stopped(restored.identities.handle("EX-1"))
    restored.spool.close()


ASSESSMENT = {
    "threat_level": "HIGH", "capability_known": True, "assessed_until": "2026-12-31", "withheld_part": True,
    "released_by_decision_ref": "EXEMPEL-1",
}  # fmt: skip


async def test_a_delivery_that_may_have_been_given_waits_for_a_person(
    world: World, shares: list[str], tmp_path: Path
) -> None:
    def item(delivery):
        return InboxItem(item_id=delivery.delivery_id, kind="DELIVERY", body=delivery.to_bytes())

    stored = world.delivery("threat_assessment_completed", ASSESSMENT, delivery_id=b"1" * 16)
    inbox.take_all(world.ctx, [item(stored)])  # stored, and not yet written when the backup is made
    after = world.delivery("threat_assessment_completed", ASSESSMENT, delivery_id=b"2" * 16)
    new = world.delivery("threat_assessment_completed", ASSESSMENT, delivery_id=b"3" * 16)
    file = Path(run("backup", "--config", world.config)["file"])
    unpacked = restoring.unpack(file, recovery.opened(shares[:2]), tmp_path / "new")
    ctx = Context.load(settings.load(unpacked.config))
    assert returning.prepare(ctx, recovery.opened(shares[:2]), backup_at_us=1, number=1)["held"] == 1
    inbox.take_all(ctx, [item(replace(after, hand_number=2)), item(new)])
    given = [each.value["delivery_id"] for each in ctx.spool.incoming.to_write() if each.folder == "out"]
    assert given == ["33333333-3333-3333-3333-333333333333"]  # first handed over after the loss: nobody had it
    told = {e.value["delivery_id"] for e in ctx.spool.incoming.to_write() if e.value["kind"] == "perhaps_given"}
    assert len(told) == 2
    assert {ack.item_id for ack in ctx.spool.incoming.acks()} == set()
    ctx.spool.close()
    config = unpacked.config
    held = run("held", "--config", config)["held"]
    assert {row["delivery_id"] for row in held} == told
    assert "data" not in held[0]
    first, second = sorted(told)
    assert refused("held", "--config", config, "--given", "0" * 32).code == "HS-EVENT-UNKNOWN"
    assert run("held", "--config", config, "--given", first, "--not-given", second)["held"] == []
    ctx = Context.load(settings.load(config))
    given = [each.value["delivery_id"] for each in ctx.spool.incoming.to_write() if each.folder == "out"]
    assert given == [second, "33333333-3333-3333-3333-333333333333"]
    assert [ack.item_id.hex() for ack in ctx.spool.incoming.acks()] == [first.replace("-", "")]
    ctx.spool.close()


def test_a_file_that_survived_is_not_given_again(world: World, shares: list[str], tmp_path: Path) -> None:
    delivery = world.delivery("threat_assessment_completed", ASSESSMENT, delivery_id=b"4" * 16)
    elsewhere = tmp_path / "share"
    (elsewhere / "out").mkdir(parents=True, mode=0o700)
    world.config.write_text(world.config.read_text() + f'folder = "{elsewhere}"\n')
    file = Path(run("backup", "--config", world.config)["file"])
    (elsewhere / "out" / f"{delivery.delivery_id.hex()}.json").write_text("{}")
    unpacked = restoring.unpack(file, recovery.opened(shares[:2]), tmp_path / "new")
    ctx = Context.load(settings.load(unpacked.config))
    assert ctx.settings.folder == elsewhere
    assert returning.prepare(ctx, recovery.opened(shares[:2]), backup_at_us=1, number=1)["given_before"] == 1
    body = replace(delivery, hand_number=2).to_bytes()
    inbox.take_all(ctx, [InboxItem(item_id=delivery.delivery_id, kind="DELIVERY", body=body)])
    assert [each for each in ctx.spool.incoming.to_write() if each.folder == "out"] == []
    assert ctx.spool.incoming.held() == []
    assert [ack.item_id for ack in ctx.spool.incoming.acks()] == [delivery.delivery_id]
    ctx.spool.close()
