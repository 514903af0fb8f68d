"""A grant as a FHIR Consent: what it means goes along, and nothing about who the person is."""

import dataclasses
import json
import re
from itertools import product

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from connectors.fhir import giving, model, taking
from connectors.fields import moment
from consent.fhir import systems
from consent.fhir.decide import decide
from consent.fhir.terms import PERMIT, Ask, Coding
from consent.rules import shipped
from consent.terms import Party
from schemas import codes
from schemas.acts import InformationGiven, RecipientRef, Reservation
from schemas.errors import HandslagError
from schemas.identifiers import authority_of, shown
from tests.fhir.ledger import CONSENT, DAY, SECOND, START, UNIT, ref, scope, terms, view

ROLES = ("health_care", "prison_probation")
UNITS = ("REG/EXEMPEL/VC", "KV/EXEMPEL/FRIVARD")
CATEGORIES, PURPOSES, ACTIONS = (
    ("IC07", "IC08", "IC13"),
    ("HEALTH_COLLABORATION", "PLANNING"),
    ("DISCLOSE", "ORAL_DISCUSS"),
)
LATER = START + 40 * DAY
_FILE, RULES = shipped()


def listed(values):
    return st.lists(st.sampled_from(values), min_size=1, unique=True).map(tuple)


def some(values):
    return st.one_of(st.just(()), listed(values))


REFS = st.one_of(
    st.builds(ref, st.sampled_from(ROLES), follows=st.booleans()),
    st.sampled_from(UNITS).map(ref),
)
RECIPIENTS = st.lists(REFS, min_size=1, max_size=3, unique_by=lambda each: each.id).map(tuple)
TERMS = st.builds(
    terms,
    recipients=RECIPIENTS,
    categories=listed(list(codes.table()["category"])),
    purposes=listed(list(codes.table()["purpose"])),
    actions=listed(list(codes.table()["action"])),
    valid_from_us=st.sampled_from([START, START + 10 * DAY]),
    valid_until_us=st.integers(START + 41 * DAY, START + 4000 * DAY),
    text_version=st.sampled_from(["T1", "samtycke/lättläst å", "a:b c"]),
    processing_acknowledged=st.booleans(),
    method=st.sampled_from(["WRITTEN", "EID", "ORAL_DOCUMENTED"]),
)


def exported(ledger, *, as_of=LATER, patient=None, rules=RULES):
    made = giving.consent_of(ledger, CONSENT, unit=UNIT, as_of_us=as_of, patient=patient, rules=rules)
    return model.checked(made)


def loaded(resource):
    return model.load(json.dumps(resource).encode())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TERMS, st.sampled_from([None, "Patient/exempel-1"]))
@example(terms(valid_until_us=START + 50 * DAY + 1), None)
@example(terms(valid_until_us=START + 50 * DAY), None)
def test_a_grant_taken_in_again_says_what_it_said(told, patient):
    resource = exported(view(("GRANT", {"terms": told})), patient=patient)
    taken = taking.command_of(loaded(resource), taking.Given(ref="EX-1", unit=UNIT, now_us=START + SECOND))
    command = taken.command
    recipients = [
        {"unit": each.id, "role": None, "follows_role": False}
        if each.kind == "UNIT"
        else {"unit": None, "role": each.id, "follows_role": each.follows_role}
        for each in told.recipients
    ]
    assert command["recipients"] == recipients
    assert [command[name] for name in ("categories", "purposes", "actions")] == [
        list(told.categories), list(told.purposes), list(told.actions)
    ]  # fmt: skip
    # Never later, and earlier by a microsecond only where FHIR would read a whole second.
    whole = told.valid_until_us % SECOND == 1
    assert moment(command["valid_until"], "valid_until") == told.valid_until_us - whole
    later = command["valid_from"] and moment(command["valid_from"], "valid_from")
    assert later == (told.valid_from_us if told.valid_from_us > START + SECOND else None)
    for name in ("text_version", "terms_version", "processing_acknowledged", "given_by", "method"):
        assert command[name] == getattr(told, name)


def asked(role, unit, category, purpose, action, at):
    named = {systems.OUR_UNIT: unit, systems.OUR_ROLE: role, systems.OUR_ROLE_FOLLOWED: role}
    act = (systems.ACTION, systems.TO_HL7[action]) if action in systems.TO_HL7 else (systems.OUR_ACTION, action)
    return Ask(
        references=frozenset(),
        identifiers=frozenset(Coding(*each) for each in named.items()),
        purpose=Coding(systems.OUR_PURPOSE, purpose),
        action=Coding(*act),
        category=systems.PATIENT_PRIVACY,
        classes=(Coding(systems.OUR_CATEGORY, category),),
        at_us=at,
    )


REACHES = st.builds(scope, some([ref(name) for name in (*ROLES, *UNITS)]), some(CATEGORIES), some(PURPOSES))
SMALL = st.builds(
    terms, recipients=RECIPIENTS, categories=listed(CATEGORIES), purposes=listed(PURPOSES), actions=listed(ACTIONS)
)
BLOCKS = st.builds(
    terms,
    recipients=some([ref(name) for name in (*ROLES, *UNITS)]),
    categories=some(CATEGORIES),
    purposes=some(PURPOSES),
    actions=some(ACTIONS),
    valid_until_us=st.sampled_from([None, START + 20 * DAY]),
)
QUESTIONS = st.tuples(
    st.sampled_from(list(zip(ROLES, UNITS, strict=True))),
    st.sampled_from(CATEGORIES), st.sampled_from(PURPOSES), st.sampled_from(ACTIONS),
    st.sampled_from([START, START + 15 * DAY, LATER, START + 90 * DAY]),
)  # fmt: skip


OF_CLINIC = (("health_care", "REG/EXEMPEL/VC"), "IC07", "HEALTH_COLLABORATION", "DISCLOSE")


def covers(ledger, holder, category, purpose, action, at):
    """What the ledger's own records say, read here without the decision."""
    (grant,) = ledger.grants
    role, unit = holder
    party = Party(role=role, authority=authority_of(unit), unit=unit, member=None, active=True, held=True)
    named = unit in grant.units or role in grant.roles
    listed = category in grant.categories and purpose in grant.purposes and action in grant.actions
    back = any(
        at >= part.from_us and part.reach.meets(party, purpose) and part.reach.takes(category) for part in grant.parts
    )
    blocked = any(
        block.from_us <= at <= block.until_us and block.reach.meets(party, purpose) and block.reach.takes(category)
        and (block.actions is None or action in block.actions)
        for block in ledger.blocks
    )  # fmt: skip
    return grant.start_us <= at < grant.end_us and named and listed and not back and not blocked


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SMALL, st.lists(REACHES, max_size=2), st.lists(BLOCKS, max_size=2), QUESTIONS)
@example(terms(), [scope(categories=("IC07",))], [], (*OF_CLINIC, LATER))
@example(terms(), [], [terms(categories=("IC07",), actions=(), valid_until_us=None)], (*OF_CLINIC, LATER))
@example(terms(), [scope(categories=("IC08",))], [], (*OF_CLINIC, LATER))
def test_an_exported_consent_answers_as_the_ledger_does(told, back, blocks, question):
    acts = [("GRANT", {"terms": told}), *(("WITHDRAW", {"scope": each}) for each in back)]
    acts += [("BLOCK", {"terms": each, "consent_id": bytes([number]) * 16}) for number, each in enumerate(blocks)]
    ledger = view(*acts)
    answer = decide(loaded(exported(ledger, as_of=question[-1])).consent, asked(*question[0], *question[1:]))
    assert (answer.decision == PERMIT) == covers(ledger, *question)
    assert answer.residual.everything


def test_no_name_number_or_holder_goes_along():
    text = json.dumps(exported(view(("GRANT", {"terms": terms(evidence_hash=b"\x07" * 32)}))))
    assert "masked" in text
    assert not re.search(r"\d{6,8}[-+]?\d{4}", text.replace(shown(CONSENT), ""))
    for hidden in (b"health_care-----".hex(), "health_care-----", "07" * 32, "actor_ref", '"EX"', "mmmm"):
        assert hidden not in text
    named = json.dumps(exported(view(("GRANT", {"terms": terms()})), patient="Patient/exempel-1"))
    assert named.count("Patient/exempel-1") == 2


@pytest.mark.parametrize(
    "given", ["Test Testsson", "Patient/19121212-1212", "Patient/1212121212", "urn:x:191212121212", ""]
)
def test_a_name_or_a_number_is_no_reference_of_the_person(given):
    with pytest.raises(HandslagError) as error:
        giving.check_patient(given)
    assert (error.value.code, error.value.context) == ("HS-INPUT-INVALID", {"field": "patient"})


@pytest.mark.parametrize("given", [None, "Patient/17", "urn:uuid:01a2016d-eb13-7b39-819c-a99e16436ddb"])
def test_a_reference_of_the_agency_may_be_written(given):
    giving.check_patient(given)


def test_an_amendment_is_written_with_its_own_terms():
    newer = ("AMEND", {"terms": terms(categories=("IC08",), evidence_hash=b"e" * 32)})
    ledger = view(("GRANT", {"terms": terms()}), newer)
    assert [each["code"] for each in exported(ledger)["provision"]["class"]] == ["IC08"]
    assert [each["code"] for each in exported(ledger, as_of=START + SECOND)["provision"]["class"]] == ["IC07", "IC08"]


def test_a_data_period_is_written_and_taken_in_again():
    told = terms(data_from_us=START - 90 * DAY, data_until_us=START - DAY)
    resource = exported(view(("GRANT", {"terms": told})))
    command = taking.command_of(loaded(resource), taking.Given(ref="EX-1", unit=UNIT, now_us=START + SECOND)).command
    assert moment(command["data_from"], "at") == told.data_from_us
    assert moment(command["data_until"], "at") == told.data_until_us


def test_the_state_is_told():
    grant = ("GRANT", {"terms": terms()})
    assert exported(view(grant))["status"] == "active"
    assert exported(view(grant), as_of=START + 90 * DAY)["status"] == "inactive"
    assert exported(view(grant, ("WITHDRAW", {})))["status"] == "inactive"
    assert exported(view(grant, ("SUSPEND", {})))["status"] == "inactive"
    assert exported(view(grant, ("ANNUL_WRONG_PERSON", {})))["status"] == "entered-in-error"
    assert exported(view(("GRANT", {"terms": terms(method="IMPLIED")})))["status"] == "entered-in-error"


TOLD = InformationGiven(
    language="sv", form="STANDARD", interpreter=False, how="READ_ALOUD", consequences_told=True, voluntary_told=True,
    refusal_told=True, text_hash=b"h" * 32,
)  # fmt: skip


@pytest.mark.parametrize(
    ("acts", "texts_ended"),
    [
        ([("GRANT", {"terms": terms(information=TOLD)})], {"T1": START}),
        ([("GRANT", {"terms": terms()}), ("WITHDRAW", {"scope": scope(categories=("IC07", "IC08"))})], {}),
        ([("GRANT", {"terms": terms()}), ("WITHDRAW", {"scope": scope((ref("health_care"),))})], {}),
        ([("GRANT", {"terms": terms()}), ("BLOCK", {"terms": terms(actions=()), "consent_id": b"b" * 16})], {}),
        ([("GRANT", {"terms": terms(supersedes=None)}), (
            "GRANT", {"terms": terms(supersedes=CONSENT), "consent_id": b"n" * 16})], {}),
        ([("GRANT", {"terms": terms(actions=())})], {}),
    ],
    ids=["its wording was out of use", "all categories back", "its recipient back", "blocked", "replaced", "no action"],
)  # fmt: skip
def test_a_consent_that_opens_nothing_is_not_written_as_active(acts, texts_ended):
    rules = dataclasses.replace(RULES, texts_ended=texts_ended)
    assert exported(view(*acts), rules=rules)["status"] == "inactive"
    # Control: the same grant where nothing speaks against it.
    plain = dataclasses.replace(acts[0][1]["terms"], actions=("DISCLOSE",))
    assert exported(view(("GRANT", {"terms": plain})))["status"] == "active"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SMALL, st.lists(REACHES, max_size=3), st.lists(BLOCKS, max_size=3), st.sampled_from([START + 15 * DAY, LATER]))
def test_an_active_consent_is_one_that_opens_something(told, back, blocks, at):
    """Whatever was taken back and blocked: it is active just where some recipient of it gets something then."""
    acts = [("GRANT", {"terms": told}), *(("WITHDRAW", {"scope": each}) for each in back)]
    acts += [("BLOCK", {"terms": each, "consent_id": bytes([number]) * 16}) for number, each in enumerate(blocks)]
    resource = exported(view(*acts), as_of=at)
    said = loaded(resource | {"status": "active"}).consent
    # Each recipient as somebody whom nothing else that is named here can mean.
    holders = [("provider", one.id) if one.kind == "UNIT" else (one.id, "UTF/EXEMPEL/X") for one in told.recipients]
    questions = [
        asked(*holder, category, purpose, action, at)
        for holder, category, purpose, action in product(holders, told.categories, told.purposes, told.actions)
    ]
    # A scope that leaves nothing out takes all of it, which only the status says.
    gets = scope() not in back and any(decide(said, each).decision == PERMIT for each in questions)
    assert resource["status"] == ("active" if gets else "inactive")


OFFICER = RecipientRef(kind="NAMED_OFFICER", id="EX-7", follows_role=False)


@pytest.mark.parametrize(
    ("over", "fields"),
    [
        ({"reservations": (Reservation(code=None),)}, {"reservations"}),
        ({"given_by": "GUARDIAN"}, {"given_by"}),
        ({"kind": "THREAT_WARNING"}, {"kind"}),
        ({"about": (0, 1)}, {"about"}),
        ({"until_event": "CASE_CLOSED"}, {"until_event"}),
        ({"recipient_obligations": ("NO_ONWARD",)}, {"recipient_obligations"}),
        ({"recipients": (ref("health_care"), OFFICER)}, {"recipients"}),
        ({"valid_until_us": None}, {"valid_until"}),
    ],
)
def test_what_fhir_cannot_say_is_not_written(over, fields):
    with pytest.raises(HandslagError) as caught:
        exported(view(("GRANT", {"terms": terms(**over)})))
    assert caught.value.code == "HS-FHIR-UNMAPPED"
    assert set(caught.value.context["field"].split(", ")) == fields


def test_a_consent_that_the_seat_does_not_have_is_not_found():
    with pytest.raises(HandslagError) as caught:
        giving.consent_of(view(), CONSENT, unit=UNIT, as_of_us=LATER, patient=None, rules=RULES)
    assert caught.value.code == "HS-FHIR-NOT-FOUND"
