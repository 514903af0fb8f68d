"""Shapes of R4 Consents, one row each: the facts, the question and what must be answered, written before it ran."""

import pytest

from connectors.fhir import model, obligations, question
from consent.fhir.decide import decide
from consent.fhir.systems import RESOURCE_TYPES
from tests.fhir.asking import data
from tests.fhir.shapes import (
    actions,
    classes,
    coding,
    concept,
    consent,
    deny,
    labels,
    permit,
    purposes,
    to,
    within,
)

NOON = "2026-06-15T12:00:00Z"
OK, IN_PART = ("PERMIT", "FHIR_PERMITTED"), ("PERMIT", "FHIR_PERMITTED_IN_PART")
NO, UNREAD = ("DENY", "FHIR_DENIED"), ("DENY", "FHIR_NOT_UNDERSTOOD")
NOTHING, EARLY, LATE = (("NO_CONSENT", f"FHIR_{why}") for why in ("NOT_COVERED", "NOT_YET_VALID", "EXPIRED"))


def answer(resource, **over):
    told = {"actors": ("Practitioner/1",), "purpose": "TREAT", "category": "patient-privacy", "classes": (), "at": NOON}
    return decide(model.load(data(resource)).consent, question.asked(**told | over))


def said(resource, **over):
    found = answer(resource, **over)
    return found.decision, found.reasons[0]


TREAT, RESEARCH = purposes("TREAT"), purposes("HRESCH")
# Root permit, within it a denial, within that a permission, within that a denial; and the same the other way round.
THREE_DEEP = permit(**within(deny(**to("Practitioner/1"), **within(permit(**TREAT, **within(deny(**RESEARCH)))))))
THREE_DENIED = permit(**within(deny(**to("Practitioner/1"), **within(permit(**TREAT, **within(deny(**TREAT)))))))
FROM_NO = deny(**within(permit(**TREAT, **within(deny(**to("Practitioner/2"), **within(permit(**labels("N"))))))))
NESTED = [
    ("a denial, a permission in it, a denial in that of something else", THREE_DEEP, OK),
    ("a denial, a permission in it, a denial in that of just this", THREE_DENIED, NO),
    ("from no to yes to no, which is about somebody else", FROM_NO, OK),
    ("from no to yes to no about this one to yes in part", deny(
        **within(permit(**TREAT, **within(deny(**to("Practitioner/1"), **within(permit(**labels("N")))))))), NO),
    ("a permission in a denial that is not about this", permit(**within(deny(**RESEARCH, **within(permit(**TREAT))))),
     OK),
    ("an exception without a type", permit(**within(TREAT)), NO),
    ("no type in a permission in a denial", deny(**within(permit(**TREAT, **within(to("Group/1"))))), NO),
    ("a permission in a permission narrows nothing", permit(**within(permit(**RESEARCH))), OK),
    ("a denial in a denial opens nothing", deny(**within(deny(**RESEARCH))), NO),
    ("two exceptions of one rule, a denial wins", permit(**within(permit(**TREAT), deny(**TREAT))), NO),
    ("two permissions within a denial, one is enough", deny(**within(permit(**RESEARCH), permit(**TREAT))), OK),
    ("nothing but a type", permit(), OK),
    ("nothing but no", deny(), NO),
]  # fmt: skip


@pytest.mark.parametrize(("root", "expected"), [row[1:] for row in NESTED], ids=[row[0] for row in NESTED])
def test_an_exception_turns_its_rule_round_as_deep_as_it_stands(root, expected):
    assert said(consent(root)) == expected


STATUS = {
    "draft": "FHIR_DRAFT", "proposed": "FHIR_PROPOSED", "rejected": "FHIR_REJECTED", "inactive": "FHIR_INACTIVE",
    "entered-in-error": "FHIR_IN_ERROR",
}  # fmt: skip


@pytest.mark.parametrize("status", STATUS)
@pytest.mark.parametrize("root", [permit(), deny(), TREAT])
def test_a_consent_that_is_not_active_says_nothing(status, root):
    assert said(consent(root, status=status)) == ("NO_CONSENT", STATUS[status])
    assert said(consent(permit())) == OK  # control


@pytest.mark.parametrize("scope", ["research", "treatment", "adr"])
def test_a_consent_of_another_scope_says_nothing_of_privacy(scope):
    other = ("NO_CONSENT", "FHIR_OTHER_CATEGORY")
    resource = consent(permit(), scope=concept("consentscope", scope))
    assert (said(resource), said(resource, category=scope)) == (other, OK)
    assert said(consent(deny(), scope=concept("consentscope", scope))) == other


def test_a_root_without_a_type_is_no_yes_whatever_stands_around_it():
    for more in ({}, {"policyRule": concept("v3-ActCode", "OPTIN")}, {"policy": [{"uri": "urn:exempel:ja"}]}):
        assert said(consent(TREAT, **more)) == ("DENY", "FHIR_ROOT_TYPE_MISSING")
        assert said(consent({**TREAT, **within(permit())}, **more)) == ("DENY", "FHIR_ROOT_TYPE_MISSING")
        assert said(consent(..., **more)) == ("DENY", "FHIR_NO_PROVISION")


OTHER = {"system": "urn:exempel:annan", "code": "x"}
PLACE = {"class": [{"system": RESOURCE_TYPES, "code": "Observation"}, OTHER]}
SEVERAL = [
    ("one of several purposes", permit(**purposes("HRESCH", "TREAT")), {}, OK),
    ("none of several purposes", permit(**purposes("HRESCH", "HMARKT")), {}, NOTHING),
    ("a denial of several purposes", permit(**within(deny(**purposes("HRESCH", "TREAT")))), {}, NO),
    ("a denial of several other purposes", permit(**within(deny(**purposes("HRESCH", "HMARKT")))), {}, OK),
    ("one of several actions", permit(**actions("access", "disclose")), {}, OK),
    ("the action is another", permit(**actions("access", "collect")), {}, NOTHING),
    ("a denial of actions, one of which may be this", permit(**within(deny(**actions("correct", "access")))), {}, NO),
    ("a denial to correct", permit(**within(deny(**actions("correct")))), {}, OK),
    ("one of several actors", permit(**to("Practitioner/2", "Practitioner/1")), {}, OK),
    ("a denial of several actors", permit(**within(deny(**to("Practitioner/2", "Practitioner/1")))), {}, NO),
    ("a denial of several others", permit(**within(deny(**to("Practitioner/2", "Practitioner/3")))), {}, OK),
    ("both classes asked for are permitted", permit(**classes("Observation", "Condition")),
     {"classes": ("Observation", "Condition")}, OK),
    ("one class asked for is not permitted", permit(**classes("Observation")),
     {"classes": ("Observation", "Condition")}, NOTHING),
    ("one class asked for is denied", permit(**within(deny(**classes("Observation", "Condition")))),
     {"classes": ("Condition", "Immunization")}, NO),
    ("no class asked for is denied", permit(**within(deny(**classes("Observation", "Condition")))),
     {"classes": ("Immunization",)}, OK),
    ("a class of another list beside it", permit(**PLACE), {"classes": ("Observation",)}, OK),
    ("a denied class of another list beside it", permit(**within(deny(**PLACE))), {"classes": ("Condition",)}, NO),
    ("all at once, and every one fits", permit(**TREAT, **actions("disclose"), **to("Practitioner/1"),
     **classes("Observation")), {"classes": ("Observation",)}, OK),
    ("all at once, and one does not fit", permit(**within(deny(**RESEARCH, **actions("disclose"),
     **to("Practitioner/1"), **classes("Observation")))), {"classes": ("Observation",)}, OK),
    ("all at once denied, and every one fits", permit(**within(deny(**TREAT, **actions("disclose"),
     **to("Practitioner/1"), **classes("Observation")))), {"classes": ("Observation",)}, NO),
]  # fmt: skip


@pytest.mark.parametrize(("root", "over", "expected"), [row[1:] for row in SEVERAL], ids=[row[0] for row in SEVERAL])
def test_every_element_must_fit_and_one_entry_of_it_is_enough(root, over, expected):
    assert said(consent(root), **over) == expected


CODE = {"code": [{"coding": [OTHER]}]}
DATA = {"data": [{"meaning": "instance", "reference": {"reference": "Task/1"}}]}
NAMED_DATA = {
    "data": [{"meaning": "related", "reference": {"identifier": {"system": "urn:exempel:akt", "value": "7"}}}]
}
PERIOD = {"dataPeriod": {"start": "2025-01-01", "end": "2025-12-31"}}
R = coding("v3-Confidentiality", "R")
TASK, ACT = {"meaning": "instance", "reference": "Task/1"}, {"meaning": "related", "reference": "urn:exempel:akt|7"}
CONTENT = [
    ("labels", permit(**within(deny(**labels("R", "V")))), [{"codes": [R, coding("v3-Confidentiality", "V")]}]),
    ("a clinical code", permit(**within(deny(**CODE))), [{"codes": [OTHER]}]),
    ("data by reference", permit(**within(deny(**DATA))), [{"data": [TASK]}]),
    ("data by identifier", permit(**within(deny(**NAMED_DATA))), [{"data": [ACT]}]),
    ("a data period, written as it was", permit(**within(deny(**PERIOD))), [{"dataPeriod": [PERIOD["dataPeriod"]]}]),
    ("all at once: any one is enough to hold it back", permit(**within(deny(**labels("R"), **CODE, **DATA, **PERIOD))),
     [{"codes": [R, OTHER], "data": [TASK], "dataPeriod": [PERIOD["dataPeriod"]]}]),
    ("only with all of them", permit(**labels("R"), **CODE, **DATA, **PERIOD),
     [{"exceptAnyOfCodes": [R]}, {"exceptAnyOfCodes": [OTHER]}, {"exceptData": [TASK]},
      {"exceptDataPeriod": [PERIOD["dataPeriod"]]}]),
]  # fmt: skip


@pytest.mark.parametrize(("root", "parameters"), [row[1:] for row in CONTENT], ids=[row[0] for row in CONTENT])
def test_what_only_content_shows_is_an_obligation(root, parameters):
    found = answer(consent(root))
    assert (found.decision, found.reasons[0]) == IN_PART
    assert [each["parameters"] for each in obligations.written(found.residual)] == parameters


@pytest.mark.parametrize("reference", [{"display": "EXEMPEL"}, {"reference": "#1"}, {"identifier": {"value": "7"}}])
def test_denied_data_that_nothing_can_be_compared_with_are_all_of_it(reference):
    data = {"data": [{"meaning": "instance", "reference": reference}]}
    assert said(consent(permit(**within(deny(**data))))) == NO
    assert said(consent(permit(**data))) == UNREAD
    both = permit(**within(deny(**data, **labels("R"))))
    assert [each["parameters"] for each in obligations.written(answer(consent(both)).residual)] == [{"codes": [R]}]


SECOND = {"start": "2026-06-15T12:00:00Z", "end": "2026-06-15T12:00:00Z"}
DAY = {"start": "2026-06-15", "end": "2026-06-15"}
EDGES = [
    # The same second: it lasts as long as a time that is given to the second.
    (SECOND, "2026-06-15T11:59:59.999999Z", EARLY, OK),
    (SECOND, "2026-06-15T12:00:00Z", OK, NO),
    (SECOND, "2026-06-15T12:00:00.999999Z", OK, NO),
    (SECOND, "2026-06-15T12:00:01Z", LATE, OK),
    # The day named as the end belongs to it; days are Swedish, two hours before Greenwich in June.
    (DAY, "2026-06-14T21:59:59Z", EARLY, OK),
    (DAY, "2026-06-14T22:00:00Z", OK, NO),
    (DAY, "2026-06-15T21:59:59.999999Z", OK, NO),
    (DAY, "2026-06-15T22:00:00Z", LATE, OK),
    ({"end": "2026-06-15"}, "2026-06-15T21:59:59Z", OK, NO),
    ({"end": "2026-06"}, "2026-06-30T21:59:59Z", OK, NO),
    ({"end": "2026"}, "2026-12-31T23:00:00Z", LATE, OK),
    ({"start": "2026-06-15"}, "2026-06-14T22:00:00Z", OK, NO),
    ({"start": "2026-06-15T14:00:00+02:00"}, NOON, OK, NO),
]


@pytest.mark.parametrize(("period", "at", "permitted", "denied"), EDGES)
def test_a_period_holds_from_its_first_moment_to_its_last(period, at, permitted, denied):
    assert said(consent(permit(period=period)), at=at) == permitted
    assert said(consent(permit(**within(deny(period=period)))), at=at) == denied


@pytest.mark.parametrize(
    ("issued", "expected"),
    [("2026-06-15T12:00:00Z", OK), ("2026-06-15T12:00:01Z", EARLY), ("2026-06-15", OK), ("2026-06-16", EARLY)],
)
def test_a_consent_says_nothing_of_the_time_before_it(issued, expected):
    assert said(consent(permit(), dateTime=issued)) == expected
