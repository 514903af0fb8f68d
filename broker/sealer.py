"""The sealer: on a fixed beat, committed entries become leaves, and the committed tree is signed.

A beat has two halves. *Seal*, one transaction: head by compare-and-set, leaves, tiles, the BEAT row and its entry,
which is an ordinary unsealed entry for the next beat. *Publish*, after COMMIT: the anchor by compare-and-set, then the
checkpoint is signed, then stored. So nothing is ever signed that could still be rolled back or sealed twice, and a
crash between the halves is mended by publishing what is committed. What takes time is done between a read snapshot and
the transaction; an entry that commits meanwhile waits for the next beat.

A Store behind its anchor is never sealed nor signed again: `behind` is set and stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from audit.beat import SEED_BYTES, lay_out
from audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from audit.entry import SealedEntry
from audit.note import Signer
from audit.tiles import TILE_HEIGHT, TILE_WIDTH, Growth, ReadTile, frontier, grow
from broker.anchor import Anchor, AnchorMoved
from broker.recorder import Recorder
from broker.store.log import BeatRow, CheckpointRow, Head, HeadMoved
from broker.store.port import Rows, Store
from schemas.errors import HandslagError
from schemas.trail import Beat

BEAT_ENTRIES = 2048
"""Entries in one transaction; more wait for the next, which follows at once. Withdrawals queue behind each of them."""

FOLLOW_S = 1.0  # how often a node that does not lead looks at what was published
_ATTEMPTS = 16  # lost compare-and-sets in a row: each means that somebody else sealed, so one or two are usual


def _nothing(*_told: object) -> None:
    """Hook of somebody who does not listen."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Whom the sealer tells, each a plain callable that must not block.

    `beat`: leaves in the log. `checkpointed`: a checkpoint was stored. `wal`: bytes before truncation. `failed`: code
    of a beat that did not succeed; the next one tries again.
    """

    beat: Callable[[int], None] = _nothing
    checkpointed: Callable[[], None] = _nothing
    wal: Callable[[int], None] = _nothing
    failed: Callable[[str], None] = _nothing


@dataclass(frozen=True, slots=True)
class Waiting:
    """What one snapshot holds for a beat: the head, (number, leaf hash) of unsealed entries, the tree's right edge."""

    head: Head
    entries: list[tuple[int, bytes]]
    edge: dict[tuple[int, int, int], bytes]


@dataclass(frozen=True, slots=True)
class Plan:
    """A beat ready to be written: the head it was made on, the grown tree, whose leaves they are, its own record."""

    seen: Head
    growth: Growth
    numbers: list[int | None]
    beat: BeatRow
    entry: SealedEntry


@dataclass(frozen=True, slots=True)
class Committed:
    """What one snapshot says of the tree: head, the root its tiles give at that size and at another, latest note."""

    head: Head
    root: bytes
    root_at: bytes | None
    latest: CheckpointRow | None


def read_edge(size: int, read: ReadTile) -> dict[tuple[int, int, int], bytes]:
    """The partial tiles of a tree of `size` leaves: all that is needed to grow it."""
    edge, level = {}, 0
    while size >> (TILE_HEIGHT * level):
        n, width = divmod(size >> (TILE_HEIGHT * level), TILE_WIDTH)
        if width:
            edge[level, n, width] = read(level, n, width)
        level += 1
    return edge


class Sealer:
    """Seals and publishes one log. Several may run on one Store; each tree size is signed with one root only."""

    def __init__(
        self,
        *,
        store: Store,
        recorder: Recorder,
        anchor: Anchor,
        signer: Signer,
        origin: str,
        now_us: Callable[[], int],
        random: Callable[[int], bytes],
        hooks: Hooks = Hooks(),
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._anchor = anchor
        self._signer = signer
        self._origin = origin
        self._now_us = now_us
        self._random = random
        self._hooks = hooks
        self._turn = asyncio.Lock()
        self._started = False
        self._behind = False
        self._floor = 0
        self._known: Checkpoint | None = None

    @property
    def origin(self) -> str:
        """The name of the part of the log that is written now."""
        return self._origin

    @property
    def known(self) -> Checkpoint | None:
        """The highest head that this node has seen committed, as its anchor states it; None before the first look."""
        return self._known

    @property
    def behind(self) -> bool:
        """Whether the Store was found older than its anchor, or forked from it: then nothing may be released."""
        return self._behind

    async def start(self) -> int:
        """Compare the Store with its anchor and publish a committed head that was never signed; returns its size.

        Raises HS-TRAIL-ROLLBACK (and sets `behind`), HS-PROOF-INVALID, HS-ANCHOR-MISSING, HS-ANCHOR-INVALID.
        """
        async with self._turn:
            self._refuse_behind()
            size = await self._publish()
            self._started = True
            return size

    async def beat(self) -> int:
        """Seal what is unsealed, a whole beat of fillers if nothing is, and publish; returns the log's size.

        Raises what `start` raises, and HS-NOT-RECORDED when it is unknown or undone: the next beat mends it.
        """
        if not self._started:
            await self.start()
        async with self._turn:
            self._refuse_behind()
            while await self._seal() == BEAT_ENTRIES:
                pass
            size = await self._publish()
        self._hooks.beat(size)
        return size

    async def follow(self) -> int:
        """Take what another node committed into this node's own anchor; returns the log's size. Raises as `start`.

        A head that its sealer did not live to sign is signed here.
        """
        # INVARIANT: test_every_node_remembers_what_any_node_published
        async with self._turn:
            self._refuse_behind()
            before, size = self._known, await self._publish()
            self._started = True
        if before is None or size != before.size:
            self._hooks.beat(size)
            self._hooks.checkpointed()
        return size

    async def freeze(self) -> None:
        """Seal and sign no more, once the beat under way is over: what is kept may be less than what was signed."""
        # INVARIANT: test_a_broker_in_hold_signs_nothing_before_its_log_goes_on
        async with self._turn:
            self._behind = True

    async def go_on(self, anchor: Anchor, signer: Signer) -> None:
        """Seal and sign again, under the signer's own origin, on top of what is kept."""
        async with self._turn:
            self._anchor, self._signer, self._origin = anchor, signer, signer.verifier.name
            self._behind, self._started, self._known = False, True, None

    async def run(self, beat_seconds: float, leads: Callable[[], bool] = lambda: True) -> None:
        """Beat for ever, the first at once; a beat that fails is told to the hooks and does not end the loop.

        While another node leads, follow it instead, once a second.
        """
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            leader = leads()
            try:
                await (self.beat() if leader else self.follow())
            except HandslagError as error:
                self._hooks.failed(error.code)
            except Exception:  # noqa: BLE001 - whatever a driver raises: without beats nobody gets a proof
                self._hooks.failed("HS-INTERNAL")
            self._hooks.wal(await asyncio.to_thread(self._store.truncate_wal))
            # Beats missed are not made up for: a burst would tell that there was a jam.
            due = max(due + (beat_seconds if leader else min(beat_seconds, FOLLOW_S)), loop.time())
            await asyncio.sleep(due - loop.time())

    def _refuse_behind(self) -> None:
        if self._behind:
            raise HandslagError("HS-TRAIL-ROLLBACK", check="behind")

    async def _seal(self) -> int:
        """One transaction of leaves; returns how many entries it took."""
        for _ in range(_ATTEMPTS):
            waiting = await self._store.read(partial(self._waiting, await self._settled()))
            plan = await asyncio.to_thread(self._plan, waiting)
            try:
                await self._store.write(partial(_write, plan), shared=True)
            except HeadMoved:
                continue
            return len(waiting.entries)
        raise HandslagError("HS-NOT-RECORDED")

    async def _settled(self) -> int:
        """Up to which number no entry commits any more; while somebody's transaction is long, nobody knows."""
        try:
            return await self._store.settled()
        except HandslagError:
            return 0

    def _waiting(self, settled: int, rows: Rows) -> Waiting:
        # INVARIANT: test_an_entry_that_commits_late_under_a_low_number_is_sealed
        self._floor = rows.log.sealed_floor(self._floor, settled)
        head = rows.log.head()
        return Waiting(head, rows.entries.unsealed(self._floor, BEAT_ENTRIES), read_edge(head.size, rows.log.read_tile))

    def _plan(self, waiting: Waiting) -> Plan:
        """Lay the beat out and hash it; blocks for milliseconds."""
        first, seed = waiting.head.size, self._random(SEED_BYTES)
        leaves = lay_out(seed=seed, first=first, entries=[leaf_hash for _, leaf_hash in waiting.entries])
        growth = grow(
            first, [leaf.hash for leaf in leaves], lambda level, n, width: waiting.edge.get((level, n, width), b"")
        )
        made = Beat(first=first, size=len(leaves), count=len(waiting.entries), seed=seed)
        entry = self._recorder.about_operator("BEAT", made, self._now_us())
        return Plan(
            seen=waiting.head,
            growth=growth,
            numbers=[None if leaf.entry is None else waiting.entries[leaf.entry][0] for leaf in leaves],
            beat=BeatRow(first, made.size, made.count, seed, entry.entry_id),
            entry=entry,
        )

    async def _publish(self) -> int:
        """Anchor, sign and store the committed head, unless that is done; returns its size."""
        for _ in range(_ATTEMPTS):
            anchored = await asyncio.to_thread(self._anchor.read)
            committed = await self._store.read(partial(_committed, anchored.size))
            self._check(committed, anchored)
            head = Checkpoint(self._origin, *committed.head)
            self._known = anchored
            # INVARIANT: test_only_an_anchored_head_is_signed
            try:
                await asyncio.to_thread(self._anchor.advance, anchored, head)
            except AnchorMoved:
                continue
            self._known = head
            if head.size and (committed.latest is None or committed.latest.size < head.size):
                await self._sign(head)
            return head.size
        raise HandslagError("HS-NOT-RECORDED")

    def _check(self, committed: Committed, anchored: Checkpoint) -> None:
        """Refuse a Store that lost what its anchor or its own latest note states."""
        # INVARIANT: test_a_store_behind_its_anchor_is_neither_sealed_nor_signed
        size, root = committed.head
        check = None
        if size < anchored.size or (committed.latest is not None and size < committed.latest.size):
            check = "smaller"
        elif committed.root_at != anchored.root:
            check = "fork"
        elif committed.latest is not None and committed.latest.size == size and self._own(committed.latest.note):
            signed = open_checkpoint(
                committed.latest.note.encode(), origin=self._origin, log_keys=(self._signer.verifier,)
            )
            check = "fork" if (signed.size, signed.root) != committed.head else None
        if check:
            self._behind = True
            raise HandslagError("HS-TRAIL-ROLLBACK", check=check)
        if committed.root != root:
            raise HandslagError("HS-PROOF-INVALID", check="head")

    def _own(self, note: str) -> bool:
        """Whether a published note is of this part of the log: after a loss the one before has another origin."""
        return note.startswith(f"{self._origin}\n")

    async def _sign(self, head: Checkpoint) -> None:
        note = sign_checkpoint(head, (self._signer,)).decode()
        row = CheckpointRow(head.size, note, self._now_us())
        await self._store.write(partial(_keep, row))
        self._hooks.checkpointed()


def _write(plan: Plan, rows: Rows) -> None:
    """One beat's transaction; the head goes first, so that whoever lost writes nothing else."""
    rows.log.advance_head(*plan.seen, plan.growth.size, plan.growth.root)
    rows.log.insert_beat(plan.beat)
    rows.entries.insert([plan.entry])
    rows.log.insert_leaves(plan.beat.first, plan.numbers)
    rows.log.insert_tiles(plan.growth.tiles)


def _committed(size: int, rows: Rows) -> Committed:
    """The tree in one snapshot; `size` is the other size whose root is wanted, if the tree is that large."""
    head, read = rows.log.head(), rows.log.read_tile
    root = frontier(head.size, read).root()
    root_at = None
    if size <= head.size:
        root_at = root if size == head.size else frontier(size, read).root()
    return Committed(head, root, root_at, rows.log.latest_checkpoint())


def _keep(row: CheckpointRow, rows: Rows) -> None:
    """Publish, unless another sealer published as large a tree meanwhile: published sizes only grow."""
    latest = rows.log.latest_checkpoint()
    if latest is None or latest.size < row.size:
        rows.log.insert_checkpoint(row)
