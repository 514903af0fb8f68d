"""Section plaintexts: 4-byte big-endian length, projection, zeros to the next size class (protocol, "sections")."""

from __future__ import annotations

from schemas.errors import HandslagError
from schemas.limits import PADDING_CLASSES

_LENGTH = 4


def padded(projection: bytes) -> bytes:
    """The plaintext of one projection, in the smallest class that holds it; raises `HS-TOO-LARGE` above the largest."""
    size = _class_of(len(projection))
    if size is None:
        raise HandslagError("HS-TOO-LARGE", limit=PADDING_CLASSES[-1] - _LENGTH)
    return (len(projection).to_bytes(_LENGTH, "big") + projection).ljust(size, b"\0")


def unpadded(plaintext: bytes) -> bytes:
    """The projection of a plaintext; raises `HS-SEAL-INVALID` unless `padded` would give these very bytes."""
    length = int.from_bytes(plaintext[:_LENGTH], "big")
    end = _LENGTH + length
    if len(plaintext) != _class_of(length) or plaintext.count(0, end) != len(plaintext) - end:
        raise HandslagError("HS-SEAL-INVALID", check="padding")
    return plaintext[_LENGTH:end]


def _class_of(length: int) -> int | None:
    return next((size for size in PADDING_CLASSES if size >= _LENGTH + length), None)
