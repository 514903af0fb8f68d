"""Promise 2: an entry and its effect are one: counted after a whole story, and after every place where it may break."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from sqlalchemy import func, select

from broker import handover
from broker.endings import TOLD
from broker.store.entries import EntryRows
from broker.store.port import Rows
from broker.store.tables import delivery, item
from schemas.calls import FetchRequest
from schemas.errors import HandslagError
from tests.promises.case import HOUR, deliveries, grant, ready, receipts, sent, states
from tests.promises.schedule import stepped
from tests.promises.trail import trail


async def hands(site: Any) -> Counter:
    """(delivery, hand number) that the store says were handed over by the police."""
    mine = delivery.c.sender_seat == site.police.seat_id
    query = select(delivery.c.delivery_id, delivery.c.hand_number).where(mine)
    rows = await site.store.read(lambda rows: list(rows.gate._c.execute(query)))
    return Counter((row.delivery_id, n) for row in rows for n in range(1, row.hand_number + 1))


async def recorded(site: Any, seat_id: bytes, operation: str) -> Counter:
    """(delivery, hand number) of the entries in one seat's trail that tell of this event's deliveries."""
    found = [r.payload for r in await trail(site, seat_id) if r.operation == operation]
    mine = {key for key, _ in await hands(site)} if operation == "HAND_OVER" else None
    return Counter((p.delivery_id, p.hand_number) for p in found if mine is None or p.delivery_id in mine)


async def told(site: Any) -> int:
    """How many words that a consent ended wait in inboxes."""
    query = select(func.count()).select_from(item).where(item.c.kind == "ENDED")
    return int(await site.store.read(lambda rows: rows.gate._c.execute(query).scalar_one()))


async def story(site: Any) -> None:
    """Handed once and acknowledged, handed three times, withdrawn while it waits, refused."""
    consent = await grant(site)
    await sent(site)
    (item,) = await deliveries(site)
    await site.ack(site.lead, item.item_id)
    await sent(site)
    for _ in range(3):
        await deliveries(site)
        site.clock.us += site.context.lease_us + 1
    await sent(site)
    await site.act(site.police, "WITHDRAW", consent)
    await sent(site)


async def missing(site: Any) -> list[str]:
    """What was done without an entry, or recorded without being done."""
    wrong = []
    done = await hands(site)
    for seat_id, operation in ((site.police.seat_id, "DISCLOSURE"), (site.lead.seat_id, "HAND_OVER")):
        if await recorded(site, seat_id, operation) != done:
            wrong.append(operation)
    entries = await trail(site, site.police.seat_id)
    operations = Counter(r.operation for r in entries)
    if operations["DECISION"] != len(site.receipts_seen):
        wrong.append("DECISION")
    if operations["CONSENT_EVENT"] != len(await site.ledger_of(site.police)):
        wrong.append("CONSENT_EVENT")
    ended = Counter(state for state in await states(site) if state in {"ACKED", "REJECTED", "RECALLED"})
    words = sum(r.operation == "ACK" and r.payload.code == TOLD for r in entries)
    if (operations["ACK"] - words, words) != (sum(ended.values()), await told(site)):
        wrong.append("ACK")
    return wrong


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


async def test_every_effect_has_its_entry_and_every_entry_its_effect(site):
    await story(site)
    site.receipts_seen = await receipts(site)
    assert sum((await hands(site)).values()) >= 4
    assert await told(site) == 1
    assert await missing(site) == []


class _Forgetful(EntryRows):
    def insert(self, sealed: Any) -> None:
        super().insert([one for one in sealed if getattr(one, "row", one).operation != self.left_out])

    left_out = ""


class Forgetful(Rows):
    def __init__(self, connection: Any, cipher: Any) -> None:
        super().__init__(connection, cipher)
        self.entries = _Forgetful(connection, cipher)


@pytest.mark.parametrize("operation", ["DISCLOSURE", "HAND_OVER", "DECISION", "CONSENT_EVENT", "ACK"])
async def test_an_effect_without_its_entry_is_noticed(tmp_path, monkeypatch, operation):
    """Positive control: a store that loses one kind of entry fails the count, and by that name."""
    monkeypatch.setattr(_Forgetful, "left_out", operation)
    site = await ready(tmp_path, rows=Forgetful)
    await story(site)
    site.receipts_seen = await receipts(site)
    assert await missing(site) == [operation]
    site.close()


class _Breaking(EntryRows):
    def insert(self, sealed: Any) -> None:
        super().insert(sealed)
        if self.armed:
            raise ZeroDivisionError

    armed = False


class Breaking(Rows):
    def __init__(self, connection: Any, cipher: Any) -> None:
        super().__init__(connection, cipher)
        self.entries = _Breaking(connection, cipher)


async def test_what_breaks_after_its_entry_leaves_neither(tmp_path, monkeypatch):
    site = await ready(tmp_path, rows=Breaking)
    consent = await grant(site)
    await sent(site)
    before = (await hands(site), await states(site), len(await trail(site, site.police.seat_id)))
    monkeypatch.setattr(_Breaking, "armed", True)
    for call in (deliveries(site), site.act(site.police, "WITHDRAW", consent)):
        with pytest.raises(ZeroDivisionError):
            await call
    monkeypatch.setattr(_Breaking, "armed", False)
    assert (await hands(site), await states(site), len(await trail(site, site.police.seat_id))) == before
    assert len(await deliveries(site)) == 1
    site.close()


class Losing:
    """A store whose n-th write commits, and whose answer is lost."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.sealing = inner, inner.sealing

    async def read(self, query: Any) -> Any:
        return await self.inner.read(query)

    async def write(self, work: Any, *, shared: bool = False) -> Any:
        await self.inner.write(work, shared=shared)
        raise HandslagError("HS-NOT-RECORDED")


async def test_a_hand_over_whose_answer_was_lost_is_recorded_and_repeated(site):
    await grant(site)
    await sent(site)
    with pytest.raises(HandslagError):
        await handover.fetch(stepped(site.context, Losing(site.store)), site.lead.code, FetchRequest(limit=9))
    site.receipts_seen = await receipts(site)
    assert await missing(site) == []
    site.clock.us += HOUR
    (item,) = await deliveries(site)
    assert item
    assert await missing(site) == []
