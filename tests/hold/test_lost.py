"""Real connectors and a broker that was put back from a copy: what comes back by itself, and what stays shut."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from broker import backup
from schemas.calls import DestroyedRequest
from schemas.said import DisclosureRequest
from tests.evil.house import LEAD, POLICE, UNITS, request_assessment
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


async def test_one_seat_that_cannot_come_back_stops_no_other(lost, tmp_path):
    copy = lost.copied(tmp_path / "copy")
    police, social = lost.agency("police"), lost.agency("social")
    social.command(do="open_case", ref="EX-2", role=LEAD)  # after the copy: the broker has never heard of it
    await lost.settle(3)
    assert social.ctx.identities.get("EX-2").seat_id is not None
    await lost.lost_and_restored(copy)
    await lost.whole_again()
    assert not lost.core.keeper.active
    assert [f["ref"] for f in social.files("receipts", kind="alarm", code="HS-SEAT-UNKNOWN")] == ["EX-2"]
    social.command(**request_assessment("EX-1", text="goes on"))
    await lost.settle(3)
    assert police.files("out", kind="delivery")


async def test_what_was_said_after_the_copy_is_recorded_again(lost, tmp_path):
    copy = lost.copied(tmp_path / "copy")
    social = lost.agency("social")
    social.command(
        do="record_disclosure", ref="EX-1", to=[POLICE], categories=["IC04"], purpose="THREAT_ASSESSMENT",
        manner="CALL", consents=[],
    )  # fmt: skip
    await lost.settle(3)
    for _ in range(2):  # and signed with a key that is neither the seat's nor the one before
        await lost.weeks.slot(6)
    await lost.lost_and_restored(copy)
    assert await told_again(lost, "social", "/v1/disclosures:record") == 1
    await lost.whole_again()
    assert not lost.core.keeper.active
    seat = lost.weeks.seat("social").sid
    kinds = [kind for _leaf, kind, _at in social.ctx.spool.memory.told_of(seat)]
    assert kinds.count("said") == 2  # the entry that was lost stays known, and the new one is asked for


async def test_a_copy_taken_while_submissions_are_decided_verifies(lost, tmp_path):
    social, settings = lost.agency("social"), lost.node.settings
    texts = [f"load {number}" for number in range(6)]
    for text in texts:
        social.command(**request_assessment("EX-1", text=text))
    seen: list[tuple[int, int]] = []
    copying = asyncio.create_task(
        asyncio.to_thread(backup.copy, settings, tmp_path / "copy", lambda left, total: seen.append((left, total)))
    )
    await lost.settle(3)
    await copying
    manifest = backup.finish(settings, tmp_path / "copy")
    assert backup.read_manifest(tmp_path / "copy", settings.origin) == manifest
    assert seen[-1][0] == 0
    await lost.lost_and_restored(tmp_path / "copy")
    await lost.whole_again()
    assert not lost.core.keeper.active
    assert sorted(lost.weeks.given("police")) == texts  # none is lost, none is given twice


async def test_a_withdrawal_whose_connector_is_dead_releases_nothing_in_its_case(lost, tmp_path):
    social, police = lost.agency("social"), lost.agency("police")
    social.command(**request_assessment("EX-1", text="before"))
    await lost.settle(3)
    copy = lost.copied(tmp_path / "copy")
    lost.off |= {"social", "police"}  # neither is told of the withdrawal: probation alone knows
    lost.agency("probation").command(do="withdraw_case", ref="KV-1", method="ORAL_DOCUMENTED")
    await lost.settle(3)
    lost.off = {"probation"}  # and its connector is killed
    social.command(**request_assessment("EX-1", text="held"))
    await lost.lost_and_restored(copy)
    await lost.whole_again()
    await lost.settle(3)
    assert lost.weeks.given("police") == ["before"]
    assert lost.core.keeper.active
    lost.off.clear()
    await lost.settle(2)
    await lost.follow("probation")
    assert not lost.core.keeper.active
    await lost.settle(3)
    assert lost.weeks.given("police") == ["before"]  # the withdrawal is in force again
    assert len(police.files("out", kind="delivery")) == 1
