"""A log that goes on after a loss: the names it goes on under, and the operator's statement of what was lost.

After a restore the tree grows from the leaves that were kept, and no longer under the origin under which the lost ones
were signed: `<origin>/2`, then `<origin>/3`. One key, one tree, several names; each change of name is stated, signed
by the log's key, in an entry of the log itself. So nobody is ever shown two trees of one name.
"""

from __future__ import annotations

from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit import note as notes
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.encoding import decode_number
from audit.note import Verifier
from schemas.errors import HandslagError
from schemas.hold import Continuation, SignedContinuation


def origin_of(base: str, number: int) -> str:
    """The origin of the log's part `number`: the base for 1, `<base>/<number>` for every later one."""
    return base if number == 1 else f"{base}/{number}"


def number_of(base: str, origin: str) -> int | None:
    """Which part of the log an origin names; None for an origin of another log."""
    if origin == base:
        return 1
    number = decode_number(origin.removeprefix(f"{base}/")) if origin.startswith(f"{base}/") else None
    return number if number is not None and number > 1 else None


def verifier_of(base: str, number: int, public_key: bytes) -> Verifier:
    """The log's key under the name of its part `number`: a note's signature line carries the origin."""
    return Verifier(origin_of(base, number), public_key)


def open_part(data: bytes, *, base: str, log: Verifier) -> tuple[int, Checkpoint]:
    """(part number, checkpoint) of a signed note of this log, whichever of its origins it is under.

    Raises HS-CHECKPOINT-INVALID (`check` = origin for another log's note, else as `open_checkpoint`).
    """
    origin = notes.parse(data).text.partition("\n")[0]
    number = number_of(base, origin)
    if number is None:
        raise HandslagError("HS-CHECKPOINT-INVALID", check="origin")
    # Under its first name the key may have a name of its own; under a later one it has the origin's.
    verifier = log if number == 1 else verifier_of(base, number, log.public_key)
    return number, open_checkpoint(data, origin=origin, log_keys=(verifier,))


def check_statement(signed: SignedContinuation, *, base: str, log: Verifier) -> Continuation:
    """The statement, when the log's key signed it and its checkpoints are what it says.

    Raises HS-PROOF-INVALID with `check` = signature, origin, new or old; PayloadRejected, HS-CHECKPOINT-INVALID.
    """
    # INVARIANT: test_a_statement_that_its_checkpoints_do_not_bear_is_refused
    try:
        Ed25519PublicKey.from_public_bytes(log.public_key).verify(signed.signature, signed.statement)
    except (InvalidSignature, ValueError):
        raise HandslagError("HS-PROOF-INVALID", check="signature") from None
    said = Continuation.from_bytes(signed.statement)
    before, after = number_of(base, said.old_origin), number_of(base, said.new_origin)
    if before is None or after is None or after <= before:
        raise HandslagError("HS-PROOF-INVALID", check="origin")
    number, new = open_part(said.new_note, base=base, log=log)
    if (number, new.size, new.root) != (after, said.kept_size, said.kept_root):
        raise HandslagError("HS-PROOF-INVALID", check="new")
    if said.old_note is not None:
        number, old = open_part(said.old_note, base=base, log=log)
        if (number, old.size, old.root) != (before, said.old_size, said.old_root):
            raise HandslagError("HS-PROOF-INVALID", check="old")
    return said


def subject(hold_id: bytes, kept: Checkpoint, seen: Checkpoint) -> bytes:
    """What two administrators sign before a log goes on, 32 bytes: which hold, the tree kept, the newest that was seen.

    Of `kept` the origin does not count: the part that goes on has its name from the statement.
    """
    # INVARIANT: test_a_log_goes_on_only_as_two_administrators_signed
    sizes = b"".join(head.size.to_bytes(8, "big") + head.root for head in (kept, seen))
    return sha256(b"HS1 hold subject\x00" + hold_id + sizes + seen.origin.encode()).digest()


def subject_of(said: Continuation) -> bytes:
    """The same of a statement as it was made."""
    kept = Checkpoint(said.new_origin, said.kept_size, said.kept_root)
    return subject(said.hold_id, kept, Checkpoint(said.old_origin, said.old_size, said.old_root))
