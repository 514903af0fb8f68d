"""The connector's data key: columns sealed at rest, and look-up handles that tell nothing without it.

Sealing is AES-256-GCM (NIST SP 800-38D) with a random 12-byte nonce in front; the column's name is associated data, so
that a value cannot be moved to another column. Handles are HMAC-SHA256 (RFC 2104) under a key derived from the data
key, because one key should not serve two algorithms.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from connectors import files
from schemas.errors import HandslagError

KEY_BYTES = 32
_NONCE = 12


class DataKey:
    """Seals and opens columns and makes handles; holds 32 secret bytes."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise HandslagError("HS-KEY-FILE", field="data key")
        self._aead = AESGCM(_derived(key, b"HS1 connector columns"))
        self._index = _derived(key, b"HS1 connector handles")

    @classmethod
    def load(cls, path: Path) -> DataKey:
        """Read the key file; raises `HS-KEY-FILE`, or `HS-FOLDER-UNSAFE` when others may read it."""
        return cls(files.read_secret(path))

    @classmethod
    def create(cls, path: Path) -> DataKey:
        """Draw a key and write it once, mode 0600; raises `HS-KEY-FILE` when the file exists already."""
        key = os.urandom(KEY_BYTES)
        files.write_secret(path, key)
        return cls(key)

    def seal(self, column: str, data: bytes) -> bytes:
        """Nonce and ciphertext of `data`, bound to the column's name."""
        # INVARIANT: test_nothing_readable_at_rest
        nonce = os.urandom(_NONCE)
        return nonce + self._aead.encrypt(nonce, data, column.encode())

    def open(self, column: str, sealed: bytes) -> bytes:
        """What was sealed for this column; raises `HS-SPOOL-UNREADABLE`."""
        try:
            return self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], column.encode())
        except (InvalidTag, ValueError):
            raise HandslagError("HS-SPOOL-UNREADABLE", field=column) from None

    def handle(self, kind: str, value: bytes) -> bytes:
        """32 bytes by which `value` is found again, meaningless without the key."""
        return hmac.new(self._index, kind.encode() + b"\x00" + value, hashlib.sha256).digest()


def _derived(key: bytes, label: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=label).derive(key)
