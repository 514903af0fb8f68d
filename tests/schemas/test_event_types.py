"""The closed list of what travels."""

import tomllib
from pathlib import Path

import pytest

from schemas import catalogue, codes, event_types
from schemas.errors import HandslagError
from schemas.event_types import TypeClass
from tests.schemas.making import EVENTS

TABLE = event_types.table()
RAW = tomllib.loads((Path(event_types.__file__).parent / "tables/event_types.toml").read_text("utf-8"))
CONTENT_NOW = {code for code, kind in TABLE.items() if kind.available and kind.type_class is TypeClass.CONTENT}
# What is sealed and handed over: case events, and the one type that people decide without consent.
CARRIED_NOW = CONTENT_NOW | {
    code for code, kind in TABLE.items() if kind.available and kind.type_class is TypeClass.STATUTORY
}


def test_every_type_is_in_exactly_one_of_four_classes():
    assert [one.value for one in TypeClass] == ["CONTENT", "STATUTORY", "NOTICE", "PERSONLESS"]
    for code, row in RAW.items():
        assert row["class"] in set(TypeClass)
        assert row["status"] in {"NOW", "YET"}
        assert TABLE[code].available is (row["status"] == "NOW")
    for one in TypeClass:
        assert any(kind.type_class is one for kind in TABLE.values())


def test_numbers_and_names_are_unique_and_the_catalogue_is_whole():
    numbers = [kind.number for kind in TABLE.values()]
    assert len(set(numbers)) == len(numbers)
    assert set(range(1, 34)) <= set(numbers)
    assert all(kind.code == code and kind.sv.strip() for code, kind in TABLE.items())


def test_a_schema_exists_if_and_only_if_the_type_does():
    assert {TABLE[code].schema_name for code in CARRIED_NOW} == set(EVENTS)
    for code, kind in TABLE.items():
        assert (kind.schema_name in catalogue.loaded()) == (code in CARRIED_NOW)


@pytest.mark.parametrize("code", sorted(CONTENT_NOW))
def test_an_available_type_has_its_times_and_its_own_category(code):
    kind = event_types.content_type(code)
    assert 0 < kind.deadline_us < kind.shelf_life_us <= 30 * 24 * 3600 * 1_000_000
    assert event_types.type_category(code) in codes.table()["category"]
    assert event_types.schema_of(code).is_event
    if kind.life_safety:
        assert kind.deadline_us == 3600 * 1_000_000


def test_what_is_disclosed_without_consent_is_no_case_event():
    """One type, carried like the others, and refused wherever consent is asked about."""
    (code,) = CARRIED_NOW - CONTENT_NOW
    assert event_types.carried_type(code).life_safety
    with pytest.raises(HandslagError) as refused:
        event_types.content_type(code)
    assert refused.value.code == "HS-NOT-YET"
    carried = {field["category"] for field in event_types.schema_of(code).source["fields"]}
    assert not carried & {"IC10", "IC11"}
    assert all(isinstance(field["type"], list) for field in event_types.schema_of(code).source["fields"])


@pytest.mark.parametrize("code", sorted(set(TABLE) - CARRIED_NOW))
def test_what_does_not_exist_yet_is_refused(code):
    expected = "HS-CODE-UNKNOWN" if TABLE[code].type_class is TypeClass.NOTICE else "HS-NOT-YET"
    for call in (event_types.content_type, event_types.schema_of, event_types.type_category):
        with pytest.raises(HandslagError) as refused:
            call(code)
        assert refused.value.code == expected
        assert refused.value.context == {"field": "event_type"}


@pytest.mark.parametrize("code", ["", "nothing", "SUPPORT_REQUESTED", "support_requested\n"])
def test_a_type_nobody_listed_is_unknown(code):
    with pytest.raises(HandslagError) as refused:
        event_types.content_type(code)
    assert refused.value.code == "HS-CODE-UNKNOWN"


BODIES = {  # fields of the event catalogue, by what this version carries
    4: {"channel", "wish_confirmed_at", "immediate_risk", "preferred_contact", "language", "accessibility_need"},
    7: {"reason_code", "urgency", "known_facts", "family_affected_count", "answer_by"}
    | {"person_name", "personal_identity_number"},
    8: {"threat_level", "capability_known", "assessed_until", "geographic_risk_zones", "recommended_protection"}
    | {"persons_at_risk", "withheld_part", "released_by_decision_ref"},
    17: {"plan_id", "version", "view_of", "goals", "actions", "next_review", "lead", "subject_participated"},
    18: {"meeting_id", "at", "mode", "agenda_codes", "requires_consent_ref"},
    19: {"custody_authority", "status", "effective_date", "planned_release_month", "institution"},
}
CARRIES = {
    4: {"IC01", "IC02", "IC12"},
    7: {"IC01", "IC04"},
    8: {"IC04", "IC06"},
    17: {"IC13"},
    18: {"IC13"},
    19: {"IC05"},
}


@pytest.mark.parametrize("number", BODIES)
def test_an_event_carries_the_fields_and_categories_of_the_catalogue(number):
    code = next(code for code, kind in TABLE.items() if kind.number == number)
    fields = event_types.schema_of(code).source["fields"]
    assert {field["name"] for field in fields} == BODIES[number]
    assert {field["category"] for field in fields} == CARRIES[number]
