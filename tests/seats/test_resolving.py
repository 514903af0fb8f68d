"""Which unit sits in a seat is told to a human only on record, and the seat's agency sees who asked and why."""

import os
from dataclasses import replace

import pytest
from sqlalchemy import update

from broker.resolving import CODE, REFUSED, Question, asked, unit_of_seat
from broker.store.tables import seat
from schemas.errors import HandslagError
from tests.promises.case import notices, ready
from tests.promises.trail import trail


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


def question(site, **changes):
    asks = Question(seat_id=site.police.seat_id, actor="duty", purpose="INTEGRITY", case_number="EXEMPEL-17")
    return replace(asks, **changes)


async def looks(site):
    return [one for one in await trail(site, site.police.seat_id) if one.payload.code == CODE]


class Unsure:
    """A store whose commits end in nobody knowing whether they happened."""

    def __init__(self, inner):
        self.read = inner.read

    async def write(self, work, *, shared=False):
        raise HandslagError("HS-NOT-RECORDED")


async def test_a_look_is_an_entry_that_the_seats_agency_sees(site):
    found = await unit_of_seat(site.context, question(site))
    assert found.unit == site.police.code
    (look,) = await looks(site)
    payload = look.payload
    assert (look.operation, look.raw.entry_id, look.raw.owner) == ("CONSULTATION", found.entry_id, "POL/EXEMPEL")
    assert (payload.actor_ref, payload.query_purpose, payload.case_number) == (
        "operator:duty",
        "INTEGRITY",
        "EXEMPEL-17",
    )
    assert payload.assurance == "ASSERTED"  # nobody proved who it was
    (notice,) = await notices(site, CODE)
    assert (notice.seat_id, notice.entry_id, notice.detail) == (site.police.seat_id, found.entry_id, "INTEGRITY")
    for other in (site.lead, site.probation):
        assert await notices(site, CODE, other) == []
        assert [one for one in await trail(site, other.seat_id) if one.payload.code == CODE] == []


async def test_who_sits_where_is_told_only_after_the_agency_can_see_it(site):
    with pytest.raises(HandslagError) as refused:
        await unit_of_seat(replace(site.context, store=Unsure(site.store)), question(site))
    assert refused.value.code == "HS-NOT-RECORDED"
    assert site.police.code not in str(refused.value.context)
    assert await looks(site) == []
    assert await notices(site, CODE) == []


@pytest.mark.parametrize(("change", "code"), [
    ({"purpose": "CURIOSITY"}, "HS-CODE-UNKNOWN"),
    ({"purpose": ""}, "HS-CODE-UNKNOWN"),
    ({"actor": ""}, "HS-GRANT-INCOMPLETE"),
    ({"actor": "Ulvhild Exempel"}, "HS-GRANT-INCOMPLETE"),
    ({"case_number": ""}, "HS-GRANT-INCOMPLETE"),
    ({"seat_id": bytes(16)}, "HS-SEAT-UNKNOWN"),
])  # fmt: skip
async def test_a_look_without_actor_purpose_or_seat_is_refused_and_nobody_is_told(site, change, code):
    with pytest.raises(HandslagError) as refused:
        await unit_of_seat(site.context, question(site, **change))
    assert refused.value.code == code
    assert await looks(site) == []


def test_a_question_with_something_missing_is_no_question():
    whole = {"seat_id": os.urandom(16).hex(), "actor": "duty", "purpose": "INTEGRITY", "case_number": "EXEMPEL-1"}
    assert asked(whole).actor == "duty"
    for name in whole:
        with pytest.raises(HandslagError):
            asked({key: value for key, value in whole.items() if key != name})
    with pytest.raises(HandslagError):
        asked({**whole, "seat_id": "no hex"})


async def test_a_seat_of_a_protected_relocation_is_told_to_nobody(site):
    def protect(rows):
        rows.gate._c.execute(update(seat).where(seat.c.seat_id == site.police.seat_id).values(protected=True))

    await site.store.write(protect)
    with pytest.raises(HandslagError) as refused:
        await unit_of_seat(site.context, question(site))
    assert refused.value.code == "HS-SEAT-PROTECTED"
    assert site.police.code not in str(refused.value.context)
    assert len(await notices(site, REFUSED)) == 1  # its agency hears of the attempt
    (look,) = [one for one in await trail(site, site.police.seat_id) if one.payload.code == REFUSED]
    assert look.payload.actor_ref == "operator:duty"


async def test_serving_a_units_own_calls_is_no_look(site):
    for unit in site.units.values():
        await site.fetch(unit)
    assert await looks(site) == []
