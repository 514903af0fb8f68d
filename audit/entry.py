"""Audit entries: what is written when something happens, sealed under the key of the seat it is about.

`entry_bytes` is the encoded `AuditEntry`, hashed as stored: its leaf is SHA-256(0x00 || entry_bytes) (RFC 6962 section
2.1). The payload lies beside it, AES-256-GCM under the entry's own key, and can be deleted or become unreadable without
touching the tree; the entry commits to the ciphertext's SHA-256. No I/O, clock or randomness: ids, salts and times come
from the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from audit.vault import HANDLE_BYTES, SeatKeys
from schemas import limits
from schemas.errors import HandslagError
from schemas.trail import AuditEntry, Beat, Payload

OPERATOR = "OPERATOR"
"""Owner of entries that belong to no controller: beats and the operator's own acts."""

# Every key seals exactly one payload, so a fixed nonce never repeats under a key.
_NONCE = bytes(12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a caller wants recorded; becomes an entry by `seal`.

    `owner` is the controller that may read it, or OPERATOR. `seat_id` (16 bytes) is the seat it is about, None for an
    entry about no seat. The payload of a BEAT is a `Beat`. `cause` is the id of the entry that this one explains or
    follows from.
    """

    operation: str
    owner: str
    payload: Payload | Beat
    seat_id: bytes | None = None
    outcome: str | None = None
    reason_class: str | None = None
    cause: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedEntry:
    """An entry ready to be stored: `entry_bytes` for the tree, `payload` (ciphertext) beside it.

    `number` is the store's own row number, None until it is stored.
    """

    entry_id: bytes
    number: int | None = None
    owner: str
    handle: bytes
    at_us: int
    operation: str
    outcome: str | None
    reason_class: str | None
    entry_bytes: bytes
    leaf_hash: bytes
    payload: bytes = field(repr=False)


def seal(
    draft: Draft,
    *,
    entry_id: bytes,
    salt: bytes,
    at_us: int,
    keys: SeatKeys,
    segment: int,
    random_handle: bytes | None,
) -> SealedEntry:
    """Encrypt the draft's payload and return the entry.

    `entry_id` is a fresh UUIDv7 and `salt` 16 random bytes, so that no sibling can be guessed. `keys` are the seat's;
    an entry about no seat takes its unit's or the operator's keys and a `random_handle` of 16 bytes instead of the
    seat's handle. Raises HS-IDENTIFIER-INVALID (field named), HS-TOO-LARGE, PayloadRejected.
    """
    # INVARIANT: test_an_entry_about_no_seat_has_a_handle_that_no_key_derives
    if (draft.seat_id is None) != (random_handle is not None):
        raise HandslagError("HS-IDENTIFIER-INVALID", field="random_handle")
    handle = keys.handle(segment) if random_handle is None else random_handle
    if len(handle) != HANDLE_BYTES:
        raise HandslagError("HS-IDENTIFIER-INVALID", field="random_handle")
    ciphertext = AESGCM(keys.dek(entry_id)).encrypt(_NONCE, draft.payload.to_bytes(), entry_id)
    entry_bytes = AuditEntry(
        salt=salt,
        entry_id=entry_id,
        at_us=at_us,
        operation=draft.operation,
        owner=draft.owner,
        handle=handle,
        outcome=draft.outcome,
        reason_class=draft.reason_class,
        payload_commit=sha256(ciphertext).digest(),
        cause=draft.cause,
    ).to_bytes()
    if len(entry_bytes) > limits.ENTRY:
        raise HandslagError("HS-TOO-LARGE", limit=limits.ENTRY)
    return SealedEntry(
        entry_id=entry_id,
        owner=draft.owner,
        handle=handle,
        at_us=at_us,
        operation=draft.operation,
        outcome=draft.outcome,
        reason_class=draft.reason_class,
        entry_bytes=entry_bytes,
        leaf_hash=sha256(b"\x00" + entry_bytes).digest(),
        payload=ciphertext,
    )


def open_payload(entry: AuditEntry, ciphertext: bytes, key: bytes) -> Payload:
    """Return the payload of any entry but a BEAT, with the entry's own key (32 bytes, `SeatKeys.dek`).

    Raises HS-PROOF-INVALID (`check` = payload-commit) for other ciphertext than the entry commits to, HS-SEAL-INVALID
    for a wrong key, PayloadRejected for a payload of another kind.
    """
    return Payload.from_bytes(_opened(entry, ciphertext, key))


def open_beat(entry: AuditEntry, ciphertext: bytes, key: bytes) -> Beat:
    """Return the payload of a BEAT entry; raises as `open_payload`."""
    return Beat.from_bytes(_opened(entry, ciphertext, key))


def _opened(entry: AuditEntry, ciphertext: bytes, key: bytes) -> bytes:
    # The commitment goes first: it says *which* ciphertext, and so catches two that changed places.
    if sha256(ciphertext).digest() != entry.payload_commit:
        raise HandslagError("HS-PROOF-INVALID", check="payload-commit")
    try:
        return AESGCM(key).decrypt(_NONCE, ciphertext, entry.entry_id)
    except (InvalidTag, ValueError):
        raise HandslagError("HS-SEAL-INVALID", field="payload") from None
