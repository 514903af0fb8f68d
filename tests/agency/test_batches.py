"""What is worked off together is kept together, and one bad item takes nothing with it."""

import dataclasses

import pytest

from connectors import inbox
from connectors.adapters.folder import Folder
from connectors.spool.store import Store
from schemas.errors import HandslagError
from schemas.inbox import InboxItem
from tests.agency.test_inbox import ASSESSMENT, verdicts


def item(delivery, body=None):
    return InboxItem(item_id=delivery.delivery_id, kind="DELIVERY", body=body or delivery.to_bytes())


async def test_one_bad_item_of_an_answer_takes_nothing_with_it(world) -> None:
    good = [world.delivery("threat_assessment_completed", ASSESSMENT, delivery_id=bytes([n]) * 16) for n in (1, 2)]
    forged = world.delivery("threat_assessment_completed", ASSESSMENT, delivery_id=b"f" * 16)
    forged = dataclasses.replace(forged, seat_signature=bytes(64))
    inbox.take_all(world.ctx, [item(good[0]), item(forged), item(good[1])])
    Folder(world.ctx.settings.folder, world.ctx).give_out()
    given = {path.name for path in (world.ctx.settings.folder / "out").iterdir()}
    assert given == {f"{delivery.delivery_id.hex()}.json" for delivery in good}
    assert {key: verdict for key, (_, verdict, _) in verdicts(world).items()} == {
        good[0].delivery_id: "ACK",
        forged.delivery_id: "REJECT",
        good[1].delivery_id: "ACK",
    }


async def test_a_fault_of_this_machine_keeps_what_came_before_it(world, monkeypatch) -> None:
    first, second = (
        world.delivery("threat_assessment_completed", ASSESSMENT, delivery_id=bytes([n]) * 16) for n in (1, 2)
    )
    plain = Store.many

    def full(self, sql, rows):
        rows = list(rows)
        if any(second.delivery_id in row for row in rows):
            raise HandslagError("HS-SPOOL-FAILED")
        plain(self, sql, rows)

    monkeypatch.setattr(Store, "many", full)
    with pytest.raises(HandslagError, match="HS-SPOOL-FAILED"):
        inbox.take_all(world.ctx, [item(first), item(second)])
    assert world.ctx.spool.incoming.known(first.delivery_id) == "STORED"
    assert world.ctx.spool.incoming.known(second.delivery_id) is None
    monkeypatch.setattr(Store, "many", plain)
    inbox.take_all(world.ctx, [item(second)])
    assert world.ctx.spool.incoming.known(second.delivery_id) == "STORED"


def failing(spool) -> None:
    with spool.savepoint():
        spool.memory.put("undone", b"2")
        raise HandslagError("HS-SEAL-INVALID")


async def test_a_part_is_undone_alone_and_the_rest_is_kept(world) -> None:
    spool = world.ctx.spool
    with spool.transaction():
        spool.memory.put("kept", b"1")
        with pytest.raises(HandslagError):
            failing(spool)
        spool.memory.put("after", b"3")
    world.reopen()
    memory = world.ctx.spool.memory
    assert [memory.get(name) for name in ("kept", "undone", "after")] == [b"1", None, b"3"]
