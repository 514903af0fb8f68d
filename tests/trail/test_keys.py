"""The seat-key file through its public door, on real files."""

import os
import sqlite3
import subprocess
import sys
import threading

import pytest

from broker.store.keys import KeyVault
from schemas.errors import HandslagError

SEAT = bytes(range(16))
OTHER = bytes(range(16, 32))


def opened(folder, **options):
    return KeyVault.open(folder / "keys.db", folder / "root.key", **options)


def test_keys_survive_closing_and_opening(tmp_path):
    vault = opened(tmp_path)
    seat, unit, operator = vault.create("SEAT", SEAT), vault.create("UNIT", b"SOC/1280/KONSULT"), vault.operator()
    assert len({seat.sk, unit.sk, operator.sk}) == 3
    vault.close()
    again = opened(tmp_path)
    assert again.get("SEAT", SEAT) == seat
    assert again.get("UNIT", b"SOC/1280/KONSULT") == unit
    assert again.operator() == operator
    assert again.create("SEAT", SEAT) == seat
    assert again.get("SEAT", OTHER) is None
    assert (again.seat(SEAT), again.unit("SOC/1280/KONSULT")) == (seat, unit)
    again.close()


def test_a_key_is_durable_before_create_returns(tmp_path):
    # The child dies without closing anything, after create has returned.
    script = (
        "import os, sys; from pathlib import Path; from broker.store.keys import KeyVault\n"
        "folder = Path(sys.argv[1]); vault = KeyVault.open(folder / 'keys.db', folder / 'root.key')\n"
        "print(vault.create('SEAT', bytes(range(16))).sk.hex(), flush=True); os.kill(os.getpid(), 9)"
    )
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.returncode == -9
    vault = opened(tmp_path)
    found = vault.get("SEAT", SEAT)
    assert found is not None
    assert found.sk.hex() == run.stdout.strip()
    vault.close()


def test_no_key_lies_in_clear_in_any_file(tmp_path):
    vault = opened(tmp_path)
    made = [vault.create("SEAT", os.urandom(16)).sk for _ in range(200)] + [vault.operator().sk]
    control = os.urandom(32)
    with sqlite3.connect(tmp_path / "keys.db") as other:
        other.execute("create table control(blob)")
        other.execute("insert into control values (?)", (control,))
    other.close()
    assert {"keys.db", "keys.db-wal", "keys.db-shm"} <= {file.name for file in tmp_path.iterdir()}

    def residue(secret):
        return [file.name for file in tmp_path.iterdir() if secret in file.read_bytes()]

    assert residue(control)  # the search finds what does lie there
    assert [sk for sk in made if residue(sk) or residue(sk.hex().encode())] == []
    vault.close()
    assert [sk for sk in made if residue(sk)] == []


def test_a_key_file_that_others_may_read_is_refused(tmp_path):
    opened(tmp_path).close()
    for name in ("root.key", "keys.db"):
        (tmp_path / name).chmod(0o640)
        with pytest.raises(HandslagError) as caught:
            opened(tmp_path)
        assert caught.value.code == "HS-KEYS-EXPOSED"
        (tmp_path / name).chmod(0o600)
    opened(tmp_path).close()
    assert {file.stat().st_mode & 0o077 for file in tmp_path.iterdir()} == {0}


@pytest.mark.parametrize("lost", ["root.key", "keys.db"])
def test_a_lost_half_is_never_made_anew(tmp_path, lost):
    opened(tmp_path).close()
    (tmp_path / lost).unlink()
    with pytest.raises(HandslagError) as caught:
        opened(tmp_path)
    assert caught.value.code == "HS-KEYS-INCOMPLETE"
    assert not (tmp_path / lost).exists()


@pytest.mark.parametrize("after", ["tables", "root"])
def test_a_start_that_was_cut_short_goes_on(tmp_path, after):
    opened(tmp_path).close()
    with sqlite3.connect(tmp_path / "keys.db") as cut:
        cut.execute("delete from seat_key")
    cut.close()
    if after == "tables":
        (tmp_path / "root.key").unlink()
    vault = opened(tmp_path)
    assert vault.create("SEAT", SEAT) == vault.get("SEAT", SEAT)
    vault.close()


def test_another_root_key_is_noticed_at_once(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        opened(folder).close()
    (first / "root.key").write_bytes((second / "root.key").read_bytes())
    with pytest.raises(HandslagError) as caught:
        opened(first)
    assert caught.value.code == "HS-KEYS-UNREADABLE"


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"format": "handslag root key 1", "epoch": 1, "keks": {"1": "00"}}']
)
def test_a_damaged_root_key_is_refused(tmp_path, content):
    opened(tmp_path).close()
    (tmp_path / "root.key").write_text(content)
    with pytest.raises(HandslagError) as caught:
        opened(tmp_path)
    assert caught.value.code == "HS-KEYS-UNREADABLE"


def test_two_rows_that_change_places_do_not_open(tmp_path):
    vault = opened(tmp_path)
    vault.create("SEAT", SEAT)
    vault.create("SEAT", OTHER)
    vault.close()
    with sqlite3.connect(tmp_path / "keys.db") as file:
        rows = dict(file.execute("select owner_id, wrapped from seat_key where owner_kind = 'SEAT'"))
        file.executemany(
            "update seat_key set wrapped = ? where owner_id = ?", [(rows[SEAT], OTHER), (rows[OTHER], SEAT)]
        )
    file.close()
    vault = opened(tmp_path)
    for seat in (SEAT, OTHER):
        with pytest.raises(HandslagError) as caught:
            vault.get("SEAT", seat)
        assert caught.value.code == "HS-KEYS-UNREADABLE"
    vault.close()


def test_settings_are_those_that_make_deleting_real(tmp_path):
    vault = opened(tmp_path)
    for name, expected in (("journal_mode", "wal"), ("synchronous", 2), ("secure_delete", 1)):
        assert vault._connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() == expected
    vault.close()


def test_a_small_cache_still_answers_and_threads_agree(tmp_path):
    vault = opened(tmp_path, cached=2)
    ids = [os.urandom(16) for _ in range(20)]
    seen = {}

    def work(at):
        for seat in ids[at % 3 :]:
            seen.setdefault(seat, set()).add(vault.create("SEAT", seat).sk)

    threads = [threading.Thread(target=work, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(map(len, seen.values())) == {1}
    assert len(vault._cache) == 2
    vault.close()


def test_wrong_owners_are_refused(tmp_path):
    vault = opened(tmp_path)
    for kind, owner in (("SEAT", b"short"), ("UNIT", b""), ("OPERATOR", b"x"), ("PERSON", SEAT)):
        with pytest.raises(HandslagError) as caught:
            vault.create(kind, owner)
        assert caught.value.code == "HS-IDENTIFIER-INVALID"
    with pytest.raises(HandslagError) as caught:
        vault.erase(b"short")
    assert caught.value.code == "HS-IDENTIFIER-INVALID"
    vault.close()
