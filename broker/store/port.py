"""The port of the Store: one transaction at a time, rows by purpose, and nobody outside knows SQL.

A driver offers `write` (one transaction, answered after COMMIT) and `read` (one snapshot). Both give the caller
`Rows`, whose members are the verbs. The first statement of a transaction that decides or narrows is one of
`rows.gate`: `advance` or `bump`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from broker.store.admin import AdminRows
from broker.store.annulments import AnnulRows
from broker.store.cases import CaseRows
from broker.store.cipher import ColumnCipher
from broker.store.contacts import ContactRows
from broker.store.content import ContentRows
from broker.store.deliveries import DeliveryRows
from broker.store.entries import EntryRows
from broker.store.erasures import ErasureRows
from broker.store.events import EventRows
from broker.store.gate import GateRows
from broker.store.hold import HoldRows
from broker.store.inbox import InboxRows
from broker.store.instances import InstanceRows
from broker.store.joins import JoinRows
from broker.store.ledger import LedgerRows
from broker.store.log import LogRows
from broker.store.origins import OriginRows
from broker.store.rekeys import RekeyRows
from broker.store.rules import RuleRows
from broker.store.sealing import Sealing
from broker.store.shared import SharedRows
from broker.store.statutes import StatuteRows
from broker.store.stream import StreamRows
from broker.store.units import UnitRows

T = TypeVar("T")


class Rows:
    """The verbs on the tables, bound to one transaction; outside them a unit is its code, inside a handle."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self.cipher = cipher
        self.gate = GateRows(connection)
        self.units = UnitRows(connection, cipher)
        self.contacts = ContactRows(connection, cipher)
        self.admin = AdminRows(connection, cipher)
        self.instances = InstanceRows(connection, cipher)
        self.cases = CaseRows(connection, cipher)
        self.ledger = LedgerRows(connection, cipher)
        self.events = EventRows(connection)
        self.deliveries = DeliveryRows(connection, cipher)
        self.content = ContentRows(connection, cipher)
        self.inbox = InboxRows(connection, cipher)
        self.entries = EntryRows(connection, cipher)
        self.log = LogRows(connection)
        self.stream = StreamRows(connection, cipher)
        self.origins = OriginRows(connection)
        self.annulments = AnnulRows(connection, cipher)
        self.joins = JoinRows(connection, cipher)
        self.hold = HoldRows(connection)
        self.rekeys = RekeyRows(connection)
        self.rules = RuleRows(connection, cipher)
        self.erasures = ErasureRows(connection, cipher)
        self.shared = SharedRows(connection, cipher)
        self.statutes = StatuteRows(connection, cipher)


class Store(Protocol):
    """A Store driver."""

    on_news: Callable[[], None]
    """Called on the caller's event loop after a commit that put something into an inbox."""
    sealing: Sealing
    """Makes rows ready before the transaction that inserts them begins."""

    async def write(self, work: Callable[[Rows], T], *, shared: bool = False) -> T:
        """Run `work` in one transaction; answers after COMMIT. Raises what `work` raised, or `HS-NOT-RECORDED`.

        Writes are serial unless `shared`: such a write may run beside any other, because row locks in the one order
        (buckets ascending, deliveries by id, the log's head) decide everything between them. `work` may run more than
        once, and then one run at most is written: it changes nothing but rows.
        """
        ...

    async def read(self, query: Callable[[Rows], T]) -> T:
        """Run `query` on one snapshot of committed data."""
        ...

    async def clock_us(self) -> int | None:
        """The engine's own clock in microseconds since 1970 UTC, None where it has none; raises HS-NOT-READY."""
        ...

    async def settled(self) -> int:
        """Wait for the transactions at work; then a later read sees every entry that will ever have so low a number.

        Returns that number, 0 where the engine's numbers have no gaps. Raises HS-NOT-READY when it takes too long.
        """
        ...

    def truncate_wal(self) -> int:
        """Fold what the engine keeps beside its file into it, without making writers wait; returns its size in bytes.

        Blocks on the disk. 0 where an engine has no such file.
        """
        ...

    keeps_deleted: bool
    """Whether the engine keeps bytes of what was deleted where no program can overwrite them: keys must forget it."""

    def emptied(self) -> bool:
        """As `truncate_wal`; whether what was deleted before lies nowhere any more. Never, where `keeps_deleted`."""
        ...

    def size(self) -> int:
        """Bytes that the store takes on its disk; blocks on the disk, raises HS-NOT-READY."""
        ...

    def close(self) -> None:
        """Commit what waits and release the engine."""
        ...


def looked_at(writing: asyncio.Future[Any]) -> None:
    """Who asked may have stopped waiting: what the work then raised is told to nobody, and no fault of the loop's."""
    if not writing.cancelled():
        writing.exception()
