"""A broker that plays consents again, tells them in another order, or answers with the ledger of another seat.

Each attack is shown twice where its defence is one look: with it, and without it, when the attack works.
"""

from __future__ import annotations

import dataclasses

import pytest

from connectors import ledgers
from consent.ledger import head_after
from schemas.acts import ConsentAct, SeatHead
from schemas.calls import ConsentsAnswer
from schemas.identifiers import ZERO32
from tests.evil.house import assessment, request_assessment


def alarms(agency) -> list[str]:
    return [file["code"] for file in agency.files("receipts", kind="alarm")]


def seat_of(agency, ref):
    return agency.ctx.identities.get(ref)


def chained(events, *, after=ZERO32):
    """The events under new numbers, with heads that fit: what a broker can always compute."""
    head, told = after, []
    for number, event in enumerate(events, events[0].ledger_seq):
        head = head_after(head, number, event.act, event.holders, event.recorded_at_us)
        told.append(dataclasses.replace(event, ledger_seq=number, head=head))
    return told


class Telling:
    """The broker's own version of one seat's ledger, told in every answer that speaks of it."""

    def __init__(self, house, agency, seat, events) -> None:
        self.unit, self.seat, self.events = agency.ctx.settings.unit, seat, events
        house.liar.lies.update(fetch=self._fetch, ledger_fetch=self._ledger)

    async def _fetch(self, honest, unit, _request):
        answer = await honest()
        if unit != self.unit:
            return answer
        newest = self.events[-1]
        told = SeatHead(seat_id=self.seat.sid, ledger_seq=newest.ledger_seq, head=newest.head)
        others = tuple(each for each in answer.heads if each.seat_id != self.seat.sid)
        return dataclasses.replace(answer, heads=(*others, told))

    async def _ledger(self, honest, unit, request):
        if request.seat_id != self.seat.sid:
            return await honest()
        newest = self.events[-1]
        page = dataclasses.replace(await honest(), ledger_seq=newest.ledger_seq, head=newest.head)
        return dataclasses.replace(page, events=tuple(e for e in self.events if e.ledger_seq > request.after_seq))


@pytest.mark.parametrize("defended", [True, False])
async def test_a_consent_played_again_after_the_withdrawal_opens_nothing(case, defended, monkeypatch):
    """The seat's own signed grant, recorded once more behind the withdrawal; its signature is genuine."""
    if not defended:
        monkeypatch.setattr(ledgers, "WIDENING", frozenset())
    await case.settle()
    seat = seat_of(case.social, "EX-1")
    held = case.social.ctx.spool.memory.ledger(seat.sid)
    grant = next(e for e in held if (t := ConsentAct.from_bytes(e.act).terms) and "IC04" in t.categories)
    case.social.command(do="withdraw", ref="EX-1", consent=str_id(grant))
    await case.settle(2)
    now = case.social.ctx.spool.memory.ledger(seat.sid)
    assert ConsentAct.from_bytes(now[-1].act).act == "WITHDRAW"
    fresh = ConsentAct.from_bytes(grant.act)
    late = dataclasses.replace(fresh, consent_id=b"another consent!").to_bytes()  # granted twice under one id ends both
    played = dataclasses.replace(
        grant, act=late, signature=seat.keys.sign(late), ledger_seq=now[-1].ledger_seq + 1,
        recorded_at_us=now[-1].recorded_at_us + 1,
    )  # fmt: skip
    Telling(case, case.social, seat, [*now, *chained([played], after=now[-1].head)])
    await case.settle(2)
    sent = len(case.liar.submissions)
    case.social.command(**request_assessment("EX-1"))
    await case.settle(2)
    left = [one for one in case.liar.submissions[sent:] if one.section_items]
    assert bool(left) is not defended
    assert alarms(case.social) == (["HS-TRAIL-ROLLBACK"] if defended else [])


def str_id(event) -> str:
    import uuid

    return str(uuid.UUID(bytes=ConsentAct.from_bytes(event.act).consent_id))


@pytest.mark.parametrize("how", ["other order", "one left out", "the same act twice"])
async def test_a_ledger_told_otherwise_stops_the_connector(case, how):
    """Every signature is genuine and every head fits the next; it is not what this connector holds."""
    seat = seat_of(case.police, "PM-1")
    case.police.command(do="block", ref="PM-1", recipients=[{"role": "social_services_lead"}], method="WRITTEN")
    await case.settle(2)
    events = case.police.ctx.spool.memory.ledger(seat.sid)
    assert len(events) == 2
    assert alarms(case.police) == []  # positive control: the same acts as they were recorded
    told = {
        "other order": chained([dataclasses.replace(events[1], ledger_seq=1), events[0]]),
        "one left out": events[:1],
        "the same act twice": [
            events[0],
            *chained([dataclasses.replace(events[0], ledger_seq=2), events[1]], after=events[0].head),
        ],
    }[how]
    Telling(case, case.police, seat, told)
    await case.settle(2)
    assert alarms(case.police) == ["HS-TRAIL-ROLLBACK"]
    case.liar.lies.clear()
    case.police.command(**assessment("PM-1"))
    await case.settle(2)
    assert case.social.files("out", kind="delivery") == []


async def test_the_ledger_of_another_seat_is_not_taken(case):
    """Another case of the same unit: its acts are signed too, by another key and for another case."""
    await case.case("EX-2", "PM-2")
    one, two = (seat_of(case.social, ref) for ref in ("EX-1", "EX-2"))
    mine, theirs = (case.social.ctx.spool.memory.ledger(seat.sid) for seat in (one, two))
    more = chained(
        [dataclasses.replace(theirs[-1], ledger_seq=mine[-1].ledger_seq + 1,
                             recorded_at_us=mine[-1].recorded_at_us + 1)],
        after=mine[-1].head,
    )  # fmt: skip
    Telling(case, case.social, one, [*mine, *more])
    await case.settle(2)
    assert alarms(case.social) == ["HS-TRAIL-ROLLBACK"]
    assert case.social.ctx.spool.memory.ledger(one.sid) == mine


@pytest.mark.parametrize("defended", [True, False])
async def test_an_answer_with_another_seats_head_lifts_no_stop(case, defended, monkeypatch):
    """The withdrawal of one case is answered with where another case's ledger stands, and kept back."""
    if not defended:
        monkeypatch.setattr(ledgers, "require_recorded", lambda *_: None)
    await case.case("EX-2", "PM-2")
    seq, head = case.social.ctx.spool.memory.head(seat_of(case.social, "EX-2").sid)
    seen = case.liar.consents

    async def consents(_unit, request):
        return ConsentsAnswer(
            call_id=request.call_id, ledger_seq=seq, head=head, recorded_at_us=case.social.ctx.now(), counts=(),
            affected=(), entry_id=bytes(16), leaf_hash=bytes(32),
        )  # fmt: skip

    case.liar.consents = consents
    case.social.command(do="withdraw_case", ref="EX-1", method="WRITTEN")
    case.social.command(**request_assessment("EX-1"))
    await case.settle(2)
    assert case.social.connector.stopped("EX-1") is defended
    case.liar.consents = seen
    case.social.ahead_us += 60_000_000
    await case.settle(2)
    assert not case.social.connector.stopped("EX-1")  # the truth lifts it
    assert case.social.files("receipts", kind="result", do="withdraw_case")
