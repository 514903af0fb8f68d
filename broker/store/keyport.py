"""The port of the keys: what a vault offers, whose key a row is, and how a key is wrapped for its row.

What is stored is AES key wrap (RFC 3394) under a key derived from the KEK of an epoch and the owner, so that two rows
that change places do not open. The same rows lie in a file of their own beside SQLite and in a table of PostgreSQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import sqlalchemy as sa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from audit.vault import SeatKeys
from broker.store import rootkey
from broker.store.rootkey import RootKey
from schemas.errors import HandslagError

CACHED = 10_000
"""Opened keys held in memory: some three megabytes, more seats than a node serves in an hour."""
ERASED = 0
"""The epoch of a row in whose place a key was destroyed; epochs of keys begin at 1."""


class OwnerKind(StrEnum):
    """Whose key a row is: a seat (16-byte id), a unit (its code as UTF-8), the operator or the Store (empty id).

    EPOCH is nobody's: where nodes share the keys, that row says under which epoch of the root key keys are wrapped.
    """

    SEAT = "SEAT"
    UNIT = "UNIT"
    OPERATOR = "OPERATOR"
    STORE = "STORE"
    EPOCH = "EPOCH"


@dataclass(frozen=True, slots=True)
class Holder:
    """A node that can open what was destroyed: its root key file is older. Since when it is so, microseconds."""

    node: str
    at_us: int


Owner = tuple[OwnerKind, bytes]
METADATA = sa.MetaData()
SEAT_KEY = sa.Table(
    "seat_key",
    METADATA,
    sa.Column("owner_kind", sa.String, primary_key=True),
    sa.Column("owner_id", sa.LargeBinary, primary_key=True),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
)


class Vault(Protocol):
    """Keys by owner, each durable before it is returned for the first time. Safe to call from several threads."""

    def create(self, kind: str, owner_id: bytes) -> SeatKeys:
        """The owner's keys, new ones unless they exist; raises HS-SEAT-ERASED for keys that were destroyed."""
        ...

    def get(self, kind: str, owner_id: bytes) -> SeatKeys | None:
        """The owner's keys, or None when there are none (any more)."""
        ...

    def operator(self) -> SeatKeys:
        """The operator's own keys."""
        ...

    def columns(self) -> bytes:
        """The key (32 bytes) of the Store's sealed columns."""
        ...

    def erase(self, seat_id: bytes) -> None:
        """Destroy a seat's keys for good; again it does no harm."""
        ...

    def forget(self) -> None:
        """Hold no opened key in memory any longer: another node may have destroyed some."""
        ...

    def let_go(self) -> bool:
        """Destroy here what still opens a destroyed key; whether no node holds anything that does. Blocks."""
        ...

    def holding(self) -> list[Holder]:
        """Nodes that still hold something that opens a destroyed key."""
        ...

    def retire(self, node: str, /) -> bool:
        """Believe that a node's copy of the root key is destroyed; whether there was such a node."""
        ...

    def epoch(self) -> int | None:
        """The root key's epoch under which all keys are, None where destroyed keys are gone from their file."""
        ...

    def close(self) -> None:
        """Forget the opened keys and release the engine."""
        ...


def checked_owner(kind: str, owner_id: bytes) -> Owner:
    """The owner as a row names it; raises HS-IDENTIFIER-INVALID."""
    try:
        known = OwnerKind(kind)
    except ValueError:
        raise HandslagError("HS-IDENTIFIER-INVALID", field="owner_kind") from None
    shaped = {
        OwnerKind.SEAT: len(owner_id) == 16,
        OwnerKind.UNIT: 0 < len(owner_id) <= 64,
        OwnerKind.OPERATOR: not owner_id,
        OwnerKind.STORE: not owner_id,
        OwnerKind.EPOCH: False,
    }
    if not shaped[known]:
        raise HandslagError("HS-IDENTIFIER-INVALID", field="owner_id")
    return known, owner_id


def wrapped(root: RootKey, owner: Owner, keys: SeatKeys, epoch: int | None = None) -> bytes:
    """The keys as a row holds them, under the KEK of an epoch, the file's own unless told otherwise."""
    return aes_key_wrap(_wrapping_key(root.kek(root.epoch if epoch is None else epoch), owner), keys.sk)


def unwrapped(root: RootKey, owner: Owner, epoch: int, row: bytes) -> SeatKeys:
    """The keys in a row; raises HS-KEYS-UNREADABLE (`part` = epoch or key)."""
    try:
        return SeatKeys(aes_key_unwrap(_wrapping_key(root.kek(epoch), owner), row))
    except (InvalidUnwrap, ValueError):
        raise HandslagError("HS-KEYS-UNREADABLE", part="key") from None


def of(owner: Owner) -> sa.ColumnElement[bool]:
    """The condition that a row is this owner's."""
    return sa.and_(SEAT_KEY.c.owner_kind == owner[0].value, SEAT_KEY.c.owner_id == owner[1])


def _wrapping_key(kek: bytes, owner: Owner) -> bytes:
    """Bind the wrap to its row: RFC 3394 has no place for associated data."""
    # INVARIANT: test_two_rows_that_change_places_do_not_open
    info = b"HS1 seat key wrap\x00" + owner[0].value.encode() + b"\x00" + owner[1]
    return HKDF(algorithm=SHA256(), length=rootkey.KEK_BYTES, salt=None, info=info).derive(kek)
