"""Several stores on one database, and moments at which one of their transactions stands still."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from broker.store.cipher import ColumnCipher
from broker.store.postgresql import PostgresStore
from tests.site import Site

CIPHER = ColumnCipher(bytes(32))


@pytest.fixture(autouse=True)
def sites() -> Iterator[None]:
    """A test that fails leaves no connection behind for another one to trip over."""
    yield
    Site.close_all()


class Standing:
    """A piece of work that stands still in its open transaction until it may go on."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work
        self.reached = threading.Event()
        self.go = threading.Event()

    def __call__(self, rows: Any) -> Any:
        value = self._work(rows)
        self.reached.set()
        assert self.go.wait(20)
        return value


@pytest.fixture
def stores(migrated) -> Iterator[Callable[..., PostgresStore]]:
    """Makes stores on the test's own database, as several nodes have, and closes them."""
    made: list[PostgresStore] = []

    def make(**how: Any) -> PostgresStore:
        made.append(migrated.store(how.pop("cipher", CIPHER), **how))
        return made[-1]

    yield make
    for store in made:
        store.close()
