"""Which store a `Site` keeps its rows in: tests that take `engine` run on a file and on a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from tests.site import Site

STORES = ("sqlite", "postgresql")


def chosen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let every `Site` of the test keep its rows in the store that the fixture's parameter names."""
    if request.param == "postgresql":
        monkeypatch.setattr(Site, "databases", staticmethod(request.getfixturevalue("new_database")))
    return str(request.param)


def second_tier(items: Iterable[pytest.Item], folder: str, first: Callable[[pytest.Item], bool]) -> None:
    """Leave what a folder's tests do again on PostgreSQL to the second tier, but for those that are `first`."""
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        again = parameters.get("engine") == "postgresql" and not first(item)
        if again and item.path.parent.name == folder:
            item.add_marker(pytest.mark.long)
