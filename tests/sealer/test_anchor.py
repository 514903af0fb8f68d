"""The anchor: made once, never back, and a Store put back from a backup is noticed, told and not signed."""

import shutil
import stat
import threading

import pytest

from audit.checkpoint import Checkpoint
from audit.merkle import EMPTY_ROOT
from broker.anchor import Anchor, AnchorMoved
from schemas.errors import HandslagError

ORIGIN = "exempel.invalid/audit"


def refused(code, check, call, *args, **kwargs):
    with pytest.raises(HandslagError) as caught:
        call(*args, **kwargs)
    assert (caught.value.code, caught.value.context.get("check")) == (code, check)


def head(size, fill=1):
    return Checkpoint(ORIGIN, size, bytes([fill]) * 32 if size else EMPTY_ROOT)


def test_a_lost_anchor_is_never_made_anew(tmp_path):
    path = tmp_path / "anchor"
    anchor = Anchor.open(path, ORIGIN, store_size=0)
    assert anchor.read() == head(0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    anchor.advance(head(0), head(16))
    path.unlink()
    refused("HS-ANCHOR-MISSING", None, anchor.read)
    refused("HS-ANCHOR-MISSING", None, anchor.advance, head(16), head(32))
    refused("HS-ANCHOR-MISSING", None, Anchor.open, path, ORIGIN, store_size=16)
    assert not path.exists()


def test_the_anchor_never_goes_back(tmp_path):
    anchor = Anchor.open(tmp_path / "anchor", ORIGIN, store_size=0)
    anchor.advance(head(0), head(32))
    refused("HS-TRAIL-ROLLBACK", "smaller", anchor.advance, head(32), head(16))
    refused("HS-TRAIL-ROLLBACK", "fork", anchor.advance, head(32), head(32, fill=2))
    with pytest.raises(AnchorMoved):
        anchor.advance(head(16), head(48))
    anchor.advance(head(32), head(32))
    assert Anchor.open(tmp_path / "anchor", ORIGIN, store_size=32).read() == head(32)
    assert stat.S_IMODE((tmp_path / "anchor").stat().st_mode) == 0o600


def test_of_many_who_advance_from_the_same_head_one_wins(tmp_path):
    anchors = [Anchor.open(tmp_path / "anchor", ORIGIN, store_size=0) for _ in range(4)]
    for step in range(1, 20):
        won, seen = [], anchors[0].read()

        def advance(anchor, number, seen=seen, step=step, won=won):
            try:
                anchor.advance(seen, head(16 * step, fill=number))
            except AnchorMoved:
                return
            won.append(number)

        threads = [threading.Thread(target=advance, args=(one, at)) for at, one in enumerate(anchors, start=1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert anchors[0].read() == head(16 * step, fill=won[0])


@pytest.mark.parametrize(
    ("content", "check"),
    [
        (b"", "format"),
        (b"\xff", "format"),
        (head(16).body().encode()[:-1], "format"),
        (b"annan.invalid/audit\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", "origin"),
    ],
)
def test_an_anchor_that_is_not_this_logs_is_refused(tmp_path, content, check):
    path = tmp_path / "anchor"
    path.write_bytes(content)
    path.chmod(0o600)
    refused("HS-ANCHOR-INVALID", check, Anchor.open, path, ORIGIN, store_size=16)
    assert path.read_bytes() == content


def test_an_anchor_that_others_may_touch_is_refused(tmp_path):
    path = tmp_path / "anchor"
    Anchor.open(path, ORIGIN, store_size=0)
    path.chmod(0o620)
    refused("HS-ANCHOR-INVALID", "mode", Anchor.open, path, ORIGIN, store_size=0)
    refused("HS-ANCHOR-INVALID", "file", Anchor.open, tmp_path / "no" / "anchor", ORIGIN, store_size=0)


def backup(house):
    """Copy the Store's file as a backup does, after everything was moved into it."""
    house.store.truncate_wal()
    shutil.copy(house.path, house.folder / "backup.db")


def put_back(house):
    for store in house.opened:
        store.close()
    house.opened.clear()
    for path in house.folder.glob("store.db*"):
        path.unlink()
    shutil.copy(house.folder / "backup.db", house.path)
    house.store = house.open()


async def refused_at_start(house, check):
    sealer = house.sealer()
    assert not sealer.behind
    for call in (sealer.start, sealer.beat):
        with pytest.raises(HandslagError) as caught:
            await call()
        assert caught.value.code == "HS-TRAIL-ROLLBACK"
        assert sealer.behind
        check, expected = "behind", check
        assert caught.value.context["check"] == expected
    return sealer


async def test_a_store_behind_its_anchor_is_neither_sealed_nor_signed(house):
    sealer = house.sealer()
    await sealer.beat()
    backup(house)
    await sealer.beat()
    put_back(house)
    await refused_at_start(house, "smaller")
    head_now, latest = await house.store.read(lambda rows: (rows.log.head(), rows.log.latest_checkpoint()))
    assert (head_now.size, latest.size) == (16, 16)
    assert house.anchor().read().size == 32


async def test_a_store_put_back_and_grown_again_without_its_anchor_is_a_fork(house):
    sealer = house.sealer()
    await sealer.beat()
    backup(house)
    await sealer.beat()
    put_back(house)
    # Somebody takes the anchor away and lets the old copy grow past what was signed.
    house.anchor_path.rename(house.folder / "hidden")
    with pytest.raises(HandslagError) as caught:
        house.anchor()
    assert caught.value.code == "HS-ANCHOR-MISSING"
    other = Anchor.open(house.folder / "other", house.origin, store_size=0)
    grown = house.sealer(anchor=other)
    assert [await grown.beat() for _ in range(2)] == [32, 48]
    (house.folder / "hidden").rename(house.anchor_path)
    await refused_at_start(house, "fork")


async def test_the_backup_itself_is_taken_while_nothing_was_sealed_after_it(house):
    await house.sealer().beat()
    backup(house)
    put_back(house)
    assert await house.sealer().start() == 16
    assert await house.sealer().beat() == 32
