"""A consent to a role: whom it covers when somebody else takes the role."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consent.admission import check_act
from consent.decide import decide
from consent.explain import considered, sentences
from consent.ledger import view_of
from consent.rules import shipped
from schemas.acts import RecipientRef
from schemas.errors import HandslagError
from schemas.identifiers import ZERO32
from tests.consent.making import T0, UNITS, act, ledger, named, party, recorded, request, terms, to_role, to_unit
from tests.consent.pure import pure
from tests.consent.test_properties import ledgers, requests

RULES = shipped()[1]
POLICE = "police_coordination"


def granted(*, follows, **changes):
    return act("GRANT", terms=terms(to_role(POLICE, follows=follows), **changes))


def successor(**changes):
    """The member that holds the role now; its unit is not told."""
    return party(POLICE, member=named("successor"), unit=None, **changes)


@pytest.mark.parametrize("follows", [True, False])
def test_a_consent_follows_the_role_only_when_it_says_so(follows):
    view = ledger(granted(follows=follows))
    assert decide(request(), view, RULES).sections[0].released  # whoever held it when it was given
    [section] = decide(request(recipient=successor()), view, RULES).sections
    assert section.released is follows
    assert section.reasons[:1] == (() if follows else ("RECIPIENT_CHANGED",))


@pytest.mark.parametrize("changes", [{"held": False, "active": False, "member": None}, {"active": False}])
def test_a_role_that_nobody_active_holds_gets_nothing(changes):
    view = ledger(granted(follows=True))
    [section] = decide(request(recipient=replace(successor(), **changes)), view, RULES).sections
    assert not section.released


def test_what_takes_back_meets_every_holder():
    for stop in (act("WITHDRAW", seq=1), act("BLOCK", "B", terms=terms(to_role(POLICE)))):
        view = ledger(granted(follows=True), stop)
        for recipient in (party(POLICE), successor()):
            assert not decide(request(recipient=recipient), view, RULES).sections[0].released


def test_the_page_says_that_it_followed():
    view = ledger(granted(follows=True))
    for recipient, follows in ((party(POLICE), False), (successor(), True)):
        asked = request(recipient=recipient)
        decision = decide(asked, view, RULES)
        assert [one.follows for one in considered(decision, asked, view, RULES)] == [follows]
        for language, word in (("sv", "följer rollen"), ("en", "follows the role")):
            told = " ".join(sentences(decision, asked, view, language, RULES))
            assert (word in told) is follows
    asked = request(recipient=successor())
    view = ledger(granted(follows=False))
    told = " ".join(sentences(decide(asked, view, RULES), asked, view, "en", RULES))
    assert "the role is held by another than when the consent was given" in told


def test_only_a_consent_to_a_role_may_follow():
    follows = RecipientRef(kind="UNIT", id=UNITS[POLICE], follows_role=True)
    check_act(granted(follows=True), ZERO32, T0)
    with pytest.raises(HandslagError) as caught:
        check_act(act("GRANT", terms=terms(follows)), ZERO32, T0)
    assert (caught.value.code, caught.value.context["field"]) == ("HS-GRANT-INCOMPLETE", "follows_role")
    check_act(act("GRANT", terms=terms(to_unit(UNITS[POLICE]))), ZERO32, T0)


def hourly(acts):
    return recorded([(one, T0 + place * 3600 * 1_000_000) for place, one in enumerate(acts)])


def stays(one):
    """The act with every consent bound to the holder of its day."""
    if one.act != "GRANT":
        return one
    return replace(
        one,
        terms=replace(one.terms, recipients=tuple(replace(ref, follows_role=False) for ref in one.terms.recipients)),
    )


@pure(ledgers, requests)
def test_another_holder_gets_at_most_what_follows(acts, asked):
    """Against a new member of whom nothing else is known: all it gets rests on consents that follow its role, it gets
    nothing where none follows, and following never takes anything from the holder of the day."""
    role = asked.recipient.role
    changed = replace(asked, recipient=replace(asked.recipient, member=named("nobody before"), unit=None))
    view, bound = view_of(hourly(acts)), view_of(hourly([stays(one) for one in acts]))
    following = {one.consent_id for one in view.grants if role in one.followed}
    for section in decide(changed, view, RULES).sections:
        assert set(section.grants) <= following
    assert not any(section.released for section in decide(changed, bound, RULES).sections)
    before = decide(asked, bound, RULES).sections
    after = decide(asked, view, RULES).sections
    # Two texts under one consent id end each other; a flag may be what makes them two.
    if not any(one.stops for one in view.grants) or [g.stops for g in view.grants] == [g.stops for g in bound.grants]:
        assert all(now.released or not was.released for was, now in zip(before, after, strict=True))
