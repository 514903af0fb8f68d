"""A long ledger read back: at every earlier act as if no later one had come, and every act listed once."""

import pytest

from consent import history
from consent.ledger import STEP, LedgerView, view_of
from schemas.acts import ConsentAct
from tests.bench.history import five_years
from tests.consent.making import HOUR, T0, act, ledger, terms, to_role

ACTS = 5 * STEP + 7


@pytest.fixture(scope="module")
def events():
    return five_years(ACTS)


def test_going_back_is_reading_anew(events):
    whole = view_of(events)
    assert len(whole.marks) >= 3  # control: it goes back by marks at all
    for number in (0, 1, STEP - 1, STEP, STEP + 1, 2 * STEP, 4 * STEP + 5, ACTS - 1, ACTS):
        assert whole.as_known(ledger_seq=number) == view_of(events[:number])
        at_us = events[max(number - 1, 0)].recorded_at_us
        assert whole.as_known(at_us) == view_of(events, at_us)


def test_going_back_reads_fewer_acts_than_between_two_marks(events, monkeypatch):
    whole, read = view_of(events), []
    assert [mark.ledger_seq for mark in whole.marks] == [STEP, 2 * STEP, 3 * STEP, 4 * STEP, 5 * STEP]
    real = LedgerView.applied
    monkeypatch.setattr(LedgerView, "applied", lambda view, event: read.append(event) or real(view, event))
    for number in (STEP, STEP + 1, 2 * STEP - 1, 5 * STEP + 3, ACTS):
        read.clear()
        assert whole.as_known(ledger_seq=number).ledger_seq == number
        assert len(read) == (0 if number == ACTS else number % STEP)


def test_a_view_goes_on_from_where_it_went_back_to(events):
    whole = view_of(events)
    back = whole.as_known(ledger_seq=2 * STEP + 3)
    for event in events[2 * STEP + 3 :]:
        back = back.applied(event)
    assert back == whole
    assert [mark.ledger_seq for mark in back.marks] == [mark.ledger_seq for mark in whole.marks]


def test_a_broken_ledger_stays_broken_from_its_own_place_on(events):
    gap = [*events[: 2 * STEP], *events[2 * STEP + 1 :]]
    whole = view_of(gap)
    assert whole.broken
    assert not whole.as_known(ledger_seq=2 * STEP).broken
    assert whole.as_known(ledger_seq=3 * STEP).broken


def test_every_act_is_listed_once_and_in_order(events):
    listed = history.acts(view_of(events))
    assert [one.ledger_seq for one in listed] == list(range(1, ACTS + 1))
    assert [one.act for one in listed] == [ConsentAct.from_bytes(event.act).act for event in events]
    assert history.acts(LedgerView.empty()) == []


def test_what_was_in_force_at_a_moment():
    given = terms(to_role("police_coordination"))
    view = ledger(act("GRANT", "C1", terms=given), act("BLOCK", "B1", terms=given), act("WITHDRAW", "C1"))

    def told(at_us):
        found = history.standing(view, at_us)
        return [holds for _grant, holds in found.grants], [holds for _block, holds in found.blocks]

    assert told(T0 - HOUR) == ([False], [False])
    assert told(T0 + HOUR) == ([True], [True])
    assert told(T0 + 2 * HOUR) == ([False], [True])
