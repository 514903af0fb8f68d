"""The padded beat: how the unsealed entries of one beat become leaves, so that the log's growth shows no caseload.

A beat of n entries appends max(1, ceil(n / 16)) blocks of 16 leaves, entries and fillers shuffled together. Everything
follows from the beat's 32-byte secret seed, the index of its first leaf and the set of entries' leaf hashes, so whoever
holds the BEAT record can compute it again:

1. Slots. Put the entries' leaf hashes in ascending byte order as items 0..n-1; the items n..size-1 are fillers.
2. Numbers. The stream of 32-bit big-endian words is HMAC-SHA256(seed, "HS1 beat shuffle" || counter as 4 bytes
   big-endian) for counter 0, 1, 2, ..., eight words each, in order.
3. Shuffle (Fisher-Yates). For i = size-1 down to 1: take the next word that is below floor(2**32 / (i+1)) * (i+1),
   skipping others; j = word mod (i+1); swap the items i and j. Item at offset k after it becomes leaf first + k.
4. Fillers. The leaf hash of a filler at index x is SHA-256(0x00 || HMAC-SHA256(seed, x as 8 bytes big-endian)).

Shuffle and filler messages differ in length, so neither is ever the other. Sorting first makes the result independent
of the order in which the entries were committed. Wrong arguments or leaves raise `HS-PROOF-INVALID` with a `check`.
"""

import hmac
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise

from audit.merkle import HASH_BYTES, MAX_SIZE, leaf_hash
from schemas.errors import HandslagError

BLOCK = 16
"""Leaves in a block; every beat appends whole blocks and so begins at a multiple of it."""

SEED_BYTES = 32
_SHUFFLE = b"HS1 beat shuffle"


@dataclass(frozen=True, slots=True)
class BeatLeaf:
    """One leaf of a beat: its hash, and which of the entries passed in it is (None for a filler)."""

    hash: bytes
    entry: int | None


def beat_size(entries: int) -> int:
    """Return how many leaves a beat of so many entries appends: 16 at least, a multiple of 16."""
    return max(1, -(-entries // BLOCK)) * BLOCK


def filler_leaf(seed: bytes, index: int) -> bytes:
    """Return the leaf hash of the filler at a leaf index of the whole log."""
    return leaf_hash(hmac.digest(seed, index.to_bytes(8, "big"), "sha256"))


def _words(seed: bytes) -> Iterator[int]:
    for counter in count():
        yield from struct.unpack(">8I", hmac.digest(seed, _SHUFFLE + counter.to_bytes(4, "big"), "sha256"))


def _shuffled(seed: bytes, size: int) -> list[int]:
    """Return the items 0..size-1 in shuffled order."""
    items, words = list(range(size)), _words(seed)
    for i in range(size - 1, 0, -1):
        # Words above the largest multiple would make small numbers likelier.
        bound = 2**32 - 2**32 % (i + 1)
        word = next(words)
        while word >= bound:
            word = next(words)
        j = word % (i + 1)
        items[i], items[j] = items[j], items[i]
    return items


def _check_arguments(seed: bytes, first: int, size: int) -> None:
    if len(seed) != SEED_BYTES or first < 0 or first % BLOCK or first + size > MAX_SIZE:
        raise HandslagError("HS-PROOF-INVALID", check="beat")


def lay_out(*, seed: bytes, first: int, entries: Sequence[bytes]) -> tuple[BeatLeaf, ...]:
    """Return the leaves of a beat in order; the leaf at offset k gets index first + k.

    `entries` are leaf hashes (32 bytes, distinct), the previous BEAT's included; `seed` is fresh for every beat. Raises
    HS-PROOF-INVALID (`check` = beat or hash-length).
    """
    # INVARIANT: test_a_beat_shows_only_its_number_of_blocks
    size = beat_size(len(entries))
    _check_arguments(seed, first, size)
    if any(len(entry) != HASH_BYTES for entry in entries):
        raise HandslagError("HS-PROOF-INVALID", check="hash-length")
    if len(set(entries)) != len(entries):
        raise HandslagError("HS-PROOF-INVALID", check="beat")
    order = sorted(range(len(entries)), key=entries.__getitem__)
    leaves = []
    for offset, item in enumerate(_shuffled(seed, size)):
        if item < len(order):
            leaves.append(BeatLeaf(entries[order[item]], order[item]))
        else:
            leaves.append(BeatLeaf(filler_leaf(seed, first + offset), None))
    return tuple(leaves)


def check_beat(*, seed: bytes, first: int, entry_count: int, leaves: Sequence[bytes]) -> tuple[int, ...]:
    """Compute a beat again from its BEAT record and return the offsets (0..size-1) that hold entries.

    `leaves` are the beat's leaf hashes as logged. Raises HS-PROOF-INVALID with `check` = beat (number of leaves, or an
    argument), filler (a leaf that must be a filler is not) or beat-order (entries are not where the shuffle puts them).
    """
    # INVARIANT: test_a_beat_with_a_changed_leaf_is_refused
    size = beat_size(entry_count)
    _check_arguments(seed, first, size)
    if entry_count < 0 or len(leaves) != size:
        raise HandslagError("HS-PROOF-INVALID", check="beat")
    items = _shuffled(seed, size)
    for offset, item in enumerate(items):
        if item >= entry_count and leaves[offset] != filler_leaf(seed, first + offset):
            raise HandslagError("HS-PROOF-INVALID", check="filler")
    # Item i holds the i-th smallest entry hash: read in item order they ascend.
    placed = sorted((item, leaves[offset]) for offset, item in enumerate(items) if item < entry_count)
    if any(later[1] <= earlier[1] for earlier, later in pairwise(placed)):
        raise HandslagError("HS-PROOF-INVALID", check="beat-order")
    return tuple(offset for offset, item in enumerate(items) if item < entry_count)
