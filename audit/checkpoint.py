"""Checkpoints: the signed statement of a log's size and root (C2SP tlog-checkpoint, in a signed note).

Three lines, each ending in a newline: origin, size in decimal, root in base64; then any extension lines, which are
kept and never interpreted. Malformed or badly signed raises `HS-CHECKPOINT-INVALID`, a smaller tree or a fork
`HS-TRAIL-ROLLBACK`; the context key `check` names the step that refused.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from audit.encoding import decode_hash, decode_number, encode_base64
from audit.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, verify_consistency
from audit.note import Signer, Verifier, open_note, sign_note
from schemas.errors import HandslagError


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's tree head: origin (the log's name, one line), size in leaves, root (32 bytes), extension lines.

    Raises HS-CHECKPOINT-INVALID if a field cannot stand in a checkpoint, and for a size of 0 with any root but that
    of the empty tree.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lines = (self.origin, *self.extensions)
        shaped = 0 <= self.size <= MAX_SIZE and len(self.root) == HASH_BYTES
        if not shaped or not all(line and "\n" not in line for line in lines):
            raise HandslagError("HS-CHECKPOINT-INVALID", check="body")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise HandslagError("HS-CHECKPOINT-INVALID", check="empty-root")

    def body(self) -> str:
        """Return the note text that is signed."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def from_body(cls, text: str) -> "Checkpoint":
        """Read a note text; raises unless `body` would write the same text."""
        origin, *rest = text.split("\n")
        if len(rest) < 3 or rest.pop():
            raise HandslagError("HS-CHECKPOINT-INVALID", check="body")
        size, root = decode_number(rest[0]), decode_hash(rest[1])
        if size is None or root is None:
            raise HandslagError("HS-CHECKPOINT-INVALID", check="body")
        return cls(origin, size, root, tuple(rest[2:]))


def sign_checkpoint(checkpoint: Checkpoint, signers: Sequence[Signer]) -> bytes:
    """Return the signed note of a checkpoint.

    Signs whatever it is given: that no two checkpoints of one log contradict each other is the caller's
    compare-and-set.
    """
    return sign_note(checkpoint.body(), signers)


def open_checkpoint(data: bytes, *, origin: str, log_keys: Iterable[Verifier]) -> Checkpoint:
    """Return the checkpoint of a signed note, if one of the log's keys signed it and it is of this origin.

    `log_keys` are the keys trusted for `origin` and no others: a witness's signature says nothing about who made the
    tree.
    """
    # INVARIANT: test_a_checkpoint_of_another_origin_is_refused
    checkpoint = Checkpoint.from_body(open_note(data, log_keys).text)
    if checkpoint.origin != origin:
        raise HandslagError("HS-CHECKPOINT-INVALID", check="origin")
    return checkpoint


def supersedes(*, newer: Checkpoint, older: Checkpoint, proof: Sequence[bytes]) -> None:
    """Check that `newer` may follow `older`: same origin, not smaller, no fork, and the consistency proof holds.

    Both have been opened before. Raises HS-CHECKPOINT-INVALID (`check` = origin), HS-TRAIL-ROLLBACK (`check` =
    smaller or fork: the two notes together prove it), HS-PROOF-INVALID (a proof that does not verify proves nothing
    yet: it may be the proof that is wrong). From size 0 and between equal trees the proof is empty.
    """
    # INVARIANT: test_a_smaller_tree_or_a_fork_is_a_rollback
    if newer.origin != older.origin:
        raise HandslagError("HS-CHECKPOINT-INVALID", check="origin")
    if newer.size < older.size:
        raise HandslagError("HS-TRAIL-ROLLBACK", check="smaller")
    if newer.size == older.size and newer.root != older.root:
        raise HandslagError("HS-TRAIL-ROLLBACK", check="fork")
    if older.size == 0:
        if proof:
            raise HandslagError("HS-PROOF-INVALID", check="proof-length")
        return
    verify_consistency(first=older.size, second=newer.size, first_root=older.root, second_root=newer.root, proof=proof)
