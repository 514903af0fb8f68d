"""One connector on real files, as the tests of the agency's side have it, and a desk at a broker on either engine."""

from __future__ import annotations

import pytest

from tests.agency.conftest import world
from tests.promises.case import ready
from tests.statute.making import Desk
from tests.stores import STORES, chosen, second_tier

__all__ = ["world"]

# On PostgreSQL the first tier holds each of the two tables once, read and written; the others are the same verbs again.
FIRST = {"test_an_approval_that_was_ended_is_not_used_again", "test_what_nobody_confirms_is_told_to_both_units"}


def pytest_collection_modifyitems(items):
    second_tier(items, "statute", lambda item: item.originalname in FIRST)


@pytest.fixture(params=STORES)
def engine(request, monkeypatch):
    """What a `Site` of the test keeps its rows in."""
    return chosen(request, monkeypatch)


@pytest.fixture
async def desk(tmp_path, engine):
    """The police's deciders in a case of three; their agency has approved the provision."""
    site = await ready(tmp_path)
    desk = Desk(site, site.police)
    await desk.approve()
    yield desk
    site.close()
