"""Where somebody is has no field in any event, and a child is not placed in protected housing alone."""

from __future__ import annotations

import copy

import pytest

from schemas import catalogue, event_types, lint
from schemas.errors import HandslagError
from schemas.placement import check_placement

EVENTS = sorted(name for name, entry in catalogue.loaded().items() if entry.is_event)
MOVE = "handslag.event.RelocationStatusChanged"


def with_field(event, **field):
    source = copy.deepcopy(dict(catalogue.by_name(event).source))
    source["fields"] = [*source["fields"], {"doc": "x", "category": "IC12", **field}]
    return source


def refused(source):
    with pytest.raises(HandslagError) as caught:
        lint.check(source, is_event=True)
    return caught.value.code, caught.value.context["rule"]


@pytest.mark.parametrize(
    "place",
    ["address", "new_address", "postal_code", "postnummer", "municipality", "kommun_kod", "school", "latitude",
     "coordinates", "city", "street_name", "location", "location_text", "place_of_housing", "responsible_kommun"],
)  # fmt: skip
def test_no_event_has_a_field_for_a_place(place):
    for event in EVENTS:
        kinds = (
            "int",
            {"type": "array", "items": "bytes"},
            ["null", "bytes"],
            {"type": "fixed", "name": "F", "size": 4},
        )
        for kind in kinds:
            default = {"default": None} if isinstance(kind, list) else {}
            assert refused(with_field(event, name=place, type=kind, **default)) == ("HS-SCHEMA-REFUSED", "place")


def test_nor_deep_inside_a_record_or_a_list():
    inner = {"type": "record", "name": "In", "doc": "x", "fields": [{"name": "city", "doc": "x", "type": "bytes"}]}
    for kind in (inner, {"type": "array", "items": inner}):
        assert refused(with_field(EVENTS[0], name="details", type=kind))[1] == "place"
    inner["fields"][0]["name"] = "count"  # control: the same shape under another name
    lint.check(with_field(EVENTS[0], name="details", type=inner), is_event=True)


@pytest.mark.parametrize("name", [MOVE, "handslag.event.CaseTransferChanged"])
def test_an_event_that_tells_of_a_move_has_no_text_to_write_a_place_into(name):
    for kind in ("string", {"type": "array", "items": "string"}):
        assert refused(with_field(name, name="note", type=kind))[1] == "place"
    lint.check(with_field("handslag.event.SupportRequested", name="note", type="string"), is_event=True)  # control
    told = with_field("handslag.event.SupportRequested", name="note", type="string")
    told["fields"][-1]["category"] = "IC11"
    assert refused(told)[1] == "place"


def test_a_yes_or_no_is_no_place():
    lint.check(with_field(MOVE, name="school_found", type="boolean"), is_event=True)


def test_the_three_events_of_a_move_are_content_about_a_person():
    for code in ("housing_placement_changed", "relocation_status_changed", "case_transfer_changed"):
        assert event_types.content_type(code).type_class is event_types.TypeClass.CONTENT
        names = {field["name"] for field in event_types.schema_of(code).source["fields"]}
        assert not {word for name in names for word in name.split("_")} & lint.PLACE_WORDS


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ({"housing_type": "SKYDDAT_BOENDE", "child_placed": True, "with_guardian": True}, True),
        ({"housing_type": "SKYDDAT_BOENDE", "child_placed": True, "with_guardian": False}, False),
        ({"housing_type": "SKYDDAT_BOENDE", "child_placed": True, "with_guardian": None}, False),
        ({"housing_type": "SKYDDAT_BOENDE", "child_placed": None, "with_guardian": None}, False),
        ({"housing_type": "SKYDDAT_BOENDE", "child_placed": False, "with_guardian": None}, True),
        ({"housing_type": "HVB", "child_placed": True, "with_guardian": False}, True),
        ({"housing_type": "SKYDDAT_BOENDE"}, True),  # nothing about a child was released here
        ({"child_placed": True, "with_guardian": False}, True),
    ],
)
def test_a_child_is_not_placed_in_protected_housing_alone(given, allowed):
    if allowed:
        check_placement("housing_placement_changed", given)
        return
    with pytest.raises(HandslagError) as caught:
        check_placement("housing_placement_changed", given)
    assert (caught.value.code, caught.value.context) == ("HS-CHILD-ALONE", {"field": "with_guardian"})
    check_placement("joint_plan_adopted", given)
