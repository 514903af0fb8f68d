"""A denial meets whoever may be in what it denies: random organisations, groups, teams and roles, as they are given."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.fhir import model, question
from consent.fhir import systems
from consent.fhir.decide import decide
from consent.fhir.terms import DENY, PERMIT
from tests.fhir.asking import data
from tests.fhir.shapes import RECIPIENT, consent, deny, permit, within

IDS = ("1", "2", "3")
KINDS = ("Organization", "Group", "CareTeam", "PractitionerRole", "Practitioner")
NAMES = [f"{kind}/{number}" for kind in KINDS for number in IDS]
OF_GROUP = [name for name in NAMES if not name.startswith(("Organization", "CareTeam"))]
EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def organization(number, above):
    return {"resourceType": "Organization", "id": number, "name": "EXEMPEL"} | (
        {"partOf": {"reference": f"Organization/{above}"}} if above else {}
    )


def group(number, inside):
    members = {"member": [{"entity": {"reference": name}} for name in inside]} if inside else {}
    return {"resourceType": "Group", "id": number, "type": "practitioner", "actual": True} | members


def team(number, inside):
    members = {"participant": [{"member": {"reference": name}} for name in inside]} if inside else {}
    return {"resourceType": "CareTeam", "id": number} | members


def role(number, of, at):
    links = {"practitioner": of and f"Practitioner/{of}", "organization": at and f"Organization/{at}"}
    found = {name: {"reference": value} for name, value in links.items() if value}
    return {"resourceType": "PractitionerRole", "id": number} | found


def several(names):
    return st.lists(st.sampled_from(names), max_size=2, unique=True)


MAYBE = st.sampled_from([None, *IDS])
RESOURCE = st.one_of(
    st.builds(organization, st.sampled_from(IDS), MAYBE),
    st.builds(group, st.sampled_from(IDS), several(OF_GROUP)),
    st.builds(team, st.sampled_from(IDS), several([name for name in NAMES if not name.startswith("Group")])),
    st.builds(role, st.sampled_from(IDS), MAYBE, MAYBE),
)
GIVEN = st.lists(RESOURCE, max_size=6, unique_by=lambda one: (one["resourceType"], one["id"]))


def answer(denied, asker, known, *contained):
    more = {"contained": list(contained)} if contained else {}
    resource = consent(permit(**within(deny(actor=[{"role": RECIPIENT, "reference": denied}]))), **more)
    asked = question.asked(
        actors=(asker,), purpose="TREAT", category="patient-privacy", classes=(), at="2026-06-15T12:00:00Z"
    )
    return decide(model.load(data(resource), map(data, known)).consent, asked).decision


def inside_of(known):
    """Pairs (who, in what), read from the resources themselves."""
    pairs = set()
    for one in known:
        own = f"{one['resourceType']}/{one['id']}"
        pairs |= {(each["entity"]["reference"], own) for each in one.get("member", ())}
        pairs |= {(each["member"]["reference"], own) for each in one.get("participant", ())}
        for element in ("partOf", "organization", "practitioner"):
            if element in one:
                pairs.add((own, one[element]["reference"]))
        if "practitioner" in one:
            pairs.add((one["practitioner"]["reference"], own))
    return pairs


def reaches(who, what, pairs):
    met, edge = {who}, [who]
    while edge:
        edge = [into for one in edge for (inner, into) in pairs if inner == one and into not in met]
        met |= set(edge)
    return what in met


@EXAMPLES
@given(GIVEN, st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_who_may_be_in_what_is_denied_is_denied(known, denied, asker):
    pairs = inside_of(known)
    if reaches(asker, denied, pairs):
        assert answer({"reference": denied}, asker, known) == DENY
    kind, other = denied.split("/")[0], asker.split("/")[0]
    listed = {f"{one['resourceType']}/{one['id']}" for one in known}
    # Nobody can tell who is in it, or where the other belongs: no resource was given that could say so.
    if kind != "Practitioner" and (denied not in listed or kind == "Organization") and asker not in listed:
        assert answer({"reference": denied}, asker, known) == DENY
    if kind != other and not (kind in {"Group", "CareTeam", "PractitionerRole"} and other == "Practitioner"):
        assert answer({"reference": denied}, asker, known) == DENY


OWN = st.lists(RESOURCE, max_size=3, unique_by=lambda one: one["id"])


@EXAMPLES
@given(GIVEN, OWN, st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_what_the_consent_contains_never_permits(known, own, denied, asker):
    """A consent that brings its own organisations says nothing of who asks: with them no more is permitted."""
    if answer({"reference": denied}, asker, known) == DENY:
        assert answer({"reference": denied}, asker, known, *own) == DENY


@pytest.mark.parametrize(
    "system", ["urn:oid:1.2.752.129.2.1.3.1", "urn:oid:1.2.752.129.2.1.4.1", "urn:exempel:register"]
)
def test_another_number_in_a_register_may_be_another_number_of_the_same(system):
    denied = {"identifier": {"system": system, "value": "A"}}
    assert answer(denied, f"{system}|B", ()) == DENY
    assert answer(denied | {"type": "Practitioner"}, f"{system}|B", ()) == DENY


@pytest.mark.parametrize("system", sorted(systems.SINGLE))
def test_another_code_of_ours_is_another_recipient(system):
    denied = {"identifier": {"system": system, "value": "A"}}
    assert answer(denied, f"{system}|B", ()) == PERMIT
    assert answer(denied, f"{system}|A", ()) == DENY
    assert all(each.startswith("urn:handslag:") for each in systems.SINGLE)
