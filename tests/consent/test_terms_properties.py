"""Hypothesis: with every new act and term, what narrows never opens, and what opens rests on consents in force."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from consent import standing
from consent.admission import check_act
from consent.decide import decide
from consent.explain import considered
from consent.ledger import view_of
from consent.rules import released, shipped
from consent.terms import THE_PERSON
from schemas import codes
from schemas.acts import CapacityGround, Giver, MinorGround, Reservation
from schemas.codes import outcome_of
from schemas.errors import HandslagError
from tests.consent.making import HOUR, T0, act, ask, named, recorded, request, scope, terms, to_role
from tests.consent.pure import pure

RULES = shipped()[1]
POLICE = to_role("police_coordination")

hours = st.integers(-3, 30).map(lambda at: T0 + at * HOUR)
some_hours = st.one_of(st.none(), st.none(), hours)


def mostly(usual, *others):
    return st.sampled_from((usual,) * (3 * len(others)) + others)


def word(kind):
    return st.sampled_from([*codes.table()[kind], "UNKNOWN"])


givers = st.lists(
    st.builds(
        Giver,
        person=st.integers(0, 2),
        capacity=word("giver"),
        method=mostly("WRITTEN", "IMPLIED"),
        at_us=hours,
        authority_from_us=some_hours,
        authority_until_us=some_hours,
    ),
    max_size=3,
).map(tuple)
minors = st.builds(
    MinorGround,
    rule_id=st.just("L6"),
    age_band=word("age_band"),
    maturity=word("maturity"),
    child_view=mostly("AGREES", "OBJECTS", "UNABLE", "NOT_ASKED"),
    guardians=st.integers(-1, 2),
    guardians_excluded=st.integers(0, 2),
    reassess_at_us=hours,
)
few_terms = st.builds(
    lambda categories, **more: terms(POLICE, categories=categories, **more),
    st.sampled_from((("IC13",), ("IC01", "IC13"), ("IC01",))),
    kind=st.one_of(st.none(), st.none(), word("consent_kind")),
    about=st.one_of(st.none(), st.none(), st.lists(st.integers(0, 2), max_size=2).map(tuple)),
    givers=st.one_of(st.none(), st.none(), givers),
    minor=st.one_of(st.none(), st.none(), minors),
    capacity=st.one_of(
        st.none(),
        st.none(),
        st.builds(CapacityGround, status=word("capacity_status"), assessed_at_us=hours, valid_until_us=some_hours),
    ),
    data_from_us=some_hours,
    data_until_us=some_hours,
    until_event=st.one_of(st.none(), word("ending_event")),
    recipient_obligations=st.one_of(st.none(), st.lists(word("obligation"), max_size=2).map(tuple)),
    reservations=st.lists(st.builds(Reservation, code=st.one_of(st.none(), word("reservation"))), max_size=1).map(
        tuple
    ),
    supersedes=st.sampled_from((None, None, None, named("A"), named("B"))),
)
names = st.sampled_from(("A", "B"))
grants = st.builds(lambda name, given: act("GRANT", name, terms=given), names, few_terms)
parts = st.one_of(st.none(), st.builds(lambda cats: scope(categories=cats), st.sampled_from((("IC13",), ("IC01",)))))
narrowings = st.one_of(
    st.builds(act, st.sampled_from(("WITHDRAW", "SUSPEND", "ANNUL")), names),
    st.builds(lambda what: act("EXPIRE", "E", ended_event=what), word("ending_event")),
    st.builds(
        lambda whose: act("LAPSE", "L", scope=None if whose is None else replace(scope(), givers=whose)),
        st.sampled_from((None, (), (1,), (2,))),
    ),
    st.builds(
        lambda about, cats: act(
            "BLOCK", "X", terms=terms(actions=(), purposes=(), categories=cats, about=about, valid_until_us=None)
        ),
        st.sampled_from((None, (0,), (1,))),
        st.sampled_from(((), ("IC13",), ("IC01",))),
    ),
)
widenings = st.one_of(
    grants,
    st.builds(lambda name, given: act("AMEND", name, seq=1, terms=given), names, few_terms),
    st.builds(lambda name: act("RESUME", name), names),
    st.builds(lambda until, part: act("LIFT", "X", lift_until_us=until, scope=part), hours, parts),
    st.just(act("UNBLOCK", "X")),
)
neither = st.builds(act, st.sampled_from(("REQUEST", "REFUSE", "CONFIRM")), names)
ledgers = st.lists(st.one_of(grants, grants, widenings, narrowings, neither), min_size=1, max_size=6)
asks = st.builds(
    lambda category, persons, since, until: ask(category, persons=persons, data_from_us=since, data_until_us=until),
    st.sampled_from(("IC13", "IC01")),
    mostly((0,), (0, 1), (1,), ()),
    some_hours,
    some_hours,
)
requests = st.builds(
    lambda sections, at: request(sections, at_us=at), st.lists(asks, min_size=1, max_size=2).map(tuple), hours
)


def hourly(some):
    return recorded([(one, T0 + place * HOUR) for place, one in enumerate(some)])


def goes(decision):
    return {place for place, section in enumerate(decision.sections) if section.released}


@pure(ledgers, narrowings, st.integers(0, 6), requests)
def test_nothing_new_that_narrows_opens(some, narrowing, place, asked):
    """Put in anywhere, at the time of the act before it. An AMEND or a RESUME after it may only take it back."""
    place = min(place, len(some))
    times = [T0 + at * HOUR for at in range(len(some))]
    at = times[place - 1] if place else T0
    one = [*zip(some, times, strict=True)]
    more = view_of(recorded([*one[:place], (narrowing, at), *one[place:]]))
    assert goes(decide(asked, more, RULES)) <= goes(decide(asked, view_of(hourly(some)), RULES))


@pure(ledgers, st.integers(0, 6), neither, requests)
def test_what_is_only_recorded_never_counts(some, place, note, asked):
    place = min(place, len(some))
    times = [T0 + at * HOUR for at in range(len(some))]
    at = times[place - 1] if place else T0
    one = [*zip(some, times, strict=True)]
    more = view_of(recorded([*one[:place], (note, at), *one[place:]]))
    assert decide(asked, more, RULES) == decide(asked, view_of(hourly(some)), RULES)


@pure(ledgers, requests)
def test_what_is_released_holds_until_it_says(some, asked):
    """And every person of it has a consent of his own among those cited."""
    view = view_of(hourly(some))
    found = decide(asked, view, RULES)
    assert found.outcome == outcome_of([(one.released, one.reasons) for one in found.sections])
    stands = {grant.consent_id: grant for grant in view.grants if grant.stands(asked.at_us)}
    for part, section in zip(asked.sections, found.sections, strict=True):
        assert section.released == (not section.reasons)
        if section.released:
            for person in {THE_PERSON, *part.persons}:
                assert any(stands[used].concerns(person) for used in section.grants)
    if found.holds_until_us is not None:
        assert found.holds_until_us > asked.at_us
        assert goes(decide(replace(asked, at_us=found.holds_until_us - 1), view, RULES)) >= goes(found)
        for part, section in zip(asked.sections, found.sections, strict=True):
            assert not section.released or part.persons


@pure(ledgers, requests)
def test_every_record_that_does_not_cover_says_why(some, asked):
    view = view_of(hourly(some))
    found = decide(asked, view, RULES)
    for one in considered(found, asked, view, RULES):
        assert (one.effect is None) == bool(one.why_not)
        assert set(one.why_not) <= set(codes.table()["reason"])


@pure(ledgers, ledgers, requests)
def test_what_was_decided_then_stays(some, later, asked):
    events = hourly([*some, *later])
    then = view_of(events[: len(some)])
    grown = view_of(events)
    assert decide(asked, grown.as_known(ledger_seq=len(some)), RULES) == decide(asked, then, RULES)


@pure(ledgers, requests)
def test_older_rules_understand_no_more_than_they_did(some, asked):
    """Under rules that know no children and no coded reservations nothing goes that the newest hold back for these."""
    view = view_of(hourly(some))
    newest = goes(decide(asked, view, RULES))
    for rules in released().values():
        if rules.version == "2026-11-22":
            assert goes(decide(asked, view, rules)) <= newest or rules.texts_ended != RULES.texts_ended


@pure(few_terms)
def test_what_is_admitted_is_a_valid_consent(given_terms):
    """The door and the decision agree: nothing recorded is invalid from the start, or given by who has no power."""
    one = act("GRANT", "C", terms=given_terms)
    try:
        check_act(one, one.prev, T0)
    except HandslagError:
        return
    view = view_of(recorded([(one, T0)]))
    told = {reason for bits in view.grants for reason in standing.reasons(bits.fault)}
    assert not told & {"INVALIDATED", "GUARDIAN_AUTHORITY_ENDED"}
