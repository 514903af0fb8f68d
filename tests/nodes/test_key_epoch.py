"""What a server keeps of a destroyed key opens with nothing that any node has; and no other key is lost by that."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from broker.store import key_epoch, rootkey, transfer
from broker.store.keyport import ERASED, SEAT_KEY, OwnerKind, unwrapped
from broker.store.keys import KeyVault
from broker.store.keys_server import ServerVault
from broker.store.postgresql_engine import MIGRATING, engine_for
from schemas.errors import HandslagError
from tests.nodes.test_root_key import part_of

ROOT = Path(__file__).parents[2]
SEAT = OwnerKind.SEAT


class Folders:
    """Nodes' copies of one root key, and vaults on one database."""

    def __init__(self, base: Path, settings) -> None:
        self.base, self.settings = base, settings
        self.open: list[ServerVault] = []

    def path(self, name: str) -> Path:
        return self.base / f"{name}.key"

    def vault(self, name: str, *, copy_of: str | None = None) -> ServerVault:
        """A node's vault; a further node gets a copy of another's root key, as `init --join` does."""
        if copy_of is not None:
            self.path(name).write_bytes(self.path(copy_of).read_bytes())
            self.path(name).chmod(0o600)
        self.open.append(ServerVault.open(self.settings, self.path(name), node=name))
        return self.open[-1]

    def rows(self):
        engine = engine_for(self.settings, MIGRATING, connections=1)
        with engine.connect() as connection:
            found = connection.execute(SEAT_KEY.select()).all()
        engine.dispose()
        return found

    def row(self, seat_id: bytes):
        return next(row for row in self.rows() if row.owner_id == seat_id)


@pytest.fixture
def folders(tmp_path, migrated):
    made = Folders(tmp_path, migrated.settings)
    yield made
    for vault in made.open:
        vault.close()


def patiently(work, *arguments):
    """As the broker does: on a machine that is busy with other things the server may end a transaction that waits."""
    for _ in range(50):
        try:
            return work(*arguments)
        except HandslagError as error:
            if error.code != "HS-NOT-READY":
                raise
    raise AssertionError("the server does not answer")


def lies(server, wanted: bytes) -> set[str]:
    """Folders of the server's data in which bytes lie; what is in its memory only is written before."""
    server.sql("CHECKPOINT")
    return {
        path.relative_to(server.data).parts[0]
        for path in server.data.rglob("*")
        if path.is_file() and wanted in path.read_bytes()
    }


def opens(path: Path, seat_id: bytes, epoch: int, wrapped: bytes) -> bool:
    """Whether a wrapped key opens with anything that lies in a root key file, or that follows from it."""
    root = rootkey.load(path)
    for number in (epoch, *range(root.oldest, root.oldest + 4)):
        try:
            key = root.kek(number)
            unwrapped(rootkey.RootKey(epoch, {epoch: key}), (SEAT, seat_id), epoch, wrapped)
        except HandslagError:
            continue
        return True
    return False


def test_after_an_erasure_nothing_on_the_server_opens_with_what_the_nodes_have(folders, postgres):
    """The bytes lie in heap and log before and after; what opened them is gone from every node's folder."""
    first = folders.vault("a")
    second = folders.vault("b", copy_of="a")
    seats = [os.urandom(16) for _ in range(key_epoch.PIECE + 20)]
    keys = {seat: first.create(SEAT, seat).sk for seat in seats}
    old = folders.path("a").read_bytes()
    row = folders.row(seats[7])
    assert row.epoch == 1
    assert lies(postgres, row.wrapped) >= {"base", "pg_wal"}
    assert opens(folders.path("a"), seats[7], row.epoch, row.wrapped)
    first.erase(seats[7])
    assert not first.let_go()
    assert [one.node for one in first.holding()] == ["b"]
    assert second.let_go()
    assert first.let_go()
    assert "pg_wal" in lies(postgres, row.wrapped)  # it is all still there
    assert not any(opens(folders.path(name), seats[7], row.epoch, row.wrapped) for name in "ab")
    assert lies(postgres, keys[seats[7]]) == set()
    folders.path("copy").write_bytes(old)
    folders.path("copy").chmod(0o600)
    assert opens(folders.path("copy"), seats[7], row.epoch, row.wrapped)  # a copy from before is the only way
    for vault in (first, second, folders.vault("c", copy_of="a")):
        assert vault.get(SEAT, seats[7]) is None
        assert all(vault.create(SEAT, seat).sk == key for seat, key in keys.items() if seat != seats[7])
    assert {row.epoch for row in folders.rows()} == {ERASED, 2}


def test_the_scan_finds_a_seat_key_that_lies_in_the_clear(folders, postgres):
    """Positive control."""
    key = folders.vault("a").create(SEAT, os.urandom(16)).sk
    engine = engine_for(folders.settings, MIGRATING, connections=1)
    with engine.begin() as connection:
        connection.execute(SEAT_KEY.insert().values(owner_kind="SEAT", owner_id=b"x", epoch=ERASED, wrapped=key))
    engine.dispose()
    assert lies(postgres, key) >= {"pg_wal"}


def test_an_erasure_waits_for_a_node_whose_folder_is_away_until_it_is_said_to_be_destroyed(folders):
    first, second = folders.vault("a"), folders.vault("b", copy_of="a")
    second.close()
    for number in range(2):
        first.erase(os.urandom(16))
        assert not first.let_go()
        assert [one.node for one in first.holding()] == ["b"]
        again = folders.vault("b")
        assert first.let_go() is False, "it has only started"
        assert again.let_go()
        again.close()
        assert first.let_go()
        assert rootkey.load(folders.path("b")).oldest == number + 2
    first.erase(os.urandom(16))
    assert first.retire("b")
    assert not first.retire("b")
    assert first.let_go()


def test_an_old_root_key_put_back_into_a_nodes_folder_moves_again(folders):
    vault = folders.vault("a")
    seat = os.urandom(16)
    key, old = vault.create(SEAT, seat).sk, folders.path("a").read_bytes()
    vault.erase(os.urandom(16))
    assert vault.let_go()
    vault.close()
    folders.path("a").write_bytes(old)
    again = folders.vault("a")
    assert [one.node for one in again.holding()] == ["a"]
    assert again.let_go()
    assert rootkey.load(folders.path("a")).oldest == 2
    assert again.create(SEAT, seat).sk == key


def test_a_key_made_while_the_epoch_rises_is_not_lost(folders):
    """Several nodes make keys all the time while one erases; each key opens for a node that starts afterwards."""
    vaults = [folders.vault("a"), folders.vault("b", copy_of="a"), folders.vault("c", copy_of="a")]
    made: dict[bytes, bytes] = {}
    stop = threading.Event()

    def work(vault: ServerVault) -> None:
        while not stop.is_set():
            seat = os.urandom(16)
            made[seat] = patiently(vault.create, SEAT, seat).sk
            patiently(vault.let_go)

    threads = [threading.Thread(target=work, args=(vault,)) for vault in vaults[1:]]
    for thread in threads:
        thread.start()
    for _ in range(12):
        patiently(vaults[0].erase, os.urandom(16))
        patiently(vaults[0].let_go)
    stop.set()
    for thread in threads:
        thread.join()
    while [patiently(vault.let_go) for vault in vaults] != [True] * 3:  # each is asked, whatever the one before said
        pass
    assert len(made) > 20
    epoch = vaults[0].epoch()
    assert epoch >= 13
    assert {rootkey.load(folders.path(name)).oldest for name in "abc"} == {epoch}
    assert {row.epoch for row in folders.rows()} == {ERASED, epoch}
    fresh = folders.vault("d", copy_of="a")
    assert all(fresh.get(SEAT, seat).sk == key for seat, key in made.items())


def test_the_epoch_does_not_rise_under_whoever_makes_a_key(folders):
    """The moment by itself: a key that is being made holds an erasure up, and is wrapped again after it."""
    vault = folders.vault("a")
    engine = engine_for(folders.settings, MIGRATING, connections=1)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        assert key_epoch.shared(connection) == 1
        with pytest.raises(HandslagError, match="HS-NOT-READY"):
            vault.erase(os.urandom(16))
        connection.exec_driver_sql("COMMIT")
    engine.dispose()
    vault.erase(os.urandom(16))
    assert vault.epoch() == 2


_CHILD = """
import os, signal, sys
from pathlib import Path
from broker.engine_settings import StoreSettings
from broker.store import key_epoch, keys_server, rootkey
import json
settings = StoreSettings(**json.loads(sys.argv[1]))
vault = keys_server.ServerVault.open(settings, Path(sys.argv[2]), node="a")
seen = 0

def counted(owner, name):
    honest = getattr(owner, name)
    def once(*args, **more):
        global seen
        for moment in range(2):
            seen += 1
            if seen > int(sys.argv[4]):
                os.kill(os.getpid(), signal.SIGKILL)
            if moment == 0:
                value = honest(*args, **more)
        return value
    setattr(owner, name, once)

for name in ("rise", "shared", "wrapped_again", "holds"):
    counted(key_epoch, name)
counted(keys_server, "_transaction")
counted(rootkey, "let_go")
counted(rootkey, "_written")
counted(rootkey, "_cleared")
vault.erase(bytes.fromhex(sys.argv[3]))
assert vault.let_go()
"""


def test_a_kill_at_any_moment_of_an_erasure_loses_no_other_key(folders, tmp_path):
    """Before and after each step, and inside each open transaction."""
    vault = folders.vault("a")
    keys = {seat: vault.create(SEAT, seat).sk for seat in (os.urandom(16) for _ in range(40))}
    vault.close()
    settings = folders.settings.model_dump_json(exclude_none=True)
    at, killed = 0, 0
    while True:
        gone = os.urandom(16)
        before = rootkey.load(folders.path("a")).oldest
        argv = [sys.executable, "-c", _CHILD, settings, folders.path("a"), gone.hex(), str(at)]
        child = subprocess.run(argv, cwd=ROOT, timeout=60, check=False)
        again = folders.vault("a")
        patiently(again.erase, gone)
        assert patiently(again.let_go)
        assert again.get(SEAT, gone) is None
        assert all(again.get(SEAT, seat).sk == key for seat, key in keys.items())
        assert rootkey.load(folders.path("a")).oldest == again.epoch() > before
        again.close()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.key"]
        if child.returncode == 0:
            break
        assert child.returncode == -9
        at, killed = at + 3, killed + 1
    assert killed > 8


def test_a_copy_and_the_root_key_of_its_day_belong_together(folders, tmp_path):
    """Keys outlive the loss of every node: any older copy of the root key opens every younger store."""
    vault = folders.vault("a")
    seat, gone = os.urandom(16), os.urandom(16)
    key = vault.create(SEAT, seat).sk
    vault.create(SEAT, gone)
    first = folders.path("a").read_bytes()
    transfer.to_files(folders.settings, tmp_path / "before.db", tmp_path / "before-keys.db", lambda _t, _r: None)
    vault.erase(gone)
    assert vault.let_go()
    transfer.to_files(folders.settings, tmp_path / "after.db", tmp_path / "after-keys.db", lambda _t, _r: None)
    folders.path("first").write_bytes(first)
    folders.path("first").chmod(0o600)
    for keys, root in (("before", "first"), ("after", "first"), ("after", "a")):
        opened = KeyVault.open(tmp_path / f"{keys}-keys.db", folders.path(root))
        assert opened.get(SEAT, seat).sk == key
        assert (opened.get(SEAT, gone) is None) == (keys == "after")
        opened.close()
    assert part_of(lambda: KeyVault.open(tmp_path / "before-keys.db", folders.path("a"))) == "epoch"


def test_what_was_erased_before_there_were_epochs_is_let_go_of_too(folders):
    """A database, or keys carried over from a file, in which an erased row lies and no epoch."""
    vault = folders.vault("a")
    vault.erase(os.urandom(16))
    engine = engine_for(folders.settings, MIGRATING, connections=1)
    with engine.begin() as connection:
        connection.execute(SEAT_KEY.delete().where(SEAT_KEY.c.owner_kind == OwnerKind.EPOCH.value))
    engine.dispose()
    vault.close()
    again = folders.vault("a")
    assert again.epoch() == 2
    assert again.let_go()
    assert rootkey.load(folders.path("a")).oldest == 2
