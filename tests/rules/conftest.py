"""A broker on either engine, whose rules change."""

from __future__ import annotations

import pytest

from tests.promises.case import ready
from tests.stores import STORES, chosen, second_tier

# On PostgreSQL the first tier holds each of the four tables once; the others are the same verbs again.
FIRST = {
    "test_what_opens_waits_for_the_discloser_s_own_approval",
    "test_many_open_deliveries_are_held_until_each_was_decided_anew",
}


def pytest_collection_modifyitems(items):
    second_tier(items, "rules", lambda item: item.originalname in FIRST)


@pytest.fixture(params=STORES)
def engine(request, monkeypatch):
    """What a `Site` of the test keeps its rows in."""
    return chosen(request, monkeypatch)


@pytest.fixture
async def site(tmp_path, engine):
    """A case of three."""
    made = await ready(tmp_path)
    yield made
    made.close()
