"""Keys of one seat's audit entries, all derived from one random secret: destroy it and its entries are forgotten.

    SK   32 random bytes per seat, per unit or for the operator; kept wrapped, see `broker/store/keys.py`
    DEK  HKDF-SHA256(SK, info = "HS1 entry key" || entry_id)     one key per entry: may be handed out alone
    HK   HKDF-SHA256(SK, info = "HS1 handle key" || segment)     segment as 4 bytes big-endian
    handle = HMAC-SHA256(HK, "HS1 handle")[:16]                  one per seat and segment
    salt HKDF-SHA256(SK, info = "HS1 erasure salt")              of the act that erases the seat

HKDF is RFC 5869 without salt: SK is uniform already. Nothing SK depends on can be computed again.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.errors import HandslagError

SK_BYTES = 32
DEK_BYTES = 32
HANDLE_BYTES = 16
ID_BYTES = 16

_ENTRY = b"HS1 entry key"
_HANDLE_KEY = b"HS1 handle key"
_HANDLE = b"HS1 handle"
_ERASURE = b"HS1 erasure salt"
_SUBJECT = b"HS1 erasure subject"


@dataclass(frozen=True, slots=True)
class SeatKeys:
    """The secret `sk` (32 bytes) of a seat, a unit or the operator, and what is derived from it.

    Raises HS-IDENTIFIER-INVALID when `sk` has another length. The secret is not in the `repr`.
    """

    sk: bytes = field(repr=False)
    _handles: dict[int, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.sk) != SK_BYTES:
            raise HandslagError("HS-IDENTIFIER-INVALID", field="sk")

    def dek(self, entry_id: bytes) -> bytes:
        """Return the key (32 bytes) of the one entry with this id (16 bytes); raises HS-IDENTIFIER-INVALID."""
        # A fixed length keeps the derivation inputs of two entries apart.
        if len(entry_id) != ID_BYTES:
            raise HandslagError("HS-IDENTIFIER-INVALID", field="entry_id")
        return _derive(self.sk, _ENTRY + entry_id)

    def handle(self, segment: int) -> bytes:
        """Return the 16-byte handle of this seat in a segment (0 .. 2**32-1); raises HS-IDENTIFIER-INVALID."""
        # INVARIANT: test_handles_of_one_seat_differ_between_segments
        if not 0 <= segment < 2**32:
            raise HandslagError("HS-IDENTIFIER-INVALID", field="segment")
        handle = self._handles.get(segment)
        if handle is None:
            key = _derive(self.sk, _HANDLE_KEY + segment.to_bytes(4, "big"))
            handle = self._handles[segment] = hmac.digest(key, _HANDLE, "sha256")[:HANDLE_BYTES]
        return handle

    def erasure_salt(self) -> bytes:
        """The salt (32 bytes) of `erasure_subject`: whoever has the seat's key can name it, and afterwards nobody."""
        return _derive(self.sk, _ERASURE)


def erasure_subject(seat_id: bytes, salt: bytes) -> bytes:
    """What an act about a seat (16 bytes) names instead of it, 32 bytes: everybody is shown the act.

    The salt dies with the seat's key, so after the erasure nothing tells which seat it was; a broker restored from an
    older copy has the key again, and so finds the seat that it must erase again.
    """
    # INVARIANT: test_an_act_that_erases_does_not_tell_which_seat
    return sha256(_SUBJECT + b"\x00" + seat_id + salt).digest()


def _derive(secret: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=DEK_BYTES, salt=None, info=info).derive(secret)
