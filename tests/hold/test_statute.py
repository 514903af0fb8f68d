"""What went without consent, when the broker is put back from a copy: what comes back, and what a person is asked."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import sqlalchemy as sa

from broker.store.statute_tables import acute
from connectors import approving, statute, statute_book
from connectors.enrolment import load_agency_key
from connectors.keys import UnitKeyPair
from schemas.checks import sha256
from schemas.identifiers import shown
from tests.hold.lost import REFS, world
from tests.site import DAY
from tests.statute.test_following import GIVEN, PROVISION

DECIDED = replace(GIVEN, ref=REFS["police"])
NIGHT = replace(DECIDED, acute=True, call_back="010-0000000")


@pytest.fixture
async def lost(tmp_path):
    async with world(tmp_path) as made:
        yield made


async def approved(lost, file, *, days: int) -> bytes:
    """As the lawyer's own file has it recorded; returns what was signed."""
    ctx = lost.agency("police").ctx
    keys = load_agency_key(ctx.settings.keys_dir / "agency.key")
    now = ctx.now()
    value = approving.signed(ctx.settings.agency, keys, PROVISION, "jurist-1", now, now + days * DAY, acute=True)
    file.write_text(json.dumps(value))
    await approving.take(ctx, file)
    return bytes.fromhex(value["approval"])


async def disclosed(lost) -> bytes:
    """One disclosure that two people decided, received by social services; returns its id."""
    ctx = lost.agency("police").ctx
    made = statute.decide(ctx, DECIDED, "handl-7", UnitKeyPair.generate())
    assert (await statute.confirm(ctx, made, "handl-9", UnitKeyPair.generate(), "CONFIRMED")).outcome == "RELEASED"
    await lost.settle(3)
    return made


def received(lost) -> int:
    return len(lost.agency("social").files("out", kind="delivery", event_type="statutory_disclosure"))


async def newest(lost) -> tuple[int, bytes] | None:
    agency = lost.agency("police").ctx.settings.agency
    return await lost.read(lambda rows: rows.statutes.approved(agency, PROVISION))


async def test_what_went_on_a_law_and_was_lost_is_told_to_who_decided_it(lost, tmp_path):
    police = lost.agency("police")
    await approved(lost, tmp_path / "approval.json", days=300)
    before = await disclosed(lost)
    copy = lost.copied(tmp_path / "copy")
    after = await disclosed(lost)
    assert received(lost) == 2
    await lost.lost_and_restored(copy)
    await lost.go_on()
    assert police.files("receipts", kind="alarm", code="HS-STATUTE-LOST") == []  # a person has not looked yet
    await lost.follow("social", "police", "probation")
    assert not lost.core.keeper.active
    [told] = police.files("receipts", kind="alarm", code="HS-STATUTE-LOST")
    assert (told["disclosure"], told["ref"], told["acute"]) == (shown(after), REFS["police"], False)
    assert "hot i natt" not in json.dumps(told)
    rows = statute_book.book(police.ctx)
    assert {made: rows[made.hex()].get("lost", False) for made in (before, after)} == {before: False, after: True}
    assert received(lost) == 2  # nothing goes again by itself
    await disclosed(lost)  # and what people decide anew does
    assert received(lost) == 3
    assert len(police.files("receipts", kind="alarm", code="HS-STATUTE-LOST")) == 1


async def test_an_approval_that_was_ended_after_the_copy_stays_ended(lost, tmp_path):
    first = await approved(lost, tmp_path / "approval.json", days=300)
    copy = lost.copied(tmp_path / "copy")
    last = await approved(lost, tmp_path / "ended.json", days=1)
    await lost.lost_and_restored(copy)
    found = await newest(lost)
    assert found is not None
    assert found[1] == sha256(last) != sha256(first)
    await lost.whole_again()
    assert not lost.core.keeper.active


@pytest.mark.long
async def test_a_second_person_s_word_after_the_copy_is_recorded_again(lost, tmp_path):
    ctx = lost.agency("police").ctx
    await approved(lost, tmp_path / "approval.json", days=300)
    night = statute.decide(ctx, NIGHT, "handl-7", UnitKeyPair.generate())
    await statute.send(ctx, night, None)
    await lost.settle(3)
    copy = lost.copied(tmp_path / "copy")
    await statute.confirm(ctx, night, "handl-9", UnitKeyPair.generate(), "CONFIRMED")
    await lost.lost_and_restored(copy)
    await lost.whole_again()
    state = await lost.read(lambda rows: rows.gate._c.execute(sa.select(acute.c.state)).scalars().all())
    assert state == ["CONFIRMED"]
