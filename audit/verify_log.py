"""The log itself: checkpoints, leaves, beats, tiles and roots, all computed again from the stored rows.

The whole tree is at hand, so a checkpoint is compared with the root over exactly its leaves. That is more than a
consistency proof between two checkpoints: whatever both agree with, they agree about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from audit.beat import SEED_BYTES, beat_size, filler_leaf, lay_out
from audit.checkpoint import Checkpoint
from audit.continuation import open_part
from audit.merkle import HASH_BYTES, Frontier
from audit.note import Verifier
from audit.report import Finding, Report
from audit.trailfile import BeatRow, LeafRow, TrailFile
from audit.verify_tiles import TileCheck
from schemas.errors import HandslagError

MAX_UNSIGNED_BEATS = 2
"""A crash between committing and signing leaves one beat unsigned, and the next may be under way."""


def read_checkpoints(
    trail: TrailFile, *, origin: str, log_keys: Sequence[Verifier], report: Report
) -> list[Checkpoint]:
    """Return the published checkpoints whose form and signature hold, smallest first; the others become findings.

    Of every part of the log: which may follow which is for `verify_continuation` to say.
    """
    # INVARIANT: test_every_mutation_is_caught_by_the_named_check
    genuine = []
    for size, note in trail.checkpoints():
        report.checkpoints += 1
        told = size if isinstance(size, int) else None
        try:
            data = note.encode() if isinstance(note, str) else note
            if not isinstance(data, bytes):
                raise HandslagError("HS-CHECKPOINT-INVALID", check="type")
            checkpoint = opened_part(data, origin=origin, log_keys=log_keys)[1]
        except HandslagError as error:
            report.add(Finding(check="note", size=told, part=str(error.context.get("check", "form"))))
            continue
        if checkpoint.size != size:
            report.add(Finding(check="note", size=told, part="size"))
        genuine.append(checkpoint)
    return sorted(genuine, key=lambda checkpoint: checkpoint.size)


def opened_part(data: bytes, *, origin: str, log_keys: Sequence[Verifier]) -> tuple[int, Checkpoint]:
    """(part number, checkpoint) of a note under one of several log keys; raises HS-CHECKPOINT-INVALID of the last."""
    for key in log_keys[:-1]:
        try:
            return open_part(data, base=origin, log=key)
        except HandslagError:
            continue
    return open_part(data, base=origin, log=log_keys[-1])


@dataclass(frozen=True, slots=True)
class _Beat:
    first: int
    size: int
    count: int
    seed: bytes


def _well_formed(row: BeatRow) -> _Beat | None:
    numbers = (row.first, row.size, row.count)
    if not all(type(number) is int and number >= 0 for number in numbers):
        return None
    if not isinstance(row.seed, bytes) or len(row.seed) != SEED_BYTES or row.size != beat_size(row.count):
        return None
    return _Beat(row.first, row.size, row.count, row.seed)


def _slots(leaves: Iterable[LeafRow], report: Report) -> Iterator[LeafRow]:
    """Yield one row per index from 0 without gaps; what breaks the row of indices becomes a finding."""
    expected = 0
    for row in leaves:
        if type(row.index) is not int or row.index < expected:
            report.add(Finding(check="leaf-map", number=_int(row.number), entry_id=_id(row.entry_id), part="index"))
            continue
        # A gap ends the log here: what follows cannot be placed, and a huge index must not cost memory.
        if row.index > expected:
            report.add(Finding(check="leaf-map", index=expected, part="gap"))
            return
        yield row
        expected += 1


class LogWalk:
    """One pass over beats and leaves, from the first leaf to the last."""

    def __init__(self, trail: TrailFile, report: Report, marks: Sequence[tuple[int, bytes, str]]) -> None:
        """Take the trail and the (size, root, check) of every signed checkpoint, sizes ascending."""
        self._trail = trail
        self._report = report
        self._marks = list(marks)
        self._passed = 0
        self._good = 0
        self._tiles = TileCheck(trail, report)
        self._frontier = Frontier()
        self._compare()

    def run(self) -> None:
        """Compute everything again; findings go to the report."""
        slots = _slots(self._trail.leaves(), self._report)
        tail = 0
        for row in self._trail.beats():
            beat = _well_formed(row)
            if beat is None or beat.first != self._frontier.size:
                self._report.add(Finding(check="beat", index=self._frontier.size, part="row"))
                break
            block = list(islice(slots, beat.size))
            self._report.beats += 1
            if beat.first + beat.size > self._report.signed:
                tail += 1
            self._beat(beat, block)
            if len(block) < beat.size:
                self._report.add(Finding(check="leaf-map", index=beat.first + len(block), part="missing"))
                break
        self._after_the_last_beat(slots)
        self._finish(tail)

    def _beat(self, beat: _Beat, block: list[LeafRow]) -> None:
        stored = self._tiles.stated(beat.first, len(block))
        hashes = [self._hash_of(beat, row, told) for row, told in zip(block, stored, strict=True)]
        self._check_layout(beat, block, hashes)
        for row, computed, told in zip(block, hashes, stored, strict=True):
            if told is not None and told != computed:
                self._tile_finding(row)
        self._grow(hashes)

    def _hash_of(self, beat: _Beat, row: LeafRow, told: bytes | None) -> bytes:
        """Return the leaf hash that the rows give; where the entry is gone the tile's: one loss, one finding."""
        if row.number is None:
            return filler_leaf(beat.seed, row.index)
        if isinstance(row.leaf_hash, bytes) and len(row.leaf_hash) == HASH_BYTES:
            return row.leaf_hash
        gone = row.entry_id is None
        self._report.add(
            Finding(
                check="hole" if gone else "leaf-hash",
                number=_int(row.number),
                entry_id=_id(row.entry_id),
                index=row.index,
                part="entry" if gone else "form",
            )
        )
        return told if told is not None else bytes(HASH_BYTES)

    def _check_layout(self, beat: _Beat, block: list[LeafRow], hashes: list[bytes]) -> None:
        entries = [computed for row, computed in zip(block, hashes, strict=True) if row.number is not None]
        if len(entries) != beat.count or len(block) != beat.size:
            self._report.add(Finding(check="beat", index=beat.first, part="count"))
            return
        try:
            expected = lay_out(seed=beat.seed, first=beat.first, entries=entries)
        except HandslagError as error:
            self._report.add(Finding(check="beat", index=beat.first, part=str(error.context["check"])))
            return
        for row, computed, leaf in zip(block, hashes, expected, strict=True):
            if computed != leaf.hash or (row.number is None) != (leaf.entry is None):
                # One changed hash moves its neighbours too: the tile says which leaf it was, this only where it begins.
                self._report.add(
                    Finding(
                        check="beat",
                        number=_int(row.number),
                        entry_id=_id(row.entry_id),
                        index=row.index,
                        exact=False,
                    )
                )
                return

    def _tile_finding(self, row: LeafRow) -> None:
        self._report.add(
            Finding(check="tile", number=_int(row.number), entry_id=_id(row.entry_id), index=row.index, part="0")
        )

    def _grow(self, hashes: list[bytes]) -> None:
        """Append leaf hashes, stopping at every signed size to compare roots."""
        start, at = 0, self._frontier.size
        self._tiles.extend(hashes)
        while self._passed < len(self._marks) and self._marks[self._passed][0] <= at + len(hashes):
            stop = self._marks[self._passed][0] - at
            self._frontier.extend(hashes[start:stop])
            start = stop
            self._compare()
        self._frontier.extend(hashes[start:])

    def _compare(self) -> None:
        """Compare the root so far with every signed checkpoint of this size."""
        size, root = self._frontier.size, self._frontier.root()
        while self._passed < len(self._marks) and self._marks[self._passed][0] == size:
            _, signed_root, check = self._marks[self._passed]
            self._passed += 1
            if signed_root == root:
                self._good = max(self._good, size)
                continue
            found = next(self._trail.entries_in(self._good, size), (None, None, None))
            self._report.add(
                Finding(check=check, number=_int(found[0]), entry_id=_id(found[1]), size=size, exact=False)
            )

    def _after_the_last_beat(self, slots: Iterator[LeafRow]) -> None:
        row = next(slots, None)
        if row is not None:
            self._report.add(
                Finding(check="beat", number=_int(row.number), entry_id=_id(row.entry_id), index=row.index, part="none")
            )

    def _finish(self, tail: int) -> None:
        size = self._report.leaves = self._frontier.size
        for marked, _, check in self._marks[self._passed :]:
            self._report.add(Finding(check="truncated" if check == "consistency" else check, size=marked, index=size))
        self._tiles.finish()
        head = self._trail.head()
        if head != (size, self._frontier.root()) and (head is not None or size):
            self._report.add(Finding(check="root", index=size))
        if tail > MAX_UNSIGNED_BEATS:
            self._report.add(Finding(check="unsigned", index=self._report.signed))
        elif tail:
            self._report.leave_open(["uncovered"])


def _int(value: object) -> int | None:
    return value if type(value) is int else None


def _id(value: object) -> bytes | None:
    return value if isinstance(value, bytes) and len(value) == 16 else None
