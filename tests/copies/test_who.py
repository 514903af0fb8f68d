"""Who may be given a copy of a consent, how, and what it says of one that is none."""

from dataclasses import replace

import pytest

from consent import rules
from consent.ledger import LedgerView
from consent.person_record import About, delivery_of, may_receive, record_of
from schemas.acts import Giver, MinorGround, Reservation
from schemas.codes import table
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16
from tests.consent.making import HOUR, T0, act, ledger, named, scope, terms, to_role

POLICE = to_role("police_coordination")
NOW = T0 + 10 * HOUR
MINOR = MinorGround(
    rule_id="L6", age_band="12_TO_14", maturity="SUFFICIENT", child_view="AGREES", guardians=2, guardians_excluded=0,
    reassess_at_us=T0 + 80 * HOUR,
)  # fmt: skip
CHILD = Giver(person=0, capacity="SELF", method="WRITTEN", at_us=T0)
MOTHER = replace(CHILD, person=1, capacity="GUARDIAN", authority_until_us=T0 + 50 * HOUR)
FATHER = replace(MOTHER, person=2)
CONSENT = named("C1")
_FILE, RULES = rules.shipped()


def child(*givers, **minor):
    return act("GRANT", terms=terms(POLICE, givers=givers, minor=replace(MINOR, **minor), given_by="GUARDIAN"))


def refusal(view, person, at_us=NOW, consent=CONSENT):
    try:
        may_receive(view, consent, person, at_us)
    except HandslagError as error:
        return error.code
    return None


BOTH = child(CHILD, MOTHER, FATHER)


def test_the_person_and_who_represents_them_may_have_one():
    view = ledger(BOTH)
    assert [refusal(view, person) for person in (0, 1, 2, 3)] == [None, None, None, "HS-RECORD-RECIPIENT"]
    assert refusal(ledger(act("GRANT", terms=terms(POLICE))), 0) is None
    assert refusal(ledger(act("GRANT", terms=terms(POLICE))), 1) == "HS-RECORD-RECIPIENT"
    assert refusal(view, 0, consent=named("other")) == "HS-RECORD-NOT-FOUND"
    assert refusal(LedgerView.empty(), 0) == "HS-RECORD-NOT-FOUND"


@pytest.mark.parametrize("acts", [[child(CHILD, MOTHER, guardians_excluded=1)]])
def test_a_guardian_who_was_kept_out_never_gets_a_copy(acts):
    view = ledger(*acts)
    assert [refusal(view, person) for person in (0, 1, 2)] == [None, None, "HS-RECORD-RECIPIENT"]
    # Both signed and one may not decide: nobody can say which of them it is.
    view = ledger(child(CHILD, MOTHER, FATHER, guardians_excluded=1))
    assert [refusal(view, person) for person in (0, 1, 2)] == [None, "HS-RECORD-RECIPIENT", "HS-RECORD-RECIPIENT"]


def test_a_guardian_who_is_kept_out_since_gets_no_copy_of_an_older_consent():
    """Both gave the first; of the next the father was kept out. A copy of the first tells him what became of it."""
    later = replace(child(CHILD, MOTHER, guardians_excluded=1), consent_id=named("C2"))
    assert [refusal(ledger(BOTH, later), person) for person in (0, 1, 2)] == [None, None, "HS-RECORD-RECIPIENT"]
    unclear = replace(child(CHILD, MOTHER, FATHER, guardians_excluded=1), consent_id=named("C2"))
    assert [refusal(ledger(BOTH, unclear), person) for person in (1, 2)] == ["HS-RECORD-RECIPIENT"] * 2
    both = replace(BOTH, consent_id=named("C2"))
    assert [refusal(ledger(BOTH, both), person) for person in (0, 1, 2)] == [None] * 3  # control: nobody is kept out
    sibling = replace(later, terms=replace(later.terms, about=(3,)))
    assert [refusal(ledger(BOTH, sibling), person) for person in (1, 2)] == [None] * 2  # of another child's parents


@pytest.mark.parametrize(
    ("acts", "at_us"),
    [
        ([BOTH], T0 + 50 * HOUR),
        ([child(CHILD, MOTHER, FATHER, reassess_at_us=NOW)], NOW),
        ([child(CHILD, MOTHER, FATHER, child_view="OBJECTS")], NOW),
        ([BOTH, act("LAPSE", ZERO16, scope=replace(scope(), givers=(1,)))], NOW),
        ([BOTH, act("LAPSE", ZERO16)], NOW),
    ],
    ids=["authority over", "to be assessed anew", "the child objects", "her custody ended", "of age"],
)
def test_who_no_longer_decides_gets_none(acts, at_us):
    view = ledger(*acts)
    assert (refusal(view, 0, at_us), refusal(view, 1, at_us)) == (None, "HS-RECORD-RECIPIENT")
    assert refusal(ledger(BOTH), 1) is None


def test_a_representative_gets_one_while_the_authority_holds():
    man = replace(MOTHER, capacity="GOD_MAN", authority_from_us=T0 - HOUR)
    view = ledger(act("GRANT", terms=terms(POLICE, givers=(man,), given_by="GOD_MAN")))
    assert refusal(view, 1) is None
    assert refusal(view, 1, T0 + 50 * HOUR) == "HS-RECORD-RECIPIENT"
    given = act("GRANT", terms=terms(POLICE, givers=(man,), given_by="GOD_MAN"))
    for whose, expected in (((1,), "HS-RECORD-RECIPIENT"), ((), "HS-RECORD-RECIPIENT"), ((2,), None)):
        discharged = act("LAPSE", ZERO16, scope=replace(scope(), givers=whose))
        assert refusal(ledger(given, discharged), 1) == expected


def test_another_person_of_the_same_consent_is_not_given_the_case_of_somebody_else():
    other = replace(CHILD, person=1)
    view = ledger(act("GRANT", terms=terms(POLICE, about=(0, 1), givers=(CHILD, other))))
    assert [refusal(view, person) for person in (0, 1)] == [None, "HS-NOT-YET"]


def stated(delivery, given_to=None, protected=False, cover=True):
    try:
        return delivery_of(delivery, given_to=given_to, protected=protected, cover=cover)
    except HandslagError as error:
        return error.code, error.context.get("field")


def test_nothing_is_written_before_somebody_says_how_it_is_delivered():
    assert stated(None) == ("HS-RECORD-DELIVERY", "delivery")
    assert stated(None, given_to=0) == ("HS-RECORD-DELIVERY", "delivery")
    assert stated(None, protected=None) == ("HS-RECORD-DELIVERY", "delivery")
    assert stated(None, protected=True) == "KEPT_AT_AGENCY"
    assert stated(None, protected=True, given_to=0) == ("HS-RECORD-DELIVERY", "given_to")


@pytest.mark.parametrize("way", ["POST", "EMAIL", "SMS", "E-MAIL", "DIGITAL_MAILBOX", ""])
def test_there_is_no_word_for_sending_it(way):
    assert stated(way, given_to=0) == ("HS-CODE-UNKNOWN", "delivery")
    assert stated("SEALED_CHANNEL", given_to=0) == ("HS-NOT-YET", "delivery")
    assert set(table()["copy_delivery"]) == {
        "HANDED_OVER_IN_PERSON", "KEPT_AT_AGENCY", "READ_ALOUD_ONLY", "SEALED_CHANNEL",
    }  # fmt: skip


def test_a_delivery_names_the_person_and_keeps_the_outside_blank_unless_it_is_safe():
    assert stated("HANDED_OVER_IN_PERSON") == ("HS-RECORD-DELIVERY", "given_to")
    assert stated("READ_ALOUD_ONLY") == ("HS-RECORD-DELIVERY", "given_to")
    assert stated("KEPT_AT_AGENCY", given_to=0) == ("HS-RECORD-DELIVERY", "given_to")
    for protected in (True, None):
        assert stated("HANDED_OVER_IN_PERSON", 0, protected, cover=False) == ("HS-RECORD-DELIVERY", "cover")
        assert stated("HANDED_OVER_IN_PERSON", 0, protected) == "HANDED_OVER_IN_PERSON"
    assert stated("HANDED_OVER_IN_PERSON", 0, protected=False, cover=False) == "HANDED_OVER_IN_PERSON"


def made(*acts, at_us=NOW, given_to=0):
    about = About(bytes(16), "SOC/EXEMPEL/KONSULT", "EXEMPEL", "EX-1", at_us, given_to)
    return record_of(ledger(*acts), CONSENT, about, RULES)


PLAIN = act("GRANT", terms=terms(POLICE))


@pytest.mark.parametrize(
    ("acts", "state"),
    [
        ([PLAIN], "given"),
        ([act("GRANT", terms=terms(POLICE, valid_from_us=T0 + 20 * HOUR))], "not_yet"),
        ([act("GRANT", terms=terms(POLICE, valid_until_us=T0 + 9 * HOUR))], "expired"),
        ([PLAIN, act("WITHDRAW")], "withdrawn"),
        ([PLAIN, act("WITHDRAW_ALL", ZERO16)], "withdrawn"),
        ([PLAIN, act("SUSPEND")], "suspended"),
        ([PLAIN, act("ANNUL")], "invalidated"),
        ([act("GRANT", terms=terms(POLICE, reservations=(Reservation(),)))], "needs_a_look"),
        ([child(MOTHER)], "needs_a_look"),
        ([act("GRANT", terms=terms(POLICE, method="IMPLIED"))], "invalidated"),
    ],
)
def test_a_consent_that_opens_nothing_is_not_said_to_be_in_force(acts, state):
    assert made(*acts)["state"]["event_state"] == state


def test_a_part_taken_back_is_told():
    record = made(PLAIN, act("WITHDRAW", scope=scope(categories=("IC13",))))
    assert record["state"] == {
        "event_state": "given", "as_of": record["created"], "partly_withdrawn": True, "blocks_in_force": 0,
    }  # fmt: skip
    assert [each["event_state"] for each in record["events"]] == ["given", "partly_withdrawn"]


def test_who_speaks_for_a_child_is_not_told_of_its_blocks():
    """A block has no giver: it may be the child's own word against the very guardian who reads the copy."""
    acts = (BOTH, act("BLOCK", "X", terms=terms(actions=(), valid_until_us=None)))
    assert made(*acts)["state"]["blocks_in_force"] == 1  # control: the child is told
    assert made(*acts, given_to=1) == made(BOTH, given_to=1) | {"evidence": made(*acts)["evidence"]}


def test_what_was_assessed_of_a_child_is_in_no_copy():
    text = str(made(child(CHILD, MOTHER, guardians_excluded=1)))
    assert [word for word in ("12_TO_14", "SUFFICIENT", "AGREES", "exclu", "L6", "reassess") if word in text] == []
    assert "GUARDIAN" in text
