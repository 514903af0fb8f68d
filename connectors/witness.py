"""Whether the broker's log only grew: the newest checkpoint is remembered and every later one must follow it.

A smaller tree or a fork stops this connector: nothing is sent and nothing is given to the agency's system until a
person has looked, and both notes are kept as evidence (audit trail, "Checkpoints and witnesses").
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import lru_cache

from audit import tlogproof
from audit.checkpoint import Checkpoint, supersedes
from audit.continuation import number_of, open_part
from audit.note import Verifier
from audit.tiles import consistency_proof, tile_path
from connectors.spool import Spool
from schemas.errors import HandslagError
from schemas.hold import Continuation, HoldAnswer

ReadPath = Callable[[str], Awaitable[bytes]]
"""Fetches one path of the broker's log."""

_NOTE = "checkpoint"
_HALT = "halt"
_PART = "log.part"
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
        self.base_key = Verifier.from_vkey(log_key)
        """The log's key under the name that the trust list gives it."""
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

    @property
    def number(self) -> int:
        """The part of the log that this connector follows: 1, or what its people last confirmed."""
        held = self._spool.memory.get(_PART)
        return int(held) if held else 1

    def must_follow(self, answer: HoldAnswer) -> bool:
        """Whether the broker says that its log went on further than this connector follows it."""
        return (number_of(self._origin, answer.origin) or 0) > self.number

    def halt_once(self, code: str, evidence: bytes, now_us: int) -> None:
        """As `halt`, unless this connector is stopped by that already."""
        if self._spool.memory.get(_HALT) != code.encode():
            self.halt(code, evidence, now_us)

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
        self._same_part(note, newer, now_us)
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
        return open_part(note, base=self._origin, log=self.base_key)[1]

    def _same_part(self, note: bytes, seen: Checkpoint, now_us: int) -> None:
        """Stop for a note of another part of the log: further on it needs our people's word, back it is a rollback."""
        # INVARIANT: test_only_a_person_makes_a_connector_follow_a_continued_log
        number = number_of(self._origin, seen.origin) or 0
        if number > self.number:
            self.halt_once("HS-LOG-CONTINUED", note, now_us)
            raise HandslagError("HS-LOG-CONTINUED")
        if number < self.number:
            self.halt("HS-TRAIL-ROLLBACK", (self.newest() or b"") + b"\n--\n" + note, now_us)
            raise HandslagError("HS-TRAIL-ROLLBACK", check="origin")

    def opened_newest(self) -> Checkpoint | None:
        """The newest checkpoint that was verified."""
        note = self.newest()
        return None if note is None else self._opened(note)

    def own_proofs(self, proofs: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        """(leaf index, note) of every proof file under the part of the log that is followed."""
        for data in proofs:
            proof = tlogproof.parse(data)
            if number_of(self._origin, self._opened(proof.checkpoint).origin) == self.number:
                yield proof.index, proof.checkpoint

    async def prefix(self, older: Checkpoint, newer: Checkpoint, fetch: ReadPath) -> None:
        """Check by the broker's tiles that one tree is a beginning of another; raises as `supersedes`."""
        supersedes(newer=newer, older=older, proof=await self._proof(older, newer, fetch))

    def go_on(self, said: Continuation, now_us: int) -> None:
        """Follow the log under its new origin from the kept tree on; the statement and the old note stay evidence."""
        number = number_of(self._origin, said.new_origin)
        assert number is not None, "the statement was checked"
        self._spool.memory.add_evidence(
            "HS-LOG-CONTINUED", said.to_bytes() + b"\n--\n" + (self.newest() or b""), now_us
        )
        self._spool.memory.put(_PART, str(number).encode())
        self._spool.memory.put(_NOTE, said.new_note)
        self._spool.memory.put(_HALT, b"")

    async def agrees(self, note: bytes, fetch: ReadPath, now_us: int) -> None:
        """Check that a note, perhaps older than the remembered one, is of the same tree.

        Raises as `follow`; an older note is no rollback when the remembered tree contains it.
        """
        known = self.newest()
        seen = self._opened(note)
        self._same_part(note, seen, now_us)
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
