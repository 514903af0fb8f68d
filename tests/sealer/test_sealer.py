"""Sealing and publishing: growth, reproducible beats, several sealers, crashes between the halves, late entries."""

import asyncio
import os
import threading
from itertools import pairwise

import pytest
from sqlalchemy import delete, select, update

from audit import merkle
from audit.beat import check_beat
from audit.checkpoint import open_checkpoint
from audit.entry import OPERATOR, open_beat
from audit.note import Signer
from broker.anchor import Anchor
from broker.sealer import BEAT_ENTRIES, Hooks
from broker.store import tables
from broker.store.log import LogRows
from broker.store.port import Rows
from schemas.errors import HandslagError
from schemas.trail import AuditEntry


class Told(Signer):
    """A signer that remembers what it signed, and can stand for a crash just before signing."""

    def __init__(self, signer, before=lambda: None):
        self.verifier = signer.verifier
        self._private_key = signer._private_key
        self.texts = []
        self.before = before

    def sign(self, text):
        self.before()
        self.texts.append(text)
        return super().sign(text)


def opened(house, text):
    return open_checkpoint(text.encode(), origin=house.origin, log_keys=[house.signer.verifier])


async def published(house):
    def read(rows):
        query = select(tables.checkpoint.c.size, tables.checkpoint.c.note).order_by(tables.checkpoint.c.at_us)
        return [(row.size, row.note) for row in rows.log._c.execute(query)]

    return [(size, opened(house, text)) for size, text in await house.store.read(read)]


async def beats(house):
    def read(rows):
        query = select(tables.beat).order_by(tables.beat.c.first)
        return [dict(row._mapping) for row in rows.log._c.execute(query)]

    return await house.store.read(read)


async def check_whole_log(house):
    """The tree from its leaves, each published checkpoint, each beat from its record, each entry in its leaf."""
    leaves = await house.leaves()
    head = await house.store.read(lambda rows: rows.log.head())
    assert (head.size, head.root) == (len(leaves), merkle.root(leaves))
    for size, checkpoint in await published(house):
        assert (checkpoint.size, checkpoint.root) == (size, merkle.root(leaves[:size]))
    placed = set()
    for row in await beats(house):
        part = leaves[row["first"] : row["first"] + row["size"]]
        offsets = check_beat(seed=row["seed"], first=row["first"], entry_count=row["count"], leaves=part)
        placed |= {row["first"] + offset for offset in offsets}
    joined = select(tables.leaf.c.idx, tables.entry.c.leaf_hash).join(
        tables.entry, tables.entry.c.number == tables.leaf.c.entry_number
    )
    stored = await house.store.read(lambda rows: [tuple(row) for row in rows.log._c.execute(joined)])
    assert {index for index, _ in stored} == placed
    assert all(leaves[index] == leaf_hash for index, leaf_hash in stored)
    return leaves


async def test_idle_beats_grow_past_256_leaves_and_every_beat_can_be_computed_again(house):
    sealer = house.sealer()
    sizes = [await sealer.beat() for _ in range(20)]
    assert sizes == [16 * (beat + 1) for beat in range(20)]
    assert [size for size, _ in await published(house)] == sizes
    leaves = await check_whole_log(house)
    # Positive control: a beat with a changed filler is told apart.
    row = (await beats(house))[0]
    changed = [bytes(32), *leaves[1:16]]
    with pytest.raises(HandslagError):
        check_beat(seed=row["seed"], first=0, entry_count=row["count"], leaves=changed)


async def test_entries_in_their_thousands_grow_past_65536_leaves(house):
    sealer = house.sealer()
    await house.record(65_000)
    first = await sealer.beat()
    assert 65_000 <= first <= 65_536
    while await sealer.beat() < 65_552 + 16:
        await house.record(100)
    await check_whole_log(house)
    assert max(row["count"] for row in await beats(house)) == BEAT_ENTRIES


async def test_a_beat_is_a_leaf_of_the_next_beat_and_its_payload_tells_the_seed(house):
    sealer = house.sealer()
    await house.record(3)
    await sealer.beat()
    await sealer.beat()
    first, second = await beats(house)
    assert (first["count"], second["count"]) == (3, 1)
    query = (
        select(tables.entry, tables.payload.c.blob, tables.leaf.c.idx)
        .join(tables.payload, tables.payload.c.entry_id == tables.entry.c.entry_id)
        .outerjoin(tables.leaf, tables.leaf.c.entry_number == tables.entry.c.number)
        .where(tables.entry.c.operation == "BEAT")
        .order_by(tables.entry.c.number)
    )
    rows = await house.store.read(lambda rows: list(rows.log._c.execute(query)))
    assert [row.entry_id for row in rows] == [first["entry_id"], second["entry_id"]]
    assert 16 <= rows[0].idx < 32
    assert rows[1].idx is None
    stated = AuditEntry.from_bytes(house.cipher.open("entry.bytes", rows[0].bytes))
    payload = open_beat(
        stated, house.cipher.open("payload.blob", rows[0].blob), house.vault.operator().dek(stated.entry_id)
    )
    assert (stated.owner, payload.first, payload.size, payload.count) == (OPERATOR, 0, 16, 3)
    assert payload.seed == first["seed"]


async def test_an_entry_that_commits_late_under_a_low_number_is_sealed(house):
    sealer = house.sealer()
    await house.record_as(1)
    await house.record_as(40)
    await sealer.beat()
    await sealer.beat()
    late = [await house.record_as(2), await house.record_as(39)]
    await sealer.beat()
    found = await house.store.read(lambda rows: rows.entries.index_of(late))
    assert set(found) == set(late)
    await check_whole_log(house)


async def test_a_beat_does_not_read_what_is_sealed_already(house):
    sealer = house.sealer()
    await house.record(500)
    await sealer.beat()
    await sealer.beat()
    assert await house.store.read(lambda rows: rows.log.sealed_floor(0)) == 501
    assert await house.store.read(lambda rows: rows.log.sealed_floor(501)) == 501
    await house.record_as(600)
    await sealer.beat()
    # 502 and 503 are beats; 600 is sealed, but 504..599 may still come.
    assert await house.store.read(lambda rows: rows.log.sealed_floor(501)) == 502
    assert len(await house.store.read(lambda rows: rows.entries.unsealed(502))) == 1


class NoCompare(LogRows):
    """The defence switched off: any head is overwritten, and so are the rows that are unique below it."""

    def advance_head(self, seen_size, seen_root, size, root):
        self._c.execute(update(tables.head).values(size=size, root=root))

    def insert_leaves(self, first, entry_numbers):
        self._c.execute(delete(tables.leaf).where(tables.leaf.c.idx >= first))
        super().insert_leaves(first, entry_numbers)

    def insert_beat(self, row):
        self._c.execute(delete(tables.beat).where(tables.beat.c.first == row.first))
        super().insert_beat(row)

    def latest_checkpoint(self):
        return None

    def insert_checkpoint(self, row):
        self._c.execute(delete(tables.checkpoint).where(tables.checkpoint.c.size == row.size))
        super().insert_checkpoint(row)


class NoCompareRows(Rows):
    def __init__(self, connection, cipher):
        super().__init__(connection, cipher)
        self.log = NoCompare(connection)


class Gate:
    """Chance that waits: a beat that has read its head draws its seed only when it is let through."""

    def __init__(self):
        self.reached, self.open = threading.Event(), threading.Event()

    def random(self, count):
        self.reached.set()
        assert self.open.wait(5)
        return os.urandom(count)


def roots_by_size(*signers):
    signed = {}
    for signer in signers:
        for text in signer.texts:
            _, size, root = text.splitlines()
            signed.setdefault(int(size), set()).add(root)
    return signed


async def overtake(house, rows, anchors):
    """One sealer plans on a head, another seals and signs meanwhile, then the first goes on.

    Returns the roots signed for each size and what the first one's beat ended with.
    """
    slow, quick, gate = Told(house.signer), Told(house.signer), Gate()
    first = house.sealer(store=house.open(rows), signer=slow, anchor=anchors[0], random=gate.random)
    second = house.sealer(store=house.open(rows), signer=quick, anchor=anchors[1])
    await house.record(2)
    task = asyncio.create_task(first.beat())
    assert await asyncio.to_thread(gate.reached.wait, 5)
    await second.beat()
    gate.open.set()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    return roots_by_size(slow, quick), result


async def test_two_sealers_never_sign_two_trees_of_one_size(house):
    signed, result = await overtake(house, Rows, [house.anchor(), house.anchor()])
    assert result == 32
    assert {size: len(roots) for size, roots in signed.items()} == {16: 1, 32: 1}
    await check_whole_log(house)


async def test_two_sealers_at_full_speed_share_one_log(house):
    signers = [Told(house.signer), Told(house.signer)]
    sealers = [house.sealer(store=house.open(), signer=signer) for signer in signers]
    for _ in range(15):
        await house.record(2)
        await asyncio.gather(*(sealer.beat() for sealer in sealers))
    signed = roots_by_size(*signers)
    assert all(len(roots) == 1 for roots in signed.values())
    sizes = [size for size, _ in await published(house)]
    assert all(earlier < later for earlier, later in pairwise(sizes))
    assert sizes[-1] == max(signed) == 2 * 15 * 16
    await check_whole_log(house)


async def test_a_sealer_that_was_overtaken_while_signing_publishes_nothing_smaller(house):
    sizes, quick = [], house.sealer(store=house.open())
    await quick.start()

    def overtaken():
        other = threading.Thread(target=lambda: sizes.append(asyncio.run(quick.beat())))
        other.start()
        other.join(20)

    await house.sealer(signer=Told(house.signer, before=overtaken)).beat()
    assert sizes == [32]
    assert [size for size, _ in await published(house)] == [32]


async def test_without_the_compare_and_set_two_sealers_do_sign_two_trees(house, tmp_path):
    other = Anchor.open(tmp_path / "anchor-2", house.origin, store_size=0)
    signed, result = await overtake(house, NoCompareRows, [house.anchor(), other])
    assert result == 16
    assert {size: len(roots) for size, roots in signed.items()} == {16: 2}


async def test_a_shared_anchor_is_the_second_wall(house):
    signed, result = await overtake(house, NoCompareRows, [house.anchor(), house.anchor()])
    assert (result.code, result.context["check"]) == ("HS-TRAIL-ROLLBACK", "fork")
    assert {size: len(roots) for size, roots in signed.items()} == {16: 1}


async def test_a_crash_between_commit_and_anchor_is_mended_at_start(house):
    sealer = house.sealer()
    await sealer.beat()
    house.anchor_path.chmod(0o644)
    with pytest.raises(HandslagError) as caught:
        await sealer.beat()
    assert caught.value.code == "HS-ANCHOR-INVALID"
    head = await house.store.read(lambda rows: rows.log.head())
    assert (head.size, [size for size, _ in await published(house)]) == (32, [16])
    house.anchor_path.chmod(0o600)
    assert await house.sealer().start() == 32
    assert [size for size, _ in await published(house)] == [16, 32]
    assert await house.sealer().start() == 32
    await check_whole_log(house)


async def test_a_crash_between_anchor_and_signature_is_mended_at_start(house):
    def die():
        raise KeyError

    with pytest.raises(KeyError):
        await house.sealer(signer=Told(house.signer, before=die)).beat()
    assert house.anchor().read().size == 16
    assert await published(house) == []
    assert await house.sealer().start() == 16
    assert [size for size, _ in await published(house)] == [16]


async def test_only_an_anchored_head_is_signed(house):
    anchored = []
    signer = Told(house.signer, before=lambda: anchored.append(house.anchor().read().size))
    sealer = house.sealer(signer=signer)
    await sealer.beat()
    await house.record(20)
    await sealer.beat()
    assert anchored == [int(text.splitlines()[1]) for text in signer.texts] == [16, 48]


async def test_the_loop_beats_when_idle_survives_a_failure_and_empties_the_wal(house):
    sizes, failures, wal, enough = [], [], [], asyncio.Event()
    calls = iter(range(1000))

    def shaky(count):
        if next(calls) == 3:
            raise OSError
        return os.urandom(count)

    def count(size):
        sizes.append(size)
        if len(sizes) == 6:
            enough.set()

    hooks = Hooks(beat=count, failed=failures.append, wal=wal.append)
    task = asyncio.create_task(house.sealer(random=shaky, hooks=hooks).run(0.01))
    await asyncio.wait_for(enough.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sizes == sorted(set(sizes))
    assert failures == ["HS-INTERNAL"]
    assert max(wal) > 0
    for _ in range(100):  # the ended loop may still be at it
        await asyncio.to_thread(house.store.truncate_wal)
        if (house.folder / "store.db-wal").stat().st_size == 0:
            break
    assert (house.folder / "store.db-wal").stat().st_size == 0
    await check_whole_log(house)
