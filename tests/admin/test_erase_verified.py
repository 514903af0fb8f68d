"""What the offline verifier says of a trail with an erased seat: explained, never broken; a mere hole stays broken."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest
import sqlalchemy as sa

from audit.administration import ACT
from audit.trailfile import TrailFile
from audit.verify import verify
from broker.store.tables import admin_act
from schemas.admin import AdminAct
from tests.admin.erasing import GROUND, LOG, Home, begun, closed
from tests.site import ORIGIN


@pytest.fixture
async def home(tmp_path):
    made = await begun(tmp_path / "home")
    await closed(made)
    yield made
    made.site.close()


async def act_keys(home: Home) -> dict[bytes, bytes]:
    """Keys of the acts' entries, as every connector is given them."""
    query = sa.select(admin_act.c.entry_id)
    ids = await home.site.store.read(lambda rows: list(rows.gate._c.execute(query).scalars()))
    return {entry_id: home.site.vault.operator().dek(entry_id) for entry_id in ids}


def again(path, **how):
    with TrailFile(path) as trail:
        return verify(trail, origin=ORIGIN, log_keys=[LOG.verifier], **how)


def holes(path) -> int:
    with sqlite3.connect(path) as db:
        query = "select count(*) from entry where entry_id not in (select entry_id from payload)"
        return db.execute(query).fetchone()[0]


async def test_an_erased_seat_is_explained_and_never_broken(home, tmp_path):
    before = home.verified(tmp_path / "before.db", keys={})
    assert before.whole
    assert before.erased == []
    note = (await home.site.store.read(lambda rows: rows.log.latest_checkpoint())).note
    await home.erased(home.site.police)
    report = home.verified(tmp_path / "after.db", keys=await act_keys(home), remembered=note.encode())
    assert report.findings == []
    [told] = report.erased
    assert told["entries"] == holes(tmp_path / "after.db") > 4
    assert (told["finished"], told["act"], told["ground"]) == (True, 2, GROUND)
    assert "RADERAT" in report.text("sv")
    assert "tiden för bevarande är slut" in report.text("sv")
    assert "act 2" in report.text("en")
    without_keys = again(tmp_path / "after.db")
    assert without_keys.whole
    assert without_keys.as_json()["erased"][0]["act_entry"] == told["act_entry"]
    assert "the act in entry" in without_keys.text("en")


async def test_a_hole_that_no_erasure_explains_is_broken(home, tmp_path):
    await home.erased(home.site.police)
    home.verified(tmp_path / "t.db")
    with sqlite3.connect(tmp_path / "t.db") as db:
        (gone,) = (
            db.execute(
                "select e.entry_id from entry e join payload p using (entry_id) where operation = 'DECISION' limit 1"
            ).fetchone()
            or db.execute("select entry_id from payload limit 1").fetchone()
        )
        db.execute("delete from payload where entry_id = ?", (gone,))
    report = again(tmp_path / "t.db")
    assert [finding.check for finding in report.findings] == ["hole"]
    assert len(report.erased) == 1


async def test_what_explains_an_erasure_cannot_go_with_it(home, tmp_path):
    await home.erased(home.site.police)
    home.verified(tmp_path / "t.db")
    with sqlite3.connect(tmp_path / "t.db") as db:
        db.execute("delete from payload where entry_id in (select entry_id from entry where operation = 'ERASURE')")
    report = again(tmp_path / "t.db")
    assert {finding.check for finding in report.findings} == {"hole"}
    assert len(report.findings) == 2


async def test_an_erasure_that_was_put_into_the_copy_explains_nothing(home, tmp_path):
    """Whoever takes content out of a copy can write any entry into it, but give it no leaf."""
    site = home.site
    handle = site.vault.get("SEAT", site.police.seat_id).handle(1)
    home.trail(tmp_path / "t.db")
    act_entry = (await site.store.read(lambda rows: rows.admin.entries(0, 1)))[0][1]
    row = home.eraser._entry(site.police.code, handle, "erase_begin", GROUND, site.clock(), act_entry)
    with sqlite3.connect(tmp_path / "t.db") as db:
        db.execute(
            "insert into entry (entry_id, owner, handle, at_us, operation, bytes, leaf_hash) values (?,?,?,?,?,?,?)",
            (row.entry_id, row.owner, row.handle, row.at_us, row.operation, row.entry_bytes, row.leaf_hash),
        )
        db.execute("insert into payload values (?, ?)", (row.entry_id, row.payload))
        db.execute("delete from payload where entry_id in (select entry_id from entry where handle = ? and"
                   " operation <> 'ERASURE')", (handle,))  # fmt: skip
    report = again(tmp_path / "t.db")
    assert "hole" in report.counts
    assert report.erased == []


async def test_an_erasure_without_an_act_is_broken(home, tmp_path):
    """An operator who writes one without administrators: the act it names is another, or none."""
    site = home.site
    handle = site.vault.get("SEAT", site.police.seat_id).handle(1)
    for cause in (bytes(16), (await site.store.read(lambda rows: rows.admin.entries(0, 1)))[0][1]):
        entry = home.eraser._entry(site.police.code, handle, "erase_begin", GROUND, site.clock(), cause)
        await site.store.write(lambda rows, entry=entry: rows.entries.insert([entry]))
    await home.sealer.beat()
    report = home.verified(tmp_path / "t.db", keys=await act_keys(home))
    assert [(finding.check, finding.part) for finding in report.findings] == [("erasure", "cause"), ("erasure", "act")]


async def test_a_copy_taken_between_the_steps_is_whole(home, tmp_path):
    site, eraser = home.site, home.eraser
    await home.signed_for(site.police)
    act = AdminAct.from_bytes(home.files.all()[-1].act, ACT)
    row = await eraser._begun(act.number, act)
    await home.sealer.beat()
    assert home.verified(tmp_path / "a.db").whole
    row = await eraser._emptied(row)
    report = home.verified(tmp_path / "b.db")
    assert report.whole
    assert report.erased[0]["finished"] is False  # its second entry waits for a beat
    assert (await eraser._folded(replace(row))).state == "DONE"
    assert home.verified(tmp_path / "c.db").erased[0]["finished"] is True
