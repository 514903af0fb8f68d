"""What waits across one, two and three slots arrives once: at the broker, in a connector that sleeps, without a key."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.evil.house import assessment, request_assessment
from tests.rotation.weeks import weeks


@pytest.fixture
async def case(tmp_path):
    async with weeks(tmp_path) as made:
        yield made


def send(case, name, text):
    """A message of social services or police whose text or level is `text`, good for longer than anybody sleeps."""
    until = datetime.fromtimestamp(case.now() / 1e6 + 29 * 24 * 3600, UTC).isoformat()
    message = request_assessment("EX-1", text=text) if name == "social" else assessment("PM-1", text)
    case.agency(name).command(**message, valid_until=until)


@pytest.mark.parametrize(
    ("sleeper", "asleep"),
    [
        ("police", 3),
        ("social", 3),
        *(pytest.param(who, slots, marks=pytest.mark.long) for who in ("police", "social") for slots in (1, 2)),
    ],
)
async def test_what_waits_for_a_connector_that_sleeps_arrives_once(case, sleeper, asleep):
    awake = {"police": "social", "social": "police"}[sleeper]
    heads = {name: case.agency(name).ctx.spool.memory.head(case.seat(name).sid) for name in ("police", "social")}
    case.off.add(sleeper)
    texts = ["HIGH", "LOW", "UNDETERMINED", "LOW"]
    send(case, awake, texts[0])  # decided, and pending at the broker under keys of this slot
    send(case, sleeper, "HIGH")  # accepted, and not even sealed
    await case.settle(2)
    for slot in range(asleep):
        await case.slot()
        send(case, awake, texts[slot + 1])  # from the second slot on there is no key of the sleeper's that counts
        await case.settle(2)
    assert case.given(sleeper) == case.given(awake) == []  # positive control: it did wait
    case.off.clear()
    case.move(3600 * 1_000_000)
    await case.settle(8)
    case.move(120 * 1_000_000)  # what came before the word for its sender's key comes again when its lease has ended
    await case.settle(6)
    assert sorted(case.given(sleeper)) == sorted(texts[: asleep + 1])
    assert case.given(awake) == ["HIGH"]
    # No grant and no ledger was touched, and nobody was told that a role is held by another.
    assert heads == {name: case.agency(name).ctx.spool.memory.head(case.seat(name).sid) for name in heads}
    told = str([case.agency(name).files("receipts") for name in heads])
    assert "RECIPIENT_CHANGED" not in told
    assert "recipient_changed" not in told
    if asleep == 3:
        return  # a fourth slot would outlast the grants
    await case.slot()
    send(case, sleeper, "LOW")
    await case.settle(6)
    case.move(120 * 1_000_000)
    await case.settle(4)
    assert case.given(awake)[1:] == ["LOW"]
