"""Amending, suspending, lifting, expiring, lapsing, superseding; and what is only recorded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consent.decide import decide
from consent.explain import considered
from consent.ledger import view_of
from consent.rules import shipped
from schemas.acts import Giver, Holder, MinorGround, RecipientRef
from tests.consent.making import (
    HOUR,
    T0,
    UNITS,
    act,
    ledger,
    named,
    party,
    recorded,
    request,
    scope,
    terms,
    to_role,
    to_unit,
)

RULES = shipped()[1]
POLICE = to_role("police_coordination")
GRANT = act("GRANT", "A", terms=terms(POLICE))


def why(view, **changes):
    reasons = decide(request(**changes), view, RULES).sections[0].reasons
    return tuple(reason for reason in reasons if reason != "TYPE_WITHHELD")


def effects(view, **changes):
    asked = request(**changes)
    return [(one.kind, one.effect, one.why_not) for one in considered(decide(asked, view, RULES), asked, view, RULES)]


def amended(name="A", **changes):
    return act("AMEND", name, seq=1, terms=terms(POLICE, **changes))


def test_at_every_moment_one_consent_has_one_set_of_terms():
    view = ledger(GRANT, amended(categories=("IC01",)))
    assert why(view, at_us=T0) == ()
    assert why(view, at_us=T0 + HOUR) == ("CATEGORY_NOT_COVERED",)
    assert why(view, at_us=T0, sections=("IC01",)) == ("CATEGORY_NOT_COVERED",)
    assert why(view, sections=("IC01",)) == ()
    assert decide(request(at_us=T0), view, RULES).holds_until_us == T0 + HOUR
    assert effects(view) == [("GRANT", None, ("CATEGORY_NOT_COVERED",))]


def test_an_amendment_revives_nothing():
    for narrowing in ("WITHDRAW", "ANNUL", "SUSPEND"):
        assert why(ledger(GRANT, act(narrowing, "A"), amended())) != ()
    part = act("WITHDRAW", "A", scope=scope(categories=("IC13",)))
    assert why(ledger(GRANT, part, amended())) == ("PARTIALLY_WITHDRAWN",)
    assert why(ledger(GRANT, act("SUSPEND", "A"), amended(), act("RESUME", "A"))) == ()
    wide, narrow = amended(categories=("IC01", "IC13")), amended(categories=("IC01",))
    assert why(ledger(GRANT, wide, narrow)) == ("CATEGORY_NOT_COVERED",)
    assert why(ledger(GRANT, wide, narrow, wide)) == ("CATEGORY_NOT_COVERED",)  # the same bytes, sent again
    assert why(ledger(GRANT, wide, narrow, GRANT)) == ("CATEGORY_NOT_COVERED",)


def test_an_amendment_nobody_signed_ends_the_old_terms_and_opens_nothing():
    assert why(ledger(GRANT, amended(), unsigned=(1,))) == ("INVALIDATED",)
    assert why(ledger(GRANT, act("AMEND", "A", seq=1)))[-1] == "EXPIRED"
    assert why(ledger(GRANT, amended(kind="PROCESSING"))) == ("INVALIDATED",)
    assert why(ledger(amended(), GRANT)) == ("INVALIDATED",)


def test_a_consent_that_replaces_another_ends_it():
    newer = act("GRANT", "B", terms=terms(POLICE, categories=("IC01",), supersedes=named("A")))
    assert why(ledger(GRANT, newer)) == ("SUPERSEDED",)
    assert why(ledger(GRANT, newer), at_us=T0) == ()
    assert why(ledger(GRANT, newer, act("WITHDRAW", "B"))) == ("SUPERSEDED",)
    assert why(ledger(newer, GRANT)) == ("SUPERSEDED",)
    assert why(ledger(act("GRANT", "A", terms=terms(POLICE, supersedes=named("A"))))) == ("SUPERSEDED",)


def test_what_ends_with_an_event_ends_with_that_event():
    ends = act("GRANT", "A", terms=terms(POLICE, until_event="PLACEMENT_ENDED"))
    happened = act("EXPIRE", "E", ended_event="PLACEMENT_ENDED")
    assert why(ledger(ends)) == ()
    assert why(ledger(ends, happened)) == ("EXPIRED",)
    assert why(ledger(ends, replace(happened, effective_at_us=T0)), at_us=T0) == ("EXPIRED",)
    assert why(ledger(ends, act("EXPIRE", "E", ended_event="CASE_CLOSED"))) == ()
    assert why(ledger(ends, act("EXPIRE", "E", ended_event="SOMETHING"))) == ("EXPIRED",)
    assert why(ledger(ends, act("EXPIRE", "E"))) == ("EXPIRED",)
    assert why(ledger(GRANT, happened)) == ()
    assert why(ledger(happened, ends)) == ()  # given after it
    assert why(ledger(act("GRANT", "A", terms=terms(POLICE, until_event="SOMEDAY")))) == ("INVALIDATED",)


def whose(*persons):
    return replace(scope(), givers=persons)


@pytest.mark.parametrize("capacity", ["GOD_MAN", "FORVALTARE", "DECEASED_REP"])
def test_when_anybody_s_authority_ends_what_rests_on_it_ends(capacity):
    one = Giver(person=2, capacity=capacity, method="WRITTEN", at_us=T0, authority_from_us=T0 - HOUR)
    given = act("GRANT", "A", terms=terms(POLICE, givers=(one,), given_by=capacity))
    assert why(ledger(given)) == ()
    assert why(ledger(given, act("LAPSE", "L"))) == ("GUARDIAN_AUTHORITY_ENDED",)
    assert why(ledger(given, act("LAPSE", "L", scope=whose(2)))) == ("GUARDIAN_AUTHORITY_ENDED",)
    assert why(ledger(given, act("LAPSE", "L", scope=whose(3)))) == ()
    assert why(ledger(GRANT, act("LAPSE", "L"))) == ()
    said = act("GRANT", "A", terms=terms(POLICE, givers=(replace(one, person=0, capacity="SELF"),)))
    for scoped in (None, whose(0)):
        assert why(ledger(said, act("LAPSE", "L", scope=scoped))) == ()


def test_when_a_guardian_has_custody_no_more_what_rests_on_it_ends():
    ground = MinorGround(
        rule_id="L6", age_band="UNDER_12", maturity="INSUFFICIENT", child_view="AGREES", guardians=1,
        guardians_excluded=0, reassess_at_us=T0 + 99 * HOUR,
    )  # fmt: skip
    mother = Giver(person=1, capacity="GUARDIAN", method="WRITTEN", at_us=T0)
    child = act("GRANT", "A", terms=terms(POLICE, givers=(mother,), minor=ground))
    assert why(ledger(child)) == ()
    assert why(ledger(child, act("LAPSE", "L"))) == ("GUARDIAN_AUTHORITY_ENDED",)
    assert why(ledger(child, act("LAPSE", "L", scope=replace(scope(), givers=(1,))))) == ("GUARDIAN_AUTHORITY_ENDED",)
    assert why(ledger(child, act("LAPSE", "L", scope=replace(scope(), givers=(2,))))) == ()
    assert why(ledger(GRANT, act("LAPSE", "L"))) == ()
    special = replace(mother, capacity="SPECIAL_GUARDIAN", authority_from_us=T0)
    alone = replace(ground, guardians_excluded=1)
    child = act("GRANT", "A", terms=terms(POLICE, givers=(special,), given_by="SPECIAL_GUARDIAN", minor=alone))
    assert why(ledger(child)) == ()
    assert why(ledger(child, act("LAPSE", "L"))) == ("GUARDIAN_AUTHORITY_ENDED",)
    assert why(ledger(child, act("LAPSE", "L", scope=replace(scope(), givers=(2,))))) == ()


BLOCK = act("BLOCK", "X", terms=terms(actions=(), categories=(), purposes=(), valid_until_us=None))


def lift(hours=40, **changes):
    return act("LIFT", "X", seq=1, lift_until_us=T0 + hours * HOUR, **changes)


def test_a_block_is_lifted_for_a_while():
    view = ledger(GRANT, BLOCK, lift())
    assert why(view) == ()
    assert decide(request(), view, RULES).holds_until_us == T0 + 40 * HOUR
    assert why(view, at_us=T0 + 40 * HOUR) == ("BLOCK_IN_FORCE",)
    assert why(view, at_us=T0 + HOUR) == ("BLOCK_IN_FORCE",)
    assert effects(view)[-1] == ("BLOCK", "LIFTED_FOR_NOW", ())
    assert why(ledger(GRANT, BLOCK, lift(), lift(60))) == ()
    assert decide(request(), ledger(GRANT, BLOCK, lift(), lift(60)), RULES).holds_until_us == T0 + 60 * HOUR
    assert why(ledger(GRANT, BLOCK, lift(), BLOCK)) == ("BLOCK_IN_FORCE",)


@pytest.mark.parametrize(
    ("part", "lifts"),
    [
        (scope(), True),
        (scope(categories=("IC13",)), True),
        (scope(to_unit(UNITS["police_coordination"])), True),
        (scope(replace(POLICE, member=None)), False),  # nobody is known to have held the role when it was recorded
        (scope(POLICE), True),
        (scope(to_role("police_coordination", member="another")), False),
        (scope(to_unit("POL/EXEMPEL/NORD")), False),
        (scope(categories=("IC01",)), False),
        (scope(categories=("IC13", "IC99")), False),
        (scope(purposes=("INTAKE",)), False),
    ],
)
def test_a_lift_lifts_only_what_it_certainly_means(part, lifts):
    assert (why(ledger(GRANT, BLOCK, lift(scope=part))) == ()) is lifts


UNIT = to_unit(UNITS["police_coordination"])


@pytest.mark.parametrize(
    ("blocked", "lifted", "until_hour"),
    [
        ((POLICE, UNIT), (POLICE,), None),
        ((POLICE, UNIT), (UNIT,), None),
        ((POLICE, UNIT), (POLICE, UNIT), 40),
        ((UNIT,), (POLICE,), None),
        ((POLICE,), (UNIT,), None),
        ((POLICE, to_unit("POL/EXEMPEL/NORD")), (POLICE,), 40),  # control: that unit is another
        ((), (POLICE,), 40),  # everybody, lifted for whoever held the role
        ((), (UNIT,), 40),
    ],
)
def test_a_block_of_a_unit_stays_until_it_is_lifted_for_the_unit(blocked, lifted, until_hour):
    """Each recipient that a block names is lifted by its own name, also where a role and a unit are the same seat."""
    block = act("BLOCK", "X", terms=replace(BLOCK.terms, recipients=blocked))
    view = ledger(GRANT, block, lift(scope=scope(*lifted)))
    assert why(view) == (("BLOCK_IN_FORCE",) if until_hour is None else ())
    if until_hour is not None:
        assert decide(request(), view, RULES).holds_until_us == T0 + until_hour * HOUR
    assert effects(view)[-1][1] == ("BLOCKS" if until_hour is None else "LIFTED_FOR_NOW")
    stays = "BLOCK_IN_FORCE" in why(view, recipient=party("police_coordination", unit=None))
    assert stays is (blocked != () or lifted == (UNIT,))  # a unit that is not told could be the one


def test_lifts_of_a_role_and_of_its_unit_add_up():
    block = act("BLOCK", "X", terms=replace(BLOCK.terms, recipients=(POLICE, UNIT)))
    by_role, by_unit = lift(scope=scope(POLICE)), lift(60, scope=scope(UNIT))
    for lifts in ((by_role, by_unit), (by_unit, by_role)):
        view = ledger(GRANT, block, *lifts)
        assert why(view) == ()
        assert decide(request(), view, RULES).holds_until_us == T0 + 40 * HOUR
        assert why(view, at_us=T0 + 40 * HOUR) == ("BLOCK_IN_FORCE",)


def test_a_lift_outside_its_block_lifts_nothing():
    only = act("BLOCK", "X", terms=terms(actions=(), categories=("IC13",), purposes=(), valid_until_us=None))
    assert why(ledger(GRANT, only, lift(scope=scope(categories=("IC13",))))) == ()
    assert why(ledger(GRANT, only, lift(scope=scope(categories=("IC13", "IC01"))))) == ("BLOCK_IN_FORCE",)
    assert why(ledger(GRANT, only, lift(), unsigned=(2,))) == ("BLOCK_IN_FORCE",)
    assert why(ledger(GRANT, only, act("LIFT", "X"))) == ("BLOCK_IN_FORCE",)
    assert why(ledger(GRANT, only, act("LIFT", "Y", lift_until_us=T0 + 40 * HOUR))) == ("BLOCK_IN_FORCE",)


@pytest.mark.parametrize("kind", ["REQUEST", "REFUSE", "CONFIRM"])
def test_what_is_only_recorded_changes_no_decision(kind):
    with_terms = act(kind, "A", terms=terms(POLICE))
    assert why(ledger(with_terms)) == ("NO_RECORD",)
    assert why(ledger(with_terms, GRANT)) == ()
    assert why(ledger(GRANT, with_terms)) == ()
    assert effects(ledger(with_terms)) == [(kind, "RECORDED", ())]
    assert not ledger(act(kind, "A", terms=terms(to_unit("POL/EXEMPEL/SYD")))).named_units


def test_what_was_known_before_an_amendment_stays_known():
    events = recorded([(GRANT, T0), (amended(categories=("IC01",)), T0 + HOUR)])
    assert why(view_of(events)) == ("CATEGORY_NOT_COVERED",)
    assert why(view_of(events).as_known(ledger_seq=1)) == ()


def test_a_unit_is_no_role_and_a_role_no_unit_whatever_they_are_called():
    """The words of both lists are different today; should they meet, nobody gets what the other was given."""
    police = to_unit("POL/EXEMPEL/SYD").id
    as_role = RecipientRef(kind="ROLE", id=police, follows_role=False)
    as_unit = to_unit("police_coordination")
    assert why(ledger(act("GRANT", terms=terms(as_role)))) == ("RECIPIENT_NOT_COVERED",)
    assert why(ledger(act("GRANT", terms=terms(as_unit)))) == ("RECIPIENT_NOT_COVERED",)


def test_a_lift_for_a_unit_is_none_for_a_role_whatever_they_are_called():
    whom = party("police_coordination", unit="provider")
    held = (Holder(role="police_coordination", member=named("police_coordination")),)
    block = act("BLOCK", "B", terms=terms(categories=(), purposes=(), actions=(), valid_until_us=None))
    for ref in (to_role("provider"), to_unit("police_coordination")):
        lift = act("LIFT", "B", lift_until_us=T0 + 99 * HOUR, scope=scope(ref))
        view = ledger(act("GRANT", terms=terms(to_role("police_coordination"))), block, lift, holders=held)
        assert "BLOCK_IN_FORCE" in decide(request(recipient=whom), view, RULES).sections[0].reasons


def test_who_held_one_role_is_no_holder_of_another():
    """A consent to two roles, one of them to a certain member: who held that role when recorded is not meant."""
    other = RecipientRef(kind="ROLE", id="prison_probation", follows_role=False)
    held = (
        Holder(role="police_coordination", member=named("somebody")),
        Holder(role="prison_probation", member=named("kv")),
    )
    view = ledger(act("GRANT", terms=terms(to_role("police_coordination"), other)), holders=held)
    whom = party("police_coordination", member=named("somebody"))
    assert "RECIPIENT_CHANGED" in decide(request(recipient=whom), view, RULES).sections[0].reasons


def test_a_block_is_shown_to_hold_from_its_first_moment_to_its_last():
    given_ = act("GRANT", terms=terms(to_role("police_coordination")))
    nothing = terms(categories=(), purposes=(), actions=(), valid_from_us=T0 + 2 * HOUR, valid_until_us=T0 + 9 * HOUR)
    view = ledger(given_, act("BLOCK", "B", terms=nothing, effective_at_us=T0 + 2 * HOUR))
    for at_us, effect in ((1, "BLOCKS"), (9, "BLOCKS")):
        asked = request(at_us=T0 + at_us * HOUR)
        found = considered(decide(asked, view, RULES), asked, view, RULES)
        assert [one.effect for one in found if one.kind == "BLOCK"] == [effect]
    for at_us in (T0 + HOUR - 1, T0 + 9 * HOUR + 1):
        asked = request(at_us=at_us)
        found = considered(decide(asked, view, RULES), asked, view, RULES)
        assert [one.effect for one in found if one.kind == "BLOCK"] == ["BLOCK_LIFTED"]
