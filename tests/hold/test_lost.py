"""Real connectors and a broker that was put back from a copy: what comes back by itself, and what stays shut."""

from __future__ import annotations

import hashlib

import pytest

from schemas.calls import DestroyedRequest
from schemas.said import DisclosureRequest
from tests.evil.house import UNITS, request_assessment
from tests.hold.lost import world


@pytest.fixture
async def lost(tmp_path):
    async with world(tmp_path) as made:
        yield made


async def told_again(lost, name: str, path: str) -> int:
    """How many kept calls of a kind the restored broker has an answer to; all of them."""
    unit = UNITS[name].unit
    calls = [request for request, answer in lost.agency(name).ctx.spool.memory.calls(path) if answer is not None]
    for request in calls:
        digest = hashlib.sha256(request).digest()
        call_id = (DestroyedRequest if path.endswith("destroyed") else DisclosureRequest).from_bytes(request).call_id
        assert await lost.read(
            lambda rows, call_id=call_id, digest=digest: rows.units.answered(unit, call_id, digest)
        ), "the restored broker was not told"
    return len(calls)


async def test_a_case_whose_keys_rotated_after_the_copy_is_free_again(lost, tmp_path):
    lost.agency("social").command(**request_assessment("EX-1", text="first"))
    lost.weeks.off.add("police")  # what waits for it is sealed to its key of this week
    await lost.weeks.settle(2)
    copy = lost.copied(tmp_path / "copy")
    lost.weeks.off.clear()
    await lost.settle(2)
    before = lost.weeks.key_ids()
    for _ in range(2):
        await lost.weeks.slot(6)
    assert lost.weeks.given("police") == ["first"]
    assert before["police"] not in {old.key.key_id for old in lost.weeks.seat("police").retired}  # it is destroyed
    await lost.lost_and_restored(copy)
    await lost.whole_again()
    assert not lost.core.keeper.active
    assert await told_again(lost, "police", "/v1/seats:destroyed") >= 1
    lost.agency("social").command(**request_assessment("EX-1", text="second"))
    await lost.settle(3)
    assert lost.weeks.given("police") == ["first", "second"]  # the first never again, to no key that is gone
    social = lost.weeks.seat("social").sid
    assert await lost.read(lambda rows: rows.deliveries.open_of_senders([social])) == []
