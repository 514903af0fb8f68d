"""The seat-key file `keys.db`: the secret under which a seat's audit entries can be read, one row each, wrapped.

A file of its own, because SQLite does not commit two files together: a key is durable *before* the entry that uses it,
so a crash leaves at most a key without entries. What is stored is AES key wrap (RFC 3394) under a key derived from the
KEK of an epoch and the owner, so that two rows that change places do not open.

`secure_delete` is on and asserted: without it (and a truncated WAL) a deleted key stays in the file. In the place of an
erased key lies an empty row, so that it is never made anew.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from audit.vault import SK_BYTES, SeatKeys
from broker.store import rootkey
from broker.store.keyport import (
    CACHED,
    ERASED,
    METADATA,
    SEAT_KEY,
    Holder,
    Owner,
    OwnerKind,
    checked_owner,
    of,
    unwrapped,
    wrapped,
)
from broker.store.rootkey import RootKey
from schemas.errors import HandslagError

_TRUNCATED = (0, 0, 0)  # not busy; no frame was left in the write-ahead log


_LONG_MS, _SHORT_MS = 5000, 20
_PRAGMAS = (
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", 2),
    ("secure_delete", "ON", 1),
    # Pages of keys must not be spilled to a file in a directory for temporary things.
    ("temp_store", "MEMORY", 2),
    ("busy_timeout", str(_LONG_MS), _LONG_MS),
)


class KeyVault:
    """The open key file. Safe to call from several threads; one process opens it."""

    def __init__(self, engine: sa.Engine, connection: sa.Connection, root: RootKey, cached: int) -> None:
        """Take what `open` made."""
        self._engine = engine
        self._connection = connection
        self._root = root
        self._cached = cached
        self._cache: OrderedDict[Owner, SeatKeys] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, root_key_path: Path, *, cached: int = CACHED) -> Self:
        """Open the key file, or create it and its root key when *neither* exists yet.

        A file whose root key is gone, or a root key whose file is gone, is refused with HS-KEYS-INCOMPLETE: a new
        one would make everything written so far unreadable. Raises also HS-KEYS-EXPOSED (mode wider than 0600)
        and HS-KEYS-UNREADABLE (`part` names what: root, file, epoch, key, store, or a SQLite setting).
        """
        # INVARIANT: test_a_lost_half_is_never_made_anew
        if rootkey.exists(root_key_path) and not path.exists():
            raise HandslagError("HS-KEYS-INCOMPLETE", missing="keys")
        _touch_private(path)
        engine = _engine(path)
        try:
            connection = engine.connect()
            METADATA.create_all(connection)
            used = connection.execute(sa.select(sa.func.count()).select_from(SEAT_KEY)).scalar_one()
            connection.commit()
            root = _root(root_key_path, used=bool(used))
            vault = cls(engine, connection, root, cached)
            # The operator's key is the first row and tells a wrong root key before anything rests on it.
            vault.operator()
        except sa.exc.SQLAlchemyError:
            engine.dispose()
            raise HandslagError("HS-KEYS-UNREADABLE", part="store") from None
        except HandslagError:
            engine.dispose()
            raise
        return vault

    def close(self) -> None:
        """Forget the opened keys and close the file."""
        with self._lock:
            self._cache.clear()
            self._connection.close()
            self._engine.dispose()

    def create(self, kind: str, owner_id: bytes) -> SeatKeys:
        """Return the owner's keys, new ones unless they exist; durable before this returns.

        Repeating it after an unknown result is safe. Raises HS-IDENTIFIER-INVALID, HS-KEYS-UNREADABLE, and
        HS-SEAT-ERASED for keys that were destroyed.
        """
        # INVARIANT: test_a_key_is_durable_before_create_returns
        owner = checked_owner(kind, owner_id)
        with self._lock:
            found = self._read(owner)
            if found is not None:
                return found
            self._refuse_erased(owner)
            keys = SeatKeys(os.urandom(SK_BYTES))
            epoch = self._root.epoch
            sealed = wrapped(self._root, owner, keys)
            row = {"owner_kind": owner[0].value, "owner_id": owner[1], "epoch": epoch, "wrapped": sealed}
            try:
                with self._connection.begin():
                    self._connection.execute(SEAT_KEY.insert(), row)
            except sa.exc.SQLAlchemyError:
                raise HandslagError("HS-KEYS-UNREADABLE", part="store") from None
            self._remember(owner, keys)
            return keys

    def get(self, kind: str, owner_id: bytes) -> SeatKeys | None:
        """Return the owner's keys, or None when there are none (any more).

        Raises HS-IDENTIFIER-INVALID, HS-KEYS-UNREADABLE for a row that does not open.
        """
        owner = checked_owner(kind, owner_id)
        with self._lock:
            return self._read(owner)

    def seat(self, seat_id: bytes) -> SeatKeys:
        """Return a seat's keys (16-byte id), made when it has none yet; raises as `create`."""
        return self.create(OwnerKind.SEAT, seat_id)

    def unit(self, code: str) -> SeatKeys:
        """Return a unit's keys, for entries about no seat, made when it has none yet; raises as `create`."""
        return self.create(OwnerKind.UNIT, code.encode())

    def operator(self) -> SeatKeys:
        """Return the operator's own keys, under which beats and administrative entries are sealed."""
        return self.create(OwnerKind.OPERATOR, b"")

    def columns(self) -> bytes:
        """Return the key (32 bytes) of the Store's sealed columns, made when there is none yet; raises as `create`."""
        return self.create(OwnerKind.STORE, b"").sk

    def forget(self) -> None:
        """Hold no opened key in memory any longer: another node may have destroyed some."""
        # INVARIANT: test_a_key_that_another_node_destroyed_is_forgotten_here
        with self._lock:
            self._cache.clear()

    def let_go(self) -> bool:
        """True: `erase` leaves nothing in the file that any root key opens."""
        return True

    def holding(self) -> list[Holder]:
        """Nobody."""
        return []

    def retire(self, _node: str, /) -> bool:
        """Raises HS-STORE-ALONE: no other node ever had this file's root key."""
        raise HandslagError("HS-STORE-ALONE")

    def epoch(self) -> int | None:
        """None: the root key never moves for a file whose bytes can be overwritten."""
        return None

    def erase(self, seat_id: bytes) -> None:
        """Destroy a seat's keys, in memory, file and write-ahead log, for good; again it does no harm.

        Raises HS-IDENTIFIER-INVALID, HS-KEYS-UNREADABLE (`part` = wal: somebody reads the file, so the key may still
        lie in its log; repeat it).
        """
        # INVARIANT: test_the_key_of_an_erased_seat_lies_in_no_file
        owner = checked_owner(OwnerKind.SEAT, seat_id)
        row = {"owner_kind": owner[0].value, "owner_id": owner[1], "epoch": ERASED, "wrapped": b""}
        with self._lock:
            self._cache.pop(owner, None)
            try:
                with self._connection.begin():
                    self._connection.execute(SEAT_KEY.delete().where(of(owner)))
                    self._connection.execute(SEAT_KEY.insert(), row)
                # Past SQLAlchemy, which would begin a transaction: nothing can be folded in within one.
                driver: Any = self._connection.connection.driver_connection
                driver.execute(f"PRAGMA busy_timeout={_SHORT_MS}")  # nobody else gets a key meanwhile
                left = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                driver.execute(f"PRAGMA busy_timeout={_LONG_MS}")
            except sa.exc.SQLAlchemyError:
                raise HandslagError("HS-KEYS-UNREADABLE", part="store") from None
            if tuple(left) != _TRUNCATED:
                raise HandslagError("HS-KEYS-UNREADABLE", part="wal")

    def _read(self, owner: Owner) -> SeatKeys | None:
        keys = self._cache.get(owner)
        if keys is not None:
            self._cache.move_to_end(owner)
            return keys
        query = sa.select(SEAT_KEY.c.epoch, SEAT_KEY.c.wrapped).where(of(owner))
        try:
            with self._connection.begin():
                row = self._connection.execute(query).one_or_none()
        except sa.exc.SQLAlchemyError:
            raise HandslagError("HS-KEYS-UNREADABLE", part="store") from None
        if row is None or row.epoch == ERASED:
            return None
        keys = unwrapped(self._root, owner, row.epoch, row.wrapped)
        self._remember(owner, keys)
        return keys

    def _refuse_erased(self, owner: Owner) -> None:
        # INVARIANT: test_an_erased_key_is_never_made_anew
        query = sa.select(SEAT_KEY.c.epoch).where(of(owner))
        with self._connection.begin():
            if self._connection.execute(query).first() is not None:
                raise HandslagError("HS-SEAT-ERASED")

    def _remember(self, owner: Owner, keys: SeatKeys) -> None:
        self._cache[owner] = keys
        if len(self._cache) > self._cached:
            self._cache.popitem(last=False)


def _root(path: Path, *, used: bool) -> RootKey:
    """Return the root key; a new one only for a key file that has never held a key."""
    if rootkey.exists(path):
        return rootkey.load(path)
    if used:
        raise HandslagError("HS-KEYS-INCOMPLETE", missing="root")
    return rootkey.create(path)


def _touch_private(path: Path) -> None:
    """Make sure the file exists for its owner alone: SQLite gives WAL and shared memory the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError:
        raise HandslagError("HS-KEYS-UNREADABLE", part="file") from None
    rootkey.require_private(path)


def _engine(path: Path) -> sa.Engine:
    engine = sa.create_engine(
        f"sqlite:///{path}", poolclass=sa.pool.NullPool, connect_args={"check_same_thread": False}
    )

    @sa.event.listens_for(engine, "connect")
    def _settle(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for name, value, expected in _PRAGMAS:
            connection.execute(f"PRAGMA {name}={value}")
            if connection.execute(f"PRAGMA {name}").fetchone()[0] != expected:
                raise HandslagError("HS-KEYS-UNREADABLE", part=name)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def opens_operator_key(root: RootKey, epoch: int, row: bytes) -> bool:
    """Whether a stored row of the operator's key opens under this root key: then the two belong together."""
    owner = (OwnerKind.OPERATOR, b"")
    try:
        unwrapped(root, owner, epoch, row)
    except HandslagError:
        return False
    return True


def columns_key(path: Path, root_key_path: Path) -> bytes:
    """The key of the Store's sealed columns, read without writing, also while a broker runs.

    Raises `HS-KEYS-UNREADABLE`, `HS-KEYS-EXPOSED`.
    """
    root, owner = rootkey.load(root_key_path), (OwnerKind.STORE, b"")
    engine = sa.create_engine(f"sqlite:///{path.resolve().as_uri()}?mode=ro&uri=true", poolclass=sa.pool.NullPool)
    query = sa.select(SEAT_KEY.c.epoch, SEAT_KEY.c.wrapped).where(SEAT_KEY.c.owner_kind == owner[0].value)
    try:
        with engine.connect() as connection:
            row = connection.execute(query).one_or_none()
    except sa.exc.SQLAlchemyError:
        raise HandslagError("HS-KEYS-UNREADABLE", part="store") from None
    finally:
        engine.dispose()
    if row is None:
        raise HandslagError("HS-KEYS-UNREADABLE", part="columns")
    return unwrapped(root, owner, row.epoch, row.wrapped).sk
