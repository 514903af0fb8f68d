"""The few words that the two engines spell differently, so that every verb is one statement for both."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, Connection, Integer, Select, func, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

READING = "handslag_reading"
SERVER_CLOCK = "handslag_server_clock"
"""Execution options of a connection: its transaction only reads; moments are the server's own."""

NUMBER = BigInteger().with_variant(Integer(), "sqlite")
"""A number that the engine draws: 64 bits, which SQLite's INTEGER has and gives a row number to nothing else."""


class greatest(FunctionElement[int]):  # noqa: N801 - an SQL function's name
    """The largest of several numbers of one row."""

    inherit_cache = True
    type = BigInteger()
    name = "greatest"


@compiles(greatest)
def _greatest(element: greatest, compiler: Any, **kw: Any) -> str:
    return f"greatest({compiler.process(element.clauses, **kw)})"


@compiles(greatest, "sqlite")
def _max(element: greatest, compiler: Any, **kw: Any) -> str:
    return f"max({compiler.process(element.clauses, **kw)})"


class holds(FunctionElement[bool]):  # noqa: N801 - as SQL's own
    """Whether bytes lie somewhere in a column of bytes."""

    inherit_cache = True
    type = Boolean()
    name = "holds"


@compiles(holds)
def _position(element: holds, compiler: Any, **kw: Any) -> str:
    column, part = (compiler.process(one, **kw) for one in element.clauses)
    return f"(position({part} IN {column}) > 0)"


@compiles(holds, "sqlite")
def _instr(element: holds, compiler: Any, **kw: Any) -> str:
    return f"(instr({compiler.process(element.clauses, **kw)}) > 0)"


def locked(connection: Connection, query: Select[Any], *, skip_locked: bool = False) -> Select[Any]:
    """`query` locking its rows in their order until the transaction ends; a transaction that only reads locks none.

    SQLite has one writer and locks no rows.
    """
    if connection.get_execution_options().get(READING):
        return query
    return query.with_for_update(skip_locked=skip_locked)


def has_row_locks(connection: Connection) -> bool:
    """Whether another transaction may be writing at this moment."""
    return connection.dialect.name != "sqlite"


def moment(connection: Connection, now_us: int) -> ColumnElement[int]:
    """The present moment as the ledger counts it: the server's clock as it goes, or the caller's `now_us`.

    Never `now()`, which is when the transaction began: after a wait for a lock it is too early by that wait.
    """
    # INVARIANT: test_the_ledger_clock_is_the_servers_after_the_lock
    if connection.get_execution_options().get(SERVER_CLOCK):
        return func.trunc(func.date_part("epoch", func.clock_timestamp()) * 1_000_000).cast(BigInteger)
    return literal(now_us, BigInteger)
