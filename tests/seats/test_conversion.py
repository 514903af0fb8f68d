"""A store of an earlier version, written in the clear: sealed at the first start, in pieces, for good."""

import asyncio
import contextlib
import shutil
import sqlite3

import pytest

from broker.store import conversion
from broker.store.cipher import HANDLE_MARK, ColumnCipher
from broker.store.conversion import HANDLES, SEALED, convert
from broker.store.tables import GUARDS_SQLITE
from schemas.errors import HandslagError
from schemas.trail import AuditEntry
from tests.seats.test_stolen_store import naming, needles, played
from tests.site import UNITS


def unsealed(database, cipher):
    """Undo it, as if an earlier version had written the file; its directory of units is emptied for the scan."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as store:
        store.execute("PRAGMA secure_delete=ON")
        store.execute("DROP TRIGGER entry_no_update")
        for table, columns in HANDLES.items():
            for column in columns:
                for (handle,) in store.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall():
                    store.execute(
                        f"UPDATE {table} SET {column}=? WHERE {column}=?", (cipher.code(table, handle), handle)
                    )
        for table, columns in SEALED.items():
            for column in columns:
                for rowid, raw in store.execute(
                    f"SELECT rowid, {column} FROM {table} WHERE {column} NOT NULL"
                ).fetchall():
                    opened = cipher.open(f"{table}.{column}", raw)
                    store.execute(f"UPDATE {table} SET {column}=? WHERE rowid=?", (opened, rowid))
        for number, raw in store.execute("SELECT number, bytes FROM entry").fetchall():
            store.execute("UPDATE entry SET owner=? WHERE number=?", (AuditEntry.from_bytes(raw).owner, number))
        store.execute(GUARDS_SQLITE[0])
        store.execute("DELETE FROM column_key")
        store.execute("DELETE FROM unit")


def content(database):
    with contextlib.closing(sqlite3.connect(database)) as store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        return {table: sorted(store.execute(f"SELECT rowid, * FROM {table}"), key=repr) for table in tables}


def raw(database):
    return b"".join(path.read_bytes() for path in database.parent.glob(f"{database.name}*"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(database, cipher, its content in the clear, its content as the broker had sealed it)."""
    folder = tmp_path_factory.mktemp("made")
    site = asyncio.run(played(folder))
    site.store.truncate_wal()
    site.close()
    database = folder / "broker" / "broker.db"
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as store:
        store.execute("DELETE FROM unit")
    before = content(database)
    unsealed(database, site.cipher)
    return database, site.cipher, content(database), before


@pytest.fixture
def old(made, tmp_path, monkeypatch):
    """As `made`, with a file of this test's own."""
    monkeypatch.setattr(conversion, "PIECE", 7)
    database, *rest = made
    shutil.copy(database, tmp_path / "broker.db")
    return tmp_path / "broker.db", *rest


def test_nothing_is_left_in_the_clear_in_file_or_log(old):
    database, cipher, clear, _before = old
    assert any(needle in raw(database) for needle in needles())
    seen = []
    count = convert(database, cipher, lambda table, rows: seen.append((table, rows)))
    left = raw(database)
    assert [needle for needle in needles() if needle in left] == []
    assert naming(database) == set()
    rows = sum(len(clear[table]) for table in HANDLES.keys() | SEALED.keys())
    assert count == rows
    assert len(seen) > len(HANDLES.keys() | SEALED.keys())  # in pieces, and told


def test_what_was_sealed_is_what_the_broker_would_have_written(old):
    database, cipher, _clear, before = old
    convert(database, cipher)
    after = content(database)
    assert {table: rows for table, rows in after.items() if table != "column_key"} == {
        table: rows for table, rows in before.items() if table != "column_key"
    }
    assert convert(database, cipher) == 0  # and the next start has nothing to do
    with contextlib.closing(sqlite3.connect(database)) as store, pytest.raises(sqlite3.IntegrityError):
        store.execute("UPDATE entry SET bytes = x'00'")  # the guard stands again


def test_a_start_that_was_cut_off_goes_on_at_the_next(old):
    database, cipher, _clear, before = old
    hears = 0

    def cut(_table, _rows):
        nonlocal hears
        hears += 1
        if hears == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(database, cipher, cut)
    assert any(needle in raw(database) for needle in needles())
    assert convert(database, cipher) > 0
    assert [needle for needle in needles() if needle in raw(database)] == []
    assert content(database)["delivery"] == before["delivery"]


def test_while_a_reader_keeps_the_log_it_is_not_done(old):
    database, cipher, _clear, _before = old
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM seat").fetchone()
        with pytest.raises(HandslagError) as refused:
            convert(database, cipher)
        assert refused.value.code == "HS-NOT-READY"
        reader.execute("COMMIT")
    convert(database, cipher)
    assert [needle for needle in needles() if needle in raw(database)] == []


def test_a_store_under_another_key_is_refused(old):
    database, cipher, _clear, _before = old
    convert(database, cipher)
    with pytest.raises(HandslagError) as refused:
        convert(database, ColumnCipher(b"another key of thirty-two bytes."))
    assert (refused.value.code, refused.value.context) == ("HS-KEYS-UNREADABLE", {"part": "columns"})
    with contextlib.closing(sqlite3.connect(database)) as store:
        (handle,) = store.execute("SELECT unit FROM seat LIMIT 1").fetchone()
    assert handle.startswith(HANDLE_MARK)
    assert cipher.code("seat", handle) in UNITS.values()
