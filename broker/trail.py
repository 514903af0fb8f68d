"""The log as it is served, and the memory of the connectors against a log put back.

Everything served is covered by the latest signed checkpoint; what is sealed but not signed yet does not exist here.
Tiles and paths are C2SP tlog-tiles, proofs C2SP tlog-proof version 1.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import sha256

from audit.checkpoint import Checkpoint
from audit.continuation import open_part
from audit.note import Verifier
from audit.tiles import TILE_HEIGHT, TILE_WIDTH, frontier, inclusion_proofs, tile_path, tile_width
from audit.tlogproof import TlogProof
from broker.sealer import read_edge
from broker.store.log import CheckpointRow
from broker.store.port import Rows, Store
from schemas import limits
from schemas.errors import HandslagError

_REMEMBERED = 1024  # notes known to be good; each connector shows the same few again and again
_Tiles = dict[tuple[int, int, int], bytes]


class Trail:
    """Serves checkpoints, tiles and proofs from the Store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def checkpoint_note(self) -> str:
        """The latest signed checkpoint; raises HS-NOT-READY before the first."""
        latest = await self._store.read(lambda rows: rows.log.latest_checkpoint())
        if latest is None:
            raise HandslagError("HS-NOT-READY")
        return latest.note

    async def tile_bytes(self, level: int, n: int, width: int = TILE_WIDTH) -> bytes:
        """The first `width` hashes of a tile (32 bytes each); raises HS-TILE-UNKNOWN beyond the latest checkpoint."""
        try:
            tile_path(level, n, width)
        except HandslagError:
            raise HandslagError("HS-TILE-UNKNOWN") from None
        found = await self._store.read(lambda rows: _signed_tile(rows, level, n, width))
        if found is None:
            raise HandslagError("HS-TILE-UNKNOWN")
        return found

    async def proofs(self, leaf_hashes: Sequence[bytes]) -> list[tuple[bytes, str | None]]:
        """The tlog-proof of each leaf against the latest checkpoint, None where it does not cover the leaf (yet).

        At most `limits.PROOFS` leaf hashes of 32 bytes; raises HS-TOO-LARGE.
        """
        if len(leaf_hashes) > limits.PROOFS:
            raise HandslagError("HS-TOO-LARGE", limit=limits.PROOFS)
        latest, indices, tiles = await self._store.read(lambda rows: _for_proofs(rows, leaf_hashes))
        if latest is None:
            return [(leaf_hash, None) for leaf_hash in leaf_hashes]
        made = await asyncio.to_thread(_prove, latest, sorted(set(indices.values())), tiles)
        return [(leaf_hash, made.get(indices.get(leaf_hash, -1))) for leaf_hash in leaf_hashes]


def _signed_tile(rows: Rows, level: int, n: int, width: int) -> bytes | None:
    latest = rows.log.latest_checkpoint()
    if latest is None or tile_width(latest.size, level, n) < width:
        return None
    return rows.log.tile(level, n, width)


def _for_proofs(rows: Rows, leaf_hashes: Iterable[bytes]) -> tuple[CheckpointRow | None, dict[bytes, int], _Tiles]:
    """Checkpoint, covered leaves and every tile on their paths, so that hashing needs no open snapshot."""
    latest = rows.log.latest_checkpoint()
    if latest is None:
        return None, {}, {}
    found = rows.entries.index_of(leaf_hashes)
    indices = {leaf_hash: index for leaf_hash, index in found.items() if index < latest.size}
    tiles = read_edge(latest.size, rows.log.read_tile)
    for index in indices.values():
        level = 0
        while latest.size >> (TILE_HEIGHT * level):
            n = index >> (TILE_HEIGHT * (level + 1))
            width = tile_width(latest.size, level, n)
            if width and (level, n, width) not in tiles:
                tiles[level, n, width] = rows.log.read_tile(level, n, width)
            level += 1
    return latest, indices, tiles


def _prove(latest: CheckpointRow, indices: Sequence[int], tiles: _Tiles) -> dict[int, str]:
    """Proof file by leaf index; blocks for some 50 microseconds each and half a millisecond a tile."""
    # INVARIANT: test_every_served_proof_verifies_against_the_latest_checkpoint
    note = latest.note.encode()
    paths = inclusion_proofs(indices, latest.size, lambda level, n, width: tiles.get((level, n, width), b""))
    return {
        index: TlogProof(index, tuple(hashes), note).render().decode()
        for index, hashes in zip(indices, paths, strict=True)
    }


class Witnessed:
    """Holds what connectors have seen of this log against what the Store holds now.

    `reason` is None, or the code of why the node hands over nothing any more; it stays until the node is started anew,
    and `evidence` is then the note that proves it.
    """

    def __init__(self, store: Store, origin: str, verifier: Verifier) -> None:
        self._store = store
        self._origin = origin
        self._verifier = verifier
        self._good: OrderedDict[bytes, int] = OrderedDict()
        self._number = 1
        self.reason: str | None = None
        self.evidence: str | None = None
        self.seen: tuple[int, Checkpoint] | None = None
        """Part and head of the note last found to contradict the store."""

    def go_on(self, number: int) -> None:
        """The log goes on as part `number`: what contradicts the part before it was stated by the operator."""
        self._number, self.reason, self.evidence = number, None, None
        self._good.clear()

    async def check_seen(self, note_text: str) -> int:
        """Compare the newest checkpoint that a connector has verified with the committed tree; returns its size.

        Raises HS-CHECKPOINT-INVALID for a note that is malformed, of another origin or not signed by this log's key,
        HS-LOG-CONTINUED for one of a part before the present one, and HS-BROKER-BEHIND (`check` = smaller, fork or
        origin) when this log was larger once, had another root at that size, or went on further: from then on for
        every call.
        """
        # INVARIANT: test_a_note_larger_than_the_log_stops_the_node
        try:
            data = note_text.encode()
        except UnicodeEncodeError:
            raise HandslagError("HS-CHECKPOINT-INVALID", check="text") from None
        key = sha256(data).digest()
        if key in self._good:
            self._good.move_to_end(key)
            self._refuse_stopped()
            return self._good[key]
        number, seen = open_part(data, base=self._origin, log=self._verifier)
        if number < self._number:
            raise HandslagError("HS-LOG-CONTINUED")
        contradiction: str | None = "origin"
        if number == self._number:
            contradiction = await self._store.read(lambda rows: _contradiction(rows, seen))
        if number < self._number:  # it went on while we looked
            raise HandslagError("HS-LOG-CONTINUED")
        if contradiction:
            self.reason, self.evidence, self.seen = "HS-BROKER-BEHIND", note_text, (number, seen)
            raise HandslagError(self.reason, check=contradiction)
        self._good[key] = seen.size
        while len(self._good) > _REMEMBERED:
            self._good.popitem(last=False)
        self._refuse_stopped()
        return seen.size

    def _refuse_stopped(self) -> None:
        if self.reason is not None:
            raise HandslagError(self.reason)


def _contradiction(rows: Rows, seen: Checkpoint) -> str | None:
    """How a checkpoint signed by this log contradicts the committed tree, None when it is a beginning of it.

    The root is computed from the tiles at the note's own size: that covers every size, published or not.
    """
    if seen.size > rows.log.head().size:
        return "smaller"
    return None if frontier(seen.size, rows.log.read_tile).root() == seen.root else "fork"
