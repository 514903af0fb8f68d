"""HOLD at the broker: what is held, what is given back, who must have spoken before a case is free."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from broker import cases, queries
from connectors import membership
from consent.ledger import head_after
from schemas.acts import CaseWithdrawal, ConsentAct
from schemas.calls import LedgerFetchRequest, StateRequest
from schemas.errors import HandslagError
from schemas.hold import RecordedWithdrawal
from tests.hold.restored import copied
from tests.promises.case import deliveries, event, grant, receipts, sent
from tests.site import Site, to_unit


async def noted_by_probation(site: Site) -> RecordedWithdrawal:
    """The person takes everything back at probation; what its connector keeps of it."""
    assert site.probation.members is not None
    act = CaseWithdrawal(
        case_tag=site.probation.members.case_tag, recorder=site.probation.member, withdrawal_id=os.urandom(16),
        effective_at_us=None, method="ORAL_DOCUMENTED", actor_ref="x", assurance="ASSERTED", noted_at_us=site.clock(),
    ).to_bytes()  # fmt: skip
    answer = await site.withdraw_case(site.probation)
    return RecordedWithdrawal(act=act, signature=site.probation.seat.sign(act), recorded_at_us=answer.recorded_at_us)


async def test_a_held_delivery_is_not_handed_over(site, restore, tmp_path):
    await grant(site)
    await sent(site)
    here = restore(copied(site, tmp_path / "copy"))
    assert len(await deliveries(site)) == 1  # the control: the broker that was not restored hands it over
    await here.hold()
    assert await deliveries(here.site) == []
    await here.go_on()
    assert await deliveries(here.site) == []
    await here.everybody()
    assert len(await deliveries(here.site)) == 1
    assert not here.keeper.active


async def test_nothing_undecided_is_decided_after_a_restore(site, restore, tmp_path):
    await grant(site)
    await site.submit(site.police, event(site))
    here = restore(copied(site, tmp_path / "copy"))
    await here.hold()
    assert await here.site.decide() == 0
    answer = await here.site.submit(site.police, event(site))
    assert [(one.code, answer.accepted) for one in answer.refusals] == [("HS-HOLD", 0)]
    await here.go_on()
    await here.everybody()
    answer = await here.site.submit(site.police, event(site))
    assert (answer.accepted, await here.site.decide()) == (1, 1)


async def test_a_held_seat_is_not_decided_for(site, restore, tmp_path):
    """A submission taken in the moment in which the hold begins: refused with a code that means later."""
    await grant(site)
    await site.submit(site.police, event(site))
    ((bucket, record),) = await site.store.read(
        lambda rows: [(b, r) for b in rows.stream.waiting() for _at, r in rows.stream.after(b, 0, 9)]
    )
    here = restore(copied(site, tmp_path / "copy"))
    await here.hold()
    await here.site.context.stream.append({bucket: [record]})
    assert await here.site.decide() == 1
    assert [one.refused_code for one in await receipts(here.site)] == ["HS-HOLD"]
    assert await deliveries(here.site) == []


async def test_no_invitation_of_a_held_seat(site, restore, tmp_path):
    here = restore(copied(site, tmp_path / "copy"))
    await here.hold()
    with pytest.raises(HandslagError, match="HS-HOLD"):
        await here.site.invite(site.probation)


async def test_a_withdrawal_on_a_lost_head_waits_for_what_came_before_it(site, restore, tmp_path):
    here = restore(copied(site, tmp_path / "copy"))
    consent = await grant(site)
    await here.hold()
    with pytest.raises(HandslagError, match="HS-HEAD-LOST"):
        await here.site.act(site.police, "WITHDRAW", consent)
    with pytest.raises(HandslagError, match="HS-HEAD-LOST"):
        await here.site.withdraw_case(site.police)
    await here.give_back(site.police)
    with pytest.raises(HandslagError, match="HS-HOLD"):
        await grant(here.site)
    answer = await here.site.act(site.police, "WITHDRAW", consent)
    assert answer.ledger_seq == len(await site.ledger_of(site.police)) + 1


async def test_a_withdrawal_of_a_seat_that_lost_nothing_is_taken_at_once(site, restore, tmp_path):
    consent = await grant(site)
    here = restore(copied(site, tmp_path / "copy"))
    await here.hold()
    assert (await here.site.act(site.police, "WITHDRAW", consent)).ledger_seq == 2


async def test_heads_given_back_are_the_heads_that_were_lost(site, restore, tmp_path):
    here = restore(copied(site, tmp_path / "copy"))
    consent = await grant(site)
    await site.act(site.police, "WITHDRAW", consent)
    await grant(site)
    await here.hold()
    for _ in range(2):  # repeating it records nothing twice
        await here.give_back(site.police)
        assert await here.site.ledger_of(site.police) == await site.ledger_of(site.police)


async def test_a_seat_gives_back_only_what_it_signed(site, restore, tmp_path):
    here = restore(copied(site, tmp_path / "copy"))
    await grant(site)
    (lost,) = await site.ledger_of(site.police)
    await here.hold()

    def chained(**changed):
        one = replace(lost, **changed)
        return replace(one, head=head_after(bytes(32), one.ledger_seq, one.act, one.holders, one.recorded_at_us))

    act = ConsentAct.from_bytes(lost.act)
    wider = replace(act, terms=replace(act.terms, categories=("IC01", "IC04"))).to_bytes()
    cases = {
        "HS-SIGNATURE-INVALID": [
            chained(signature=None),
            chained(act=wider),
            chained(signature=site.lead.seat.sign(lost.act)),
        ],
        "HS-HEAD-STALE": [
            replace(lost, head=bytes(32)),
            chained(ledger_seq=2),
            chained(recorded_at_us=site.clock() + 10**9),
        ],
    }
    for code, events in cases.items():
        for one in events:
            with pytest.raises(HandslagError, match=code):
                await here.give_back(site.police, events=(one,))
    assert await here.site.ledger_of(site.police) == []
    await here.give_back(site.police)  # the control
    assert len(await here.site.ledger_of(site.police)) == 1


@pytest.mark.parametrize("first", ["recorder", "others"])
async def test_a_withdrawal_that_only_its_recorder_knows_is_put_on_every_ledger(site, restore, tmp_path, first):
    await grant(site)
    here = restore(copied(site, tmp_path / "copy"))
    await site.grant(site.lead, [to_unit(site.police.code)], ["IC01", "IC12"], ["INTAKE"])
    untold = {unit.role: tuple(await site.ledger_of(unit)) for unit in (site.lead, site.police)}
    kept = await noted_by_probation(site)
    await here.hold()
    await here.go_on()

    async def recorder():
        await here.give_back(site.probation, withdrawals=(kept,))

    async def others():
        for unit in (site.lead, site.police):
            await here.give_back(unit, events=untold[unit.role])

    for step in (recorder, others) if first == "recorder" else (others, recorder):
        await step()
    for unit in site.units.values():
        assert await here.site.ledger_of(unit) == await site.ledger_of(unit)  # to the byte: heads and all


async def test_a_case_is_held_until_every_seat_of_it_has_spoken(site, restore, tmp_path):
    await grant(site)
    await sent(site)
    here = restore(copied(site, tmp_path / "copy"))
    await noted_by_probation(site)
    await here.hold()
    await here.go_on()
    for unit in (site.lead, site.police):  # as if neither had been told
        await here.give_back(unit, events=())
        kept = await here.site.ledger_of(unit)
        head = kept[-1].head if kept else bytes(32)
        answer = await here.confirm(unit, ledger_seq=len(kept), head=head)
        assert answer.state == "CONFIRMED"
    assert await deliveries(here.site) == []
    await here.give_back(site.probation)
    assert (await here.confirm(site.probation)).state == "RELEASED"
    assert await deliveries(here.site) == []  # the withdrawal is in force again
    assert not here.keeper.active


async def test_a_seat_is_held_until_its_connector_confirms_the_same_head(site, restore, tmp_path):
    here = restore(copied(site, tmp_path / "copy"))
    await grant(site)
    await here.hold()
    with pytest.raises(HandslagError, match="HS-HOLD"):
        await here.confirm(site.police)  # nobody has stated yet how the log goes on
    await here.go_on()
    with pytest.raises(HandslagError, match="HS-HEAD-LOST"):
        await here.confirm(site.police)  # nothing was given back
    await here.give_back(site.police)
    for wrong in ({"head": bytes(32)}, {"ledger_seq": 0}, {"removed": (site.lead.member,)}):
        with pytest.raises(HandslagError, match="HS-HEAD-LOST"):
            await here.confirm(site.police, **wrong)
    with pytest.raises(HandslagError, match="HS-HOLD"):
        await here.confirm(site.police, origin="another.example/audit")
    with pytest.raises(HandslagError, match="HS-CASE-INCOMPLETE"):
        await here.confirm(site.police, members=(b"x" * 16,))
    assert (await here.confirm(site.police)).state == "CONFIRMED"


async def test_another_unit_gives_nothing_back_and_confirms_nothing(site, restore, tmp_path):
    here = restore(copied(site, tmp_path / "copy"))
    await here.hold()
    await here.go_on()
    thief = replace(site.lead, seat_id=site.police.seat_id)
    with pytest.raises(HandslagError, match="HS-SEAT-UNKNOWN"):
        await here.give_back(thief, events=())
    with pytest.raises(HandslagError, match="HS-SEAT-UNKNOWN"):
        await here.confirm(thief)


async def test_a_prepared_hand_over_does_not_pass_the_beginning_of_a_hold(site, restore, tmp_path):
    """Read before, written after: the row version is another."""
    await grant(site)
    await sent(site)
    here = restore(copied(site, tmp_path / "copy"))
    due = await here.site.store.read(lambda rows: rows.deliveries.due_for(site.lead.code, site.clock(), 9))
    await here.hold()
    seen = [(row.delivery_id, row.row_version) for row in due]
    now = site.clock()
    assert await here.site.store.write(lambda rows: rows.deliveries.hand(seen, now, now + 9)) == set()
    assert seen


async def test_a_removed_member_stays_removed_after_a_restore(site, restore, tmp_path):
    here = restore(copied(site, tmp_path / "copy"))
    assert site.lead.members is not None
    removal = membership.remove_statement(
        members=site.lead.members, lead=site.lead.seat, member=site.probation.member, at_us=site.clock()
    )
    request = StateRequest(call_id=os.urandom(16), seat_id=site.lead.seat_id, statement=removal)
    await cases.state(site.context, site.lead.code, request)
    await here.hold()
    await here.go_on()
    await here.give_back(site.lead)
    with pytest.raises(HandslagError, match="HS-HEAD-LOST"):
        await here.confirm(site.lead, removed=(site.probation.member,))
    await cases.state(here.site.context, site.lead.code, request)  # as it was asked, and taken in HOLD
    assert (await here.confirm(site.lead, removed=(site.probation.member,))).state == "CONFIRMED"
    await here.give_back(site.probation)  # closed meanwhile, and still asked what it knows
    asked = LedgerFetchRequest(seat_id=site.probation.seat_id, after_seq=0)
    assert (await queries.ledger_fetch(here.site.context, site.probation.code, asked)).ledger_seq == 0
    with pytest.raises(HandslagError, match="HS-SEAT-UNKNOWN"):  # as everywhere else
        await queries.ledger_fetch(site.context, site.probation.code, asked)
    assert (await here.confirm(site.probation)).state == "CONFIRMED"
