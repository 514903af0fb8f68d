"""The tree's hashes cut into tiles of 256, as C2SP tlog-tiles serves them, and proofs read back from tiles.

The tile (level, n) holds the hashes n*256 .. n*256+255 of its level: leaf hashes on level 0, above it the roots of the
full tiles of the level below. Only the last tile of a level may be partial, 1 to 255 hashes wide; a tile of width 0
does not exist, nothing asks for it, and the tree goes on upward from the levels that do. Tiles are bytes, 32 per hash.

No tile is stored or fetched here: callers pass a `ReadTile`. Of what it returns only the length is checked; a proof
built from a wrong tile fails when it is verified.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from audit.merkle import (
    HASH_BYTES,
    MAX_SIZE,
    Frontier,
    Span,
    consistency_spans,
    fold_peaks,
    inclusion_spans,
    node_hash,
    root,
)
from schemas.errors import HandslagError

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
"""Hashes in a full tile: 256."""

MAX_LEVEL = 63
_MAX_INDEX = MAX_SIZE >> TILE_HEIGHT

ReadTile = Callable[[int, int, int], bytes]
"""(level, n, width) -> width * 32 bytes; width is 256 for a full tile, else that of the partial tile asked for."""

_PATH = re.compile(
    r"tile/(?P<level>0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: its level, its index n within the level, and its hashes (32 * width bytes, width 1 to 256)."""

    level: int
    n: int
    hashes: bytes

    @property
    def width(self) -> int:
        """Number of hashes; 256 when full."""
        return len(self.hashes) // HASH_BYTES


@dataclass(frozen=True, slots=True)
class Growth:
    """A tree after an append: its size in leaves, its root, and every tile that is new or wider than before."""

    size: int
    root: bytes
    tiles: tuple[Tile, ...]


def tile_path(level: int, n: int, width: int = TILE_WIDTH) -> str:
    """Return the path below the log's prefix, such as `tile/0/x001/x234/067.p/8`.

    Source: C2SP tlog-tiles, "Merkle Tree". Raises HS-PROOF-INVALID (`check` = tile-path) outside level 0-63, n >= 0,
    width 1-256.
    """
    if not (0 <= level <= MAX_LEVEL and 0 <= n <= _MAX_INDEX and 1 <= width <= TILE_WIDTH):
        raise HandslagError("HS-PROOF-INVALID", check="tile-path")
    encoded, rest = f"{n % 1000:03d}", n // 1000
    while rest:
        encoded = f"x{rest % 1000:03d}/{encoded}"
        rest //= 1000
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/{encoded}{partial}"


def parse_tile_path(path: str) -> tuple[int, int, int]:
    """Return (level, n, width) of a tile path; a full tile has width 256.

    Raises HS-PROOF-INVALID (`check` = tile-path) for anything `tile_path` would not write: a path has one spelling.
    """
    # The longest path that can be written has 42 characters.
    match = _PATH.fullmatch(path) if len(path) <= 42 else None
    if match is None:
        raise HandslagError("HS-PROOF-INVALID", check="tile-path")
    level = int(match["level"])
    n = int(match["index"].replace("x", "").replace("/", ""))
    width = int(match["width"] or TILE_WIDTH)
    if tile_path(level, n, width) != path:
        raise HandslagError("HS-PROOF-INVALID", check="tile-path")
    return level, n, width


def tile_width(size: int, level: int, n: int) -> int:
    """Return how wide the tile (level, n) is in a tree of `size` leaves, 0 to 256; 0 means it does not exist."""
    return max(0, min(TILE_WIDTH, (size >> (TILE_HEIGHT * level)) - n * TILE_WIDTH))


def tiles_of(hashes: Sequence[bytes]) -> tuple[Tile, ...]:
    """Cut the tree over all leaf hashes into its tiles, partial ones included, from level 0 upward."""
    return grow(0, hashes, lambda _level, _n, _width: b"").tiles


def grow(size: int, hashes: Sequence[bytes], read: ReadTile) -> Growth:
    """Append leaf hashes to a tree of `size` leaves and return its new root and every tile that changed.

    `read` is asked for the right edge of the old tree only, at most one tile per level. A partial tile is returned
    under its new width; the narrower one stays valid for the older size. Raises HS-PROOF-INVALID (`check` = range,
    hash-length or tile-length).
    """
    # INVARIANT: test_growing_in_blocks_of_sixteen_gives_the_recursive_root_and_the_same_tiles
    if not 0 <= size <= size + len(hashes) <= MAX_SIZE:
        raise HandslagError("HS-PROOF-INVALID", check="range")
    if any(len(leaf) != HASH_BYTES for leaf in hashes):
        raise HandslagError("HS-PROOF-INVALID", check="hash-length")
    changed: list[Tile] = []
    added, level, cached = list(hashes), 0, _checked(read)
    while added:
        row, n = _edge(size, level, cached)
        row += added
        added = []
        for start in range(0, len(row), TILE_WIDTH):
            part = row[start : start + TILE_WIDTH]
            changed.append(Tile(level, n, b"".join(part)))
            n += 1
            if len(part) == TILE_WIDTH:
                added.append(root(part))
        level += 1
    fresh = {(tile.level, tile.n, tile.width): tile.hashes for tile in changed}

    def overlay(level: int, n: int, width: int) -> bytes:
        return fresh.get((level, n, width)) or cached(level, n, width)

    grown = size + len(hashes)
    return Growth(grown, frontier(grown, overlay).root(), tuple(changed))


def _edge(size: int, level: int, read: ReadTile) -> tuple[list[bytes], int]:
    """Return the hashes of a level's partial tile (none if its width is 0) and the index n where writing goes on."""
    n, width = divmod(size >> (TILE_HEIGHT * level), TILE_WIDTH)
    return (_split_hashes(read(level, n, width)) if width else []), n


def _split_hashes(tile: bytes) -> list[bytes]:
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


def _checked(read: ReadTile) -> ReadTile:
    """Wrap a reader: refuse a tile of the wrong length, and read each tile once for as long as the wrapper lives."""
    seen: dict[tuple[int, int, int], bytes] = {}

    def checked(level: int, n: int, width: int) -> bytes:
        key = (level, n, width)
        if key not in seen:
            tile = read(level, n, width)
            if len(tile) != width * HASH_BYTES:
                raise HandslagError("HS-PROOF-INVALID", check="tile-length")
            seen[key] = tile
        return seen[key]

    return checked


def subtree_hash(height: int, n: int, size: int, read: ReadTile) -> bytes:
    """Return the root of the complete subtree over the leaves n * 2**height .. (n+1) * 2**height - 1.

    `size` is the tree whose tiles are read; it must contain the whole subtree. Raises HS-PROOF-INVALID (`check` = range
    or tile-length).
    """
    return _subtree(height, n, size, _checked(read))


def _subtree(height: int, n: int, size: int, read: ReadTile) -> bytes:
    if not (0 <= height < MAX_LEVEL and n >= 0 and (n + 1) << height <= size <= MAX_SIZE):
        raise HandslagError("HS-PROOF-INVALID", check="range")
    level, inside = divmod(height, TILE_HEIGHT)
    tile, first = divmod(n << inside, TILE_WIDTH)
    hashes = read(level, tile, tile_width(size, level, tile))
    return root(_split_hashes(hashes[first * HASH_BYTES : (first + (1 << inside)) * HASH_BYTES]))


def _span_peaks(span: Span, size: int, read: ReadTile) -> list[bytes]:
    """Return the roots of the complete subtrees that make up a span, largest first.

    The span starts at a multiple of its largest subtree, as every span of a proof does.
    """
    start, end = span
    peaks = []
    while start < end:
        height = (end - start).bit_length() - 1
        peaks.append(_subtree(height, start >> height, size, read))
        start += 1 << height
    return peaks


def frontier(size: int, read: ReadTile) -> Frontier:
    """Return the right edge of the tree of `size` leaves, read from its tiles; its `root()` is the tree's root.

    Raises HS-PROOF-INVALID (`check` = range or tile-length).
    """
    return Frontier(size, _span_peaks((0, size), size, _checked(read)))


def inclusion_proof(index: int, size: int, read: ReadTile) -> list[bytes]:
    """Return the inclusion proof of leaf `index` in the tree of `size`, from the leaf's sibling up.

    Source: RFC 6962 section 2.1.1. Raises HS-PROOF-INVALID (`check` = range or tile-length).
    """
    cached = _checked(read)
    return [fold_peaks(_span_peaks(span, size, cached)) for span in inclusion_spans(index, size)]


def inclusion_proofs(indices: Iterable[int], size: int, read: ReadTile) -> Iterator[list[bytes]]:
    """Yield what `inclusion_proof` returns for each index; every subtree that several paths share is hashed once.

    Raises HS-PROOF-INVALID (`check` = range or tile-length).
    """
    # INVARIANT: test_many_proofs_are_the_single_ones
    cached = _checked(read)
    hashed: dict[Span, bytes] = {}
    for index in indices:
        spans = inclusion_spans(index, size)
        for span in spans:
            if span not in hashed:
                hashed[span] = _span_root(span, size, cached, hashed)
        yield [hashed[span] for span in spans]


def _span_root(span: Span, size: int, read: ReadTile, hashed: dict[Span, bytes]) -> bytes:
    """Return the root over a span; one inside a tile of leaves is made of its halves, which are kept in `hashed`."""
    start, end = span
    width = end - start
    if not 1 < width < TILE_WIDTH or width & (width - 1):
        return fold_peaks(_span_peaks(span, size, read))
    middle = start + width // 2
    for half in ((start, middle), (middle, end)):
        if half not in hashed:
            hashed[half] = _span_root(half, size, read, hashed)
    return node_hash(hashed[start, middle], hashed[middle, end])


def consistency_proof(first: int, second: int, read: ReadTile) -> list[bytes]:
    """Return the proof that the tree of size `first` is a prefix of that of size `second`, from tiles of the latter.

    Source: RFC 6962 section 2.1.2. Raises HS-PROOF-INVALID (`check` = range, also for first = 0, or tile-length).
    """
    cached = _checked(read)
    return [fold_peaks(_span_peaks(span, second, cached)) for span in consistency_spans(first, second)]
