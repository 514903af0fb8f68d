"""The root key moves forward: no way back from it, nothing lost by a kill, and nothing of the older one left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path

import pytest

from broker.store import rootkey
from broker.store.rootkey import RootKey
from schemas.errors import HandslagError

SECOND = "c23775a53bbd9000f84cbda14639a6e594dde703636394a3a91a37ada7abd856"


def part_of(work) -> object:
    with pytest.raises(HandslagError) as raised:
        work()
    return raised.value.context.get("part")


def test_no_later_root_key_leads_back():
    first = RootKey(1, {1: bytes(32)})
    assert first.kek(2).hex() == SECOND  # for ever: keys are wrapped under it
    later = first.forward(3)
    assert later.oldest == later.epoch == 3
    assert later.kek(5) == first.kek(5) != later.kek(3)
    assert part_of(lambda: later.kek(2)) == "epoch"
    assert part_of(lambda: first.kek(2**31)) == "epoch"  # a damaged row costs no hours


def moved_and_killed(path: Path, at: int) -> bool:
    """Move the file in a process that kills itself at the given call to the disk; whether it was killed."""
    child = os.fork()
    if child == 0:
        seen = 0

        def counted(owner, name):
            honest = getattr(owner, name)

            def once(*args, **more):
                nonlocal seen
                seen += 1
                if seen > at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return honest(*args, **more)

            setattr(owner, name, once)

        for owner, name in ((os, "open"), (os, "write"), (os, "fsync"), (os, "link"), (os, "close"), (Path, "replace"),
                            (Path, "open"), (Path, "unlink")):  # fmt: skip
            counted(owner, name)
        with contextlib.suppress(BaseException):
            rootkey.let_go(path, 2)
            os._exit(0)
        os._exit(1)
    _pid, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) or (os.WEXITSTATUS(status) != 0 and pytest.fail("it failed"))


def test_a_kill_while_the_root_key_moves_loses_nothing_and_leaves_nothing(tmp_path):
    """At each call to the disk: the file is whole at every moment, and the next start leaves no older key."""
    first = rootkey.create(tmp_path / "root.key")
    killed = 0
    for at in range(100):
        folder = tmp_path / f"at{at}"
        folder.mkdir()
        shutil.copy(tmp_path / "root.key", folder / "root.key")
        done = not moved_and_killed(folder / "root.key", at)
        assert rootkey.load(folder / "root.key").kek(2) == first.kek(2)
        for epoch in (2, 2, 3):
            assert rootkey.let_go(folder / "root.key", epoch).kek(4) == first.kek(4)
            older = [first.kek(number).hex().encode() for number in range(1, epoch)]
            assert [path.name for path in folder.iterdir()] == ["root.key"]
            assert not any(key in (folder / "root.key").read_bytes() for key in older)
        if done:
            break
        killed += 1
    assert 12 < killed < 50


def test_the_older_file_is_overwritten_where_it_lay(tmp_path):
    path = tmp_path / "root.key"
    first = rootkey.create(path)
    with path.open("rb") as old:
        assert first.kek(1).hex().encode() in old.read()
        rootkey.let_go(path, 2)
        old.seek(0)
        assert not any(old.read())
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_root_key_that_cannot_be_replaced_says_so_and_stays(tmp_path):
    path = tmp_path / "root.key"
    first = rootkey.create(path)
    (tmp_path / ".root.key.old").mkdir()  # as good as a folder that cannot be written, also for root
    assert part_of(lambda: rootkey.let_go(path, 2)) == "root"
    assert rootkey.load(path) == first
