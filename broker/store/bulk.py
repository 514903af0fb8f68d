"""Many rows in one statement, as each engine takes them best, in order and in pieces that a server can hold.

SQLite runs one prepared statement over the rows. To PostgreSQL a row each would be a message each, and half of a
transaction's time; there every column goes as one array, so that the text of the statement never changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from sqlalchemy import Column, Connection, Table, TextClause, bindparam, insert, text, update
from sqlalchemy.dialects import postgresql

from broker.store.dialect import has_row_locks

Values = Mapping[str, object]
_PIECE_BYTES = 8 * 1024 * 1024
_PIECE_ROWS = 500  # made into arrays within milliseconds: the server does not wait long for any statement
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def insert_all(connection: Connection, table: Table, rows: Sequence[Values]) -> None:
    """Insert rows that name the same columns; the numbers that the engine draws rise with them."""
    if not has_row_locks(connection):
        if rows:
            connection.execute(insert(table), rows)
        return
    for piece in _pieces(rows):
        names = tuple(piece[0])
        connection.execute(_inserting(table, names), _arrays(piece, names))


def update_all(connection: Connection, table: Table, key: str, rows: Sequence[Values]) -> None:
    """Set the columns that each of `rows` names beside `key`, in the row of that key; the caller has locked them."""
    if not rows:
        return
    names = tuple(rows[0])
    if not has_row_locks(connection):
        found = table.c[key] == bindparam(f"of_{key}")
        given = [{f"of_{name}": row[name] for name in names} for row in rows]
        values: dict[str, object] = {name: bindparam(f"of_{name}") for name in names if name != key}
        connection.execute(update(table).where(found).values(values), given)
        return
    connection.execute(_updating(table, key, names), _arrays(rows, names))


def _pieces(rows: Sequence[Values]) -> Iterator[Sequence[Values]]:
    """The rows in turn, each piece of a size that fits in the memory of a session many times."""
    begun, size = 0, 0
    for at, row in enumerate(rows):
        own = sum(len(value) for value in row.values() if isinstance(value, bytes))
        if at > begun and (size + own > _PIECE_BYTES or at - begun == _PIECE_ROWS):
            yield rows[begun:at]
            begun, size = at, 0
        size += own
    if rows[begun:]:
        yield rows[begun:]


def _arrays(rows: Sequence[Values], names: Sequence[str]) -> dict[str, list[object]]:
    return {name: [row[name] for row in rows] for name in names}


@lru_cache
def _inserting(table: Table, names: tuple[str, ...]) -> TextClause:
    columns = _quoted(names)
    return text(
        f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {_given(table, names)} ORDER BY given.place"  # noqa: S608 - names of our own tables
    )


@lru_cache
def _updating(table: Table, key: str, names: tuple[str, ...]) -> TextClause:
    values = ", ".join(f'"{name}" = given."{name}"' for name in names if name != key)
    return text(
        f'UPDATE {table.name} SET {values} FROM {_given(table, names)} WHERE {table.name}."{key}" = given."{key}"'  # noqa: S608 - names of our own tables
    )


def _given(table: Table, names: Sequence[str]) -> str:
    arrays = ", ".join(f"CAST(:{name} AS {_type(table.c[name])}[])" for name in names)
    return f"unnest({arrays}) WITH ORDINALITY AS given ({_quoted(names)}, place)"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _type(column: Column[object]) -> str:
    return str(column.type.compile(_DIALECT))
