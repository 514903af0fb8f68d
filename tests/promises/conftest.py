"""Every promise is kept on either engine."""

from __future__ import annotations

import pytest

from tests.site import Site

# On PostgreSQL the first tier holds what its locks and snapshots could break; the others are the same verbs again.
FIRST = {"test_no_release_after_ack", "test_record_with_release", "test_hand_over_and_entry", "test_row_version"}


def pytest_collection_modifyitems(items):
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        again = parameters.get("engine") == "postgresql" and item.path.stem not in FIRST
        if again and item.path.parent.name == "promises":
            item.add_marker(pytest.mark.long)


@pytest.fixture(autouse=True, params=["sqlite", "postgresql"])
def engine(request, monkeypatch):
    """What a `Site` of the test keeps its rows in."""
    if request.param == "postgresql":
        monkeypatch.setattr(Site, "databases", staticmethod(request.getfixturevalue("new_database")))
    return request.param
