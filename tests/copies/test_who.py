"""Who may be given a copy of a consent, how, and what it says of one that is none."""

import re
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent import rules
from consent.decide import decide
from consent.ledger import LedgerView
from consent.person_page import LANGUAGES, page_of, plain_of
from consent.person_record import About, delivery_of, may_receive, record_of
from schemas.acts import Giver, MinorGround, Reservation
from schemas.codes import table
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16
from tests.consent.making import HOUR, T0, act, ledger, named, party, request, scope, terms, to_role, to_unit

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
        ([PLAIN, act("GRANT", "C2", terms=terms(POLICE, supersedes=CONSENT))], "superseded"),
        ([act("GRANT", terms=terms(POLICE, actions=()))], "needs_a_look"),
        ([act("GRANT", terms=terms(POLICE, categories=()))], "needs_a_look"),
        ([act("GRANT", terms=terms())], "needs_a_look"),
    ],
)
def test_a_consent_that_opens_nothing_is_not_said_to_be_in_force(acts, state):
    assert made(*acts)["state"]["event_state"] == state


def test_a_part_taken_back_is_told():
    wide = act("GRANT", terms=terms(POLICE, categories=("IC12", "IC13")))
    record = made(wide, act("WITHDRAW", scope=scope(categories=("IC13",))))
    assert record["state"] == {
        "event_state": "given", "as_of": record["created"], "partly_withdrawn": True, "blocks_in_force": 0,
    }  # fmt: skip
    assert [each["event_state"] for each in record["events"]] == ["given", "partly_withdrawn"]


def back(*recipients, **what):
    return act("WITHDRAW", scope=scope(*recipients, **what))


PRISON, CLINIC = to_role("prison_probation"), to_unit("REG/EXEMPEL/VARD")
TWO = act("GRANT", terms=terms(POLICE, PRISON, categories=("IC12", "IC13"), purposes=("PLANNING", "PROTECTION")))
AT_CLINIC = act("GRANT", terms=terms(CLINIC))
BIT_BY_BIT = {
    "its only category": ([PLAIN, back(categories=("IC13",))], "withdrawn"),
    "its only recipient": ([PLAIN, back(POLICE)], "withdrawn"),
    "its only purpose": ([PLAIN, back(purposes=("PLANNING",))], "withdrawn"),
    "a word nobody knows takes all": ([PLAIN, back(categories=("IC99",))], "withdrawn"),
    "both recipients": ([TWO, back(POLICE), back(PRISON)], "withdrawn"),
    "both categories": ([TWO, back(categories=("IC12",)), back(categories=("IC13",))], "withdrawn"),
    "one recipient, and for the other both purposes": (
        [TWO, back(POLICE), back(PRISON, purposes=("PLANNING",)), back(PRISON, purposes=("PROTECTION",))], "withdrawn"),
    "one recipient": ([TWO, back(POLICE)], "given"),
    "crosswise, so that two of four are left": (
        [TWO, back(POLICE, categories=("IC12",)), back(PRISON, categories=("IC13",))], "given"),
    "one purpose": ([TWO, back(purposes=("PLANNING",))], "given"),
    "a recipient that it never had": ([PLAIN, back(PRISON)], "given"),
    "and something new since": ([PLAIN, back(categories=("IC13",)), act(
        "AMEND", terms=terms(POLICE, categories=("IC12", "IC13"), evidence_hash=b"e" * 32))], "given"),
    "and the same again since": ([PLAIN, back(categories=("IC13",)), act(
        "AMEND", terms=terms(POLICE, evidence_hash=b"e" * 32))], "withdrawn"),
    "of a role whose holder may be the unit": ([AT_CLINIC, back(to_role("health_care"))], "perhaps_withdrawn"),
    "of a unit that may hold the role": ([PLAIN, back(to_unit("POL/EXEMPEL/SYD"))], "perhaps_withdrawn"),
    "of a unit that cannot hold the role": ([PLAIN, back(CLINIC)], "given"),
}  # fmt: skip


@pytest.mark.parametrize(("acts", "state"), BIT_BY_BIT.values(), ids=BIT_BY_BIT)
def test_a_consent_taken_back_bit_by_bit_is_taken_back(acts, state):
    record = made(*acts)
    assert record["state"]["event_state"] == state
    assert record["state"]["partly_withdrawn"] == (state != "withdrawn")
    if state == "given":
        return
    # What the copy says is gone does not go: not to the police, not to the unit by itself.
    view = ledger(*acts)
    asked = [request(to="police_coordination"), request(to="health_care")]
    if state == "withdrawn":
        assert [decide(each, view, RULES).sections[0].released for each in asked] == [False, False]


ROLES = {"police_coordination": ("POL/EXEMPEL/SYD", "POL/EXEMPEL/NORD"), "health_care": ("REG/EXEMPEL/VARD",)}
HOLDERS = [(role, unit) for role, units in ROLES.items() for unit in units]
NAMED = st.sampled_from([*map(to_role, ROLES), *(to_unit(unit) for _role, unit in HOLDERS)])
SOME = {
    "categories": st.lists(st.sampled_from(["IC12", "IC13"]), unique=True).map(tuple),
    "purposes": st.lists(st.sampled_from(["PLANNING", "PROTECTION"]), unique=True).map(tuple),
}
BACK = st.builds(lambda named, **what: back(*named, **what), st.lists(NAMED, max_size=2, unique=True), **SOME)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(NAMED, min_size=1, max_size=2, unique=True), st.lists(BACK, min_size=1, max_size=5))
def test_what_is_said_of_a_consent_is_what_holders_of_it_get(recipients, taken):
    """Whoever holds a role, as whichever unit: withdrawn is said only if none gets anything, given never then."""
    wide = act("GRANT", terms=terms(*recipients, categories=("IC12", "IC13"), purposes=("PLANNING", "PROTECTION")))
    [grant] = ledger(wide, *taken).grants
    gets = False
    for role, unit in HOLDERS:
        holder = party(role, unit=unit)
        for category, purpose in product(grant.categories, grant.purposes):
            out = any(part.reach.meets(holder, purpose) and part.reach.takes(category) for part in grant.parts)
            gets |= (unit in grant.units or role in grant.roles) and not out and grant.end_us > NOW
    assert made(wide, *taken)["state"]["event_state"] in (
        ("given", "perhaps_withdrawn") if gets else ("withdrawn", "perhaps_withdrawn")
    )


def history(*acts, **over):
    return [(each["event_type"], each["event_state"]) for each in made(*acts, **over)["events"]]


NEWER = act("AMEND", terms=terms(POLICE, evidence_hash=b"e" * 32))
ENDING = act("GRANT", terms=terms(POLICE, until_event="CASE_CLOSED"))
ENDED = {
    "all taken back, then amended": (
        [PLAIN, act("WITHDRAW_ALL", ZERO16), NEWER],
        [("GRANT", "given"), ("WITHDRAW_ALL", "withdrawn"), ("AMEND", "renewed")]),
    "its event, then amended to no event": (
        [ENDING, act("EXPIRE", ZERO16, ended_event="CASE_CLOSED"), NEWER],
        [("GRANT", "given"), ("EXPIRE", "expired"), ("AMEND", "renewed")]),
    "an event of its new terms, before it had them": (
        [PLAIN, act("EXPIRE", ZERO16, ended_event="CASE_CLOSED"), replace(ENDING, act="AMEND")],
        [("GRANT", "given"), ("AMEND", "renewed")]),
    "another event": (
        [ENDING, act("EXPIRE", ZERO16, ended_event="RELEASED_FROM_CUSTODY")], [("GRANT", "given")]),
    "custody over, then amended": (
        [BOTH, act("LAPSE", ZERO16), NEWER],
        [("GRANT", "given"), ("LAPSE", "expired"), ("AMEND", "renewed")]),
    "custody over of somebody who did not give it": (
        [child(CHILD, MOTHER), act("LAPSE", ZERO16, scope=replace(scope(), givers=(2,)))], [("GRANT", "given")]),
    "all taken back before it was given": ([act("WITHDRAW_ALL", ZERO16), PLAIN], [("GRANT", "given")]),
    "replaced by another": (
        [PLAIN, act("GRANT", "C2", terms=terms(POLICE, supersedes=CONSENT))],
        [("GRANT", "given"), ("GRANT", "superseded")]),
    "replaced by what another became": (
        [PLAIN, act("GRANT", "C2", terms=terms(POLICE)), act("AMEND", "C2", terms=terms(POLICE, supersedes=CONSENT))],
        [("GRANT", "given"), ("AMEND", "superseded")]),
    "all of it by a scope that leaves nothing out": ([PLAIN, back()], [("GRANT", "given"), ("WITHDRAW", "withdrawn")]),
}  # fmt: skip


@pytest.mark.parametrize(("acts", "events"), ENDED.values(), ids=ENDED)
def test_every_act_that_ended_it_stands_in_its_history(acts, events):
    assert history(*acts) == events


def test_of_the_consent_that_replaced_it_nothing_else_is_told():
    newer = terms(PRISON, supersedes=CONSENT, categories=("IC07",), until_event="CASE_CLOSED")
    record = made(PLAIN, act("GRANT", "C2", terms=newer))
    assert set(record["events"][1]) == {"event_time", "event_type", "event_state"}
    assert "IC07" not in str(record)
    for language in LANGUAGES:
        page = page_of(record, "d", language=language, cover=False)
        assert {"sv": "ersattes av ett nytt", "en": "replaced by a new one"}[language] in page
        assert {"sv": "polisen", "en": "police"}[language] in page.lower()


def test_the_page_tells_what_was_recorded_and_when():
    record = made(PLAIN, act("WITHDRAW_ALL", ZERO16), NEWER)
    page = page_of(record, "d", language="sv", cover=False)
    rows = re.findall(r"<li>(Den \d+ \w+ \d{4} kl\. [\d.]+ svensk tid: [^<]+)</li>", page)
    assert [row.split(": ", 1)[1] for row in rows] == [
        "samtycket gavs.", "alla samtycken togs tillbaka, även det här.", "samtycket ändrades.",
    ]  # fmt: skip
    assert "Samtycket är återtaget. Inget mer lämnas med stöd av det." in page
    assert "Vad som har antecknats" not in page_of(made(PLAIN), "d", language="sv", cover=False)  # one act: said below
    read = plain_of(record, language="en")
    assert any(line.endswith("all consents were taken back, this one too.") for line in read)


def test_what_is_left_in_doubt_is_said_once():
    page = page_of(made(*BIT_BY_BIT["of a unit that may hold the role"][0]), "d", language="sv", cover=False)
    assert ("Kanske är inget kvar av det." in page, "En del av samtycket är återtagen" in page) == (True, False)
    assert "En del av samtycket är återtagen" in page_of(made(TWO, back(POLICE)), "d", language="sv", cover=False)


def test_who_speaks_for_a_child_is_not_told_of_its_blocks():
    """A block has no giver: it may be the child's own word against the very guardian who reads the copy."""
    acts = (BOTH, act("BLOCK", "X", terms=terms(actions=(), valid_until_us=None)))
    assert made(*acts)["state"]["blocks_in_force"] == 1  # control: the child is told
    assert made(*acts, given_to=1) == made(BOTH, given_to=1) | {"evidence": made(*acts)["evidence"]}


def test_what_was_assessed_of_a_child_is_in_no_copy():
    text = str(made(child(CHILD, MOTHER, guardians_excluded=1)))
    assert [word for word in ("12_TO_14", "SUFFICIENT", "AGREES", "exclu", "L6", "reassess") if word in text] == []
    assert "GUARDIAN" in text
