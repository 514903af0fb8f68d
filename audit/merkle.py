"""Merkle tree hashing of RFC 6962 section 2.1 and the proof checks of RFC 9162 section 2.1, with SHA-256.

A hash is 32 bytes. A *leaf hash* is already `leaf_hash(entry)`: nothing here sees entry bytes but that function. A
tree of size n has the leaves 0..n-1. A *span* (start, end) names the subtree over the leaves start..end-1; proofs are
lists of spans first, so that the hashes may come from a list or from tiles.

Checks raise `HandslagError("HS-PROOF-INVALID")` and return nothing: an answer that can be forgotten is not a check. The
context key `check` names the step that refused.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

from schemas.errors import HandslagError

HASH_BYTES = 32
MAX_SIZE = 2**63 - 1
"""Largest tree size, in leaves: what a signed 64-bit column holds."""

EMPTY_ROOT = sha256(b"").digest()
"""Root of the tree without leaves (RFC 6962 section 2.1)."""

Span = tuple[int, int]
"""Leaves start..end-1 of a tree, end exclusive."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash one entry of any length to its leaf hash, SHA-256(0x00 || entry)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two child hashes of 32 bytes to their parent, SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes in order; `EMPTY_ROOT` for none.

    Works level by level; a last hash without a neighbour goes up unchanged, which gives the tree of RFC 6962 (its left
    subtree is the largest power of two below n).
    """
    # INVARIANT: test_root_equals_the_recursive_definition
    if not hashes:
        return EMPTY_ROOT
    row = list(hashes)
    while len(row) > 1:
        pairs = zip(row[::2], row[1::2], strict=False)
        above = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
        if len(row) % 2:
            above.append(row[-1])
        row = above
    return row[0]


class Frontier:
    """The right edge of a growing tree: the roots of its complete subtrees, largest first, and the size.

    Enough to append and to state the root, 32 bytes per set bit of the size. Also called a compact range.
    """

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        """Start from a size (leaves) and its peaks, largest subtree first.

        Raises HS-PROOF-INVALID (`check` = frontier) if the number or length of the peaks does not fit the size.
        """
        self._size = size
        self._peaks = list(peaks)
        fits = 0 <= size <= MAX_SIZE and len(self._peaks) == size.bit_count()
        if not fits or any(len(peak) != HASH_BYTES for peak in self._peaks):
            raise HandslagError("HS-PROOF-INVALID", check="frontier")

    @property
    def size(self) -> int:
        """Number of leaves appended so far."""
        return self._size

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """Roots of the complete subtrees, largest first; with `size` they restore this frontier."""
        return tuple(self._peaks)

    def extend(self, hashes: Iterable[bytes]) -> None:
        """Append leaf hashes in order."""
        peaks, size = self._peaks, self._size
        for leaf in hashes:
            carried, full = leaf, size
            # Each trailing one bit of the size is a complete subtree that the new leaf completes into a larger one.
            while full & 1:
                carried = sha256(b"\x01" + peaks.pop() + carried).digest()
                full >>= 1
            peaks.append(carried)
            size += 1
        self._size = size

    def append(self, leaf: bytes) -> None:
        """Append one leaf hash."""
        self.extend((leaf,))

    def root(self) -> bytes:
        """Return the root of the tree so far; `EMPTY_ROOT` for size 0."""
        return fold_peaks(self._peaks)


def fold_peaks(peaks: Sequence[bytes]) -> bytes:
    """Return the root over the roots of adjoining complete subtrees, largest first; `EMPTY_ROOT` for none."""
    if not peaks:
        return EMPTY_ROOT
    folded = peaks[-1]
    for peak in reversed(peaks[:-1]):
        folded = node_hash(peak, folded)
    return folded


def _split(width: int) -> int:
    """Return the largest power of two below width (width >= 2)."""
    return 1 << ((width - 1).bit_length() - 1)


def inclusion_spans(index: int, size: int) -> list[Span]:
    """Return the spans whose hashes prove leaf `index` in a tree of `size`, from the leaf's sibling up.

    Source: PATH(m, D[n]), RFC 6962 section 2.1.1. Raises HS-PROOF-INVALID unless 0 <= index < size.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise HandslagError("HS-PROOF-INVALID", check="range")
    start, end, spans = 0, size, list[Span]()
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    return spans[::-1]


def consistency_spans(first: int, second: int) -> list[Span]:
    """Return the spans whose hashes prove that the tree of size `first` is a prefix of that of size `second`.

    Source: PROOF(m, D[n]), RFC 6962 section 2.1.2; equal sizes need no hash. Raises HS-PROOF-INVALID unless
    0 < first <= second: from the empty tree there is nothing to prove.
    """
    if not 0 < first <= second <= MAX_SIZE:
        raise HandslagError("HS-PROOF-INVALID", check="range")
    start, end, spans = 0, second, list[Span]()
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    # The old root itself is left out: whoever checks already has it.
    if start:
        spans.append((start, end))
    return spans[::-1]


def inclusion_proof(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the inclusion proof of leaf `index` in the tree over `hashes`; for a large tree read it from tiles."""
    return [root(hashes[start:end]) for start, end in inclusion_spans(index, len(hashes))]


def inclusion_proofs(hashes: Sequence[bytes]) -> list[list[bytes]]:
    """Return the inclusion proof of every leaf in order; each subtree is hashed once."""
    # INVARIANT: test_the_proofs_of_all_leaves_are_the_single_ones
    made: dict[Span, bytes] = {}

    def subtree(start: int, end: int) -> bytes:
        if end - start == 1:
            return hashes[start]
        if (start, end) not in made:
            middle = start + _split(end - start)
            made[start, end] = node_hash(subtree(start, middle), subtree(middle, end))
        return made[start, end]

    size = len(hashes)
    return [[subtree(*span) for span in inclusion_spans(index, size)] for index in range(size)]


def consistency_proof(hashes: Sequence[bytes], first: int) -> list[bytes]:
    """Return the proof that the tree over the `first` leading leaf hashes is a prefix of the tree over all of them."""
    return [root(hashes[start:end]) for start, end in consistency_spans(first, len(hashes))]


def _require(holds: bool, check: str) -> None:
    if not holds:
        raise HandslagError("HS-PROOF-INVALID", check=check)


def _require_hashes(hashes: Iterable[bytes]) -> None:
    _require(all(len(value) == HASH_BYTES for value in hashes), "hash-length")


def verify_inclusion(*, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root_hash: bytes) -> None:
    """Check that the leaf hash stands at `index` in the tree of `size` leaves with this root.

    Source: RFC 9162 section 2.1.3.2. Raises HS-PROOF-INVALID with `check` range, hash-length, proof-length or root.
    """
    # INVARIANT: test_any_flipped_bit_of_an_inclusion_proof_is_refused
    _require(0 <= index < size <= MAX_SIZE, "range")
    _require_hashes((leaf, root_hash, *proof))
    node, last, computed = index, size - 1, leaf
    for sibling in proof:
        _require(last > 0, "proof-length")
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            # At the right edge, levels without a sibling are skipped.
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        node >>= 1
        last >>= 1
    _require(last == 0, "proof-length")
    _require(computed == root_hash, "root")


def verify_consistency(
    *, first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree (first, first_root) is a prefix of the tree (second, second_root).

    Source: RFC 9162 section 2.1.4.2; equal sizes hold with equal roots and an empty proof. Raises HS-PROOF-INVALID with
    `check` range (also for first = 0), hash-length, proof-length, first-root or second-root.
    """
    # INVARIANT: test_any_flipped_bit_of_a_consistency_proof_is_refused
    _require(0 < first <= second <= MAX_SIZE, "range")
    _require_hashes((first_root, second_root, *proof))
    if first == second:
        _require(not proof, "proof-length")
        _require(first_root == second_root, "second-root")
        return
    _require(bool(proof), "proof-length")
    # A first tree that is one complete subtree is its own first step; the proof leaves it out.
    path = list(proof) if first & (first - 1) else [first_root, *proof]
    node, last = first - 1, second - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old = new = path[0]
    for sibling in path[1:]:
        _require(last > 0, "proof-length")
        if node & 1 or node == last:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        node >>= 1
        last >>= 1
    _require(last == 0, "proof-length")
    _require(old == first_root, "first-root")
    _require(new == second_root, "second-root")
