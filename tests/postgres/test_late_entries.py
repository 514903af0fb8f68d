"""Entries draw their numbers before they commit: none is passed by a beat or a page, and none is waited for in vain."""

from __future__ import annotations

import asyncio
import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import note
from broker.anchor import Anchor
from broker.recorder import Recorder
from broker.sealer import Sealer
from broker.store.cipher import ColumnCipher
from broker.store.keys import KeyVault
from broker.store.postgresql import PostgresStore
from schemas.errors import HandslagError
from schemas.trail import Payload
from tests.postgres.conftest import Standing

ORIGIN = "exempel.invalid/audit"
START = 1_700_000_000_000_000


class House:
    """A sealer on one store, and another store beside it whose transactions take their time."""

    def __init__(self, folder, stores):
        self.vault = KeyVault.open(folder / "keys.db", folder / "root.key")
        self.recorder = Recorder(self.vault, os.urandom, 1)
        cipher = ColumnCipher(self.vault.columns())
        self.store, self.other = stores(cipher=cipher), stores(cipher=cipher)
        self.clock = START
        signer = note.Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
        self.sealer = Sealer(
            store=self.store, recorder=self.recorder, anchor=Anchor.open(folder / "anchor", ORIGIN, store_size=0),
            signer=signer, origin=ORIGIN, now_us=self.now_us, random=os.urandom,
        )  # fmt: skip

    def now_us(self):
        self.clock += 1_000_000
        return self.clock

    def entry(self):
        return self.recorder.about_operator("ADMIN", Payload(code="HS-NOT-YET"), self.now_us())

    async def sealed(self, *entries):
        """Which of these are in the tree."""
        found = await self.store.read(lambda rows: rows.entries.index_of([one.leaf_hash for one in entries]))
        return [one.leaf_hash in found for one in entries]

    async def late(self):
        """An entry whose transaction has drawn its number and stays open."""
        entry = self.entry()
        standing = Standing(lambda rows: rows.entries.insert([entry]))
        writing = asyncio.create_task(self.other.write(standing, shared=True))
        assert await asyncio.to_thread(standing.reached.wait, 20)
        return entry, standing, writing


@pytest.fixture
def house(tmp_path, stores):
    house = House(tmp_path, stores)
    yield house
    house.vault.close()


async def passed_over(house):
    """An entry that commits two beats late, under a number below some that were sealed; whether it is in the tree."""
    late, standing, writing = await house.late()
    early = house.entry()
    await house.store.write(lambda rows: rows.entries.insert([early]), shared=True)
    for _ in range(2):
        await house.sealer.beat()
    assert await house.sealed(early, late) == [True, False]
    standing.go.set()
    await writing
    for _ in range(2):
        await house.sealer.beat()
    return not (await house.sealed(late))[0]


async def test_an_entry_that_commits_late_is_never_passed(house):
    assert not await passed_over(house)


async def test_a_beat_that_takes_every_drawn_number_for_settled_is_rejected(house, monkeypatch):
    async def at_once(store):
        return int(store._asked("SELECT last_value FROM entry_number_seq")[0])

    monkeypatch.setattr(PostgresStore, "settled", at_once)
    assert await passed_over(house)


async def test_numbers_that_came_to_nothing_do_not_hold_the_beat_up(house):
    """After a thousand of them a beat reads what is new, and not what was sealed before."""

    def fails(rows):
        rows.entries.insert([house.entry() for _ in range(100)])
        raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await house.store.write(fails, shared=True)
        one = house.entry()
        await house.store.write(lambda rows, one=one: rows.entries.insert([one]), shared=True)
        await house.sealer.beat()
        assert await house.sealed(one) == [True]
    assert house.sealer._floor > 200


async def test_whoever_asks_what_is_settled_waits_for_what_is_at_work(house):
    _late, standing, writing = await house.late()
    with pytest.raises(HandslagError) as raised:
        await house.store.settled()
    assert raised.value.code == "HS-NOT-READY"
    waiting = asyncio.create_task(house.store.settled())
    await asyncio.sleep(0.2)
    assert not waiting.done()
    standing.go.set()
    await writing
    assert await waiting == 1


async def test_a_page_holds_what_committed_late_under_a_lower_number(house):
    """A page ends with the entry of its own look: what committed below that is on it, whenever it committed."""
    late, standing, writing = await house.late()
    look = house.entry()
    await house.store.write(lambda rows: rows.entries.insert([look]), shared=True)
    handles = [late.handle, look.handle]

    async def page():
        await house.store.settled()
        found = await house.store.read(lambda rows: rows.entries.of_handles(handles, 0, 9, look.entry_id))
        return [row[1] for row in found]

    asking = asyncio.create_task(page())
    await asyncio.sleep(0.1)
    standing.go.set()
    await writing
    assert await asking == [late.entry_id, look.entry_id]
    assert await page() == [late.entry_id, look.entry_id]
