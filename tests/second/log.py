"""A second reader of the log: RFC 6962 trees, C2SP signed notes, checkpoints and proof files, from their texts."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def leaf(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry)


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right)


def split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, by its recursive definition, over leaf hashes."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"")
    k = split(len(leaves))
    return node(root(leaves[:k]), root(leaves[k:]))


def root_by_path(leaf_hash: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that an audit path leads to (RFC 6962 section 2.1.1), walking down from the whole tree."""
    if not 0 <= index < size or len(leaf_hash) != 32:
        raise ValueError("no such leaf")
    if size == 1:
        if path:
            raise ValueError("a path too long")
        return leaf_hash
    if not path:
        raise ValueError("a path too short")
    k = split(size)
    if index < k:
        return node(root_by_path(leaf_hash, index, k, path[:-1]), path[-1])
    return node(path[-1], root_by_path(leaf_hash, index - k, size - k, path[:-1]))


def consistent(first: int, second: int, first_root: bytes, second_root: bytes, proof: list[bytes]) -> None:
    """PROOF(m, D[n]) of RFC 6962 section 2.1.2, walked down; raises ValueError when it shows nothing."""
    if not 0 < first <= second or any(len(one) != 32 for one in proof):
        raise ValueError("sizes")
    if first == second:
        if proof or first_root != second_root:
            raise ValueError("equal trees have an empty proof")
        return
    left = list(proof)

    def walk(m: int, n: int, known: bool) -> tuple[bytes, bytes]:
        """Old and new hash of a subtree of n leaves of which m are old."""
        if m == n:
            hashed = first_root if known else left.pop(0)
            return hashed, hashed
        k = split(n)
        if m <= k:
            old, new = walk(m, k, known)
            return old, node(new, left.pop(0))
        old, new = walk(m - k, n - k, False)
        beside = left.pop(0)
        return node(beside, old), node(beside, new)

    try:
        hashes = walk(first, second, True)
    except IndexError:
        raise ValueError("a proof too short") from None
    if left or hashes != (first_root, second_root):
        raise ValueError("another tree")


def opened_note(note: bytes, vkey: str) -> str:
    """The text of a signed note; every signature under the key's name and id must hold, and there must be one."""
    name, identity, material = vkey.split("+", 2)
    key = base64.b64decode(material)
    assert key[:1] == b"\x01"
    assert sha256(name.encode() + b"\n" + key)[:4].hex() == identity
    text, _, lines = note.decode().rpartition("\n\n")
    text += "\n"
    found = 0
    for line in lines.splitlines():
        dash, signer, blob = line.split(" ")
        assert dash == "—"
        raw = base64.b64decode(blob)
        if (signer, raw[:4].hex()) == (name, identity):
            Ed25519PublicKey.from_public_bytes(key[1:]).verify(raw[4:], text.encode())
            found += 1
    assert found
    return text


def checkpoint(note: bytes, vkey: str) -> tuple[str, int, bytes, list[str]]:
    """Origin, size, root, extension lines."""
    origin, size, root_hash, *more = opened_note(note, vkey).splitlines()
    return origin, int(size), base64.b64decode(root_hash), more


def proven(proof: bytes, leaf_hash: bytes, vkey: str) -> tuple[str, int, int, bytes]:
    """Check a tlog-proof file; returns origin, size, index and the file's extra bytes."""
    head, _, note = proof.partition(b"\n\n")
    first, *lines = head.decode().splitlines()
    assert first == "c2sp.org/tlog-proof@v1"
    extra = base64.b64decode(lines.pop(0).removeprefix("extra ")) if lines[0].startswith("extra ") else b""
    index = int(lines.pop(0).removeprefix("index "))
    origin, size, root_hash, _ = checkpoint(note, vkey)
    if root_by_path(leaf_hash, index, size, [base64.b64decode(line) for line in lines]) != root_hash:
        raise ValueError("the leaf is not there")
    return origin, size, index, extra
