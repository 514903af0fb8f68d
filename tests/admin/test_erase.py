"""Erasing a seat: who signs, what stands against it, what goes from every file, and what still verifies."""

from __future__ import annotations

import os
import sqlite3
from hashlib import sha256

import pytest
import sqlalchemy as sa

from broker import queries
from broker.pending import Pending
from broker.store.inbox import Item
from broker.store.keys import KeyVault
from broker.store.statutes import TOLD, AcuteRow, one_time
from broker.store.tables import entry, payload
from schemas.admin import ERASE, LIFT, RESTRICT
from schemas.calls import AuditFetchRequest, AuditQuery, LedgerFetchRequest
from schemas.codes import SeatState
from schemas.errors import HandslagError
from tests.admin.erasing import GROUND, Home, begun, closed
from tests.promises.case import event, grant, items, sent
from tests.promises.test_annul import answered, handed, told
from tests.site import DAY, Site


@pytest.fixture
async def home(tmp_path):
    made = await begun(tmp_path / "home")
    yield made
    made.site.close()


async def code_of(work) -> tuple[str, object]:
    with pytest.raises(HandslagError) as caught:
        await work
    return caught.value.code, caught.value.context.get("check")


async def of_seat(home: Home, site: Site) -> dict[str, list[bytes]]:
    """Everything secret or telling of the police's seat as it lies in the files now."""
    keys = home.site.vault.get("SEAT", site.police.seat_id)
    assert keys is not None
    owned = sa.select(payload.c.blob).join(entry, entry.c.entry_id == payload.c.entry_id)
    of_seat = owned.where(entry.c.handle == keys.handle(1))
    blobs = await site.store.read(lambda rows: list(rows.gate._c.execute(of_seat).scalars()))
    with sqlite3.connect(home.folder / "keys.db") as db:
        (wrapped,) = db.execute("select wrapped from seat_key where owner_id = ?", (site.police.seat_id,)).fetchone()
        ledger = sqlite3.connect(home.folder / "broker.db").execute(
            "select event from ledger_event where seat_id = ?", (site.police.seat_id,)
        ).fetchall()  # fmt: skip
    return {"key": [keys.sk, wrapped], "payload": blobs, "ledger": [row[0] for row in ledger]}


def found(home: Home, wanted: dict[str, list[bytes]]) -> set[tuple[str, str]]:
    """Which kind of thing lies in which file; what is long is looked for by a piece of it, since pages cut it."""
    pieces = {kind: [one[at : at + 24] for one in ones for at in range(0, 240, 24)] for kind, ones in wanted.items()}
    return {
        (kind, name)
        for name, data in home.bytes_on_disk().items()
        for kind, ones in pieces.items()
        if any(len(one) == 24 and one in data for one in ones)
    }


async def test_nothing_of_an_erased_seat_lies_in_any_file(home):
    site = home.site
    await closed(home)
    before = await of_seat(home, site)
    assert len(before["payload"]) > 4
    assert {kind for kind, _name in found(home, before)} == {"key", "payload", "ledger"}
    root = await site.store.read(lambda rows: rows.log.head())
    [*_, row] = await _erased(home)
    assert (row.state, row.entries) == ("DONE", len(before["payload"]))
    assert found(home, before) == set()
    after = await site.store.read(lambda rows: rows.log.head())
    assert after.size > root.size


async def test_the_key_of_an_erased_seat_lies_in_no_file(tmp_path):
    vault = KeyVault.open(tmp_path / "keys.db", tmp_path / "root.key")
    seats = [os.urandom(16) for _ in range(200)]
    for seat in seats:
        vault.seat(seat)
    with sqlite3.connect(tmp_path / "keys.db") as db:
        (wrapped,) = db.execute("select wrapped from seat_key where owner_id = ?", (seats[100],)).fetchone()

    def lies():
        return [name for name in ("keys.db", "keys.db-wal") if wrapped in (tmp_path / name).read_bytes()]

    assert lies()
    vault.erase(seats[100])
    assert lies() == []
    assert vault.get("SEAT", seats[100]) is None
    assert vault.get("SEAT", seats[99]) is not None
    vault.close()


def test_an_erased_key_is_never_made_anew(tmp_path):
    vault = KeyVault.open(tmp_path / "keys.db", tmp_path / "root.key")
    seat = os.urandom(16)
    vault.seat(seat)
    for _ in range(2):
        vault.erase(seat)
        with pytest.raises(HandslagError, match="HS-SEAT-ERASED"):
            vault.seat(seat)
    vault.close()
    again = KeyVault.open(tmp_path / "keys.db", tmp_path / "root.key")
    with pytest.raises(HandslagError, match="HS-SEAT-ERASED"):
        again.seat(seat)
    again.close()


async def _erased(home: Home):
    await home.erased(home.site.police)
    return await home.eraser.go_on()


async def test_one_administrator_alone_erases_nothing(home):
    await closed(home)
    subject = await home.subject(home.site.police)
    for names in ((), ("duty",), ("duty", "duty")):
        with pytest.raises(HandslagError, match="HS-ADMIN"):
            home.files.append(home.signed(ERASE, *names, subject=subject, reason=GROUND))
    assert await home.eraser.go_on() == []
    assert home.site.vault.get("SEAT", home.site.police.seat_id) is not None
    assert [row.state for row in await _erased(home)] == ["DONE"]  # two do


async def test_an_act_that_erases_does_not_tell_which_seat(home):
    site = home.site
    await closed(home)
    seats = await site.store.read(lambda rows: rows.erasures.seats())
    assert site.police.seat_id in seats
    await _erased(home)
    shown = b"".join(each.to_bytes() for each in home.files.all())
    assert site.police.seat_id not in shown
    assert sha256(site.police.seat_id).digest() not in shown
    with pytest.raises(HandslagError, match="HS-SEAT-ERASED"):  # and nobody can name it any more
        await home.eraser.named(site.police.seat_id)


async def test_what_is_open_is_not_erased(home):
    site = home.site

    def asked():
        return code_of(home.eraser.require_free(site.police.seat_id, GROUND))

    assert await asked() == ("HS-ERASE-REFUSED", "seat")
    await home.signed_for(site.police)  # also when two sign for it behind the command's back
    assert await code_of(home.eraser.go_on()) == ("HS-ERASE-REFUSED", "seat")
    assert site.vault.get("SEAT", site.police.seat_id) is not None


async def test_what_waits_is_not_erased(home):
    site = home.site
    await closed(home)
    item = Item(os.urandom(16), site.police.code, "NOTICE", b"about " + site.police.seat_id)
    await site.store.write(lambda rows: rows.inbox.put([item]))
    asked = home.eraser.require_free(site.police.seat_id, GROUND)
    assert await code_of(asked) == ("HS-ERASE-REFUSED", "inbox")
    states = sa.text("update delivery set state = 'PENDING'")
    await site.store.write(lambda rows: rows.gate._c.execute(states) and None)
    asked = home.eraser.require_free(site.police.seat_id, GROUND)
    assert await code_of(asked) == ("HS-ERASE-REFUSED", "delivery")


async def test_what_a_second_person_has_not_answered_is_not_erased(home):
    """Else nobody would be told that one person alone disclosed something in acute danger."""
    site = home.site
    await closed(home)
    disclosure = os.urandom(16)
    alone = AcuteRow(disclosure, site.police.seat_id, site.lead.seat_id, os.urandom(16), os.urandom(32),
                     one_time(disclosure, b"key"), one_time(disclosure, b"handl-7"), 2**60)  # fmt: skip
    await site.store.write(lambda rows: rows.statutes.await_second(alone))
    asked = home.eraser.require_free(site.police.seat_id, GROUND)
    assert await code_of(asked) == ("HS-ERASE-REFUSED", "second")
    await site.store.write(lambda rows: rows.statutes.settle(disclosure, TOLD))
    await home.eraser.require_free(site.police.seat_id, GROUND)  # control: once it is told, nothing stands against it


async def test_unknown_seats_and_grounds_are_refused(home):
    await closed(home)
    assert (await code_of(home.eraser.require_free(os.urandom(16), GROUND)))[0] == "HS-SEAT-UNKNOWN"
    seat = home.site.police.seat_id
    assert await code_of(home.eraser.require_free(seat, "BECAUSE")) == ("HS-ERASE-REFUSED", "ground")


async def test_what_is_restricted_is_not_erased(home):
    site = home.site
    await closed(home)
    subject = await home.signed_for(site.police, RESTRICT, "EVIDENCE")
    asked = home.eraser.require_free(site.police.seat_id, GROUND)
    assert await code_of(asked) == ("HS-ERASE-REFUSED", "restricted")
    with pytest.raises(HandslagError) as refused:
        home.files.append(home.signed(ERASE, "duty", "deputy", subject=subject, reason=GROUND))
    assert refused.value.context["check"] == "restricted"
    await home.signed_for(site.police, LIFT, None)
    assert [row.state for row in await _erased(home)] == ["DONE"]


async def test_who_asks_for_an_erased_seat_is_told_by_which_act(home):
    site = home.site
    await closed(home)
    await _erased(home)
    query = AuditQuery(purpose="LAWFULNESS", actor_ref="tillsyn 1", assurance="ASSERTED", case_number="EXEMPEL-1")

    def asks(unit):
        request = AuditFetchRequest(call_id=os.urandom(16), seat_id=site.police.seat_id, query=query, after=0, limit=10)
        return queries.audit_fetch(site.context, unit.code, request)

    with pytest.raises(HandslagError) as told:
        await asks(site.police)
    assert told.value.code == "HS-SEAT-ERASED"
    assert (told.value.context["act"], told.value.context["ground"]) == (2, GROUND)
    assert "at" in told.value.context
    request = LedgerFetchRequest(seat_id=site.police.seat_id, after_seq=0)
    with pytest.raises(HandslagError, match="HS-SEAT-ERASED"):
        await queries.ledger_fetch(site.context, site.police.code, request)
    assert (await code_of(asks(site.lead)))[0] == "HS-SEAT-UNKNOWN"  # another's: as if it had never been


async def test_the_others_go_on(home):
    site = home.site
    await closed(home)
    await _erased(home)
    assert site.vault.get("SEAT", site.lead.seat_id) is not None
    query = AuditQuery(purpose="LAWFULNESS", actor_ref="tillsyn 1", assurance="ASSERTED", case_number="EXEMPEL-1")
    request = AuditFetchRequest(call_id=os.urandom(16), seat_id=site.lead.seat_id, query=query, after=0, limit=100)
    page = await queries.audit_fetch(site.context, site.lead.code, request)
    assert len(page.entries) > 2
    await site.withdraw_case(site.lead)
    assert (await site.submit(site.police, event(site))) is not None  # taken, and refused: the seat is closed
    await site.decide()
    assert site.faults == []


async def test_sending_before_the_end_leaves_nothing(home):
    site = home.site
    await sent(site)  # recalled when the seat closes
    await closed(home)
    await _erased(home)
    for table in ("ledger_event", "event_memory"):
        query = sa.text(f"select count(*) from {table} where seat_id = :seat")
        count = await site.store.read(
            lambda rows, query=query: rows.gate._c.execute(query, {"seat": site.police.seat_id}).scalar_one()
        )
        assert count == 0


async def test_what_others_gave_an_erased_seat_is_theirs_to_take_back(home):
    """The lead got something of the police; the lead's seat is erased, the police annuls, and the lead answers."""
    site = home.site
    consent = await grant(site)
    await handed(site)
    site.clock.us += 120_000_000  # what it fetched and did not take comes again
    await site.store.write(lambda rows: rows.cases.set_state(site.lead.seat_id, SeatState.CLOSED))
    for unit in site.units.values():
        await items(site, unit)
    await home.erased(site.lead)
    await site.act(site.police, "ANNUL", consent)
    site.clock.us += 8 * DAY  # whose seat is closed is told in the weekly slot
    [notice] = await told(site)
    await answered(site, notice, "LOCKED")
    assert site.faults == []
    await home.sealer.beat()


async def test_what_an_erased_seat_sends_late_stops_nobody(home):
    """It was on its way when the seat went: refused under the unit, and the bucket goes on."""
    site = home.site
    await site.submit(site.police, event(site))
    await closed(home)
    site.vault.erase(site.police.seat_id)
    assert await site.decide() == 1
    assert site.faults == []
    assert await site.context.stream.waiting() == []


async def test_a_draft_that_names_a_seat_is_for_its_reader_alone(home, tmp_path):
    await closed(home)
    named = await home.eraser.named(home.site.police.seat_id)
    signed = home.signed(ERASE, subject=named.subject, reason=GROUND)
    draft = Pending(signed=signed, seat=named.seat_id, salt=named.salt)
    for _ in range(2):
        draft.save(tmp_path / "e.json")
        assert (tmp_path / "e.json").stat().st_mode & 0o777 == 0o600
    assert Pending.load(tmp_path / "e.json") == draft
    draft.require_named()


async def test_whoever_signs_an_erasure_signs_for_the_seat_in_the_draft(home):
    await closed(home)
    named = await home.eraser.named(home.site.police.seat_id)
    signed = home.signed(ERASE, subject=named.subject, reason=GROUND)
    for seat, salt in ((home.site.lead.seat_id, named.salt), (named.seat_id, bytes(32)), (b"", b"")):
        with pytest.raises(HandslagError, match="HS-ADMIN-ACT-INVALID"):
            Pending(signed=signed, seat=seat, salt=salt).require_named()
