"""A consent of health care as a command: all that it says is in the command, or it is refused by name."""

import copy
import json

import pytest

from connectors import commands
from connectors.fhir import model, taking
from connectors.fields import moment
from consent.fhir import systems
from schemas.errors import HandslagError

UNIT = "REG/EXEMPEL/VC"
NOW = moment("2026-06-15T12:00:00Z", "at")
HL7 = systems.HL7
MAP = {
    "category": {"http://hl7.org/fhir/resource-types|CarePlan": "IC13"},
    "purpose": {f"{HL7}v3-ActReason|COC": "HEALTH_COLLABORATION"},
    "recipient": {"Organization/exempel-soc": {"role": "social_services_lead"}},
    "organization": {"urn:exempel:enhet|VC-54": UNIT},
}
CONSENT = {
    "resourceType": "Consent",
    "id": "exempel-1",
    "status": "active",
    "scope": {"coding": [{"system": HL7 + "consentscope", "code": "patient-privacy"}]},
    "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
    "patient": {"reference": "Patient/exempel-1"},
    "performer": [{"reference": "Patient/exempel-1"}],
    "organization": [{"identifier": {"system": "urn:exempel:enhet", "value": "VC-54"}}],
    "dateTime": "2026-06-01",
    "policy": [{"uri": "urn:exempel:policy:1"}],
    "provision": {
        "type": "permit",
        "period": {"start": "2026-06-01", "end": "2027-05-31"},
        "actor": [
            {
                "role": {"coding": [{"system": HL7 + "v3-ParticipationType", "code": "IRCP"}]},
                "reference": {"reference": "Organization/exempel-soc"},
            }
        ],
        "action": [{"coding": [{"system": HL7 + "consentaction", "code": "disclose"}]}],
        "purpose": [{"system": HL7 + "v3-ActReason", "code": "COC"}],
        "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "CarePlan"}],
    },
}
GIVEN = {"ref": "EX-1", "unit": UNIT, "now_us": NOW, "method": "WRITTEN", "text_version": "T1", "terms_version": "V1"}


def changed(path, value):
    """The consent with one element put in (or, with None, taken out)."""
    resource = copy.deepcopy(CONSENT)
    at, *names = resource, *path.split(".")
    for name in names[:-1]:
        at = at[name]
    if value is None:
        del at[names[-1]]
    else:
        at[names[-1]] = value
    return resource


def taken(resource, **given):
    told = {**GIVEN, "codes": taking.code_map(json.dumps(MAP).encode()), **given}
    return taking.command_of(model.load(json.dumps(resource).encode()), taking.Given(**told))


def refused(resource, **given):
    with pytest.raises(HandslagError) as caught:
        taken(resource, **given)
    assert caught.value.code == "HS-FHIR-UNMAPPED"
    return set(caught.value.context["field"].split(", "))


def test_what_the_agency_maps_becomes_a_command_of_the_folder():
    done = taken(CONSENT)
    assert done.command == {
        "do": "grant",
        "ref": "EX-1",
        "recipients": [{"unit": None, "role": "social_services_lead", "follows_role": False}],
        "categories": ["IC13"],
        "purposes": ["HEALTH_COLLABORATION"],
        "actions": ["DISCLOSE"],
        "valid_from": None,
        "valid_until": "2027-05-31T22:00:00Z",
        "text_version": "T1",
        "terms_version": "V1",
        "processing_acknowledged": False,
        "given_by": "SELF",
        "reservations": [],
        "method": "WRITTEN",
    }
    assert commands.read(json.dumps(done.command).encode()).do == "grant"
    assert set(done.not_carried) == {"id", "category", "dateTime", "policy"}
    assert done.narrowed == ("provision.period.start",)


def test_a_later_beginning_is_kept_and_an_earlier_end_only_shortens():
    later = changed("provision.period", {"start": "2026-09-01", "end": "2027-05-31"})
    assert taken(later).command["valid_from"] == "2026-08-31T22:00:00Z"
    assert taken(CONSENT, valid_until_us=NOW + 10).command["valid_until"] == "2026-06-15T12:00:00.000010Z"
    far = moment("2030-01-01T00:00:00Z", "at")
    assert taken(CONSENT, valid_until_us=far).command["valid_until"] == "2027-05-31T22:00:00Z"
    endless = changed("provision.period", {"start": "2026-09-01"})
    assert refused(endless) == {"provision.period.end"}
    last = changed("provision.period", {"start": "2026-09-01", "end": "9999-12-31"})
    assert refused(last) == {"provision.period.end"}
    assert taken(last, valid_until_us=far).command["valid_until"] == "2030-01-01T00:00:00Z"
    assert taken(endless, valid_until_us=far).command["valid_until"] == "2030-01-01T00:00:00Z"


def test_a_data_period_goes_along():
    done = taken(changed("provision.dataPeriod", {"start": "2025", "end": "2025-06"})).command
    assert (done["data_from"], done["data_until"]) == ("2024-12-31T23:00:00Z", "2025-06-30T22:00:00Z")
    assert commands.read(json.dumps(done).encode()).data_until == done["data_until"]
    resource = changed("provision", {"type": "deny", "dataPeriod": {"start": "2025"}})
    assert refused(resource) == {"provision.dataPeriod"}


def test_without_an_action_it_is_disclosure_only_and_said_so():
    done = taken(changed("provision.action", None))
    assert done.command["actions"] == ["DISCLOSE"]
    assert "provision.action" in done.narrowed


STRANGE = {"system": "urn:exempel:okänt", "code": "x"}
OTHER = {"coding": [STRANGE]}


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("status", "inactive", "status"),
        ("status", "proposed", "status"),
        ("scope", {"coding": [{"system": HL7 + "consentscope", "code": "research"}]}, "scope"),
        ("patient", None, "patient"),
        ("performer", None, "performer"),
        ("performer", [{"reference": "RelatedPerson/exempel-2"}], "performer"),
        ("organization", None, "organization"),
        ("organization", [{"reference": "Organization/exempel-9"}], "organization"),
        ("policyRule", {"coding": [{"system": HL7 + "v3-ActCode", "code": "OPTOUT"}]}, "policyRule"),
        ("verification", [{"verified": False}], "verification"),
        ("dateTime", "2026-07-01", "dateTime"),
        ("modifierExtension", [{"url": "urn:exempel:inte", "valueBoolean": True}], "modifierExtension"),
        ("implicitRules", "urn:exempel:regler", "implicitRules"),
        ("provision", None, "provision"),
        ("provision.type", None, "provision.type"),
        ("provision.period", {"end": "2026-06-14"}, "provision.period.end"),
        ("provision.actor", None, "provision.actor"),
        ("provision.purpose", None, "provision.purpose"),
        ("provision.class", None, "provision.class"),
        ("provision.purpose", [*CONSENT["provision"]["purpose"], STRANGE], "provision.purpose"),
        ("provision.class", [STRANGE], "provision.class"),
        ("provision.action", [OTHER], "provision.action"),
        ("provision.action", [{"text": "EXEMPEL: bara muntligt"}], "provision.action"),
        ("provision.securityLabel", [{"system": HL7 + "v3-Confidentiality", "code": "R"}], "provision.securityLabel"),
        ("provision.code", [OTHER], "provision.code"),
        ("provision.data", [{"meaning": "instance", "reference": {"reference": "Task/1"}}], "provision.data"),
        ("provision.provision", [{"type": "deny", "class": [STRANGE]}], "provision.provision"),
        ("provision.extension", [{"url": "urn:exempel:x", "valueBoolean": True}], "provision.extension"),
        (
            "provision.modifierExtension",
            [{"url": "urn:exempel:inte", "valueBoolean": True}],
            "provision.modifierExtension",
        ),
    ],
)
def test_what_a_command_cannot_say_is_refused_by_its_name(path, value, field):
    assert refused(changed(path, value)) == {field}


def test_an_extension_deep_in_the_rule_is_refused_too():
    resource = copy.deepcopy(CONSENT)
    resource["provision"]["purpose"][0]["extension"] = [{"url": "urn:exempel:x", "valueBoolean": True}]
    assert refused(resource) == {"provision.extension"}


def test_everything_that_cannot_be_said_is_named_at_once():
    resource = changed("provision.securityLabel", [{"system": HL7 + "v3-Confidentiality", "code": "R"}])
    resource["performer"] = [{"reference": "RelatedPerson/exempel-2"}]
    assert refused(resource, method=None) == {"provision.securityLabel", "performer", "method"}


def test_two_codes_of_ours_in_one_concept_are_not_two_permissions():
    both = [{"coding": [*CONSENT["provision"]["action"][0]["coding"], {"system": systems.OUR_ACTION, "code": "STORE"}]}]
    assert refused(changed("provision.action", both)) == {"provision.action"}


def test_an_actor_that_is_no_recipient_is_refused():
    actor = copy.deepcopy(CONSENT["provision"]["actor"])
    actor[0]["role"]["coding"][0]["code"] = "CST"
    assert refused(changed("provision.actor", actor)) == {"provision.actor"}
    of_somebody = {"recipient": {"Organization/exempel-soc": {"role": "nobody"}}}
    assert refused(CONSENT, codes={**MAP, **of_somebody}) == {"provision.actor"}


def test_a_refusal_becomes_a_block_and_keeps_every_limit():
    resource = changed("provision.period", None)
    resource["provision"]["type"] = "deny"
    done = taken(resource).command
    assert (done["do"], done["categories"], done["purposes"]) == ("block", ["IC13"], ["HEALTH_COLLABORATION"])
    assert commands.read(json.dumps(done).encode()).do == "block"
    resource["provision"]["purpose"] = [STRANGE]
    assert refused(resource) == {"provision.purpose"}
    resource = changed("provision.type", "deny")
    assert refused(resource) == {"provision.period"}
    everything = changed("provision", {"type": "deny"})
    assert taken(everything).command["recipients"] == taken(everything).command["categories"] == []


@pytest.mark.parametrize(
    "text", ["[]", '{"nothing": {}}', '{"purpose": {"a|b": 3}}', '{"recipient": {"a|b": "role"}}', "{", "5"]
)
def test_a_map_of_codes_of_another_form_is_refused(text):
    with pytest.raises(HandslagError) as caught:
        taking.code_map(text.encode())
    assert (caught.value.code, caught.value.context) == ("HS-INPUT-INVALID", {"field": "map"})
