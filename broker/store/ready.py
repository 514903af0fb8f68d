"""Rows whose sealed columns are made: what is left for their transaction is to insert them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Row = TypeVar("Row")
Columns = dict[str, object]


@dataclass(frozen=True, slots=True)
class Ready(Generic[Row]):
    """A row, and its columns as they will lie in its table, or in each of its two tables."""

    row: Row
    columns: Columns
    beside: Columns | None = None


def readied(rows: Iterable[Row | Ready[Row]], make: Callable[[Row], Ready[Row]]) -> list[Ready[Row]]:
    """All of them ready; only what was not yet is made now."""
    return [row if isinstance(row, Ready) else make(row) for row in rows]
