"""Whether the broker's log only grew: the newest checkpoint is remembered and every later one must follow it.

A smaller tree or a fork stops this connector: nothing is sent and nothing is given to the agency's system until a
person has looked, and both notes are kept as evidence (audit trail, "Checkpoints and witnesses").
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache

from audit import tlogproof
from audit.checkpoint import Checkpoint, open_checkpoint, supersedes
from audit.note import Verifier
from audit.tiles import consistency_proof, tile_path
from connectors.spool import Spool
from schemas.errors import HandslagError

ReadPath = Callable[[str], Awaitable[bytes]]
"""Fetches one path of the broker's log."""

_NOTE = "checkpoint"
_HALT = "halt"
_OPENED = 16


class _Missing(Exception):  # noqa: N818 - asks for a tile, reports no fault
    """The proof needs one more tile."""

    def __init__(self, level: int, n: int, width: int) -> None:
        self.tile = (level, n, width)


class Witness:
    """Remembers the newest verified checkpoint and refuses what contradicts it."""

    def __init__(self, spool: Spool, *, origin: str, log_key: str) -> None:
        self._spool = spool
        self._origin = origin
        self._verifier = Verifier.from_vkey(log_key)
        # The proofs of one answer all carry the same note.
        self._opened = lru_cache(maxsize=_OPENED)(self._open)

    def newest(self) -> bytes | None:
        """The newest signed note that was verified, for the header of every call."""
        return self._spool.memory.get(_NOTE)

    def check_running(self) -> None:
        """Raise the error that stopped this connector, if any."""
        # INVARIANT: test_a_rolled_back_log_stops_the_connector
        halt = self._spool.memory.get(_HALT)
        if halt:
            raise HandslagError(halt.decode())

    @property
    def stopped(self) -> bool:
        """Whether a contradiction stopped this connector."""
        return bool(self._spool.memory.get(_HALT))

    def halt(self, code: str, evidence: bytes, now_us: int) -> None:
        """Stop for good, and keep what contradicted the log."""
        with self._spool.transaction():
            self._spool.memory.add_evidence(code, evidence, now_us)
            error = HandslagError(code)
            alarm = {"kind": "alarm", "code": code, "sv": error.diagnostics("sv"), "en": error.diagnostics("en")}
            self._spool.incoming.put(f"alarm-{code.lower()}", "receipts", alarm)
            self._spool.memory.put(_HALT, code.encode())

    async def follow(self, note: bytes, fetch: ReadPath, now_us: int) -> Checkpoint:
        """Check a note against the remembered one and remember it when it is newer.

        Raises `HS-CHECKPOINT-INVALID`, and `HS-TRAIL-ROLLBACK` after stopping the connector.
        """
        before = self.newest()
        newer = self._opened(note)
        if before is not None:
            older = self._opened(before)
            try:
                supersedes(newer=newer, older=older, proof=await self._proof(older, newer, fetch))
            except HandslagError as error:
                # A larger tree whose own tiles do not show that it contains ours is a fork too.
                if error.code in {"HS-TRAIL-ROLLBACK", "HS-PROOF-INVALID"}:
                    self.halt("HS-TRAIL-ROLLBACK", before + b"\n--\n" + note, now_us)
                    raise HandslagError("HS-TRAIL-ROLLBACK", check=error.context.get("check", "fork")) from None
                raise
        self._remember(note, newer)
        return newer

    def check_proof(self, data: bytes, leaf_hash: bytes) -> bytes:
        """The signed note inside a proof file that shows the leaf; raises `HS-PROOF-INVALID`, `HS-CHECKPOINT-INVALID`.

        The caller follows the note: a proof under a forked tree proves nothing.
        """
        proof = tlogproof.parse(data)
        tlogproof.check_included(proof, leaf_hash=leaf_hash, checkpoint=self._opened(proof.checkpoint))
        return proof.checkpoint

    def _open(self, note: bytes) -> Checkpoint:
        return open_checkpoint(note, origin=self._origin, log_keys=(self._verifier,))

    async def agrees(self, note: bytes, fetch: ReadPath, now_us: int) -> None:
        """Check that a note, perhaps older than the remembered one, is of the same tree.

        Raises as `follow`; an older note is no rollback when the remembered tree contains it.
        """
        known = self.newest()
        seen = self._opened(note)
        if known is None:
            await self.follow(note, fetch, now_us)
            return
        remembered = self._opened(known)
        if seen.size >= remembered.size:
            await self.follow(note, fetch, now_us)
            return
        try:
            supersedes(newer=remembered, older=seen, proof=await self._proof(seen, remembered, fetch))
        except HandslagError as error:
            if error.code in {"HS-TRAIL-ROLLBACK", "HS-PROOF-INVALID"}:
                self.halt("HS-TRAIL-ROLLBACK", known + b"\n--\n" + note, now_us)
                raise HandslagError("HS-TRAIL-ROLLBACK", check="fork") from None
            raise

    def adopt(self, note: bytes) -> None:
        """Begin where an earlier spool of this unit stopped; raises `HS-CHECKPOINT-INVALID`."""
        self._remember(note, self._opened(note))

    def _remember(self, note: bytes, checkpoint: Checkpoint) -> None:
        """Store before anything is answered on the strength of it; another task may have stored a newer one."""
        with self._spool.transaction():
            now = self.newest()
            if now is not None:
                held = self._opened(now)
                if held.size >= checkpoint.size:
                    return
            self._spool.memory.put(_NOTE, note)

    async def _proof(self, older: Checkpoint, newer: Checkpoint, fetch: ReadPath) -> list[bytes]:
        """The consistency proof computed from the newer tree's tiles, which are fetched as they are asked for."""
        if older.size == 0 or older.size >= newer.size:
            return []
        tiles: dict[tuple[int, int, int], bytes] = {}

        def read(level: int, n: int, width: int) -> bytes:
            if (level, n, width) not in tiles:
                raise _Missing(level, n, width)
            return tiles[level, n, width]

        while True:
            try:
                return consistency_proof(older.size, newer.size, read)
            except _Missing as missing:
                tiles[missing.tile] = await fetch(f"/v1/{tile_path(*missing.tile)}")
