"""The questions of tests/vectors/fhir, answered as was written down before anything evaluated them."""

import collections

import pytest

from connectors.fhir import model, obligations
from consent.fhir.decide import decide
from schemas import codes
from tests.fhir.asking import asked, data, vectors

CASES = vectors()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_consent_is_answered_as_expected(case):
    loaded = model.load(data(case["consent"]), map(data, case.get("known", [])))
    answer = decide(loaded.consent, asked(case["ask"]))
    assert {
        "decision": answer.decision,
        "obligations": obligations.written(answer.residual),
        "reason": answer.reasons[0],
    } == case["expected"]


def test_the_vectors_are_many_and_meet_every_reason_and_decision():
    assert len(CASES) >= 80
    assert len({case["name"] for case in CASES}) == len({case["sentence"] for case in CASES}) == len(CASES)
    assert {case["expected"]["reason"] for case in CASES} == set(codes.table()["fhir_reason"])
    decisions = collections.Counter(case["expected"]["decision"] for case in CASES)
    assert min(decisions["PERMIT"], decisions["DENY"], decisions["NO_CONSENT"]) >= 10


def test_a_vector_holds_a_person_by_no_name_or_number():
    for case in CASES:
        patient = case["consent"].get("patient", {})
        assert set(patient) <= {"reference"}
        assert all("exempel" in word for word in patient.values())
