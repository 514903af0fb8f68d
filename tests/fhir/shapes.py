"""FHIR R4 Consents as the tests build them: the facts, and the elements that R4 asks for around them."""

from consent.fhir.systems import HL7, RESOURCE_TYPES

RECIPIENT = {"coding": [{"system": HL7 + "v3-ParticipationType", "code": "IRCP"}]}


def consent(provision, **over):
    """A Consent in force with one root provision; `over` replaces elements of it, `...` takes one out."""
    made = {
        "resourceType": "Consent",
        "status": "active",
        "scope": concept("consentscope", "patient-privacy"),
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/exempel-1"},
        "dateTime": "2026-01-01",
        "provision": provision,
    }
    return {name: value for name, value in (made | over).items() if value is not ...}


def permit(**elements):
    return {"type": "permit", **elements}


def deny(**elements):
    return {"type": "deny", **elements}


def within(*rules):
    return {"provision": list(rules)}


def coding(system, code):
    return {"system": HL7 + system, "code": code}


def concept(system, code):
    return {"coding": [coding(system, code)]}


def classes(*codes):
    return {"class": [{"system": RESOURCE_TYPES, "code": code} for code in codes]}


def purposes(*codes):
    return {"purpose": [coding("v3-ActReason", code) for code in codes]}


def actions(*codes):
    return {"action": [concept("consentaction", code) for code in codes]}


def labels(*codes):
    return {"securityLabel": [coding("v3-Confidentiality", code) for code in codes]}


def to(*references):
    return {"actor": [{"role": RECIPIENT, "reference": {"reference": each}} for each in references]}
