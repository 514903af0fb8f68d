"""The ledger view: what counts, from when, and what nobody can slip in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consent.decide import decide
from consent.ledger import LedgerView, ends, head_after, view_of
from consent.rules import shipped
from schemas.identifiers import ZERO32
from tests.consent.making import HOUR, T0, act, ledger, recorded, request, scope, terms, to_role, to_unit

RULES = shipped()[1]
GRANT = act("GRANT", terms=terms(to_role("police_coordination")))


def goes(view, **changes):
    return decide(request(**changes), view, RULES).sections[0].released


def test_act_by_act_is_the_same_as_at_once():
    events = recorded([(GRANT, T0), (act("BLOCK", "B"), T0 + HOUR), (act("UNBLOCK", "B"), T0 + 2 * HOUR)])
    view = LedgerView.empty()
    for event in events:
        view = view.applied(event)
    assert view == view_of(events)
    assert (view.ledger_seq, view.head, view.recorded_at_us) == (3, events[-1].head, T0 + 2 * HOUR)
    assert LedgerView.empty().head == ZERO32
    assert view.head == head_after(events[1].head, 3, events[2].act, (), T0 + 2 * HOUR)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda event: replace(event, ledger_seq=3),
        lambda event: replace(event, recorded_at_us=event.recorded_at_us - 2 * HOUR),
        lambda event: replace(event, head=bytes(32)),
        lambda event: replace(event, act=event.act[:-1] + bytes([event.act[-1] ^ 1])),
        lambda event: replace(event, act=b""),
    ],
)
def test_a_ledger_that_does_not_follow_is_broken_for_good(spoil):
    first, second, third = recorded([(GRANT, T0), (act("BLOCK", "B", terms=None), T0 + HOUR), (GRANT, T0 + 2 * HOUR)])
    whole = view_of([first, second, third])
    assert not whole.broken
    assert goes(view_of([first]))
    broken = view_of([first, spoil(second), third])
    assert broken.broken
    assert decide(request(), broken, RULES).sections[0].reasons == ("EVALUATION_ERROR",) or not goes(broken)
    assert goes(broken.as_known(ledger_seq=1))  # what was known before it stays known


def test_the_same_act_twice_is_one_consent():
    assert len(ledger(GRANT, GRANT).grants) == 1
    assert goes(ledger(GRANT, GRANT))


def test_other_terms_under_one_consent_close_it():
    wider = replace(GRANT, terms=replace(GRANT.terms, categories=("IC08", "IC13")))
    view = ledger(GRANT, wider)
    assert not goes(view)
    assert goes(view, at_us=T0)  # until then it was one consent


def test_a_withdrawal_that_comes_first_counts():
    assert not goes(ledger(act("WITHDRAW"), GRANT))
    assert not goes(ledger(act("WITHDRAW", scope=scope(categories=("IC13",))), GRANT))
    assert goes(ledger(act("WITHDRAW", scope=scope(categories=("IC01",))), GRANT))


def test_what_narrows_one_consent_narrows_no_other():
    for kind in ("WITHDRAW", "SUSPEND", "ANNUL"):
        assert [ends(act(kind, name), one) for name in ("C1", "C2") for one in ledger(GRANT).grants] == [True, False]


def test_a_consent_that_replaces_none_narrows_none():
    """One that replaces another not yet here is kept until that one comes."""
    assert ledger(GRANT).early == ()
    given = replace(GRANT, terms=replace(GRANT.terms, supersedes=act("GRANT", "C2").consent_id))
    assert [name for name, _ in ledger(given).early] == [act("GRANT", "C2").consent_id]


def test_an_empty_scope_takes_everything():
    assert decide(request(), ledger(GRANT, act("WITHDRAW", scope=scope())), RULES).sections[0].reasons[0] == "WITHDRAWN"


def test_a_scope_with_an_unknown_word_takes_everything():
    assert not goes(ledger(GRANT, act("WITHDRAW", scope=scope(categories=("IC99",)))))


def test_only_a_signed_whole_unblock_lifts():
    block = act("BLOCK", "B")
    assert goes(ledger(GRANT, block, act("UNBLOCK", "B")))
    assert not goes(ledger(GRANT, block, act("UNBLOCK", "B"), unsigned=(2,)))
    assert not goes(ledger(GRANT, block, act("UNBLOCK", "B", scope=scope(categories=("IC13",)))))
    assert not goes(ledger(GRANT, block, act("UNBLOCK", "X")))
    assert not goes(ledger(GRANT, block, act("UNBLOCK", "B"), block))
    later = act("UNBLOCK", "B", effective_at_us=T0 + 20 * HOUR)
    assert not goes(ledger(GRANT, block, later))
    assert goes(ledger(GRANT, block, later), at_us=T0 + 20 * HOUR)


def test_only_a_signed_whole_resume_ends_a_suspension():
    assert not goes(ledger(GRANT, act("SUSPEND")))
    assert goes(ledger(GRANT, act("SUSPEND"), act("RESUME")))
    assert not goes(ledger(GRANT, act("SUSPEND"), act("RESUME")), at_us=T0 + HOUR)  # it was suspended then
    assert not goes(ledger(GRANT, act("SUSPEND"), act("RESUME"), unsigned=(2,)))
    assert not goes(ledger(GRANT, act("SUSPEND"), act("RESUME", scope=scope(categories=("IC13",)))))
    assert not goes(ledger(GRANT, act("SUSPEND"), act("RESUME"), act("SUSPEND")))
    assert not goes(ledger(act("SUSPEND"), GRANT))
    assert goes(ledger(GRANT, act("RESUME")))
    later = act("RESUME", effective_at_us=T0 + 20 * HOUR)
    assert not goes(ledger(GRANT, act("SUSPEND"), later))


@pytest.mark.parametrize("change", [{"valid_until_us": None}, {"method": "IMPLIED"}])
def test_a_grant_that_lacks_something_is_invalid(change):
    given = replace(GRANT, terms=replace(GRANT.terms, **change))
    assert "INVALIDATED" in decide(request(), ledger(given), RULES).sections[0].reasons
    assert "INVALIDATED" in decide(request(), ledger(act("GRANT")), RULES).sections[0].reasons


def test_going_back_to_where_it_stands_builds_nothing_anew():
    view = ledger(act("GRANT", terms=terms(to_role("police_coordination"))), act("WITHDRAW"))
    assert view.as_known(view.recorded_at_us) is view
    assert view.as_known(ledger_seq=2) is view
    assert view.as_known(ledger_seq=1) is not view


def test_the_marks_of_a_view_are_no_part_of_what_it_says():
    view = ledger(GRANT)
    assert replace(view, marks=(view,)) == view
    assert "marks" not in repr(replace(view, marks=(view,)))


def test_a_ledger_may_begin_at_the_first_moment_there_is():
    assert not view_of(recorded([(GRANT, 0)])).broken


def test_a_number_left_out_or_a_clock_that_went_back_breaks_it_though_every_head_is_right():
    """Whoever writes heads writes right ones; the order of numbers and times is looked at by itself."""
    first = recorded([(GRANT, T0)])[0]
    data = act("WITHDRAW").to_bytes()
    for number, at_us, broken in ((2, T0, False), (3, T0, True), (2, T0 - 1, True)):
        head = head_after(first.head, number, data, (), at_us)
        later = replace(first, ledger_seq=number, act=data, recorded_at_us=at_us, head=head)
        assert view_of([first, later]).broken is broken


def test_units_that_any_act_names_are_known_by_name():
    part = act("WITHDRAW", scope=scope(to_unit("POL/EXEMPEL/NORD"), to_role("provider")))
    view = ledger(act("GRANT", terms=terms(to_unit("POL/EXEMPEL/SYD"), to_role("provider"))), part)
    assert view.named_units == {"POL/EXEMPEL/SYD", "POL/EXEMPEL/NORD"}
    assert ledger(act("REQUEST", terms=terms(to_unit("POL/EXEMPEL/SYD")))).named_units == frozenset()


def test_only_a_confirmation_that_says_so_moves_the_day_to_ask_again():
    given = act("GRANT", terms=terms(to_role("police_coordination"), review_by_us=T0 + 9 * HOUR))
    other = act("GRANT", "C2", terms=terms(to_role("police_coordination"), review_by_us=T0 + 5 * HOUR))
    for kind, said, expected in (("CONFIRM", 20, 20), ("CONFIRM", None, 9), ("REQUEST", 20, 9)):
        by_us = None if said is None else T0 + said * HOUR
        view = ledger(given, other, act(kind, review_by_us=by_us))
        assert [one.review_us for one in view.grants] == [T0 + expected * HOUR, T0 + 5 * HOUR]


def test_a_grant_that_cannot_be_read_asks_nothing_of_the_programme():
    [grant] = ledger(replace(GRANT, terms=None)).grants
    assert grant.fault
    assert not grant.all_agencies
