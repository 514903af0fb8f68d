"""The ledger's invariants (consent page, "Invariants") on random ledgers of the first acts."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from consent.decide import decide
from consent.ledger import view_of
from consent.rules import shipped
from schemas.codes import Outcome
from schemas.identifiers import ZERO16
from tests.consent.making import (
    HOUR,
    RESERVED,
    T0,
    UNITS,
    act,
    ask,
    named,
    party,
    recorded,
    request,
    scope,
    terms,
    to_role,
    to_unit,
)
from tests.consent.pure import pure

RULES = shipped()[1]
ROLES = ("police_coordination", "prison_probation", "provider")
CATEGORIES = ("IC01", "IC08", "IC12", "IC13")
PURPOSES = ("PLANNING", "INTAKE")

refs = st.one_of(
    st.builds(to_role, st.sampled_from(ROLES), member=st.sampled_from((None, "another")), follows=st.booleans()),
    st.builds(to_unit, st.sampled_from([UNITS[role] for role in ROLES] + ["POL/EXEMPEL/NORD"])),
)


def few(items, least=0):
    return st.lists(st.sampled_from(items), min_size=least, max_size=3, unique=True).map(tuple)


times = st.integers(-5, 30).map(lambda hours: T0 + hours * HOUR)
consents = st.sampled_from(("C1", "C2", "C3"))
moments = st.one_of(st.none(), times)
wide_terms = st.builds(
    lambda recipients, categories, purposes, begin, length, reserved, giver: terms(
        *recipients,
        categories=categories,
        purposes=purposes,
        valid_from_us=begin,
        valid_until_us=None if length is None else begin + length * HOUR,
        reservations=RESERVED if reserved else (),
        given_by=giver,
    ),
    st.lists(refs, min_size=1, max_size=3),
    few(CATEGORIES, 2),
    few(PURPOSES, 1),
    times,
    st.sampled_from((5, 20, 60, 60, 60, None)),
    st.sampled_from((False, False, False, True)),
    st.sampled_from(("SELF", "SELF", "SELF", "GUARDIAN")),
)
grants = st.builds(
    lambda consent, given, member: act("GRANT", consent, terms=given, member=named(member)),
    consents,
    wide_terms,
    st.sampled_from(("social_services_lead",) * 4 + ("other",)),
)
scopes = st.builds(
    lambda recipients, categories, purposes: scope(*recipients, categories=categories, purposes=purposes),
    st.lists(refs, max_size=2),
    few(CATEGORIES),
    few(PURPOSES),
)
blocks = st.builds(
    lambda consent, recipients, categories, purposes, until, said: act(
        "BLOCK",
        consent,
        effective_at_us=said,
        terms=terms(*recipients, categories=categories, purposes=purposes, actions=(), valid_until_us=until),
    ),
    st.sampled_from(("B1", "B2")),
    st.lists(refs, max_size=2),
    few(CATEGORIES),
    few(PURPOSES),
    st.one_of(st.none(), times),
    moments,
)
withdrawals = st.builds(
    lambda consent, part, said: act("WITHDRAW", consent, scope=part, effective_at_us=said),
    consents,
    st.one_of(st.none(), scopes, scopes),
    moments,
)
narrowings = st.one_of(
    withdrawals,
    blocks,
    st.builds(lambda said: act("WITHDRAW_ALL", ZERO16, effective_at_us=said), moments),
    st.builds(lambda consent: act("SUSPEND", consent), consents),
    st.builds(act, st.sampled_from(("ANNUL", "ANNUL_WRONG_PERSON")), consents),
)
unblocks = st.builds(lambda consent: act("UNBLOCK", consent), st.sampled_from(("B1", "B2")))
acts = st.one_of(grants, grants, grants, narrowings, unblocks)
ledgers = st.tuples(st.lists(grants, min_size=1, max_size=3), st.lists(acts, max_size=5)).map(
    lambda two: two[0] + two[1]
)
asks = st.builds(
    lambda category, persons, flag, withheld: ask(
        category, persons=persons, public_interest_released=flag, sender_withheld=withheld
    ),
    st.sampled_from(CATEGORIES),
    st.sampled_from(((0,),) * 6 + ((0, 1), ())),
    st.booleans(),
    st.sampled_from((False,) * 6 + (True,)),
)
parties = st.builds(
    lambda role, held, active, unit, member: party(
        role, held=held, active=active, unit=UNITS[role] if unit else None, member=named(member or role)
    ),
    st.sampled_from(ROLES),
    st.sampled_from((True,) * 6 + (False,)),
    st.sampled_from((True,) * 6 + (False,)),
    st.sampled_from((True, True, True, False)),
    st.sampled_from((None, None, None, "another")),
)
requests = st.builds(
    lambda kind, sections, recipient, purpose, at: request(
        sections, event_type=kind, recipient=recipient, purpose=purpose, at_us=at
    ),
    st.sampled_from(("coordination_meeting_scheduled", "support_requested", "seat_introduced", "seat_invited")),
    st.lists(asks, min_size=1, max_size=3, unique_by=lambda one: one.category).map(tuple),
    parties,
    st.sampled_from(PURPOSES),
    times,
)


def hourly(some, start=0):
    return recorded([(one, T0 + (start + place) * HOUR) for place, one in enumerate(some)])


def released(decision):
    return {section.category for section in decision.sections if section.released}


@pure(ledgers, requests)
def test_no_release_after_withdrawal(some, asked):
    """Invariant 1, with the consent withdrawn at any time up to the question; before it nothing has changed."""
    before = decide(asked, view_of(hourly(some)), RULES)
    said = T0 + min(3, len(some)) * HOUR  # a later time would not count: it holds from when recorded
    events = hourly([*some, act("WITHDRAW_ALL", ZERO16, effective_at_us=said)])
    after = decide(asked, view_of(events), RULES)
    if asked.at_us >= said:
        assert not released(after)
    else:
        assert after.sections == before.sections  # what was released lawfully stays so


@pure(ledgers, narrowings, st.integers(0, 8), requests)
def test_narrowing_never_opens(some, narrowing, place, asked):
    """Invariant 2: put in anywhere, once or twice, a narrowing act only takes away."""
    without = released(decide(asked, view_of(hourly(some)), RULES))
    times_of = [T0 + at * HOUR for at in range(len(some))]
    place = min(place, len(some))
    at = times_of[place - 1] if place else T0
    one = [*zip(some, times_of, strict=True)]
    once = released(decide(asked, view_of(recorded([*one[:place], (narrowing, at), *one[place:]])), RULES))
    twice = [*one[:place], (narrowing, at), *one[place:], (narrowing, max(T0, *times_of))]
    assert once <= without
    assert released(decide(asked, view_of(recorded(twice)), RULES)) <= once


@pure(st.lists(grants, min_size=1, max_size=3), st.lists(withdrawals, min_size=2, max_size=4), requests, st.randoms())
def test_partial_withdrawals_add_up_in_any_order(some, parts, asked, dice):
    """Invariant 2: order and repetition of withdrawals recorded together do not matter."""
    parts = [replace(part, effective_at_us=T0) for part in parts]
    mixed = [*parts, dice.choice(parts)]
    dice.shuffle(mixed)
    late = T0 + len(some) * HOUR
    first = recorded([*((one, T0 + place * HOUR) for place, one in enumerate(some)), *((one, late) for one in parts)])
    second = recorded([*((one, T0 + place * HOUR) for place, one in enumerate(some)), *((one, late) for one in mixed)])
    assert decide(asked, view_of(first), RULES).sections == decide(asked, view_of(second), RULES).sections


@pure(ledgers, requests)
def test_released_cites_a_live_grant(some, asked):
    """Invariant 3, and the bound: at `holds_until` and not a moment before, a cited consent or a block has changed."""
    events = hourly(some)
    found = decide(asked, view_of(events), RULES)
    live = {one.consent_id: one for one in some if one.act == "GRANT"}
    for section in found.sections:
        assert bool(section.grants) == section.released
        for consent_id in section.grants:
            assert live[consent_id].terms.valid_from_us <= asked.at_us < live[consent_id].terms.valid_until_us
            assert consent_id in found.depends_on
    assert (found.holds_until_us is None) == (not released(found))
    if found.holds_until_us is not None:
        assert found.holds_until_us > asked.at_us
        last = decide(replace(asked, at_us=found.holds_until_us - 1), view_of(events), RULES)
        assert released(last) >= released(found)


@pure(ledgers, st.lists(acts, min_size=1, max_size=3), requests)
def test_what_was_known_never_changes(some, later, asked):
    """Invariant 4: as of t, known at k, the answer stays the same however the ledger grows."""
    events = hourly(some)
    grown = view_of(events)
    for event in hourly([*some, *later])[len(some) :]:
        grown = grown.applied(event)
    then = decide(asked, view_of(events), RULES)
    assert decide(asked, grown.as_known(events[-1].recorded_at_us), RULES) == then
    assert decide(asked, grown.as_known(ledger_seq=len(events)), RULES) == then
    assert decide(asked, view_of(hourly([*some, *later]), events[-1].recorded_at_us), RULES) == then


@pure(ledgers, requests, st.binary(max_size=200), st.integers(0, 8))
def test_unreadable_fails_closed(some, asked, junk, place):
    """Invariants 6 and 11: bytes nobody can read, a changed byte or an unknown act close the ledger for good."""
    events = hourly(some)
    place = min(place, len(events) - 1)
    view = view_of(events)
    spoiled = [
        [*events[:place], replace(events[place], act=junk), *events[place + 1 :]],
        [*events[:place], *events[place + 1 :], events[place]] if len(events) > 1 and place < len(events) - 1 else None,
        hourly([*some[:place], replace(some[place], act="FORGET"), *some[place + 1 :]]),
    ]
    for one in filter(None, spoiled):
        broken = view_of(one)
        assert broken.broken
        assert not released(decide(asked, broken, RULES))
    assert not view.broken


@pure(ledgers, requests, st.booleans(), st.text(max_size=5))
def test_only_the_waiver_opens(some, asked, acknowledged, version):
    """Consent to processing and accepted terms never change a decision (domain page, finding 1)."""
    other = [
        replace(
            one, terms=replace(one.terms, processing_acknowledged=acknowledged, terms_version=version, text_version="9")
        )
        if one.terms
        else one
        for one in some
    ]
    assert decide(asked, view_of(hourly(other)), RULES) == decide(asked, view_of(hourly(some)), RULES)


@pure(ledgers, requests, st.integers(1, 200))
def test_other_persons_need_their_own(some, asked, person):
    """Invariant 9: whatever is recorded, a section that concerns somebody else does not go."""
    shared = replace(asked, sections=tuple(replace(one, persons=(*one.persons, person)) for one in asked.sections))
    assert not released(decide(shared, view_of(hourly(some)), RULES))


def test_the_properties_see_releases():
    """Positive control: the simplest of these ledgers releases, so the absences above mean something."""
    given_ = act("GRANT", terms=terms(to_role("police_coordination")))
    found = decide(request(), view_of(hourly([given_])), RULES)
    assert found.outcome is Outcome.RELEASED
    assert released(found) == {"IC13"}
    events = hourly([given_, act("WITHDRAW", scope=scope(categories=("IC01",)))])
    assert released(decide(request(), view_of(events), RULES)) == {"IC13"}
    assert view_of(events).broken is False
