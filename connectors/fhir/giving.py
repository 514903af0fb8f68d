"""A grant of this unit's seat as a FHIR R4 Consent, standing for itself: with what was taken back and what is blocked.

No name and no number of the person goes along, and no reference to them unless the caller gives one. What FHIR cannot
say is refused (`HS-FHIR-UNMAPPED`); a term that this page does not know is one of those.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import fields
from typing import Any
from urllib.parse import quote

from connectors.fields import shown_moment
from consent import remaining, standing
from consent.fhir import systems
from consent.ledger import LedgerView
from consent.records import ALWAYS, FOREVER, Block, Grant, Reach
from consent.rules import Rules
from consent.terms import THE_PERSON
from schemas.acts import ConsentAct, RecipientRef, Terms
from schemas.errors import HandslagError
from schemas.identifiers import shown

_MASKED = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]}
_REFERENCE = re.compile(r"[A-Z][A-Za-z]{1,63}/[A-Za-z0-9.-]{1,64}|(https?|urn):[!-~]{1,500}")  # FHIR R4 section 2.3.0
_NUMBER = re.compile(r"(?:\d{2})?\d{6}[-+]?\d{4}")  # the shape of a personal identity number
_SAID = frozenset(
    {
        "recipients",
        "categories",
        "purposes",
        "actions",
        "valid_from_us",
        "valid_until_us",
        "data_from_us",
        "data_until_us",
        "reservations",
        "text_version",
        "terms_version",
        "processing_acknowledged",
        "given_by",
        "method",
    }
)
# What describes how it came about and limits nothing: it stays with the custodian.
_KEPT = frozenset(
    {
        "evidence_hash",
        "evidence",
        "information",
        "review_by_us",
        "withdrawal_method",
        "all_agencies_required",
        "supersedes",
    }
)


def check_patient(reference: str | None) -> None:
    """Whether the agency's reference of the person may be written: a FHIR reference, and not a name or a number.

    Raises `HS-INPUT-INVALID` (`patient`).
    """
    parts = re.split(r"[/:#?=|]", reference or "")
    if reference is not None and (not _REFERENCE.fullmatch(reference) or any(map(_NUMBER.fullmatch, parts))):
        raise HandslagError("HS-INPUT-INVALID", field="patient")


def consent_of(
    view: LedgerView, consent_id: bytes, *, unit: str, as_of_us: int, patient: str | None, rules: Rules
) -> dict[str, Any]:
    """The Consent of one grant as it stands at a moment by `rules`; the caller has it checked (`model.checked`).

    Raises `HS-FHIR-NOT-FOUND` when the seat has no such grant, `HS-FHIR-UNMAPPED` naming what FHIR cannot say.
    """
    found = [each for each in view.grants if each.consent_id == consent_id]
    if not found:
        raise HandslagError("HS-FHIR-NOT-FOUND")
    # An amendment replaces the terms; before the first there were none yet.
    grant = next((each for each in found if each.stands(as_of_us)), found[0])
    recorded_at_us, terms = _recorded(view, grant)
    unsaid = _unsaid(view, grant, terms)
    if unsaid or terms is None:
        field = ", ".join(unsaid)
        raise HandslagError("HS-FHIR-UNMAPPED", field=field)
    person = {"reference": patient} if patient else {"type": "Patient", **_MASKED}
    return {
        "resourceType": "Consent",
        "identifier": [{"system": systems.OUR_CONSENT, "value": shown(consent_id)}],
        "status": _status(grant, view, as_of_us, rules),
        "scope": _concept(systems.SCOPE, "patient-privacy"),
        "category": _categories(terms),
        "patient": person,
        "dateTime": shown_moment(recorded_at_us),
        "performer": [person],
        "organization": [_identified(systems.OUR_UNIT, unit)],
        "policy": [
            {"uri": systems.OUR_TEXT + quote(terms.text_version, safe="")},
            {"uri": systems.OUR_TERMS + quote(terms.terms_version, safe="")},
        ],
        "provision": _permission(grant, terms, view),
    }


def _recorded(view: LedgerView, grant: Grant) -> tuple[int, Terms | None]:
    """When the act behind these terms was recorded, and what it says."""
    [event] = [each for each in view.events if hashlib.sha256(each.act).digest() == grant.act_hash][:1]
    return event.recorded_at_us, ConsentAct.from_bytes(event.act).terms


def _unsaid(view: LedgerView, grant: Grant, terms: Terms | None) -> list[str]:
    """What stands in the way of saying it in FHIR, by the names of our own fields."""
    if terms is None:
        return ["terms"]
    plain = {
        "kind": terms.kind in {None, "SECRECY_WAIVER"},
        "about": terms.about in {None, (THE_PERSON,)},
        "givers": all((one.person, one.capacity) == (THE_PERSON, "SELF") for one in terms.givers or ()),
    }
    later = [
        each.name
        for each in fields(terms)
        if each.name not in _SAID | _KEPT and getattr(terms, each.name) and not plain.get(each.name, False)
    ]
    wrong = {
        "ledger": view.broken,
        "reservations": bool(terms.reservations),
        "given_by": terms.given_by != "SELF" and terms.givers is None,
        "valid_until": terms.valid_until_us is None,
        "recipients": any(ref.kind not in {"UNIT", "ROLE"} for ref in terms.recipients),
    }
    named = list(dict.fromkeys(later + [name for name, is_wrong in wrong.items() if is_wrong]))
    # Whatever else speaks against the grant for ever, and is not the plain word that it never was one.
    return named or (["terms"] if grant.fault & ~standing.INVALIDATED else [])


def _status(grant: Grant, view: LedgerView, as_of_us: int, rules: Rules) -> str:
    """What FHIR calls it at a moment; never `active` of a consent that opens nothing then.

    INVARIANT: test_an_active_consent_is_one_that_opens_something.
    """
    bits = remaining.against(grant, as_of_us, rules)
    if bits & standing.INVALIDATED or any(stop.bit == standing.INVALIDATED for stop in grant.stops):
        return "entered-in-error"
    over = as_of_us >= grant.end_us or grant.paused(as_of_us) or as_of_us >= grant.replaced_us
    nothing = bits or remaining.names_nothing(grant) or _forbidden(grant, view, as_of_us)
    return "inactive" if over or nothing else "active"


def _forbidden(grant: Grant, view: LedgerView, as_of_us: int) -> bool:
    """Whether what was taken back and what is blocked leave nothing of it together."""
    back = [part.reach for part in grant.parts if part.from_us <= as_of_us]
    blocks = [block for block in _of_the_person(view) if block.holds(as_of_us)]

    def blocked(action: str) -> list[Reach]:
        return [block.reach for block in blocks if block.actions is None or action in block.actions]

    return all(remaining.leaves_nothing(grant, back + blocked(action)) for action in grant.actions)


def _of_the_person(view: LedgerView) -> list[Block]:
    """Blocks that the document says; a lift is not written: what is blocked for anybody stays so in it."""
    return [block for block in view.blocks if block.about is None or THE_PERSON in block.about]


def _categories(terms: Terms) -> list[dict[str, Any]]:
    """What kind of document it is, and how the word came: no rule reads it but our own import."""
    found = [_concept("http://loinc.org", "59284-0"), _concept(systems.OUR_METHOD, terms.method)]
    return found + ([_concept(systems.OUR_PROCESSING, "acknowledged")] if terms.processing_acknowledged else [])


def _permission(grant: Grant, terms: Terms, view: LedgerView) -> dict[str, Any]:
    within = [_refusal(part.reach, part.from_us, FOREVER, None) for part in grant.parts]
    within += [_blocked(block) for block in _of_the_person(view)]
    rule = {
        "type": "permit",
        "period": _period(grant.start_us, _last(grant.until_us)),
        "actor": [_recipient(ref) for ref in terms.recipients],
        "action": [_action(code) for code in terms.actions],
        "purpose": [_coding(systems.OUR_PURPOSE, code) for code in terms.purposes],
        "class": [_coding(systems.OUR_CATEGORY, code) for code in terms.categories],
    }
    if grant.period is not None:
        since, until = grant.period
        rule["dataPeriod"] = _period(ALWAYS if since is None else since, FOREVER if until is None else _last(until))
    return {**rule, "provision": within} if within else rule


def _last(until_us: int) -> int:
    """Our ends are the first moment outside, FHIR's the last within; a whole second would be read as all of it."""
    last = until_us - 1
    return last if last % 1_000_000 else last - 1


def _blocked(block: Block) -> dict[str, Any]:
    return _refusal(block.reach, block.from_us, block.until_us, block.actions)


def _refusal(reach: Reach, from_us: int, until_us: int, actions: frozenset[str] | None) -> dict[str, Any]:
    """What a withdrawal or a block takes out; an absent criterion means all, there as here."""
    rule: dict[str, Any] = {"type": "deny"}
    period = _period(from_us, until_us)
    if period:
        rule["period"] = period
    if reach.units is not None:
        held = [_actor(systems.OUR_UNIT, unit) for unit in sorted(reach.units)]
        # Whoever holds the role: a refusal does not wait for the right one.
        held += [_actor(system, role) for role in sorted(reach.roles) for system in _BOTH]
        rule["actor"] = held
    if actions is not None:
        rule["action"] = [_action(code) for code in sorted(actions)]
    if reach.purposes is not None:
        rule["purpose"] = [_coding(systems.OUR_PURPOSE, code) for code in sorted(reach.purposes)]
    if reach.categories is not None:
        rule["class"] = [_coding(systems.OUR_CATEGORY, code) for code in sorted(reach.categories)]
    return rule


_BOTH = (systems.OUR_ROLE, systems.OUR_ROLE_FOLLOWED)


def _period(from_us: int, last_us: int) -> dict[str, str]:
    period = {"start": shown_moment(from_us)} if from_us > ALWAYS else {}
    return {**period, "end": shown_moment(last_us)} if last_us < FOREVER else period


def _recipient(ref: RecipientRef) -> dict[str, Any]:
    if ref.kind == "UNIT":
        return _actor(systems.OUR_UNIT, ref.id)
    return _actor(systems.OUR_ROLE_FOLLOWED if ref.follows_role else systems.OUR_ROLE, ref.id)


def _actor(system: str, value: str) -> dict[str, Any]:
    return {
        "role": {"coding": [_coding(systems.RECIPIENT.system, systems.RECIPIENT.code)]},
        "reference": _identified(system, value),
    }


def _identified(system: str, value: str) -> dict[str, Any]:
    return {"identifier": {"system": system, "value": value}}


def _action(code: str) -> dict[str, Any]:
    there = systems.TO_HL7.get(code)
    return _concept(systems.ACTION, there) if there else _concept(systems.OUR_ACTION, code)


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [_coding(system, code)]}


def _coding(system: str, code: str) -> dict[str, str]:
    return {"system": system, "code": code}
