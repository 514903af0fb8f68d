"""HOLD of cases that are joined as one person's: the word may have been noted in either."""

from __future__ import annotations

import os

import pytest

from schemas.acts import CaseWithdrawal
from schemas.hold import RecordedWithdrawal
from tests.hold.restored import Restored, copied
from tests.promises.case import deliveries, grant, sent, states
from tests.promises.two_cases import two_cases


@pytest.fixture
async def two(tmp_path):
    two = await two_cases(tmp_path)
    yield two
    two.site.close()


async def noted(two) -> RecordedWithdrawal:
    """The person takes everything back at the first case's probation; what its connector keeps of it."""
    site, unit = two.use(two.one), two.one.probation
    act = CaseWithdrawal(
        case_tag=unit.members.case_tag, recorder=unit.member, withdrawal_id=os.urandom(16),
        effective_at_us=None, method="ORAL_DOCUMENTED", actor_ref="x", assurance="ASSERTED", noted_at_us=site.clock(),
    ).to_bytes()  # fmt: skip
    answer = await site.withdraw_case(unit)
    return RecordedWithdrawal(act=act, signature=unit.seat.sign(act), recorded_at_us=answer.recorded_at_us)


@pytest.mark.parametrize("joined", [True, False])
async def test_a_withdrawal_lost_in_one_case_holds_the_case_joined_with_it(two, tmp_path, joined):
    """Nobody in the other case had fetched it: its seats confirm an older ledger. Unjoined, it concerns them not."""
    site = two.use(two.other)
    await grant(site)
    await sent(site)
    if joined:
        await two.join()
    known = {unit.code: len(await site.ledger_of(unit)) for unit in two.other.units}
    folder = copied(site, tmp_path / "copy")
    word = await noted(two)
    here = Restored(site, folder)
    try:
        await here.hold()
        await here.go_on()
        two.use(two.other)
        here.site.lead, here.site.police, here.site.probation = two.other.units
        for unit in two.other.units:
            events = tuple(await site.ledger_of(unit))[: known[unit.code]]
            await here.give_back(unit, events=events)
        for unit in two.other.units:
            heads = await site.ledger_of(unit)
            count = known[unit.code]
            head = heads[count - 1].head if count else bytes(32)
            await here.confirm(unit, ledger_seq=count, head=head)
        assert len(await deliveries(here.site)) == (0 if joined else 1)
        for unit in two.one.units:
            await here.give_back(unit, events=(), withdrawals=(word,) if unit is two.one.probation else ())
        if joined:
            assert await states(here.site) == ["CANCELLED"]
            for unit in two.one.units:
                ledger = await here.site.ledger_of(unit)
                await here.confirm(unit, ledger_seq=len(ledger), head=ledger[-1].head)
            assert not here.keeper.active
            assert await deliveries(here.site) == []
    finally:
        here.site.close()
