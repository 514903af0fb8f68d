"""Two cases of one person: what the person takes back reaches both, and nothing else does."""

from __future__ import annotations

import os

import pytest

from broker import cases, joins
from schemas.acts import ConsentAct
from schemas.calls import CloseRequest
from schemas.errors import HandslagError
from schemas.inbox import LedgerNotice
from schemas.joins import CaseJoin
from tests.promises.case import deliveries, grant, items, notices, sent, states
from tests.promises.test_annul import handed, told
from tests.promises.test_void import void
from tests.promises.trail import all_entries, trail
from tests.promises.two_cases import Case, Two, two_cases
from tests.site import LEAD, Unit, to_role


@pytest.fixture
async def two(tmp_path):
    two = await two_cases(tmp_path)
    yield two
    two.site.close()


async def acts_of(two: Two, unit: Unit) -> list[str]:
    return [ConsentAct.from_bytes(event.act).act for event in await two.site.ledger_of(unit)]


async def waits(two: Two, case: Case) -> None:
    """The police of a case have sent something under a consent, and nobody fetched it yet."""
    site = two.use(case)
    await grant(site)
    await sent(site)
    assert await states(site) == ["PENDING"]


async def refused(call) -> str:
    with pytest.raises(HandslagError) as caught:
        await call
    return caught.value.code


@pytest.mark.parametrize("joined", [True, False])
async def test_what_the_person_takes_back_in_one_case_is_taken_back_in_both(two, joined):
    """Without the join it is not: nobody knows that they are one person's."""
    await waits(two, two.one)
    await waits(two, two.other)
    if joined:
        await two.join()
    await two.use(two.one).withdraw_case(two.one.probation)
    assert await states(two.use(two.one)) == ["CANCELLED"]
    assert await states(two.use(two.other)) == (["CANCELLED"] if joined else ["PENDING"])
    for unit in two.other.units:
        assert ((await acts_of(two, unit))[-1:] == ["WITHDRAW_ALL"]) == joined
    await sent(two.use(two.other))
    assert await deliveries(two.site) == [] if joined else len(await deliveries(two.site)) == 2


async def test_it_reaches_back_as_well_and_through_a_third(two):
    """Joined in either order; and a case joined with the other is the same person's."""
    third = two._another("SOC/TREDJEEXEMPEL/KONSULT", "KV/EXEMPEL/FRI3")
    await two.opened(third)
    await waits(two, third)
    await two.join()
    await two.join(two.other.police, third.police)
    await two.use(two.one).withdraw_case(two.one.lead)
    assert await states(two.use(third)) == ["CANCELLED"]
    await two.use(two.one).grant(two.one.lead, [to_role(two.one.police.role)], ["IC04"], ["THREAT_ASSESSMENT"])
    await two.use(third).withdraw_case(third.probation)
    assert (await acts_of(two, two.one.lead))[-2:] == ["GRANT", "WITHDRAW_ALL"]


async def test_a_batch_decided_before_the_withdrawal_is_decided_anew(two):
    """The gate of the other case is bumped with it: what was read before is too old to be written."""
    await two.join()

    async def versions() -> list[int]:
        seats = [await two.site.store.read(lambda rows, u=u: rows.cases.seat(u.seat_id)) for u in leads]
        return [(await two.site.store.read(lambda rows, s=s: rows.gate.read(s.bucket))).gate_version for s in seats]

    leads = (two.one.lead, two.other.lead)
    before = await versions()
    await two.use(two.one).withdraw_case(two.one.lead)
    assert all(now >= then + 3 for then, now in zip(before, await versions(), strict=True))


async def test_nobody_else_learns_that_there_is_another_case(two):
    """Not by the join, and a withdrawal that came from the other case looks like one that was noted here."""
    for unit in (*two.one.units, *two.other.units):
        await items(two.site, unit)
    await two.join()
    for unit in (two.one.lead, two.one.probation, two.other.lead, two.other.probation):
        assert await items(two.site, unit) == []
    await two.use(two.one).withdraw_case(two.one.lead)
    from_afar = await items(two.site, two.other.lead)
    await two.use(two.other).withdraw_case(two.other.probation)
    from_here = await items(two.site, two.other.lead)
    assert [i.kind for i in from_afar] == [i.kind for i in from_here] == ["LEDGER"]
    far, here = (LedgerNotice.from_bytes(i[0].body) for i in (from_afar, from_here))
    assert len(from_afar[0].body) == len(from_here[0].body)
    acts = [ConsentAct.from_bytes(one.event.act).to_dict() for one in (far, here)]
    differing = {name for name in acts[0] if acts[0][name] != acts[1][name]}
    assert differing <= {"noted_at_us"}
    assert (far.counts, far.event.signature, far.event.holders) == (here.counts, None, ())
    secrets = [*(u.seat_id for u in two.one.units), *(u.member for u in two.one.units), two.one.lead.members.case_tag]
    assert [s for s in secrets for i in from_afar if s in i.body] == []
    own = two.other.lead.seat_id
    assert own in from_afar[0].body  # the control: what is there would be seen


async def test_no_other_trail_tells_of_the_join(two):
    answer = await two.join()
    for unit, entry_id, signer in (
        (two.one.police, answer.entry_id, two.one.police),
        (two.other.police, answer.other_entry_id, two.other.police),
    ):
        (found,) = [e for e in await trail(two.site, unit.seat_id) if e.operation == "COMBINATION"]
        assert found.raw.entry_id == entry_id
        assert (found.payload.actor_ref, found.payload.seat_id) == ("handläggare 1", unit.seat_id)
        signer.seat.public.verify(found.payload.act_signature, found.payload.act)
    await two.use(two.one).withdraw_case(two.one.lead)
    await two.separate()
    for unit in (two.one.lead, two.one.probation, two.other.lead, two.other.probation):
        entries = await trail(two.site, unit.seat_id)
        assert entries
        assert "COMBINATION" not in {e.operation for e in entries}
        assert not any(two.joined in (e.payload.act or b"") for e in entries)
    assert sum(e.operation == "COMBINATION" for e in await all_entries(two.site)) == 4


async def test_no_grant_widens_by_a_join(two):
    """A consent given in one case opens nothing in the other, whoever holds a seat in both."""
    await grant(two.use(two.other))
    await two.join()
    site = two.use(two.one)
    await sent(site)
    assert await deliveries(site) == []
    assert await states(site) == []
    views = await site.store.read(
        lambda rows: site.context.views.of(rows, rows.cases.of_cases([rows.cases.seat(two.one.police.seat_id).case_id]))
    )
    assert views[two.one.police.seat_id].grants == ()
    await grant(site)
    await sent(site)
    assert len(await deliveries(site)) == 1  # the control
    assert await states(two.use(two.other)) == []


async def test_a_void_case_voids_no_other(two):
    await waits(two, two.other)
    await two.join()
    await void(two.use(two.one), two.one.lead, "CASE_VOID")
    assert await states(two.use(two.other)) == ["PENDING"]
    assert await notices(two.site, "case_void", two.other.lead) == []
    await grant(two.use(two.other))  # granted there as before


async def test_an_annulled_consent_annuls_nothing_in_the_other(two):
    site = two.use(two.one)
    consent = await grant(site)
    await handed(site)
    await waits(two, two.other)
    await two.join()
    await two.use(two.one).act(two.one.police, "ANNUL_WRONG_PERSON", consent)
    assert await states(two.use(two.other)) == ["PENDING"]
    assert await told(two.site, two.other.lead) == []
    assert len(await told(two.use(two.one), two.one.lead)) == 1


async def test_a_case_of_another_person_is_no_bridge(two):
    """A case void for being somebody else's says nothing about this person; void for want of consent it still does."""
    await waits(two, two.other)
    await two.join()
    await void(two.use(two.one), two.one.lead, "CASE_VOID_WRONG_PERSON")
    await two.use(two.one).withdraw_case(two.one.probation)
    assert await states(two.use(two.other)) == ["PENDING"]
    await two.separate()
    assert await refused(two.join()) == "HS-CASE-VOID"


async def test_a_case_without_a_valid_consent_is_one_persons_all_the_same(two):
    await waits(two, two.other)
    await two.join()
    await void(two.use(two.one), two.one.lead, "CASE_VOID")
    await two.use(two.one).withdraw_case(two.one.probation)
    assert await states(two.use(two.other)) == ["CANCELLED"]


async def test_what_was_taken_back_before_the_join_reaches_older_consents(two):
    """The person's word was everything; a consent given after it is the newer word and stays."""
    await waits(two, two.other)  # the police hold an older consent
    await two.use(two.one).withdraw_case(two.one.lead)
    newer = await two.use(two.other).grant(two.other.probation, [to_role(LEAD)], ["IC13"], ["PLANNING"])
    await two.join()
    assert await states(two.use(two.other)) == ["CANCELLED"]
    assert (await acts_of(two, two.other.police))[-1] == "WITHDRAW_ALL"
    assert (await acts_of(two, two.other.probation)) == ["GRANT"]
    site = two.site
    seat = await site.store.read(lambda rows: rows.cases.seat(two.other.probation.seat_id))
    view = (await site.store.read(lambda rows: site.context.views.of(rows, [seat])))[seat.seat_id]
    assert [g.consent_id for g in view.grants if g.end_us > site.clock()] == [newer]
    events = [e for e in await trail(site, two.other.police.seat_id) if e.operation == "CONSENT_EVENT"]
    assert len(events[-1].payload.affected) == 1
    assert len(await notices(site, "delivery_cancelled", two.other.police)) == 1


async def test_a_void_case_is_no_word_of_the_persons(two):
    await waits(two, two.other)
    await void(two.use(two.one), two.one.lead, "CASE_VOID")
    await two.join()
    assert await states(two.use(two.other)) == ["PENDING"]


async def test_only_a_unit_that_sits_in_both_joins(two):
    one, other = two.one, two.other
    assert await refused(two.join(one.lead, other.police)) == "HS-SEAT-UNKNOWN"
    assert await refused(two.join(one.police, other.police, caller=one.lead.code)) == "HS-SEAT-UNKNOWN"
    assert await refused(two.join(one.police, one.police)) == "HS-STATE-INVALID"
    assert await refused(two.join(signed=(one.police, one.police))) == "HS-SIGNATURE-INVALID"
    assert await refused(two.join(signed=(other.police, other.police))) == "HS-SIGNATURE-INVALID"
    assert await refused(two.join(other_case_tag=os.urandom(16))) == "HS-SIGNATURE-INVALID"
    await two.join()
    assert await refused(two.join()) == "HS-STATE-INVALID"
    assert await refused(two.join(other.police, one.police)) == "HS-STATE-INVALID"
    close = CloseRequest(call_id=os.urandom(16), seat_id=other.police.seat_id)
    await two.separate()
    await cases.close(two.site.context, other.police.code, close)
    assert await refused(two.join()) == "HS-SEAT-UNKNOWN"


async def test_a_wrong_join_is_undone_and_opens_nothing(two):
    """A namesake's case: what crossed stays stopped, its disclosers are told, nothing crosses any more."""
    await waits(two, two.other)
    await two.join()
    await two.use(two.one).withdraw_case(two.one.lead)
    await two.separate(two.other.police)
    assert await states(two.use(two.other)) == ["CANCELLED"]
    for unit in two.other.units:
        (notice,) = await notices(two.site, "withdrawal_not_theirs", unit)
        assert (notice.seat_id, notice.detail, notice.role) == (unit.seat_id, None, None)
        entry = next(e for e in await trail(two.site, unit.seat_id) if e.raw.entry_id == notice.entry_id)
        assert (entry.operation, entry.payload.code) == ("ALTERATION", "HS-WRONG-PERSON")
    for unit in (two.one.lead, two.one.probation):
        assert await notices(two.site, "withdrawal_not_theirs", unit) == []
    await sent(two.use(two.other))
    assert await deliveries(two.site) == []  # nothing came into force again by itself
    ledger = await two.site.ledger_of(two.other.police)
    two.other.police.head = ledger[-1].head
    await waits_again(two, two.other)
    await two.use(two.one).withdraw_case(two.one.lead)
    assert sorted(await states(two.use(two.other))) == ["CANCELLED", "PENDING"]
    assert await refused(two.separate()) == "HS-STATE-INVALID"


async def waits_again(two: Two, case: Case) -> None:
    site = two.use(case)
    await grant(site)
    await sent(site)


async def test_nobody_separates_what_another_joined(two):
    await two.join()
    for unit in (two.one.lead, two.other.lead, two.one.probation):
        assert await refused(two.separate(unit)) == "HS-SEAT-UNKNOWN"
    assert await refused(two.separate(two.one.police, os.urandom(16))) == "HS-SEAT-UNKNOWN"
    await waits(two, two.other)
    await two.use(two.one).withdraw_case(two.one.lead)
    assert await states(two.use(two.other)) == ["CANCELLED"]


async def test_the_same_call_joins_once(two):
    """The answer was lost: the same call gets it again, and a refused join leaves nothing behind."""
    answer = await two.join()
    first = two.request
    assert await joins.join(two.site.context, two.one.police.code, first) == answer
    assert await refused(two.join()) == "HS-STATE-INVALID"
    again = CaseJoin.from_bytes(two.request.act).join_id
    assert await two.site.store.read(lambda rows: rows.joins.get(again)) is None
    assert await two.site.store.read(lambda rows: rows.joins.get(two.joined))
