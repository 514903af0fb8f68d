"""The log's rows: leaves, tiles, the one head row, signed checkpoints and the record of each beat.

Of each tile one row is kept, the widest: a partial tile's hashes are the beginning of every wider one (C2SP
tlog-tiles), so a wider tile replaces the narrower, and a narrower is read as its prefix. Any width that was ever
published can therefore still be served.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from audit.merkle import EMPTY_ROOT, HASH_BYTES
from audit.tiles import Tile
from broker.store.bulk import insert_all
from broker.store.tables import beat, checkpoint, entry, head, leaf, tile

_ONLY = 1  # the head has one row


class HeadMoved(Exception):  # noqa: N818 - an answer, not a fault: read the head again
    """The head no longer stands where it was read: nothing of this beat may be written."""


class Head(NamedTuple):
    """The committed tree: size in leaves and root (32 bytes)."""

    size: int
    root: bytes


class CheckpointRow(NamedTuple):
    """A published checkpoint: size in leaves, the signed note's text, when it was signed (microseconds)."""

    size: int
    note: str
    at_us: int


class BeatRow(NamedTuple):
    """One beat: first leaf index, number of leaves, entries among them, 32-byte seed, id of its BEAT entry."""

    first: int
    size: int
    entries: int
    seed: bytes
    entry_id: bytes | None


class LogRows:
    """Verbs on `leaf`, `tile`, `head`, `checkpoint` and `beat`. The head is the last row in the lock order."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    def create(self) -> None:
        """Insert the head of the empty tree; once, into an empty store."""
        self._c.execute(insert(head).values(id=_ONLY, size=0, root=EMPTY_ROOT))

    def head(self) -> Head:
        """The committed head."""
        row = self._c.execute(select(head.c.size, head.c.root).where(head.c.id == _ONLY)).one()
        return Head(row.size, row.root)

    def advance_head(self, seen_size: int, seen_root: bytes, size: int, root: bytes) -> None:
        """Compare-and-set, the first write of a beat; raises HeadMoved when the head is not the one seen."""
        # INVARIANT: test_two_sealers_never_sign_two_trees_of_one_size
        done = self._c.execute(
            update(head)
            .where(head.c.id == _ONLY, head.c.size == seen_size, head.c.root == seen_root)
            .values(size=size, root=root)
        )
        if done.rowcount != 1:
            raise HeadMoved

    def insert_leaves(self, first: int, entry_numbers: Sequence[int | None]) -> None:
        """Write the leaves first, first + 1, ...: the number of the entry each one is, None for a filler.

        The columns are unique: a leaf or an entry that has its place already fails the transaction.
        """
        if entry_numbers:
            rows = [{"idx": first + at, "entry_number": number} for at, number in enumerate(entry_numbers)]
            insert_all(self._c, leaf, rows)

    def sealed_floor(self, after: int, settled: int = 0) -> int:
        """The largest entry number up to which every entry has a leaf, given that those up to `after` have.

        No entry can still commit under such a number: each is taken, or `Store.settled` said so before this read: a
        transaction that came to nothing has left its numbers out.
        """
        if settled > after:
            query = select(entry.c.number).outerjoin(leaf, leaf.c.entry_number == entry.c.number)
            query = query.where(entry.c.number > after, leaf.c.idx.is_(None)).order_by(entry.c.number).limit(1)
            first = self._c.execute(query).scalar_one_or_none()
            return settled if first is None else min(settled, int(first) - 1)
        following = leaf.alias()
        unbroken = select(leaf.c.entry_number).where(leaf.c.entry_number == after + 1)
        if self._c.execute(unbroken).one_or_none() is None:
            return after
        last = (
            select(leaf.c.entry_number)
            .outerjoin(following, following.c.entry_number == leaf.c.entry_number + 1)
            .where(leaf.c.entry_number > after, following.c.idx.is_(None))
            .order_by(leaf.c.entry_number)
            .limit(1)
        )
        return int(self._c.execute(last).scalar_one())

    def insert_tiles(self, tiles: Sequence[Tile]) -> None:
        """Write new tiles; a tile that was there under a smaller width is replaced."""
        if not tiles:
            return
        # A beat touches one old tile per level at most, and those are the lowest n of their level.
        edges: dict[int, int] = {}
        for one in tiles:
            edges[one.level] = min(one.n, edges.get(one.level, one.n))
        for level, n in edges.items():
            self._c.execute(delete(tile).where(tile.c.level == level, tile.c.n == n))
        rows = [{"level": one.level, "n": one.n, "width": one.width, "hashes": one.hashes} for one in tiles]
        self._c.execute(insert(tile), rows)

    def tile(self, level: int, n: int, width: int) -> bytes | None:
        """The first `width` hashes (32 bytes each, width 1 to 256) of a tile; None when it is not that wide yet."""
        hashes = self._c.execute(
            select(tile.c.hashes)
            .where(tile.c.level == level, tile.c.n == n, tile.c.width >= width)
            .order_by(tile.c.width.desc())
            .limit(1)
        ).scalar_one_or_none()
        return None if hashes is None else hashes[: width * HASH_BYTES]

    def read_tile(self, level: int, n: int, width: int) -> bytes:
        """The same for `audit.tiles`: b"" stands for a tile that is not there, whose length is refused there."""
        return self.tile(level, n, width) or b""

    def insert_checkpoint(self, row: CheckpointRow) -> None:
        """Publish a signed checkpoint; a second one of the same size fails the transaction."""
        self._c.execute(insert(checkpoint).values(row._asdict()))

    def latest_checkpoint(self) -> CheckpointRow | None:
        """The largest published checkpoint, None before the first."""
        row = self._c.execute(select(checkpoint).order_by(checkpoint.c.size.desc()).limit(1)).one_or_none()
        return None if row is None else CheckpointRow(row.size, row.note, row.at_us)

    def checkpoint_of(self, size: int) -> CheckpointRow | None:
        """The published checkpoint of exactly this size, None when none was published."""
        row = self._c.execute(select(checkpoint).where(checkpoint.c.size == size)).one_or_none()
        return None if row is None else CheckpointRow(row.size, row.note, row.at_us)

    def insert_beat(self, row: BeatRow) -> None:
        """Record how a beat's leaves came to be."""
        self._c.execute(
            insert(beat).values(first=row.first, size=row.size, count=row.entries, seed=row.seed, entry_id=row.entry_id)
        )

    def latest_beat(self) -> BeatRow | None:
        """The newest beat, None before the first."""
        row = self._c.execute(select(beat).order_by(beat.c.first.desc()).limit(1)).one_or_none()
        return None if row is None else BeatRow(row.first, row.size, row._mapping[beat.c.count], row.seed, row.entry_id)
