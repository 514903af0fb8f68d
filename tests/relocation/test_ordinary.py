"""An ordinary transfer: two named officers, a sealed capsule, nothing left at the old lead; and the second move."""

from __future__ import annotations

import os

import pytest

from audit import search as trail
from connectors import capsule, officers, transfers
from connectors.audit_cli import fetched
from connectors.consent_cli import Look
from connectors.keys import UnitKeyPair
from schemas.capsule import Place
from schemas.errors import HandslagError
from tests.evil.house import LEAD
from tests.relocation.play import ALFA, BETA, moving

PLACE = Place(address="Exempelgatan 1", postal_code="000 00", locality="Exempelby", contact="Handläggare EXEMPEL")


def opening(sealed, wrap, keys):
    with pytest.raises(HandslagError) as caught:
        capsule.opened(sealed, wrap, keys)
    return caught.value.code


def test_the_place_opens_for_the_receiving_unit_and_two_named_officers_only():
    unit, one, two, other = (UnitKeyPair.generate() for _ in range(4))
    given = {"one": one.public, "two": two.public}
    made = capsule.seal(
        PLACE, capsule_id=b"k" * 16, case_tag=b"c" * 16, to=unit.public, officers=given, random=os.urandom
    )
    assert capsule.opened(made.sealed, made.sealed.enc, unit) == PLACE
    assert [capsule.opened(made.sealed, made.wraps[name], keys) for name, keys in (("one", one), ("two", two))] == [
        PLACE, PLACE
    ]  # fmt: skip
    for wrap in (made.sealed.enc, *made.wraps.values()):
        assert opening(made.sealed, wrap, other) == "HS-SEAL-INVALID"
    assert opening(made.sealed, made.wraps["one"], two) == "HS-SEAL-INVALID"
    bare = capsule.seal(
        Place(), capsule_id=b"k" * 16, case_tag=b"c" * 16, to=unit.public, officers={}, random=os.urandom
    )
    assert len(bare.sealed.ciphertext) == len(made.sealed.ciphertext)  # an empty place is as long as a full one


def test_two_officers_and_no_third(tmp_path):
    tmp_path.chmod(0o700)
    for name in ("a", "b"):
        officers.name_officer(tmp_path, name, tmp_path / f"{name}.key", "fras", os.urandom, None)
    for name, file, phrase in (("a", "b.key", "fras"), ("a", "a.key", "fel"), ("c", "a.key", "fras"), ("a", "-", "")):
        with pytest.raises(HandslagError) as caught:
            officers.unlocked(tmp_path, name, tmp_path / file, phrase)
        assert caught.value.code == "HS-OFFICER-NOT-NAMED"
    assert officers.unlocked(tmp_path, "a", tmp_path / "a.key", "fras")
    with pytest.raises(HandslagError) as caught:
        officers.name_officer(tmp_path, "c", tmp_path / "c.key", "fras", os.urandom, None)
    assert caught.value.code == "HS-OFFICERS-TWO"
    officers.name_officer(tmp_path, "c", tmp_path / "c.key", "fras", os.urandom, "a")
    assert sorted(officers.both(tmp_path)) == ["b", "c"]


async def entries(move, name):
    """What stands in an agency's own trail, by operation: officer and code."""
    ctx = move.agency(name).ctx
    look = Look(seat=None, ref=move.refs[name], purpose="SELF_MONITORING", case_number="1", actor="granskare")
    found, _query = await fetched(ctx, move.seat(name), look)
    opened = [trail.as_data(one) for one in trail.opened(found, lambda _leaf: True)]
    return [(e["operation"], e.get("actor_ref"), e.get("code")) for e in opened if e["operation"] in
            {"CONSULTATION", "REFUSAL"}]  # fmt: skip


async def test_a_third_officer_is_refused_and_it_is_in_the_trail(tmp_path):
    async with moving(tmp_path) as move:
        people, ctx = move.officers(), move.agency("social").ctx
        # Through the folder, where everybody's system writes, nobody is invited to take over.
        move.agency("social").command(do="invite", ref="EX-1", unit=ALFA, role="social_services_lead_next",
                                      contact="Konsult EXEMPEL", person={})  # fmt: skip
        await move.settle(1)
        assert move.refused("social") == ["HS-OFFICER-NOT-NAMED"]
        await move.officer_invites(PLACE)
        seat = move.seat("social")
        for name, allowed in (("handl-3", False), ("handl-9", True)):
            transfers.tried(ctx, seat, name, allowed=allowed)
        for officer in ("handl-7", "handl-9"):
            assert transfers.place(ctx, seat, officer, people[officer]) == PLACE
        for name, keys in (("handl-3", "handl-3"), ("handl-7", "handl-3"), ("handl-3", "handl-7")):
            with pytest.raises(HandslagError) as caught:
                transfers.place(ctx, seat, name, people[keys])
            assert caught.value.code == "HS-OFFICER-NOT-NAMED"
        await move.settle(2)
        assert await entries(move, "social") == [
            ("REFUSAL", "handl-3", "HS-OFFICER-NOT-NAMED"), ("CONSULTATION", "handl-9", None)
        ]  # fmt: skip


def rows_that_name(ctx, words):
    """Tables in which a word stands in any sealed column, opened with the connector's own key; the lists left out."""
    store, found = ctx.spool.store, set()
    tables = [row[0] for row in store.all("SELECT name FROM sqlite_master WHERE type='table'")]
    for table in tables:
        columns = [row[1] for row in store.all(f"PRAGMA table_info({table})")]
        for row in store.all(f"SELECT * FROM {table}"):
            values = dict(zip(columns, row, strict=True))
            for column, value in values.items():
                name = f"meta.{values['name']}" if table == "meta" else f"{table}.{column}"
                try:
                    data = store.key.open(name, value)
                except (HandslagError, TypeError, ValueError):
                    continue
                if any(form in data for word in words for form in (word.encode(), word.encode().hex().encode())):
                    found.add(f"{table}:{values['name']}" if table == "meta" else table)
    return found


PUBLIC = {"meta:units", "meta:units-newest", "meta:admin-acts", "outbox"}  # the same for everybody
ACT = "meta:admin-act-"  # and so is each act that admitted a unit


async def test_when_the_case_has_passed_nothing_here_names_place_or_unit(tmp_path):
    async with moving(tmp_path, ALFA) as move:
        people, ctx = move.officers(), move.agency("social").ctx
        await move.officer_invites(PLACE)
        seat = move.seat("social")
        before = rows_that_name(ctx, [ALFA])
        assert {"invitation", "command", "call", "ledger"} <= before  # control: it stands there now
        kept = ctx.spool.store.one("SELECT value FROM meta WHERE name=?", f"capsule-{seat.sid.hex()}")[0]
        invited = ctx.spool.store.one("SELECT value FROM invitation WHERE state='SENT'")
        await move.new_accepts()
        await move.file_is_sealed()
        [given] = move.agency(move.new).files("out", kind="delivery")
        assert given["categories"] == ["IC08", "IC10", "IC13"]
        new = move.agency(move.new)
        assert transfers.place(new.ctx, move.seat(move.new), "", people["handl-3"]) == PLACE  # by the unit's own key
        backups = set(ctx.settings.backup_dir.glob("*.handslag"))
        await move.lead_hands_over()
        await move.slot()
        await move.settle(2)
        assert (move.seat("social").state, move.seat(move.new).role) == ("CLOSED", LEAD)
        named = rows_that_name(ctx, [ALFA])
        assert {name for name in named if not name.startswith(ACT)} <= PUBLIC
        with pytest.raises(HandslagError) as caught:
            transfers.place(ctx, move.seat("social"), "handl-7", people["handl-7"])
        assert caught.value.code == "HS-CAPSULE-MISSING"
        # secure_delete: what lay in the file, sealed as it was, is gone from its bytes and from the log beside it.
        files = [path.read_bytes() for path in ctx.settings.data_dir.rglob("*") if path.is_file()]
        assert files
        for gone in (kept, *(invited or ())):
            assert not [data for data in files if gone in data]
        left = set(ctx.settings.backup_dir.glob("*.handslag"))
        assert left
        assert backups
        assert not left & backups
        texts = [path.read_text() for path in ctx.settings.folder.rglob("*.json")]
        assert not [text for text in texts if ALFA in text and '"operator_act"' not in text]
        # And on. Whoever left invites nobody: the second move is the police's, and neither of the two learns of it.
        await move.again(BETA)
        assert (move.seat("beta").role, move.seat("alfa").state) == (LEAD, "CLOSED")
        for name in ("social", "alfa"):
            told = [f for f in move.agency(name).files("receipts") if f["kind"] != "operator_act"]
            assert BETA not in str(told) + str(move.agency(name).files("out"))
