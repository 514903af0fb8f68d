"""A whole node on real files: copied while it runs, restored, held, continued; and what the offline verifier says."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from audit.checkpoint import Checkpoint, sign_checkpoint
from audit.continuation import check_statement
from audit.trailfile import TrailFile
from audit.verify import verify
from broker import backup, initialise, restoring, settings
from broker.actfiles import private_key, signed_by
from broker.metrics import Metrics
from broker.node import Node, opened
from broker.restoring import Known
from schemas.errors import HandslagError
from schemas.hold import Continuation, SignedContinuation
from schemas.trail import Payload

ORIGIN = "exempel.invalid/audit"


@pytest.fixture
def loaded(tmp_path):
    plan = initialise.InitPlan("127.0.0.1:0", ("127.0.0.1",), ORIGIN, None, "127.0.0.1:0")
    made = initialise.initialise(tmp_path / "broker", plan, datetime.now(UTC))
    return settings.load(made.config)


@asynccontextmanager
async def node(loaded):
    """A node with its engines open; the loops are left out, so that a test beats by hand."""
    with ExitStack() as stack:
        store, vault = opened(loaded)
        stack.callback(vault.close)
        stack.callback(store.close)
        one = Node(loaded, Metrics(), store, vault)
        one.core = await one.open_log()
        yield one


async def beats(one, count: int) -> str:
    for number in range(count):
        entry = one.recorder.about_operator("ADMIN", Payload(code="HS-EXEMPEL"), 1_790_000_000_000_000 + number)
        await one.store.write(lambda rows, entry=entry: rows.entries.insert([entry]))
        await one.sealer.beat()
    return await one.trail.checkpoint_note()


async def went_on(one, reason: str):
    """Two administrators sign what the node says is missing, and it goes on."""
    files, named = one.files, one.settings.administration
    missing = await one.served.continuing.missing()
    if missing is not None:
        about = bytes.fromhex(missing["subject"])
        signed = files.draft(missing["kind"], 1, subject=about, reason=reason)
        for key in (named.first_key_file, named.second_key_file):
            signed = signed_by(signed, private_key(key), files.chain)
        files.append(signed)
    return await one.served.continuing.go_on()


def quiet(*_told) -> None:
    """Progress that nobody looks at."""


def verified(loaded, one, remembered: str | None = None):
    with TrailFile(loaded.database, lambda: one.store._cipher) as trail:
        return verify(
            trail, origin=ORIGIN, log_keys=[one.log.signer(1).verifier],
            remembered=None if remembered is None else remembered.encode(),
        )  # fmt: skip


async def lost(loaded, copy) -> str:
    """A node that was copied after three beats and lost after six; its newest checkpoint."""
    async with node(loaded) as one:
        await beats(one, 3)
        backup.write(loaded, copy, quiet)
        note = await beats(one, 3)
    shutil.rmtree(loaded.data_dir)
    return note


async def test_every_entry_of_a_copy_has_its_key_in_it(loaded, tmp_path):
    async with node(loaded) as one:
        await beats(one, 2)
        manifest = backup.write(loaded, tmp_path / "copy", quiet)
        await beats(one, 1)
    assert backup.read_manifest(tmp_path / "copy", ORIGIN) == manifest
    assert not any("root" in name or name.endswith(".key") for name in manifest["files"])
    with closing(sqlite3.connect(tmp_path / "copy" / "keys.db")) as keys:
        assert keys.execute("SELECT count(*) FROM seat_key").fetchone()[0] >= 1
    assert manifest["checkpoint"].startswith(f"{ORIGIN}\n{manifest['size']}\n")


@pytest.mark.parametrize("part", ["store", "files", "manifest", "extra"])
async def test_a_copy_that_was_touched_is_refused_and_leaves_nothing(loaded, tmp_path, part):
    copy = tmp_path / "copy"
    await lost(loaded, copy)
    if part == "store":
        with (copy / "broker.db").open("r+b") as file:
            file.seek(8192)
            file.write(os.urandom(64))
    elif part == "files":
        (copy / "keys.db").unlink()
    elif part == "manifest":
        (copy / backup.MANIFEST).write_text("{}")
    else:
        (copy / "more").write_text("x")
    with pytest.raises(HandslagError, match="HS-COPY-INVALID"):
        restoring.restore(loaded, copy, Known(), quiet)
    assert not loaded.data_dir.exists()


async def test_a_restore_and_a_backup_overwrite_nothing(loaded, tmp_path):
    async with node(loaded) as one:
        await beats(one, 1)
        backup.write(loaded, tmp_path / "copy", quiet)
        with pytest.raises(HandslagError, match="HS-COPY-EXISTS"):
            backup.write(loaded, tmp_path / "copy", quiet)
    with pytest.raises(HandslagError, match="HS-COPY-EXISTS"):
        restoring.restore(loaded, tmp_path / "copy", Known(), quiet)


async def test_a_copy_of_another_root_key_is_refused(loaded, tmp_path):
    await lost(loaded, tmp_path / "copy")
    other = initialise.initialise(
        tmp_path / "other",
        initialise.InitPlan("127.0.0.1:0", ("127.0.0.1",), ORIGIN, None, "127.0.0.1:0"),
        datetime.now(UTC),
    )
    shutil.copy2(settings.load(other.config).root_key_file, loaded.root_key_file)
    with pytest.raises(HandslagError, match="HS-KEYS-UNREADABLE"):
        restoring.restore(loaded, tmp_path / "copy", Known(), quiet)
    assert not loaded.data_dir.exists()


async def test_a_restored_store_starts_in_hold_whatever_the_anchor_says(loaded, tmp_path):
    await lost(loaded, tmp_path / "copy")
    restoring.restore(loaded, tmp_path / "copy", Known(), quiet)
    shutil.copy2(tmp_path / "copy" / "anchor", loaded.data_dir / "anchor")  # it agrees with the store
    for _ in range(2):  # and a restart changes nothing
        async with node(loaded) as one:
            assert await one.core.readiness() == ("HS-HOLD",)
            assert one.core.keeper.silent


async def test_a_store_behind_its_anchor_begins_a_hold(loaded, tmp_path):
    await lost(loaded, tmp_path / "copy")
    restoring.restore(loaded, tmp_path / "copy", Known(), quiet)
    async with node(loaded) as one:
        await went_on(one, "test")
        await beats(one, 1)
        copy = tmp_path / "older.db"
        one.store.truncate_wal()
        shutil.copy2(loaded.database, copy)
        await beats(one, 2)
    shutil.copy2(copy, loaded.database)
    async with node(loaded) as one:
        assert (await one.core.readiness(), one.core.keeper.row.cause) == (("HS-HOLD",), "ANCHOR")
        signed = await went_on(one, "again")
        assert Continuation.from_bytes(signed.statement).new_origin == f"{ORIGIN}/3"


async def test_a_broker_in_hold_signs_nothing_before_its_log_goes_on(loaded, tmp_path):
    await lost(loaded, tmp_path / "copy")
    restoring.restore(loaded, tmp_path / "copy", Known(), quiet)
    async with node(loaded) as one:
        kept = await one.trail.checkpoint_note()
        with pytest.raises(HandslagError, match="HS-TRAIL-ROLLBACK"):
            await one.sealer.beat()
        assert await one.trail.checkpoint_note() == kept
        await went_on(one, "test")
        await one.sealer.beat()
        assert (await one.trail.checkpoint_note()).startswith(f"{ORIGIN}/2\n")
        with pytest.raises(HandslagError, match="HS-HOLD-NONE"):
            await went_on(one, "twice")


async def test_a_note_larger_than_the_log_begins_a_hold(loaded, tmp_path):
    note = await lost(loaded, tmp_path / "copy")
    restoring.restore(loaded, tmp_path / "copy", Known(), quiet)
    async with node(loaded) as one:
        with pytest.raises(HandslagError, match="HS-HOLD"):
            await one.core._check_seen(note)
        state = await one.core.keeper.status()
        assert (state["cause"], state["seen_size"]) == ("RESTORED", int(note.split("\n")[1]))


async def test_what_was_stated_begins_no_second_hold(loaded, tmp_path):
    note = await lost(loaded, tmp_path / "copy")
    restoring.restore(loaded, tmp_path / "copy", Known((note.encode(),)), quiet)
    async with node(loaded) as one:
        await went_on(one, "test")
        await one.sealer.beat()
        with pytest.raises(HandslagError, match="HS-LOG-CONTINUED"):
            await one.core._check_seen(note)
        assert not one.core.keeper.active  # nobody had a seat
        later = sign_checkpoint(Checkpoint(f"{ORIGIN}/2", 10**6, bytes(32)), [one.log.signer(2)]).decode()
        with pytest.raises(HandslagError, match="HS-HOLD"):
            await one.core._check_seen(later)  # but a later loss is a loss
        assert one.core.keeper.row.cause == "WITNESS"


async def test_a_restored_broker_widens_nothing_before_its_log_goes_on(loaded, tmp_path):
    await lost(loaded, tmp_path / "copy")
    restoring.restore(loaded, tmp_path / "copy", Known(), quiet)
    async with node(loaded) as one:
        for call in (one.core.fetch, one.core.open_case, one.core.invite, one.core.accept):
            with pytest.raises(HandslagError, match="HS-HOLD"):
                await call("EXEMPEL", None)


async def test_the_verifier_tells_of_a_continuation_and_of_what_was_lost(loaded, tmp_path):
    note = await lost(loaded, tmp_path / "copy")
    told = restoring.restore(loaded, tmp_path / "copy", Known((note.encode(),)), quiet)
    async with node(loaded) as one:
        await went_on(one, "test")
        now = await beats(one, 3)
    report = verified(loaded, one, note)
    assert report.findings == []
    (said,) = report.continuations
    assert (said["lost"], said["administrator"]) == (told["lost_leaves"], "demo-first, demo-second")
    assert said["lost"] > 0
    assert "remembered-lost" in report.not_shown
    assert "CONTINUED AFTER A LOSS" in report.text("en")
    assert "FORTSATT EFTER FÖRLUST" in report.text("sv")
    assert verified(loaded, one, now).findings == []


async def test_a_loss_larger_than_stated_is_a_finding(loaded, tmp_path):
    note = await lost(loaded, tmp_path / "copy")
    restoring.restore(loaded, tmp_path / "copy", Known(), quiet)  # nobody tells of the newer checkpoint
    async with node(loaded) as one:
        await went_on(one, "test")
        await beats(one, 1)
    assert [(one.check, one.part) for one in verified(loaded, one, note).findings] == [("remembered", "lost")]


async def test_a_log_that_goes_on_without_a_statement_is_broken(loaded, tmp_path):
    note = await lost(loaded, tmp_path / "copy")
    restoring.restore(loaded, tmp_path / "copy", Known((note.encode(),)), quiet)
    async with node(loaded) as one:
        await went_on(one, "test")
        await beats(one, 2)
    changes = [
        ("DELETE FROM continuation", ()),
        ("UPDATE continuation SET signature=?", (bytes(64),)),
        ("UPDATE continuation SET number=3", ()),
        ("UPDATE continuation SET entry_id=?", (bytes(16),)),
    ]
    whole = loaded.database.read_bytes()
    for sql, values in changes:
        with closing(sqlite3.connect(loaded.database)) as db, db:
            db.execute(sql, values)
        assert "continuation" in verified(loaded, one).counts
        loaded.database.write_bytes(whole)
    assert verified(loaded, one).findings == []


async def test_a_statement_that_its_checkpoints_do_not_bear_is_refused(loaded, tmp_path):
    note = await lost(loaded, tmp_path / "copy")
    restoring.restore(loaded, tmp_path / "copy", Known((note.encode(),)), quiet)
    async with node(loaded) as one:
        signed = await went_on(one, "test")
        log = one.log.signer(1).verifier
        said = check_statement(signed, base=ORIGIN, log=log)
        lies = {
            "old": [{"old_size": said.old_size + 1}, {"old_root": bytes(32)}],
            "new": [{"kept_size": said.kept_size - 1}, {"kept_root": bytes(32)}],
            "origin": [{"new_origin": ORIGIN}, {"new_origin": "another.example/audit"}, {"old_origin": f"{ORIGIN}/2"}],
        }
        for check, changed in lies.items():
            for one_lie in changed:
                raw = replace(said, **one_lie).to_bytes()
                with pytest.raises(HandslagError) as caught:
                    check_statement(
                        SignedContinuation(statement=raw, signature=one.log.sign(raw)), base=ORIGIN, log=log
                    )
                assert caught.value.context["check"] == check
        with pytest.raises(HandslagError, match="HS-PROOF-INVALID"):
            check_statement(replace(signed, signature=bytes(64)), base=ORIGIN, log=log)
