"""Every promise is kept on either engine."""

from __future__ import annotations

import pytest

from tests.stores import STORES, chosen, second_tier

# On PostgreSQL the first tier holds what its locks and snapshots could break; the others are the same verbs again.
FIRST = {"test_no_release_after_ack", "test_record_with_release", "test_hand_over_and_entry", "test_row_version"}


def pytest_collection_modifyitems(items):
    second_tier(items, "promises", lambda item: item.path.stem in FIRST)


@pytest.fixture(autouse=True, params=STORES)
def engine(request, monkeypatch):
    """What a `Site` of the test keeps its rows in."""
    return chosen(request, monkeypatch)
