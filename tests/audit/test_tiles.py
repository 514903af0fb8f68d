"""Tiles: paths, growth across the tile borders, and proofs read from tiles, each against RFC 6962 itself."""

import random
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import merkle, tiles
from schemas.errors import HandslagError

LEAVES = [sha256(index.to_bytes(4, "big")).digest() for index in range(65_536 + 512)]


class TileStore:
    """Tiles in a dict, each kept for ever under its own width; remembers what was asked for."""

    def __init__(self):
        self.tiles = {}
        self.asked = []

    def add(self, changed):
        for tile in changed:
            key = (tile.level, tile.n, tile.width)
            assert self.tiles.setdefault(key, tile.hashes) == tile.hashes
        return self

    def read(self, level, n, width):
        self.asked.append((level, n, width))
        return self.tiles[level, n, width]


def refused(check, call, *args):
    with pytest.raises(HandslagError) as caught:
        call(*args)
    assert (caught.value.code, caught.value.context["check"]) == ("HS-PROOF-INVALID", check)


def subtree(memo, start, end):
    """MTH of RFC 6962 section 2.1 by recursion; complete subtrees are remembered so that many sizes stay quick."""
    if end - start == 1:
        return LEAVES[start]
    if (start, end) not in memo:
        split = 1 << ((end - start - 1).bit_length() - 1)
        left, right = subtree(memo, start, start + split), subtree(memo, start + split, end)
        value = sha256(b"\x01" + left + right).digest()
        if (end - start).bit_count() > 1:
            return value
        memo[start, end] = value
    return memo[start, end]


@pytest.fixture(scope="module")
def grown():
    """A log grown in beats of 16 leaves past 65,536: the store, and every size with its root."""
    store, size, roots = TileStore(), 0, {}
    while size < len(LEAVES):
        growth = tiles.grow(size, LEAVES[size : size + 16], store.read)
        store.add(growth.tiles)
        size = growth.size
        roots[size] = growth.root
    return store, roots


def test_growing_in_blocks_of_sixteen_gives_the_recursive_root_and_the_same_tiles(grown):
    store, roots = grown
    memo = {}
    assert set(roots) == set(range(16, len(LEAVES) + 1, 16))
    for size, root in roots.items():
        assert root == subtree(memo, 0, size)
    for size in (16, 240, 256, 272, 512, 65_520, 65_536, 65_552, 65_792, len(LEAVES)):
        at_once = tiles.tiles_of(LEAVES[:size])
        assert all(store.tiles[tile.level, tile.n, tile.width] == tile.hashes for tile in at_once)


def test_a_tile_of_width_zero_is_neither_written_nor_asked_for(grown):
    store, _ = grown
    assert store.asked
    assert all(1 <= width <= 256 for _, _, width in (*store.tiles, *store.asked))
    assert all(1 <= tile.width <= 256 for tile in tiles.tiles_of(LEAVES[:65_536]))


def test_a_beat_reads_at_most_one_tile_per_level(grown):
    store, _ = grown
    reader = TileStore().add(tiles.tiles_of(LEAVES[:65_808]))
    tiles.grow(65_808, LEAVES[65_808:65_824], reader.read)
    assert sorted(reader.asked) == [(0, 257, 16), (1, 1, 1), (2, 0, 1)]
    assert all(key in store.tiles for key in reader.asked)


def test_the_example_of_the_specification_with_70_000_leaves():
    # C2SP tlog-tiles, "Partial Tiles": 273 full and one of 112; one full and one of 17; one of 1.
    widths = {level: [tiles.tile_width(70_000, level, n) for n in range(275)] for level in range(4)}
    assert widths[0] == [256] * 273 + [112, 0]
    assert widths[1][:3] == [256, 17, 0]
    assert widths[2][:2] == [1, 0]
    assert set(widths[3]) == {0}
    shapes = [(tile.level, tile.n, tile.width) for tile in tiles.tiles_of(LEAVES[:256])]
    assert shapes == [(0, 0, 256), (1, 0, 1)]


@given(st.integers(0, 700), st.integers(0, 700))
def test_any_two_steps_give_the_tree_of_one(first, added):
    total = first + added
    store = TileStore().add(tiles.tiles_of(LEAVES[:first]))
    growth = tiles.grow(first, LEAVES[first:total], store.read)
    assert (growth.size, growth.root) == (total, merkle.root(LEAVES[:total]))
    store.add(growth.tiles)
    for tile in tiles.tiles_of(LEAVES[:total]):
        assert store.tiles[tile.level, tile.n, tile.width] == tile.hashes
    assert tiles.frontier(total, store.read).root() == growth.root


def test_proofs_from_tiles_verify_across_the_borders(grown):
    store, roots = grown
    choice = random.Random(6962)
    for size in (16, 256, 272, 4_096, 65_536, 65_552, 65_792, 65_808, len(LEAVES)):
        for index in {0, size - 1, size // 2, *choice.sample(range(size), 6)}:
            proof = tiles.inclusion_proof(index, size, store.read)
            merkle.verify_inclusion(leaf=LEAVES[index], index=index, size=size, proof=proof, root_hash=roots[size])
        for first in {16, size, *choice.sample(sorted(roots), 6)}:
            if first <= size:
                proof = tiles.consistency_proof(first, size, store.read)
                merkle.verify_consistency(
                    first=first, second=size, first_root=roots[first], second_root=roots[size], proof=proof
                )


@given(st.integers(1, 600), st.data())
def test_proofs_from_tiles_equal_those_from_leaves(size, data):
    store = TileStore().add(tiles.tiles_of(LEAVES[:size]))
    index = data.draw(st.integers(0, size - 1))
    assert tiles.inclusion_proof(index, size, store.read) == merkle.inclusion_proof(LEAVES[:size], index)
    first = data.draw(st.integers(1, size))
    assert tiles.consistency_proof(first, size, store.read) == merkle.consistency_proof(LEAVES[:size], first)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 300, 513, 700])
def test_many_proofs_are_the_single_ones(size):
    store = TileStore().add(tiles.tiles_of(LEAVES[:size]))
    asked = [*range(0, size, 7), size - 1, 0]
    together = list(tiles.inclusion_proofs(asked, size, store.read))
    assert together == [merkle.inclusion_proof(LEAVES[:size], index) for index in asked]
    refused("range", lambda: list(tiles.inclusion_proofs([size], size, store.read)))


@pytest.mark.parametrize("index", [0, 300, 511, 600, 699])
def test_many_proofs_ask_for_the_tiles_of_the_single_ones(index):
    one, many = (TileStore().add(tiles.tiles_of(LEAVES[:700])) for _ in range(2))
    tiles.inclusion_proof(index, 700, one.read)
    list(tiles.inclusion_proofs([index], 700, many.read))
    assert set(many.asked) == set(one.asked)


def test_any_complete_subtree_can_be_read(grown):
    store, _ = grown
    memo, size = {}, len(LEAVES)
    for height in range(17):
        for n in {0, (size >> height) - 1}:
            expected = subtree(memo, n << height, (n + 1) << height)
            assert tiles.subtree_hash(height, n, size, store.read) == expected
    refused("range", tiles.subtree_hash, 17, 0, size, store.read)
    refused("range", tiles.subtree_hash, 0, size, size, store.read)


def test_a_tile_of_the_wrong_length_is_refused():
    store = TileStore().add(tiles.tiles_of(LEAVES[:300]))
    tiles.inclusion_proof(7, 300, store.read)

    def short(level, n, width):
        return store.read(level, n, width)[:-1]

    for call in (
        lambda: tiles.inclusion_proof(7, 300, short),
        lambda: tiles.consistency_proof(7, 300, short),
        lambda: tiles.subtree_hash(3, 0, 300, short),
        lambda: tiles.grow(300, LEAVES[300:316], short),
    ):
        refused("tile-length", call)
    refused("hash-length", tiles.grow, 0, [b"short"], store.read)
    refused("range", tiles.grow, -1, LEAVES[:1], store.read)


def test_paths_are_those_of_the_specification():
    # C2SP tlog-tiles, "Merkle Tree": index 1234067 is x001/x234/067.
    assert tiles.tile_path(0, 1_234_067) == "tile/0/x001/x234/067"
    assert tiles.tile_path(2, 5, 17) == "tile/2/005.p/17"
    assert tiles.tile_path(63, 1000) == "tile/63/x001/000"


@given(st.integers(0, 63), st.integers(0, 2**55 - 1), st.integers(1, 256))
def test_a_path_is_read_as_it_is_written(level, n, width):
    assert tiles.parse_tile_path(tiles.tile_path(level, n, width)) == (level, n, width)


def test_other_spellings_of_a_path_are_refused():
    assert tiles.parse_tile_path("tile/0/x001/067.p/8") == (0, 1067, 8)
    others = """tile/00/067 tile/64/067 tile/0/67 tile/0/0067 tile/0/001/067 tile/0/x000/067 tile/0/x001/x067
    tile/0/067.p/0 tile/0/067.p/256 tile/0/067.p/08 tile/0/067.p/ /tile/0/067 tile/0/067/ tile/-1/067 tile/0/٠٦٧
    tile/entries/067 tile"""
    for path in (*others.split(), "", "tile/0/067\n", "tile/0/" + "x001/" * 7 + "067"):
        refused("tile-path", tiles.parse_tile_path, path)
    for level, n, width in [(64, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257), (0, 2**55, 1)]:
        refused("tile-path", tiles.tile_path, level, n, width)
