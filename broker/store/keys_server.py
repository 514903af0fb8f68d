"""The seat keys where several nodes share them: a table of the PostgreSQL database, under the same root key file.

Each key is committed in a transaction of its own, over a connection of its own, before the entry that uses it: a crash
leaves at most a key without entries, as with the file beside SQLite. Two nodes that make the key of one owner at once
get the same one, because the row decides. Every node holds the keys it has opened in memory; what another node
destroyed is forgotten when the number of `shared_version` moves.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from audit.vault import SK_BYTES, SeatKeys
from broker.engine_settings import StoreSettings
from broker.store import key_epoch, rootkey
from broker.store.keyport import (
    CACHED,
    ERASED,
    SEAT_KEY,
    Holder,
    Owner,
    OwnerKind,
    checked_owner,
    of,
    unwrapped,
    wrapped,
)
from broker.store.postgresql_engine import WRITING, engine_for
from broker.store.rootkey import RootKey
from broker.store.tables import head
from schemas.errors import HandslagError

_SESSION = {**WRITING, "statement_timeout": "3s"}
_TRIES = 2  # a connection that the server closed meanwhile is found out by using it
T = TypeVar("T")


class ServerVault:
    """The open key table. Safe to call from several threads."""

    def __init__(self, engine: sa.Engine, path: Path, root: RootKey, node: str | None, cached: int) -> None:
        """Take what `open` made."""
        self._engine = engine
        self._path = path
        self._root = root
        self._node = node
        self._let_go = 0
        self._moving = threading.Lock()
        self._cached = cached
        self._cache: OrderedDict[Owner, SeatKeys] = OrderedDict()
        self._lock = threading.Lock()
        self._generation = 0

    @classmethod
    def open(
        cls, settings: StoreSettings, root_key_path: Path, *, node: str | None = None, cached: int = CACHED
    ) -> Self:
        """Open the key table; makes the root key only for a table that never held a key.

        `node` is whose copy of the root key this is: no erasure is done while it can open what was destroyed. Without
        one the table is only looked at.

        Raises HS-KEYS-INCOMPLETE (`missing` = root where keys lie here without it, keys where a log lies here without
        them), HS-KEYS-UNREADABLE (`part` = key for another root key than the other nodes'), HS-KEYS-EXPOSED.
        """
        engine = engine_for(settings, _SESSION, connections=2)
        try:
            used, log = _used(engine)
            root = _root(root_key_path, used=used, log=log)
            vault = cls(engine, root_key_path, root, node, cached)
            _transaction(engine, lambda c: key_epoch.begin(c, root))
            if node is not None:
                _transaction(engine, lambda c: key_epoch.holds(c, node, root.oldest))
            # The operator's key is the first row and tells a wrong root key before anything rests on it.
            vault.operator()
        except HandslagError:
            engine.dispose()
            raise
        return vault

    def close(self) -> None:
        """Forget the opened keys and leave the server."""
        self.forget()
        self._engine.dispose()

    def forget(self) -> None:
        """Hold no opened key in memory any longer: another node may have destroyed some."""
        # INVARIANT: test_a_key_that_another_node_destroyed_is_forgotten_here
        with self._lock:
            self._cache.clear()
            self._generation += 1

    def create(self, kind: str, owner_id: bytes) -> SeatKeys:
        """Return the owner's keys, new ones unless they exist; durable before this returns.

        Repeating it after an unknown result is safe. Raises HS-IDENTIFIER-INVALID, HS-KEYS-UNREADABLE, and
        HS-SEAT-ERASED for keys that were destroyed.
        """
        # INVARIANT: test_two_nodes_that_make_one_key_get_the_same
        owner = checked_owner(kind, owner_id)
        found = self._known(owner) or self._read(owner)
        if found is not None:
            return found
        root, keys = self._root, SeatKeys(os.urandom(SK_BYTES))

        def work(c: sa.Connection) -> None:
            # INVARIANT: test_a_key_made_while_the_epoch_rises_is_not_lost
            epoch = key_epoch.shared(c)
            sealed = wrapped(root, owner, keys, epoch)
            row = {"owner_kind": owner[0].value, "owner_id": owner[1], "epoch": epoch, "wrapped": sealed}
            c.execute(insert(SEAT_KEY).values(row).on_conflict_do_nothing())

        self._transaction(work)
        made = self._read(owner)
        if made is None:
            raise HandslagError("HS-SEAT-ERASED")
        return made

    def get(self, kind: str, owner_id: bytes) -> SeatKeys | None:
        """Return the owner's keys, or None when there are none (any more).

        Raises HS-IDENTIFIER-INVALID, HS-KEYS-UNREADABLE for a row that does not open, HS-NOT-READY.
        """
        owner = checked_owner(kind, owner_id)
        return self._known(owner) or self._read(owner)

    def operator(self) -> SeatKeys:
        """Return the operator's own keys, under which beats and administrative entries are sealed."""
        return self.create(OwnerKind.OPERATOR, b"")

    def columns(self) -> bytes:
        """Return the key (32 bytes) of the Store's sealed columns, made when there is none yet; raises as `create`."""
        return self.create(OwnerKind.STORE, b"").sk

    def erase(self, seat_id: bytes) -> None:
        """Destroy a seat's keys: an empty row takes their place, and the epoch rises; again it does no harm.

        What the server holds of the old row opens until `let_go` says that no node can open it.
        """
        # INVARIANT: test_a_destroyed_key_is_never_made_anew
        owner = checked_owner(OwnerKind.SEAT, seat_id)
        gone = {"epoch": ERASED, "wrapped": b""}
        row = {"owner_kind": owner[0].value, "owner_id": owner[1], **gone}

        def work(c: sa.Connection) -> None:
            key_epoch.rise(c)
            c.execute(
                insert(SEAT_KEY).values(row).on_conflict_do_update(index_elements=["owner_kind", "owner_id"], set_=gone)
            )

        self._transaction(work)
        self.forget()

    def let_go(self) -> bool:
        """Wrap every key under the newest epoch, then destroy the older root key of this node.

        Returns whether no node holds an older one: then nothing that the server keeps of a destroyed key opens. Raises
        HS-NOT-READY, HS-KEYS-UNREADABLE (`part` = root for a file that cannot be replaced). Repeat it until it is True.
        """
        # INVARIANT: test_after_an_erasure_nothing_on_the_server_opens_with_what_the_nodes_have
        with self._moving:
            if self._transaction(key_epoch.present) > self._let_go:
                self._move()
        return not self.holding()

    def _move(self) -> None:
        root, after = self._root, key_epoch.BEGINNING
        while True:
            epoch, last = self._transaction(lambda c, after=after: key_epoch.wrapped_again(c, root, after))  # type: ignore[misc]
            if last is None and after == key_epoch.BEGINNING:
                break
            after = last or key_epoch.BEGINNING
        if self._node is None:
            return
        later = rootkey.let_go(self._path, epoch)
        with self._lock:
            self._root = later
        self.forget()  # another node may have destroyed what is open here
        node, oldest = self._node, later.oldest
        self._transaction(lambda c: key_epoch.holds(c, node, oldest))
        self._let_go = oldest

    def holding(self) -> list[Holder]:
        """Nodes whose root key is older than the newest epoch; raises HS-NOT-READY."""
        return self._transaction(key_epoch.holding)

    def retire(self, node: str, /) -> bool:
        """Believe that a node's copy of the root key is destroyed; whether there was such a node."""
        return self._transaction(lambda c: key_epoch.retired(c, node))

    def epoch(self) -> int | None:
        """The epoch under which keys are wrapped; a copy of the root key from before opens what was destroyed since."""
        return self._transaction(key_epoch.present)

    def _known(self, owner: Owner) -> SeatKeys | None:
        with self._lock:
            keys = self._cache.get(owner)
            if keys is not None:
                self._cache.move_to_end(owner)
            return keys

    def _read(self, owner: Owner) -> SeatKeys | None:
        generation, root = self._generation, self._root
        query = sa.select(SEAT_KEY.c.epoch, SEAT_KEY.c.wrapped).where(of(owner))
        row = self._transaction(lambda c: c.execute(query).one_or_none())
        if row is None or row.epoch == ERASED:
            return None
        keys = unwrapped(root, owner, row.epoch, row.wrapped)
        with self._lock:
            if generation == self._generation:  # forgotten while we looked: it may have been destroyed since
                self._cache[owner] = keys
                if len(self._cache) > self._cached:
                    self._cache.popitem(last=False)
        return keys

    def _transaction(self, work: Callable[[sa.Connection], T]) -> T:
        return _transaction(self._engine, work)


def _transaction(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    """Run `work` in one transaction and commit it; again where the connection was broken. Raises HS-NOT-READY.

    Every verb of the vault may run twice: a row that is there stays.
    """
    for _ in range(_TRIES):
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("BEGIN")
                try:
                    value = work(connection)
                    connection.exec_driver_sql("COMMIT")
                except BaseException:
                    connection.invalidate()
                    raise
                return value
        except sa.exc.SQLAlchemyError:
            continue
    raise HandslagError("HS-NOT-READY")


def _used(engine: sa.Engine) -> tuple[bool, bool]:
    """Whether the table has ever held a key, and whether a log lies beside it."""
    keys = sa.select(sa.func.count()).select_from(SEAT_KEY)
    size = sa.select(head.c.size)
    return _transaction(engine, lambda c: (bool(c.execute(keys).scalar_one()), bool(c.execute(size).scalar())))


def _root(path: Path, *, used: bool, log: bool) -> RootKey:
    # INVARIANT: test_a_lost_half_of_the_shared_keys_is_never_made_anew
    if log and not used:
        raise HandslagError("HS-KEYS-INCOMPLETE", missing="keys")
    if rootkey.exists(path):
        return rootkey.load(path)
    if used:
        raise HandslagError("HS-KEYS-INCOMPLETE", missing="root")
    return rootkey.create(path)
