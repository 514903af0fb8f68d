"""Erasing a seat of a unit whose inbox is large, on a server that ends a transaction which is silent for 150 ms."""

from __future__ import annotations

import os
import threading
from collections import Counter
from dataclasses import replace

import pytest

from broker.erasing import Eraser
from broker.store.cipher import ColumnCipher
from broker.store.erasures import LOOKED_AT_ONCE
from broker.store.inbox import Item
from schemas.errors import HandslagError
from tests.admin.erasing import GROUND, begun, closed
from tests.site import Site

MANY = 5_000


@pytest.fixture
async def home(tmp_path, migrated, monkeypatch):
    """A case on the server whose police have left it; the sessions have the product's own limits."""
    monkeypatch.setattr(Site, "databases", staticmethod(lambda: migrated))
    monkeypatch.setattr(Site, "opened", lambda self, *_: migrated.store(self.cipher, patient=False))
    home = await begun(tmp_path / "home")
    await closed(home)
    yield home
    home.site.close()


@pytest.fixture
def opened(monkeypatch):
    """How many inbox items were opened inside transactions that write, by thread and transaction."""
    seen, plain = Counter(), ColumnCipher.open

    def noting(self, column, sealed):
        name = threading.current_thread().name
        if column == "inbox_item.body" and name.startswith(("store-write", "store-turn")):
            seen[name] += 1
        return plain(self, column, sealed)

    monkeypatch.setattr(ColumnCipher, "open", noting)
    return seen


def notices(site, count, about=b""):
    made = (Item(os.urandom(16), site.police.code, "NOTICE", os.urandom(300) + about) for _ in range(count))
    return [site.store.sealing.item(one) for one in made]


async def fill(site, count, about=b""):
    items = notices(site, count, about)
    await site.store.write(lambda rows: rows.inbox.put(items))


def waiting(migrated):
    return migrated.seen("SELECT count(*) FROM inbox_item")[0][0]


async def test_no_transaction_opens_a_whole_inbox(home, migrated, opened, tmp_path):
    site = home.site
    await fill(site, MANY)
    before = waiting(migrated)
    await home.erased(site.police)
    assert waiting(migrated) == before  # what is about others stays
    assert [row["state"] for row in (one.shown() for one in await home.eraser.go_on())] == ["DONE"]
    assert sum(opened.values()) == 0
    assert migrated.seen("SELECT count(*) FROM call WHERE position(? IN answer) > 0", site.police.seat_id) == [(0,)]


async def test_one_item_among_thousands_stands_against_it(home, opened):
    site = home.site
    await fill(site, MANY)
    await fill(site, 1, site.police.seat_id)
    await fill(site, MANY // 5)
    with pytest.raises(HandslagError) as raised:
        await home.eraser.require_free(site.police.seat_id, GROUND)
    assert raised.value.context["check"] == "inbox"
    assert sum(opened.values()) == 0


async def test_what_comes_while_it_is_erased_is_found_and_goes_in_pieces(home, migrated, opened):
    """After the erasure was recorded thousands come that are about the seat, and thousands that are not."""
    site, before = home.site, waiting(migrated)
    many = 3 * LOOKED_AT_ONCE

    async def beat():
        if await site.store.read(lambda rows: [one.state for one in rows.erasures.all().values()]) == ["BEGUN"]:
            await fill(site, many, site.police.seat_id)
            await fill(site, many)
        return await home.sealer.beat()

    eraser = Eraser(site.context, home.files, home.keeper, beat)
    await home.signed_for(site.police)
    (row,) = await eraser.go_on()
    assert row.state == "DONE"
    assert waiting(migrated) == before + many
    assert max(opened.values(), default=0) <= LOOKED_AT_ONCE


class Meanwhile:
    """A store in which something comes into the inbox after every look and before the write that follows it."""

    def __init__(self, inner, comes):
        self.inner, self.sealing, self.comes = inner, inner.sealing, comes
        self.read, self.emptied, self.settled = inner.read, inner.emptied, inner.settled

    async def write(self, work, *, shared=False):
        if self.comes:
            items = self.comes.pop(0)
            await self.inner.write(lambda rows: rows.inbox.put(items))
        return await self.inner.write(work, shared=shared)


async def test_what_comes_between_the_look_and_its_transaction_is_looked_at(home, migrated, opened):
    site = home.site
    await home.signed_for(site.police)
    comes = [notices(site, LOOKED_AT_ONCE + 1), notices(site, 1, site.police.seat_id)]
    context = replace(site.context, store=Meanwhile(site.store, comes))
    eraser = Eraser(context, home.files, home.keeper, home.sealer.beat)
    with pytest.raises(HandslagError) as raised:  # first too many to open: looked at again; then one about the seat
        await eraser.go_on()
    assert raised.value.context["check"] == "inbox"
    assert comes == []
    assert sum(opened.values()) == 1
