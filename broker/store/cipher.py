"""Sealing the columns of `broker.db` that say which unit sits where, under a key that is not in that file.

Two forms, both AES-SIV (RFC 5297), which needs no number that must never come twice:

- a *handle* stands for a unit code in a column that is looked up by. Equal codes in one table give equal handles, and
  in no other table; without the key nothing tells which of the few units there are is meant.
- a *sealed* column holds a record that names a unit, or something that a unit's public key would recognise (its
  signature, the id of its key), or a moment beside an owner. Padded, because the length of a code tells whose it is.

The key lies wrapped in `keys.db` (docs/adr/0018). Nothing is ever taken in the clear: what bears no mark does not open.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.errors import HandslagError

if TYPE_CHECKING:
    from collections.abc import Callable

HANDLE_MARK = "~"  # no unit code begins with it
SEALED_MARK = b"HC1"  # no record does: Avro's single-object encoding begins with C3 01
KEPT_MARK = b"handslag day v1:"  # before content under a day's key; nothing that is sent begins with it
KEPT_HEAD = len(KEPT_MARK) + 4  # and the chain's tag; then the day's number
_CODE_BYTES = 64  # more than any unit code has letters; all handles are equally long
_BLOCK = 256  # sealed columns are a multiple of this long
_CACHED = 20_000


class Days(Protocol):
    """Keys of days: what was sealed long ago cannot be opened any more, by anybody."""

    tag: bytes
    """Four bytes that stand for the chain of keys."""

    def first(self) -> int:
        """Number of the oldest day whose key is not destroyed."""
        ...

    def seal(self, place: bytes, record: bytes) -> bytes:
        """Seal under today's key; the first four bytes are the day's number."""
        ...

    def open(self, place: bytes, sealed: bytes) -> bytes:
        """Open; raises `HS-TRANSIT-GONE` when the key is destroyed, `HS-TRANSIT-DAMAGED`."""
        ...


class ColumnCipher:
    """Handles and sealed columns under one key (32 bytes). Safe to use from several threads.

    `days`, where the engine keeps the bytes of what was deleted, seals content once more so that it can be forgotten.
    """

    def __init__(self, key: bytes, days: Days | None = None) -> None:
        self.days = days
        derived = HKDF(algorithm=SHA256(), length=64, salt=None, info=b"HS1 columns of the store").derive(key)
        self._siv = AESSIV(derived)
        self._handles: dict[tuple[str, str], str] = {}
        self._codes: dict[tuple[str, str], str] = {}

    def handle(self, table: str, code: str) -> str:
        """What stands for a unit code in a table, 108 letters; raises `HS-IDENTIFIER-INVALID` for what is no code."""
        # INVARIANT: test_a_stolen_store_does_not_tell_which_unit_sits_where
        known = self._handles.get((table, code))
        return known if known is not None else self._remember(table, code, self._made(table, code))

    def code(self, table: str, handle: str) -> str:
        """The unit code behind a handle of a table; raises `HS-KEYS-UNREADABLE`."""
        known = self._codes.get((table, handle))
        if known is not None:
            return known
        if not handle.startswith(HANDLE_MARK):
            raise HandslagError("HS-KEYS-UNREADABLE", part="columns")
        try:
            sealed = base64.urlsafe_b64decode(handle[1:] + "=")
            code = self._siv.decrypt(sealed, [b"unit", table.encode()]).rstrip(b"\x00").decode("latin-1")
        except (InvalidTag, ValueError, binascii.Error):
            raise HandslagError("HS-KEYS-UNREADABLE", part="columns") from None
        self._remember(table, code, handle)
        return code

    def seal(self, column: str, data: bytes) -> bytes:
        """Seal the content of a column, named `table.column`."""
        # INVARIANT: test_the_length_of_a_unit_code_does_not_show
        padded = data + b"\x80"
        padded += bytes(-len(padded) % _BLOCK)
        return SEALED_MARK + self._siv.encrypt(padded, [b"column", column.encode()])

    def open(self, column: str, sealed: bytes) -> bytes:
        """The content of a sealed column; raises `HS-KEYS-UNREADABLE`, also for one that was never sealed."""
        if not sealed.startswith(SEALED_MARK):
            raise HandslagError("HS-KEYS-UNREADABLE", part="columns")
        try:
            padded = self._siv.decrypt(sealed[len(SEALED_MARK) :], [b"column", column.encode()])
        except (InvalidTag, ValueError):
            raise HandslagError("HS-KEYS-UNREADABLE", part="columns") from None
        return padded[: padded.rindex(b"\x80")]

    def maybe(self, how: Callable[[str, bytes], bytes], column: str, data: bytes | None) -> bytes | None:
        """`seal` or `open` for a column that may be empty."""
        return None if data is None else how(column, data)

    def keep(self, column: str, data: bytes | None) -> bytes | None:
        """Content as it lies in its column: under today's key where there are keys of days."""
        # INVARIANT: test_no_content_lies_in_the_database_or_in_kafka_as_it_was_sent
        if data is None or self.days is None:
            return data
        return KEPT_MARK + self.days.tag + self.days.seal(column.encode(), data)

    def kept(self, column: str, data: bytes | None) -> bytes | None:
        """Content back; None when there is none (any more), also when the key of its day is destroyed or not here.

        Raises `HS-KEYS-UNREADABLE` for what is damaged.
        """
        if data is None or not data.startswith(KEPT_MARK):
            return data
        tag, sealed = data[len(KEPT_MARK) : KEPT_HEAD], data[KEPT_HEAD:]
        if self.days is None or tag != self.days.tag:
            return None
        try:
            return self.days.open(column.encode(), sealed)
        except HandslagError as error:
            if error.code == "HS-TRANSIT-GONE":
                return None
            raise HandslagError("HS-KEYS-UNREADABLE", part="days") from None

    def _made(self, table: str, code: str) -> str:
        try:
            plain = code.encode("latin-1")
        except UnicodeEncodeError:
            raise HandslagError("HS-IDENTIFIER-INVALID", field="unit") from None
        if len(plain) > _CODE_BYTES:
            raise HandslagError("HS-IDENTIFIER-INVALID", field="unit")
        sealed = self._siv.encrypt(plain.ljust(_CODE_BYTES, b"\x00"), [b"unit", table.encode()])
        return HANDLE_MARK + base64.urlsafe_b64encode(sealed).decode("ascii").rstrip("=")

    def _remember(self, table: str, code: str, handle: str) -> str:
        if len(self._handles) >= _CACHED:  # units are few; what fills this was not a unit
            self._handles.clear()
            self._codes.clear()
        self._handles[table, code] = handle
        self._codes[table, handle] = code
        return handle
