"""30, 14 and 3 days before a consent ends the agency is told, once each, also after a restart or a day off."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors import ledgers, reviews
from consent.ledger import head_after
from schemas.acts import ConsentAct, Giver, LedgerEvent, MinorGround

DAY = 24 * 3600 * 1_000_000


class Diary:
    """The world with a clock that the test moves, and what its agency was told."""

    def __init__(self, world) -> None:
        self.world = world
        self.start = world.ctx.now()
        self.at(0)

    def at(self, days: float) -> None:
        self.world.ctx.now = lambda: self.start + int(days * DAY)

    def record(self, kind: str = "GRANT", *, days: float = 60, categories=("IC08",), **changes) -> ConsentAct:
        """An act on the ledger, recorded now; a grant for so many days."""
        world = self.world
        event: LedgerEvent = world.act(kind, categories)
        act = ConsentAct.from_bytes(event.act)
        if act.terms is not None:
            act = replace(act, terms=replace(act.terms, valid_until_us=world.ctx.now() + int(days * DAY)))
        raw = replace(act, **changes).to_bytes()
        _seq, head = world.ctx.spool.memory.head(world.seat.sid)
        linked = head_after(head, event.ledger_seq, raw, (), event.recorded_at_us)
        event = replace(event, act=raw, signature=world.seat.keys.sign(raw), head=linked)
        ledgers.take(world.ctx, world.seat, [event])
        return ConsentAct.from_bytes(raw)

    async def told(self) -> list[int]:
        """Days of the files that came new; they are given to the agency's system as its adapter would."""
        await reviews.tell_due(self.world.ctx)
        items = self.world.ctx.spool.incoming.to_write()
        for item in items:
            self.world.ctx.spool.incoming.written(item)
        self.values = [item.value for item in items]
        return [value["days"] for value in self.values]


@pytest.fixture
async def diary(world):
    return Diary(world)


async def test_a_consent_that_ends_is_told_of_once_for_each_day(diary):
    act = diary.record(days=60)
    seen = {}
    for day in range(62):
        diary.at(day)
        for days in await diary.told():
            seen[day] = days
            assert diary.values[0]["consent"].replace("-", "") == act.consent_id.hex()
            assert diary.values[0]["days_left"] == 60 - day
        assert await diary.told() == []
    assert seen == {30: 30, 46: 14, 57: 3}


async def test_a_restart_tells_nothing_twice(diary):
    diary.record(days=60)
    diary.at(31)
    assert await diary.told() == [30]
    diary.world.reopen()
    diary.at(31.5)
    assert await diary.told() == []
    diary.at(46)
    assert await diary.told() == [14]


async def test_a_connector_that_was_off_tells_the_nearest_day(diary):
    diary.record(days=60)
    diary.at(50)  # off since before the 30th and the 14th day
    assert await diary.told() == [14]
    assert diary.values[0]["days_left"] == 10
    diary.at(58)
    assert await diary.told() == [3]


async def test_what_was_queued_and_never_given_is_given_after_the_restart(diary):
    diary.record(days=60)
    diary.at(31)
    await reviews.tell_due(diary.world.ctx)
    diary.world.reopen()
    diary.at(31)
    assert await diary.told() == [30]


async def test_a_short_consent_is_not_told_of_at_once(diary):
    diary.record(days=10)
    assert await diary.told() == []
    diary.at(7.5)
    assert await diary.told() == [3]


@pytest.mark.parametrize("how", ["WITHDRAW", "WITHDRAW_ALL", "ANNUL"])
async def test_what_is_not_in_force_is_not_told_of(diary, how):
    act = diary.record(days=60)
    if how == "WITHDRAW_ALL":
        from schemas.identifiers import ZERO16, ZERO32

        diary.record(how, consent_id=ZERO16, prev=ZERO32, terms=None)
    else:
        diary.record(how, consent_id=act.consent_id, terms=None)
    diary.at(31)
    assert await diary.told() == []


async def test_a_consent_that_takes_over_makes_it_quiet(diary):
    diary.record(days=60)
    diary.at(20)
    diary.record(days=200)
    diary.at(31)
    assert await diary.told() == []
    diary.at(191)
    assert await diary.told() == [30]  # of the longer one


async def test_a_longer_consent_of_something_else_does_not(diary):
    diary.record(days=60)
    diary.record(days=200, categories=("IC13",))
    diary.at(31)
    assert await diary.told() == [30]


async def test_nothing_leaves_and_a_noted_withdrawal_is_waited_for(diary):
    act = diary.record(days=60)
    diary.at(31)
    handle = diary.world.ctx.identities.handle("EX-1")
    value = {"do": "withdraw", "ref": "EX-1", "consent": act.consent_id.hex()}
    diary.world.ctx.spool.commands.accept(b"w" * 16, handle, "withdraw", value, narrowing=True)
    assert await diary.told() == []
    assert diary.world.ctx.spool.outgoing.counts() == {}
    assert diary.world.ctx.spool.store.all("SELECT 1 FROM call") == []


async def test_a_day_agreed_on_begins_anew_when_the_person_was_asked(diary):
    terms = ConsentAct.from_bytes(diary.world.act("GRANT", ("IC08",)).act).terms
    start = diary.world.ctx.now()
    terms = replace(terms, valid_until_us=start + 300 * DAY, review_by_us=start + 60 * DAY)
    consent = diary.record(terms=terms).consent_id
    diary.at(31)
    assert await diary.told() == [30]
    assert diary.values[0]["days_left"] == 29
    diary.record("CONFIRM", consent_id=consent, terms=None, review_by_us=start + 120 * DAY)
    assert await diary.told() == []
    diary.at(91)
    assert await diary.told() == [30]


async def test_majority_is_told_of_before_it_comes(diary):
    """The consent ends with the guardian's authority, and so the days are counted to that."""
    start = diary.world.ctx.now()
    mother = Giver(person=1, capacity="GUARDIAN", method="WRITTEN", at_us=start, authority_until_us=start + 40 * DAY)
    child = MinorGround(
        rule_id="L6", age_band="15_TO_17", maturity="SUFFICIENT", child_view="AGREES", guardians=1,
        guardians_excluded=0, reassess_at_us=start + 40 * DAY,
    )  # fmt: skip
    terms = ConsentAct.from_bytes(diary.world.act("GRANT", ("IC08",)).act).terms
    own = replace(mother, person=0, capacity="SELF", authority_until_us=None)
    diary.record(terms=replace(terms, valid_until_us=start + 300 * DAY, givers=(own, mother), minor=child))
    diary.at(26)
    assert await diary.told() == [14]
    assert diary.values[0]["days_left"] == 14
