"""What is no FHIR R4 Consent, or holds what its JSON does not have, is refused by its element and never repeated."""

import json

import pytest

from connectors.fhir import model, moments
from connectors.fields import shown_moment
from schemas.errors import HandslagError
from tests.fhir.asking import vectors

BASE = vectors()[0]["consent"]
SECRET = "HEMLIGT-EXEMPEL"


def text(**over):
    return json.dumps({key: value for key, value in {**BASE, **over}.items() if value is not ...}, ensure_ascii=False)


def provision(**over):
    return text(provision={"type": "permit", **over})


WRONG = {
    "no json": "{",
    "a constant": '{"resourceType": "Consent", "status": NaN}',
    "a list": "[]",
    "another resource": text(resourceType="Patient"),
    "a name twice": text()[:-1] + ', "status": "active"}',
    "no status": text(status=...),
    "no scope": text(scope=...),
    "a status of its own": text(status=SECRET),
    "a type of its own": provision(type=SECRET),
    "an element of its own": text(**{SECRET.replace("-", ""): 1}),
    "an element of the library": provision(class_fhir=[{"code": "x"}]),
    "an empty list": provision(purpose=[]),
    "an empty object": provision(purpose=[{}]),
    "an empty text": provision(purpose=[{"system": "urn:x", "code": ""}]),
    "a null": provision(purpose=[None]),
    "a number for a time": provision(period={"start": 20260101}),
    "a month too many": provision(period={"start": "2026-13"}),
    "a time without a zone": provision(period={"start": "2026-01-01T10:00:00"}),
    "one provision in place of several": provision(provision={"type": "deny"}),
    "a word for a truth": text(verification=[{"verified": "no"}]),
    "a number for a truth": text(verification=[{"verified": 1}]),
    "a code for a list": provision(code={"coding": [{"system": "urn:x", "code": SECRET}]}),
    "an actor without a role": provision(actor=[{"reference": {"reference": SECRET}}]),
}


def nested(depth):
    rule = {"type": "deny"}
    for _ in range(depth):
        rule = {"type": "deny", "provision": [rule]}
    return text(provision=rule)


def deep(levels):
    made = {"a": 1}
    for _ in range(levels):
        made = {"a": made}
    return made


@pytest.mark.parametrize(
    "what", [*WRONG, "a deep tree", "a deeper tree", "an object in an object", "half a letter", "a wide tree"]
)
def test_what_is_no_consent_is_refused_and_not_repeated(what):
    more = {"a deep tree": nested(12), "a deeper tree": '{"a":' * 50_000 + "1" + "}" * 50_000}
    more["an object in an object"] = text(contained=[{"resourceType": "Basic"} | deep(900)])
    more["half a letter"] = text().replace("exempel-1", "\\ud800")
    more["a wide tree"] = provision(provision=[{"type": "deny"}] * 500)
    with pytest.raises(HandslagError) as caught:
        model.load({**WRONG, **more}[what].encode())
    assert caught.value.code == "HS-FHIR-INVALID"
    assert caught.value.context["field"]
    assert SECRET.replace("-", "") not in str(caught.value).replace("-", "")


def test_a_tree_within_the_bounds_is_read():
    assert model.load(nested(11).encode()).consent.root.path == "provision"
    assert len(model.load(provision(provision=[{"type": "deny"}] * 499).encode()).consent.root.provisions) == 499


def test_a_file_too_large_is_not_read():
    with pytest.raises(HandslagError) as caught:
        model.load(b" " * (model.LIMIT + 1))
    assert caught.value.code == "HS-TOO-LARGE"


def test_a_concept_in_words_only_does_not_vanish():
    root = model.load(provision(action=[{"text": "EXEMPEL"}]).encode()).consent.root
    assert [tuple(coding) for coding in root.actions] == [("", "")]


def test_a_time_that_is_there_without_a_value_is_not_understood():
    absent = {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]
    }
    assert model.load(provision(period={"start": "2026", "_end": absent}).encode()).consent.root.unclear
    assert model.load(provision(_type=absent, type="permit").encode()).consent.root.unclear is False
    assert model.load(text(provision={"_type": absent}).encode()).consent.root.unclear


@pytest.mark.parametrize(
    ("start", "first", "after"),
    [
        ("2026", "2025-12-31T23:00:00Z", "2026-12-31T23:00:00Z"),
        ("2026-02", "2026-01-31T23:00:00Z", "2026-02-28T23:00:00Z"),
        ("2026-12", "2026-11-30T23:00:00Z", "2026-12-31T23:00:00Z"),
        ("2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        ("2026-06-15T10:00:00+02:00", "2026-06-15T08:00:00Z", "2026-06-15T08:00:01Z"),
    ],
)
def test_a_time_is_as_long_as_it_is_precise(start, first, after):
    period = model.load(provision(period={"start": start, "end": start}).encode()).consent.root.period
    assert (shown_moment(period.from_us), shown_moment(period.until_us)) == (first, after)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2027-01-01", "2026-01-01"),
        ("2026-06-15", "2026-06-14"),
        ("2026-07", "2026-06"),
        ("2026-06-15T10:00:01Z", "2026-06-15T10:00:00Z"),
        ("2026-06-15T10:00:00Z", "2026-06-15T11:59:00+02:00"),
    ],
)
@pytest.mark.parametrize("element", ["period", "dataPeriod"])
@pytest.mark.parametrize("kind", ["permit", "deny"])
def test_a_period_that_ends_before_it_starts_is_refused(kind, element, start, end):
    """FHIR forbids it (per-1), and a denial that is never in force would deny nothing."""
    inner = {"type": kind, element: {"start": start, "end": end}}
    for resource in (text(provision=inner), provision(provision=[inner])):
        with pytest.raises(HandslagError) as caught:
            model.load(resource.encode())
        assert (caught.value.code, caught.value.context) == ("HS-FHIR-INVALID", {"field": f"provision.{element}"})
    same = {"type": kind, element: {"start": start, "end": start}}
    assert model.load(provision(provision=[same]).encode()).consent.root.provisions[0].unclear is False  # control


def test_the_last_day_there_is_has_no_end():
    period = model.load(provision(period={"start": "0001-01-01", "end": "9999-12-31"}).encode()).consent.root.period
    assert period.holds(0)
    assert period.until_us == moments.FOREVER


TWICE = json.dumps(
    {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"resource": {"resourceType": "Group", "id": "x"} | more}
            for more in ({"type": "person", "actual": True},) * 2
        ],
    }
).encode()


def test_a_resource_beside_it_that_is_none_is_refused():
    for known in (
        b"{}",
        b"[]",
        b"{",
        b'{"resourceType": "Nothing"}',
        b'{"resourceType": "Bundle", "entry": [{}]}',
        TWICE,
    ):
        with pytest.raises(HandslagError) as caught:
            model.load(text().encode(), [known])
        assert caught.value.context == {"field": "known resource"}
