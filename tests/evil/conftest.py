"""A house and a case in it, for every test of a misbehaving broker."""

from __future__ import annotations

import pytest

from tests.evil.house import house


@pytest.fixture
async def home(tmp_path):
    async with house(tmp_path) as made:
        yield made


@pytest.fixture
async def case(home):
    await home.case("EX-1", "PM-1")
    return home
