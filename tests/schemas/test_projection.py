"""Splitting an event into sections and merging what was given."""

import datetime as dt

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import event_types, projection
from schemas.errors import HandslagError, PayloadRejected
from tests.schemas.making import example, expanded, values

TYPES = sorted(code for code, kind in event_types.table().items() if kind.available and kind.type_class == "CONTENT")
FIELDS = {code: expanded(dict(event_types.schema_of(code).source))["fields"] for code in TYPES}
MANDATORY = {code: event_types.schema_of(code).source["mandatory_categories"] for code in TYPES}


def whole(code):
    """Every field of an event."""
    return {field["name"]: example(field["type"], field["name"]) for field in FIELDS[code]}


@st.composite
def events(draw):
    """An event with some of its sections: of each given category every field that must be, and any that may be."""
    code = draw(st.sampled_from(TYPES))
    given_categories = set(MANDATORY[code]) | draw(st.sets(st.sampled_from(projection.categories_of(code))))
    data = {}
    for field in FIELDS[code]:
        wanted = field["category"] in given_categories
        if wanted and (not isinstance(field["type"], list) or draw(st.booleans())):
            data[field["name"]] = draw(values(field["type"]))
    return code, data


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(event=events())
def test_split_and_merge_lose_and_add_nothing(event):
    code, data = event
    category_of = {field["name"]: field["category"] for field in FIELDS[code]}
    given_categories = {category_of[name] for name in data}
    if not set(MANDATORY[code]) <= given_categories:
        with pytest.raises(PayloadRejected):
            projection.split(code, data)
        return
    sections = projection.split(code, data)
    assert list(sections) == sorted(given_categories)
    opened = {category: projection.open_section(code, category, body) for category, body in sections.items()}
    merged = projection.merge(opened)
    assert merged == {
        field["name"]: data.get(field["name"]) for field in FIELDS[code] if field["category"] in given_categories
    }
    # A recipient given less reads less, and what it reads is the same.
    for category in opened:
        less = projection.merge({c: fields for c, fields in opened.items() if c != category})
        assert less == {name: value for name, value in merged.items() if category_of[name] != category}


@pytest.mark.parametrize("code", TYPES)
def test_a_section_holds_the_fields_of_its_category_and_no_other(code):
    sections = projection.split(code, whole(code))
    for category, body in sections.items():
        own = {field["name"] for field in FIELDS[code] if field["category"] == category}
        assert set(projection.open_section(code, category, body)) == own
        assert projection.projected(code, category).name.endswith(f"_{category}")
    hashes = {projection.projected(code, category).project_hash for category in sections}
    assert len(hashes) == len(sections)
    assert event_types.schema_of(code).project_hash not in hashes


def test_absent_and_null_are_two_things():
    """No section, no key; a section with null, the sender said none."""
    said = {"channel": "SOC", "wish_confirmed_at": dt.datetime(2026, 11, 2, tzinfo=dt.UTC), "immediate_risk": False}
    assert list(projection.split("support_requested", said)) == ["IC12"]
    with_null = projection.split("support_requested", {**said, "preferred_contact": None})
    assert list(with_null) == ["IC02", "IC12"]
    opened = {c: projection.open_section("support_requested", c, body) for c, body in with_null.items()}
    assert "language" not in projection.merge(opened)
    assert projection.merge(opened)["preferred_contact"] is None


def test_a_field_that_must_be_given_is_asked_for_only_in_a_given_category():
    requested = {"reason_code": "EXIT_WISH", "urgency": "ACUTE", "known_facts": []}
    assert projection.split("threat_assessment_requested", requested)
    for name in requested:
        with pytest.raises(PayloadRejected):
            projection.split("threat_assessment_requested", {k: v for k, v in requested.items() if k != name})


@pytest.mark.parametrize("code", TYPES)
def test_a_mandatory_category_cannot_be_left_out(code):
    for category in MANDATORY[code]:
        rest = {f["name"]: whole(code)[f["name"]] for f in FIELDS[code] if f["category"] != category}
        with pytest.raises(PayloadRejected) as refused:
            projection.split(code, rest)
        assert refused.value.context == {"field": category}


@pytest.mark.parametrize("code", TYPES)
def test_an_unknown_field_is_refused_without_its_name(code):
    with pytest.raises(PayloadRejected) as refused:
        projection.split(code, {**whole(code), "EXEMPEL-CANARY": 1})
    assert refused.value.context == {"field": "unknown field"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"immediate_risk": "no"},  # Avro's writer takes any word for true
        {"immediate_risk": 0},
        {"immediate_risk": None},
        {"wish_confirmed_at": 1_793_000_000_000_000},
        {"wish_confirmed_at": dt.datetime(2026, 11, 2)},  # noqa: DTZ001 - a time without its zone is the case
        {"channel": "PHONE"},
        {"channel": ["SOC"]},
        {"language": 5},
        {"language": b"sv"},
    ],
)
def test_a_value_of_another_type_is_refused_not_bent(wrong):
    with pytest.raises(PayloadRejected):
        projection.split("support_requested", {**whole("support_requested"), **wrong})


@pytest.mark.parametrize(
    "wrong",
    [
        {"known_facts": "abc"},
        {"known_facts": [{"statement_kind": "FACT", "text": "x", "surplus": 1}]},
        {"known_facts": [{"statement_kind": "FACT"}]},
        {"family_affected_count": 1.5},
        {"family_affected_count": True},
        {"answer_by": dt.datetime(2026, 11, 2, 9, tzinfo=dt.UTC)},
    ],
)
def test_a_nested_value_of_another_type_is_refused_too(wrong):
    code = "threat_assessment_requested"
    assert projection.split(code, whole(code))
    with pytest.raises(PayloadRejected):
        projection.split(code, {**whole(code), **wrong})


@pytest.mark.parametrize("code", TYPES)
def test_a_section_cut_or_prolonged_is_rejected(code):
    for category, body in projection.split(code, whole(code)).items():
        assert projection.open_section(code, category, body)
        for wrong in (body + b"\x00", *(body[:length] for length in range(len(body)))):
            with pytest.raises(PayloadRejected):
                projection.open_section(code, category, wrong)


def test_a_category_or_a_type_the_catalogue_lacks_has_a_code():
    for call, code in (
        (lambda: projection.projected("support_requested", "IC07"), "HS-CODE-UNKNOWN"),
        (lambda: projection.split("needs_assessment_shared", {}), "HS-NOT-YET"),
        (lambda: projection.split("nothing", {}), "HS-CODE-UNKNOWN"),
        (lambda: projection.split("receipt", {}), "HS-CODE-UNKNOWN"),
    ):
        with pytest.raises(HandslagError) as refused:
            call()
        assert refused.value.code == code
