"""An erasure cut off anywhere is finished by the next start; a copy that knows nothing of it is erased again."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker import administration
from broker.store.erasures import DONE
from schemas.errors import HandslagError
from tests.admin.erasing import Home, begun, closed
from tests.hold.restored import Restored, copied
from tests.site import Site

ROOT = Path(__file__).parents[2]
_CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from broker import erasing
from tests.admin.erasing import Home
from tests.site import Site

folder, after = Path(sys.argv[1]), int(sys.argv[2])
seen = 0

def counted(owner, name):
    honest = getattr(owner, name)
    def once(*args, **more):
        global seen
        seen += 1
        if seen > after:
            os.kill(os.getpid(), signal.SIGKILL)
        return honest(*args, **more)
    setattr(owner, name, once)

async def play():
    site = Site(folder)
    site.context.directory.replace(await site.store.read(lambda rows: rows.units.all()))
    for owner, name in ((site.store, "write"), (site.store, "emptied"), (site.vault, "erase")):
        counted(owner, name)
    home = Home(site)
    await home.eraser.go_on()
    site.close()

asyncio.run(play())
"""


STEPS = 9
"""Writes of the store (those of the log too), and foldings of both files, that one erasure consists of."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A broker that has an act to carry out: its files, the seat, and the bytes under which its key lies."""

    folder: Path
    seat_id: bytes
    wrapped: bytes


@pytest.fixture(scope="module")
def signed(tmp_path_factory) -> Signed:
    async def play() -> Signed:
        home = await begun(tmp_path_factory.mktemp("signed"))
        await closed(home)
        await home.signed_for(home.site.police)
        home.site.close()
        seat_id = home.site.police.seat_id
        with sqlite3.connect(home.folder / "keys.db") as db:
            (wrapped,) = db.execute("select wrapped from seat_key where owner_id = ?", (seat_id,)).fetchone()
        return Signed(home.folder, seat_id, wrapped)

    return asyncio.run(play())


async def finished(folder: Path, signed: Signed, out: Path) -> None:
    site = Site(folder)
    site.context.directory.replace(await site.store.read(lambda rows: rows.units.all()))
    home = Home(site)
    try:
        [row] = await home.eraser.go_on()
        assert row.state == DONE
        assert site.vault.get("SEAT", signed.seat_id) is None
        assert not [name for name, data in home.bytes_on_disk().items() if signed.wrapped in data]
        await home.sealer.beat()
        report = home.verified(out)
        assert report.findings == []
        [told] = report.erased
        assert told["finished"]
        assert told["entries"] > 4
        assert (await home.eraser.go_on())[0] == row  # again there is nothing to do
    finally:
        site.close()


@pytest.mark.parametrize("after", range(STEPS + 1))
def test_an_erasure_that_was_killed_is_finished_by_the_next_start(signed, tmp_path, after):
    folder = tmp_path / "broker"
    shutil.copytree(signed.folder, folder)
    child = subprocess.run([sys.executable, "-c", _CHILD, folder, str(after)], cwd=ROOT, timeout=60, check=False)
    assert child.returncode == (0 if after == STEPS else -9)
    asyncio.run(finished(folder, signed, tmp_path / "t.db"))


async def test_a_restored_broker_erases_again_and_takes_nothing_back(tmp_path):
    """The copy is of before the seat closed: it has the key, an open seat, and no act."""
    home = await begun(tmp_path / "home")
    lost, police = home.site, home.site.police
    copy = copied(lost, tmp_path / "copy")
    await closed(home)
    await home.erased(police)
    restored = Restored(lost, copy)
    try:
        site = restored.site
        assert site.vault.get("SEAT", police.seat_id) is not None
        await restored.hold()
        again = Home(site, restored.keeper)
        assert await again.eraser.go_on() == []  # nobody has given the acts back yet
        shutil.copytree(home.folder / "acts", copy / "acts")
        await administration.recorded(site.context, again.files.all())
        [row] = await again.eraser.go_on()
        assert row.state == DONE
        assert site.vault.get("SEAT", police.seat_id) is None
        with pytest.raises(HandslagError, match="HS-SEAT-UNKNOWN"):
            await restored.give_back(police, events=())
        await restored.go_on()
        for unit in (site.lead, site.probation):
            await restored.give_back(unit)
        for unit in (site.lead, site.probation):
            await restored.confirm(unit)
        assert await site.store.read(lambda rows: rows.hold.cases()) == []
    finally:
        restored.site.close()
        lost.close()


async def test_an_act_about_a_seat_that_the_copy_never_had_is_done(tmp_path):
    home = await begun(tmp_path / "home")
    await closed(home)
    await home.erased(home.site.police)
    await home.keep("ERASE", subject=os.urandom(32), reason="COURT_ORDER")
    assert [row.state for row in await home.eraser.go_on()] == ["DONE", "ABSENT"]
    home.site.close()


async def test_a_reader_of_the_file_delays_an_erasure_and_does_not_spoil_it(tmp_path, monkeypatch):
    monkeypatch.setattr("broker.erasing._TRIES", 3)
    home = await begun(tmp_path / "home")
    await closed(home)
    tries = []
    honest = home.site.store.emptied
    monkeypatch.setattr(home.site.store, "emptied", lambda: bool(tries.append(1)) or (len(tries) > 4 and honest()))
    await home.signed_for(home.site.police)
    with pytest.raises(HandslagError, match="HS-NOT-READY"):
        await home.eraser.go_on()
    [row] = await home.eraser.go_on()
    assert row.state == DONE
    home.site.close()
