"""Rotation through the real broker and three real connectors, over several weeks of a moved clock."""

from __future__ import annotations

import pytest

from tests.evil.house import assessment, request_assessment
from tests.rotation.weeks import weeks


@pytest.fixture
async def case(tmp_path):
    async with weeks(tmp_path) as made:
        yield made


async def test_all_rotate_in_one_slot_and_messages_go_on(case):
    for week in range(3):
        before = case.key_ids()
        await case.slot()
        after = case.key_ids()
        assert not set(before.values()) & set(after.values()), week
        case.agency("police").command(**assessment("PM-1", "HIGH"))
        case.agency("social").command(**request_assessment("EX-1", text=f"vecka {week}"))
        await case.settle()
        assert case.given("social") == ["HIGH"] * (week + 1)
        assert case.given("police") == [f"vecka {each}" for each in range(week + 1)]
