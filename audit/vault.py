"""Keys of one seat's audit entries, all derived from one random secret: destroy it and its entries are forgotten.

    SK   32 random bytes per seat, per unit or for the operator; kept wrapped, see `broker/store/keys.py`
    DEK  HKDF-SHA256(SK, info = "HS1 entry key" || entry_id)     one key per entry: may be handed out alone
    HK   HKDF-SHA256(SK, info = "HS1 handle key" || segment)     segment as 4 bytes big-endian
    handle = HMAC-SHA256(HK, "HS1 handle")[:16]                  one per seat and segment

HKDF is RFC 5869 without salt: SK is uniform already. Nothing SK depends on can be computed again.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

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


def _derive(secret: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=DEK_BYTES, salt=None, info=info).derive(secret)
