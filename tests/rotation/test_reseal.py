"""A delivery whose key is gone is sealed anew by its sender, and given once; and old private keys are gone."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from broker.store.tables import delivery
from connectors.slots import WEEK_US
from schemas.calls import FetchAnswer, FetchRequest
from schemas.envelope import Attempt
from tests.evil.house import request_assessment
from tests.rotation.weeks import weeks

CHUNK = 48  # of sealed bytes: long enough to be nobody else's, short enough that most lie on one page


@pytest.fixture
async def case(tmp_path):
    async with weeks(tmp_path) as made:
        yield made


async def states(case):
    mine = delivery.c.recipient_seat == case.seat("police").sid
    query = select(delivery.c.state, delivery.c.attempt).where(mine).order_by(delivery.c.delivery_id)
    return [tuple(row) for row in await case.home.node.store.read(lambda rows: rows.gate._c.execute(query).all())]


async def test_what_is_sealed_to_a_destroyed_key_is_sealed_anew(case):
    """An answer is lost on its way: handed over, never received, and its lease outlasts the key it is sealed to."""
    social, police = case.agency("social"), case.agency("police")
    social.command(**request_assessment("EX-1", text="borta"), valid_until="2030-01-01T00:00:00+00:00")
    for agency in (social, social):
        await agency.beat()
        await case.settle(0)
    case.off.add("police")
    await case.settle(1)
    object.__setattr__(case.home.node.context, "lease_us", 4 * WEEK_US)
    lost = await police.ctx.link.call("/v1/inbox:fetch", FetchRequest(limit=200), FetchAnswer)
    assert "DELIVERY" in [item.kind for item in lost.items]
    object.__setattr__(case.home.node.context, "lease_us", 60_000_000)
    case.off.clear()
    assert await states(case) == [("HANDED", 1)]
    first = case.seat("police").keys.key_id
    await case.slot()
    assert case.seat("police").keys.key_id != first
    assert await states(case) == [("HANDED", 1)]  # positive control: a retired key is kept while something may come
    assert first in case.seat("police").keyring
    await case.slot(12)
    assert first not in case.seat("police").keyring
    assert await states(case) == [("RESEAL", 1), ("ACKED", 2)]
    assert case.given("police") == ["borta"]
    sealed = [Attempt.from_bytes(one.attempt) for one in case.home.liar.submissions]
    assert {(one.attempt, one.wraps[0].seat_key_id == first) for one in sealed} == {(1, True), (2, False)}
    told = [f["code"] for f in social.files("receipts", kind="notice")]
    assert "delivery_reseal" in told
    assert told[-1] == "delivery_acknowledged"
    assert social.files("receipts", kind="waits_for_a_person") == []


def file_bytes(agency):
    """The connector's database and its write-ahead log, as a thief of the disk has them."""
    folder = agency.ctx.settings.data_dir
    return b"".join(path.read_bytes() for path in sorted(folder.glob("connector.db*")))


def sealed_row(agency):
    """The sealed row of the seat: the one place where its private keys lie. With the data key it opens."""
    row = agency.ctx.spool.store.one("SELECT value FROM seat")
    return [row[0][at : at + CHUNK] for at in range(0, len(row[0]) - CHUNK, CHUNK)]


async def test_an_old_signing_key_is_gone_from_the_connectors_files(case):
    police = case.agency("police")
    for _ in range(2):
        pieces, private = sealed_row(police), case.seat("police").private
        here = sum(piece in file_bytes(police) for piece in pieces)
        assert here > len(pieces) // 2  # positive control: the scan finds what is there
        await case.slot(12)
        assert not [piece for piece in pieces if piece in file_bytes(police)]
        seat = case.seat("police")
        assert seat.private != private
        # Of the pair before, the half that opens is kept while something may come; the half that signs is nowhere.
        opened = police.ctx.spool.store.open_json("seat.value", police.ctx.spool.store.one("SELECT value FROM seat")[0])
        assert private[:32].hex() not in str(opened)
        assert private[32:].hex() in str(opened)  # positive control, and its time comes:
        assert [old.hpke == private[32:].hex() for old in seat.retired] == [True]
