"""One log on disk: a real SQLite Store, seat-key file, anchor and clock, opened as often as a test wants."""

import os
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert

from audit import note
from audit.entry import SealedEntry
from broker.anchor import Anchor
from broker.recorder import Recorder
from broker.sealer import Sealer
from broker.store.cipher import ColumnCipher
from broker.store.keys import KeyVault
from broker.store.port import Rows
from broker.store.sqlite import SqliteStore, engine_for
from broker.store.tables import GUARDS_SQLITE, entry, metadata

ORIGIN = "exempel.invalid/audit"


class House:
    """Where one log lives, and everything that works on it."""

    origin = ORIGIN

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "store.db"
        self.anchor_path = folder / "anchor"
        self.signer = note.Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
        self.vault = KeyVault.open(folder / "keys.db", folder / "root.key")
        self.cipher = ColumnCipher(self.vault.columns())
        self.recorder = Recorder(self.vault, os.urandom, segment=2026)
        self.opened = []
        self.clock = 1_700_000_000_000_000
        engine = engine_for(self.path)
        with engine.connect() as connection:
            metadata.create_all(connection)
            for guard in GUARDS_SQLITE:
                connection.exec_driver_sql(guard)
            Rows(connection, self.cipher).log.create()
        engine.dispose()
        self.store = self.open()

    def open(self, rows=Rows):
        store = SqliteStore(self.path, self.cipher, rows)
        self.opened.append(store)
        return store

    def close(self):
        for store in self.opened:
            store.close()
        self.vault.close()

    def now_us(self):
        self.clock += 1_000_000
        return self.clock

    def sealer(self, **changes):
        parts = {
            "store": self.store,
            "recorder": self.recorder,
            "signer": self.signer,
            "origin": ORIGIN,
            "now_us": self.now_us,
            "random": os.urandom,
        } | changes
        if "anchor" not in parts:
            parts["anchor"] = self.anchor()
        return Sealer(**parts)

    def anchor(self):
        engine = engine_for(self.path)
        with engine.connect() as connection:
            size = Rows(connection, self.cipher).log.head().size
        engine.dispose()
        return Anchor.open(self.anchor_path, ORIGIN, store_size=size)

    def made(self):
        """An entry about nothing, with a leaf hash of its own."""
        data = os.urandom(40)
        return SealedEntry(entry_id=os.urandom(16), owner="EXEMPEL", handle=os.urandom(16), at_us=self.clock,
                           operation="ADMIN", outcome=None, reason_class=None, entry_bytes=data,
                           leaf_hash=sha256(b"\x00" + data).digest(), payload=os.urandom(40))  # fmt: skip

    async def record(self, count):
        """Commit `count` entries and return their leaf hashes."""
        entries = [self.made() for _ in range(count)]
        await self.store.write(lambda rows: rows.entries.insert(entries))
        return [one.leaf_hash for one in entries]

    async def record_as(self, number):
        """Commit one entry under a number of its own, as a transaction does that took its number long ago."""
        one = self.made()
        row = {"number": number, "entry_id": one.entry_id, "owner": one.owner, "handle": one.handle,
               "at_us": one.at_us, "operation": one.operation, "bytes": one.entry_bytes,
               "leaf_hash": one.leaf_hash}  # fmt: skip
        await self.store.write(lambda rows: rows.log._c.execute(insert(entry).values(row)))
        return one.leaf_hash

    async def leaves(self):
        """Every leaf hash of the committed tree, read from the tiles of level 0."""

        def read(rows):
            size, found = rows.log.head().size, b""
            for n in range(-(-size // 256)):
                found += rows.log.tile(0, n, min(256, size - 256 * n))
            return [found[at : at + 32] for at in range(0, len(found), 32)]

        return await self.store.read(read)


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    yield house
    house.close()
