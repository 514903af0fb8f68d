"""Stored tiles against the tree that the leaves give.

Tiles are derived and could be made again; they are checked because proofs are served from them. A partial tile of an
older size may still lie there and must then be the beginning of the present one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from audit.merkle import HASH_BYTES, root
from audit.report import Finding, Report
from audit.tiles import TILE_WIDTH
from audit.trailfile import TileRow, TrailFile


class TileCheck:
    """Reads level 0 along with the leaves, and the levels above when the leaves are through."""

    def __init__(self, trail: TrailFile, report: Report) -> None:
        """Begin before the first leaf."""
        self._report = report
        self._groups = _grouped(trail.tiles(), report)
        self._ahead = next(self._groups, None)
        self._open: dict[int, list[TileRow]] = {}
        self._closed = 0
        self._part: list[bytes] = []
        self._above: list[bytes] = []

    def stated(self, first: int, count: int) -> list[bytes | None]:
        """Return what tiles of level 0 state for the leaves first..first+count-1, None where none does."""
        told: list[bytes | None] = []
        for index in range(first, first + count):
            n, at = divmod(index, TILE_WIDTH)
            if n not in self._open:
                self._open[n] = self._take(0, n)
            tile = self._open[n][-1] if self._open[n] else None
            told.append(
                tile.hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES] if tile is not None and at < tile.width else None
            )
        return told

    def extend(self, hashes: Sequence[bytes]) -> None:
        """Take the computed hashes of the next leaves."""
        for leaf in hashes:
            self._part.append(leaf)
            if len(self._part) == TILE_WIDTH:
                self._close_tile()

    def finish(self) -> None:
        """Check what is left: the last tile of level 0, every level above, and that nothing stands beyond."""
        if self._part:
            self._close_tile(full=False)
        level, row = 1, self._above
        while row:
            above = []
            for n in range(-(-len(row) // TILE_WIDTH)):
                part = row[n * TILE_WIDTH : (n + 1) * TILE_WIDTH]
                self._compare(self._take(level, n), level, n, part)
                if len(part) == TILE_WIDTH:
                    above.append(root(part))
            level, row = level + 1, above
        while self._ahead is not None:
            tile = self._ahead[0]
            self._find(tile.level, tile.n)
            self._ahead = next(self._groups, None)

    def _close_tile(self, *, full: bool = True) -> None:
        # Differing leaves were already found one by one; here the widths that exist are compared.
        n, self._closed = self._closed, self._closed + 1
        self._compare(self._open.pop(n, []), 0, n, self._part, leaves_told=True)
        if full:
            self._above.append(root(self._part))
        self._part = []

    def _take(self, level: int, n: int) -> list[TileRow]:
        """Return the stored widths of one tile, ascending; tiles that should not be there become findings."""
        while self._ahead is not None and (self._ahead[0].level, self._ahead[0].n) < (level, n):
            self._find(self._ahead[0].level, self._ahead[0].n)
            self._ahead = next(self._groups, None)
        if self._ahead is None or (self._ahead[0].level, self._ahead[0].n) != (level, n):
            return []
        taken, self._ahead = self._ahead, next(self._groups, None)
        return taken

    def _compare(
        self, tiles: list[TileRow], level: int, n: int, part: Sequence[bytes], *, leaves_told: bool = False
    ) -> None:
        whole = b"".join(part)
        wrong = [tile for tile in tiles if not whole.startswith(tile.hashes)]
        if leaves_told and wrong and wrong == tiles[-1:] and wrong[0].width == len(part):
            wrong = []
        if wrong or all(tile.width != len(part) for tile in tiles):
            self._find(level, n)

    def _find(self, level: int, n: int) -> None:
        self._report.add(Finding(check="tile", index=n << (8 * (level + 1)), part=str(level)))


def _grouped(tiles: Iterator[TileRow], report: Report) -> Iterator[list[TileRow]]:
    """Yield the well-formed tiles of one (level, n) together, widths ascending."""
    group: list[TileRow] = []
    for tile in tiles:
        if not _well_formed(tile):
            report.add(Finding(check="tile", part="form"))
            continue
        if group and (tile.level, tile.n) != (group[0].level, group[0].n):
            yield group
            group = []
        group.append(tile)
    if group:
        yield group


def _well_formed(tile: TileRow) -> bool:
    numbers = (tile.level, tile.n, tile.width)
    if not all(type(number) is int and number >= 0 for number in numbers) or tile.level > 7:
        return False
    return (
        1 <= tile.width <= TILE_WIDTH and isinstance(tile.hashes, bytes) and len(tile.hashes) == tile.width * HASH_BYTES
    )
