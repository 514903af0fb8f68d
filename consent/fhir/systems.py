"""Code systems of a FHIR Consent: HL7's, by their addresses, and our own, whose codes are those of the one table."""

from __future__ import annotations

from consent.fhir.terms import Coding
from schemas import codes

HL7 = "http://terminology.hl7.org/CodeSystem/"
SCOPE = HL7 + "consentscope"
CATEGORY = HL7 + "consentcategorycodes"
ACT_CODE = HL7 + "v3-ActCode"
ACT_REASON = HL7 + "v3-ActReason"
ACTION = HL7 + "consentaction"
PARTICIPATION = HL7 + "v3-ParticipationType"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"

OURS = "urn:handslag:code:"
OUR_CATEGORY = OURS + "category"
OUR_PURPOSE = OURS + "purpose"
OUR_ACTION = OURS + "action"
OUR_METHOD = OURS + "method"
OUR_PROCESSING = OURS + "processing"
# A role as it was held when the consent was recorded, and a role whoever holds it later: two systems, because
# whoever reads only the code must not take one for the other.
OUR_ROLE = "urn:handslag:role"
OUR_ROLE_FOLLOWED = "urn:handslag:role-followed"
OUR_UNIT = "urn:handslag:unit"
# Systems of which a recipient has exactly one value, so that another value is another recipient. No register is here:
# a person may have several numbers in one, or have had another before.
SINGLE = frozenset({OUR_UNIT, OUR_ROLE, OUR_ROLE_FOLLOWED})
OUR_CONSENT = "urn:handslag:consent"
OUR_TEXT = "urn:handslag:text:"
OUR_TERMS = "urn:handslag:terms:"

PATIENT_PRIVACY = Coding(SCOPE, "patient-privacy")
RECIPIENT = Coding(PARTICIPATION, "IRCP")

# Actions of ours that HL7 has a code for, by the table; the rest go under our own system.
TO_HL7 = {code: str(row["fhir"]) for code, row in codes.table()["action"].items() if "fhir" in row}
FROM_HL7 = {there: here for here, there in TO_HL7.items()}
_TABLES = {OUR_CATEGORY: "category", OUR_PURPOSE: "purpose", OUR_ACTION: "action"}


def ours(coding: Coding) -> bool:
    """Whether it is a code of one of our own lists."""
    return coding.code in codes.table()[_TABLES[coding.system]] if coding.system in _TABLES else False
