"""Proof files (`.tlog-proof`, C2SP tlog-proof version 1): one leaf, its place in the log, and the log's checkpoint.

A file can be checked in twenty years without the log: it needs the leaf hash, the origin and the log's key. Malformed
or wrong raises `HS-PROOF-INVALID`, a bad checkpoint inside `HS-CHECKPOINT-INVALID`; the context's `check` names the
step.
"""

from dataclasses import dataclass

from audit.checkpoint import Checkpoint, open_checkpoint
from audit.encoding import decode_base64, decode_hash, decode_number, encode_base64
from audit.merkle import HASH_BYTES, MAX_SIZE, verify_inclusion
from audit.note import MAX_NOTE_BYTES, Verifier
from schemas.errors import HandslagError

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES = MAX_NOTE_BYTES + 65_536
_MAX_HASHES = 63


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A proof file's content.

    `index` is the leaf's place from 0, `hashes` the inclusion proof from the leaf's sibling up (32 bytes each),
    `checkpoint` the signed note as it was served, `extra` any bytes for the application: nothing vouches for them.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""

    def __post_init__(self) -> None:
        shaped = 0 <= self.index < MAX_SIZE and len(self.hashes) <= _MAX_HASHES and bool(self.checkpoint)
        if not shaped or any(len(value) != HASH_BYTES for value in self.hashes):
            raise HandslagError("HS-PROOF-INVALID", check="format")

    def render(self) -> bytes:
        """Return the file's bytes; raises if they would be longer than `parse` reads."""
        extra = [f"extra {encode_base64(self.extra)}"] if self.extra else []
        lines = [HEADER, *extra, f"index {self.index}", *map(encode_base64, self.hashes), ""]
        data = "".join(f"{line}\n" for line in lines).encode() + self.checkpoint
        if len(data) > MAX_PROOF_BYTES:
            raise HandslagError("HS-PROOF-INVALID", check="size")
        return data


def parse(data: bytes) -> TlogProof:
    """Read a proof file without checking it; raises unless `render` would write the same bytes."""
    if len(data) > MAX_PROOF_BYTES:
        raise HandslagError("HS-PROOF-INVALID", check="size")
    head, separator, checkpoint = data.partition(b"\n\n")
    if not separator or not head.isascii():
        raise HandslagError("HS-PROOF-INVALID", check="format")
    header, *lines = head.decode("ascii").split("\n")
    extra: bytes | None = b""
    if lines and lines[0].startswith("extra "):
        # A present line has data: leaving it out is the one way to say that there is none.
        extra = decode_base64(lines.pop(0).removeprefix("extra ")) or None
    if header != HEADER or extra is None or not lines or not lines[0].startswith("index "):
        raise HandslagError("HS-PROOF-INVALID", check="format")
    index = decode_number(lines[0].removeprefix("index "))
    hashes = tuple(value for value in map(decode_hash, lines[1:]) if value is not None)
    if index is None or len(hashes) != len(lines) - 1:
        raise HandslagError("HS-PROOF-INVALID", check="format")
    return TlogProof(index, hashes, checkpoint, extra)


def verify(data: bytes, *, leaf_hash: bytes, verifier: Verifier, origin: str) -> Checkpoint:
    """Check a proof file and return the checkpoint that covers the leaf.

    `leaf_hash` (32 bytes) is computed from the entry by the caller, never taken from the file. Witnesses' cosignatures
    in the checkpoint are not looked at here. The checkpoint is checked first, then the inclusion proof against its
    root.
    """
    # INVARIANT: test_any_changed_byte_of_a_proof_file_is_refused
    proof = parse(data)
    checkpoint = open_checkpoint(proof.checkpoint, origin=origin, log_keys=(verifier,))
    check_included(proof, leaf_hash=leaf_hash, checkpoint=checkpoint)
    return checkpoint


def check_included(proof: TlogProof, *, leaf_hash: bytes, checkpoint: Checkpoint) -> None:
    """Check that a proof shows the leaf in the tree of a checkpoint; for a caller who opened the proof's own once."""
    verify_inclusion(
        leaf=leaf_hash, index=proof.index, size=checkpoint.size, proof=proof.hashes, root_hash=checkpoint.root
    )
