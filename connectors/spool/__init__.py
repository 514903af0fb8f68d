"""The durable spool of a connector, both ways: the only SQL of the agency's side besides `identity.py`.

`store` opens the SQLite file and its transactions, `outgoing`, `incoming`, `commands` and `memory` are its rooms. All
content lies in sealed columns; in clear are random identifiers, states, counts, times, and codes: the event type, role,
categories and reasons of what waits.
"""

from __future__ import annotations

from pathlib import Path

from connectors.box import DataKey
from connectors.spool.annulled import Annulled
from connectors.spool.commands import Commands
from connectors.spool.incoming import Incoming
from connectors.spool.memory import Memory
from connectors.spool.outgoing import Outgoing
from connectors.spool.rekeys import Rekeys
from connectors.spool.store import Store

__all__ = ["Spool"]


class Spool:
    """One connector's durable memory; `transaction()` makes writes one, `savepoint()` undoes a part of it alone."""

    def __init__(self, path: Path, key: DataKey) -> None:
        """Open or create the file; raises `HS-SPOOL-FAILED`, or `HS-SPOOL-UNREADABLE` for another key's file."""
        self.store = Store(path, key)
        self.commands = Commands(self.store)
        self.outgoing = Outgoing(self.store)
        self.incoming = Incoming(self.store)
        self.memory = Memory(self.store)
        self.annulled = Annulled(self.store)
        self.rekeys = Rekeys(self.store)
        self.transaction = self.store.transaction
        self.savepoint = self.store.savepoint

    def close(self) -> None:
        """Close the file."""
        self.store.close()
