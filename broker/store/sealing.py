"""Sealing rows before their transaction and opening them after it: what takes a node long is done without a lock."""

from __future__ import annotations

from audit.entry import SealedEntry
from broker.store import deliveries, entries, inbox
from broker.store.cipher import ColumnCipher
from broker.store.deliveries import DeliveryRow, SectionRow
from broker.store.inbox import Item, Leased
from broker.store.ready import Ready


class Sealing:
    """Makes rows ready; safe to call from several threads."""

    def __init__(self, cipher: ColumnCipher) -> None:
        self._cipher = cipher

    def entry(self, sealed: SealedEntry) -> Ready[SealedEntry]:
        """An audit entry for `EntryRows.insert`."""
        return entries.ready(self._cipher, sealed)

    def item(self, item: Item) -> Ready[Item]:
        """An inbox item for `InboxRows.put`."""
        return inbox.ready(self._cipher, item)

    def opened(self, leased: Leased) -> Item:
        """What `InboxRows.lease` leased; raises `HS-KEYS-UNREADABLE`."""
        return inbox.opened(self._cipher, leased)

    def delivery(self, row: DeliveryRow) -> Ready[DeliveryRow]:
        """A delivery for `DeliveryRows.insert`."""
        return deliveries.ready(self._cipher, row)

    def section(self, section: SectionRow) -> Ready[SectionRow]:
        """A section for `DeliveryRows.insert`."""
        return deliveries.ready_section(self._cipher, section)
