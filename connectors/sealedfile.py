"""A file sealed to the recovery key: a header, then chunks under a key of the file's own.

    4 bytes      length of the header, big-endian
    BackupHeader key id, chunk size, and the file key sealed by HPKE (info: BackupInfo)
    chunks       AES-256-GCM; nonce = 11-byte counter, 1 byte that is 1 on the last chunk only; AAD = SHA-256(header)

The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015): no chunk can be changed, moved, left out or
added, and a file that was cut does not end. The file key is drawn for one file, so counters are never used twice.
"""

from __future__ import annotations

import hashlib
import os
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from connectors.keys import PublicKeys, UnitKeyPair
from schemas.errors import HandslagError
from schemas.instances import BackupHeader, BackupInfo

CHUNK = 256 * 1024
_LENGTH, _TAG, _FILE_KEY = 4, 16, 32
_HEADER_BYTES = 8 * 1024


class SealedWriter:
    """Writes one sealed file; `close` writes the last chunk, without which nobody can read any of it to the end."""

    def __init__(self, target: BinaryIO, to: PublicKeys) -> None:
        key = os.urandom(_FILE_KEY)
        info = BackupInfo(key_id=to.key_id, chunk_bytes=CHUNK).to_bytes()
        header = BackupHeader(key_id=to.key_id, chunk_bytes=CHUNK, sealed=to.seal(key, info)).to_bytes()
        self._target = target
        self._aead = AESGCM(key)
        self._bound = hashlib.sha256(header).digest()
        self._waiting = bytearray()
        self._number = 0
        target.write(len(header).to_bytes(_LENGTH, "big") + header)

    def write(self, data: bytes) -> int:
        """Take more plaintext; returns how many bytes that were."""
        self._waiting += data
        while len(self._waiting) > CHUNK:  # a full last chunk stays: only `close` knows that it is the last
            self._seal(bytes(self._waiting[:CHUNK]), last=False)
            del self._waiting[:CHUNK]
        return len(data)

    def close(self) -> None:
        """Write the last chunk."""
        self._seal(bytes(self._waiting), last=True)
        self._waiting.clear()

    def _seal(self, plaintext: bytes, *, last: bool) -> None:
        self._target.write(self._aead.encrypt(_nonce(self._number, last=last), plaintext, self._bound))
        self._number += 1


class SealedReader:
    """Reads one sealed file; every error is `HS-BACKUP-INVALID` with `check`: `header`, `key` or `chunk`."""

    def __init__(self, source: BinaryIO, keys: UnitKeyPair) -> None:
        header = _header(source)
        parsed = _parsed(header)
        if parsed.key_id != keys.key_id:
            raise HandslagError("HS-BACKUP-INVALID", check="key")
        info = BackupInfo(key_id=parsed.key_id, chunk_bytes=parsed.chunk_bytes).to_bytes()
        try:
            key = keys.open(parsed.sealed, info)
            self._aead = AESGCM(key)
        except (HandslagError, ValueError):
            raise HandslagError("HS-BACKUP-INVALID", check="header") from None
        self._source = source
        self._size = parsed.chunk_bytes + _TAG
        self._bound = hashlib.sha256(header).digest()
        self._number = 0
        self._next = source.read(self._size)
        self._plain = bytearray()
        self._ended = False

    def read(self, size: int) -> bytes:
        """At most `size` bytes that were sealed; empty at the end of a whole file. Raises `HS-BACKUP-INVALID`."""
        while len(self._plain) < size and not self._ended:
            self._open()
        found = bytes(self._plain[:size])
        del self._plain[:size]
        return found

    def _open(self) -> None:
        # INVARIANT: test_a_backup_that_is_cut_or_changed_is_refused
        sealed, self._next = self._next, self._source.read(self._size)
        last = not self._next
        try:
            self._plain += self._aead.decrypt(_nonce(self._number, last=last), sealed, self._bound)
        except (InvalidTag, ValueError):
            raise HandslagError("HS-BACKUP-INVALID", check="chunk") from None
        self._number += 1
        self._ended = last


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _header(source: BinaryIO) -> bytes:
    size = int.from_bytes(source.read(_LENGTH), "big")
    header = source.read(size) if size <= _HEADER_BYTES else b""
    if not header or len(header) != size:
        raise HandslagError("HS-BACKUP-INVALID", check="header")
    return header


def _parsed(header: bytes) -> BackupHeader:
    try:
        parsed = BackupHeader.from_bytes(header, _HEADER_BYTES)
    except HandslagError:
        raise HandslagError("HS-BACKUP-INVALID", check="header") from None
    if not 0 < parsed.chunk_bytes <= 16 * CHUNK:
        raise HandslagError("HS-BACKUP-INVALID", check="header")
    return parsed
