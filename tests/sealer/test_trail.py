"""Serving the log, and what connectors remember of it."""

import asyncio
import shutil
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import merkle, tlogproof
from audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from audit.note import Signer
from broker.trail import Trail, Witnessed
from schemas.errors import HandslagError


def refused(caught, code, check=None):
    assert (caught.value.code, caught.value.context.get("check")) == (code, check)


@pytest.fixture
def trail(house):
    return Trail(house.store)


async def test_every_served_proof_verifies_against_the_latest_checkpoint(house, trail):
    sealer = house.sealer()
    known = await house.record(700)
    await sealer.beat()
    known += await house.record(20)
    size = await sealer.beat()
    asked = known[::9] + known[-20:]
    answers = await trail.proofs(asked)
    assert [leaf_hash for leaf_hash, _ in answers] == asked
    note = await trail.checkpoint_note()
    for leaf_hash, proof in answers:
        covered = tlogproof.verify(
            proof.encode(), leaf_hash=leaf_hash, verifier=house.signer.verifier, origin=house.origin
        )
        assert covered.size == size
        assert tlogproof.parse(proof.encode()).checkpoint == note.encode()
    # Positive control: the proof of one leaf is none of another.
    with pytest.raises(HandslagError):
        tlogproof.verify(
            answers[0][1].encode(), leaf_hash=asked[1], verifier=house.signer.verifier, origin=house.origin
        )


async def test_what_no_checkpoint_covers_has_no_proof_yet(house, trail):
    sealer = house.sealer()
    first = await house.record(1)
    assert await trail.proofs(first) == [(first[0], None)]
    await sealer.beat()
    later = await house.record(1)
    answers = dict(await trail.proofs([*later, bytes(32), *first]))
    assert answers[later[0]] is None
    assert answers[bytes(32)] is None
    assert answers[first[0]].startswith(tlogproof.HEADER)
    # Sealed but not signed: the anchor refuses, so the checkpoint is still the old one.
    house.anchor_path.chmod(0o644)
    with pytest.raises(HandslagError):
        await sealer.beat()
    assert (await house.store.read(lambda rows: rows.entries.index_of(later))).keys() == set(later)
    assert await trail.proofs(later) == [(later[0], None)]
    with pytest.raises(HandslagError) as caught:
        await trail.tile_bytes(0, 0, 17)
    refused(caught, "HS-TILE-UNKNOWN")
    house.anchor_path.chmod(0o600)
    await sealer.beat()
    assert dict(await trail.proofs(later))[later[0]] is not None


async def test_a_call_asks_for_a_bounded_number_of_proofs(house, trail):
    with pytest.raises(HandslagError) as caught:
        await trail.proofs([bytes(32)] * 501)
    refused(caught, "HS-TOO-LARGE")


async def test_there_is_no_checkpoint_before_the_first_beat(house, trail):
    with pytest.raises(HandslagError) as caught:
        await trail.checkpoint_note()
    refused(caught, "HS-NOT-READY")


async def test_tiles_of_every_published_width_are_served(house, trail):
    sealer = house.sealer()
    sizes = [await sealer.beat() for _ in range(40)]
    leaves = await house.leaves()
    assert sizes[-1] == len(leaves) == 640
    for size in sizes:
        for n in range(-(-size // 256)):
            width = min(256, size - 256 * n)
            assert await trail.tile_bytes(0, n, width) == b"".join(leaves[256 * n : 256 * n + width])
    roots = [merkle.root(leaves[at : at + 256]) for at in (0, 256)]
    assert await trail.tile_bytes(1, 0, 1) == roots[0]
    assert await trail.tile_bytes(1, 0, 2) == b"".join(roots)


@pytest.mark.parametrize(
    "asked",
    [(0, 0, 17), (0, 0, 256), (0, 1, 1), (1, 0, 1), (63, 0, 1), (64, 0, 1), (0, -1, 1), (0, 2**80, 1), (0, 0, 0)],
)
async def test_a_tile_that_is_not_there_is_told_so(house, trail, asked):
    await house.sealer().beat()
    assert len(await trail.tile_bytes(0, 0, 16)) == 512
    with pytest.raises(HandslagError) as caught:
        await trail.tile_bytes(*asked)
    refused(caught, "HS-TILE-UNKNOWN")


@pytest.fixture
def witnessed(house):
    return Witnessed(house.store, house.origin, house.signer.verifier)


def signed(house, size, root, origin=None, signer=None):
    checkpoint = Checkpoint(origin or house.origin, size, root)
    return sign_checkpoint(checkpoint, [signer or house.signer]).decode()


async def test_every_note_this_log_published_is_good(house, trail, witnessed):
    sealer, notes = house.sealer(), []
    for _ in range(20):
        await sealer.beat()
        notes.append(await trail.checkpoint_note())
    for note in notes * 2:
        await witnessed.check_seen(note)
    assert (witnessed.reason, witnessed.evidence) == (None, None)


async def test_a_note_larger_than_the_log_stops_the_node(house, trail, witnessed):
    sealer = house.sealer()
    await sealer.beat()
    good = await trail.checkpoint_note()
    await witnessed.check_seen(good)
    house.store.truncate_wal()
    shutil.copy(house.path, house.folder / "backup.db")
    await sealer.beat()
    newer = await trail.checkpoint_note()
    house.store.close()
    house.opened.clear()
    for path in house.folder.glob("store.db*"):
        path.unlink()
    shutil.copy(house.folder / "backup.db", house.path)
    put_back = Witnessed(house.open(), house.origin, house.signer.verifier)
    await put_back.check_seen(good)
    with pytest.raises(HandslagError) as caught:
        await put_back.check_seen(newer)
    refused(caught, "HS-BROKER-BEHIND", "smaller")
    assert (put_back.reason, put_back.evidence) == ("HS-BROKER-BEHIND", newer)
    with pytest.raises(HandslagError) as caught:
        await put_back.check_seen(good)
    refused(caught, "HS-BROKER-BEHIND")


async def test_another_root_at_any_size_is_a_fork(house, witnessed):
    await house.record(400)
    await house.sealer().beat()
    leaves = await house.leaves()
    for size in (1, 16, 256, 300, len(leaves)):
        await witnessed.check_seen(signed(house, size, merkle.root(leaves[:size])))
        fresh = Witnessed(house.store, house.origin, house.signer.verifier)
        with pytest.raises(HandslagError) as caught:
            await fresh.check_seen(signed(house, size, bytes(32)))
        refused(caught, "HS-BROKER-BEHIND", "fork")
        assert fresh.reason == "HS-BROKER-BEHIND"


async def test_a_note_that_this_log_did_not_sign_is_refused_and_stops_nothing(house, trail, witnessed):
    await house.sealer().beat()
    stranger = Signer(house.origin, Ed25519PrivateKey.from_private_bytes(bytes(32)))
    good = await trail.checkpoint_note()
    cases = [
        "",
        "EXEMPEL",
        "\ud800",
        good[:-1],
        good.replace("\n16\n", "\n32\n"),
        signed(house, 32, bytes(32), signer=stranger),
        signed(house, 32, bytes(32), origin="annan.invalid/audit"),
    ]
    for note in cases:
        with pytest.raises(HandslagError) as caught:
            await witnessed.check_seen(note)
        assert caught.value.code == "HS-CHECKPOINT-INVALID"
    assert witnessed.reason is None
    await witnessed.check_seen(good)


async def test_a_note_seen_before_costs_next_to_nothing(house, trail, witnessed):
    await house.sealer().beat()
    note = await trail.checkpoint_note()
    assert open_checkpoint(note.encode(), origin=house.origin, log_keys=[house.signer.verifier]).size == 16
    await witnessed.check_seen(note)
    house.store.close()
    house.opened.clear()
    # The Store is closed: nothing but memory can answer.
    await witnessed.check_seen(note)


async def test_writers_do_not_wait_for_a_wal_that_a_reader_holds(house):
    await house.record(2000)
    started, release = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(rows):
        rows.log.head()
        loop.call_soon_threadsafe(started.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

    reader = asyncio.create_task(house.store.read(hold))
    await started.wait()
    await house.record(2000)
    truncating = asyncio.create_task(asyncio.to_thread(house.store.truncate_wal))
    await asyncio.sleep(0.005)
    began = time.perf_counter()
    await house.record(1)
    waited = time.perf_counter() - began
    assert await truncating > 0
    assert (house.folder / "store.db-wal").stat().st_size > 0
    release.set()
    await reader
    assert waited < 0.5
    house.store.truncate_wal()
    assert (house.folder / "store.db-wal").stat().st_size == 0
