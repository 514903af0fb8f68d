"""The person's own copy of one consent, in words after ISO/IEC TS 27560:2023, and who may be given it.

Pure. It says what the person already knows and nothing more: codes, moments, who gave it in which capacity. What was
assessed of a child, and that a guardian was kept out, is not in it, whoever gets it.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, NamedTuple

from consent import standing
from consent.conditions import CUSTODIANS, judged, representatives
from consent.ledger import LedgerView, lapses
from consent.records import Grant
from consent.rules import Rules
from consent.terms import THE_PERSON
from schemas.acts import ConsentAct, Giver, LedgerEvent, Terms
from schemas.checks import sha256
from schemas.codes import known
from schemas.errors import HandslagError
from schemas.identifiers import authority_of, shown

PROFILE = "handslag consent record 1"
LABEL = b"HS1 consent record\n"  # before what is signed, so that no other signature of the unit is one of this
HANDED_OVER = "HANDED_OVER_IN_PERSON"
KEPT = "KEPT_AT_AGENCY"
READ_ALOUD = "READ_ALOUD_ONLY"
_SEALED = "SEALED_CHANNEL"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_STATES = (  # the first that holds
    (standing.INVALIDATED, "invalidated"),
    (standing.WITHDRAWN, "withdrawn"),
    (standing.EXPIRED | standing.SUPERSEDED | standing.GUARDIAN_AUTHORITY_ENDED, "expired"),
)
_EVENTS = {
    "GRANT": "given",
    "AMEND": "renewed",
    "CONFIRM": "renewed",
    "WITHDRAW": "withdrawn",
    "WITHDRAW_ALL": "withdrawn",
    "EXPIRE": "expired",
    "LAPSE": "expired",
    "ANNUL": "invalidated",
    "ANNUL_WRONG_PERSON": "invalidated",
    "SUSPEND": "suspended",
    "RESUME": "given",
}
_OF_ALL = frozenset({"WITHDRAW_ALL", "EXPIRE", "LAPSE"})  # name no consent


class About(NamedTuple):
    """What the copy is made of besides the ledger; `principal`: the agency's own reference, never a number.

    `given_to`: number of the person who gets it, where it is another than the person it is about.
    """

    record_id: bytes
    unit: str
    controller: str
    principal: str
    at_us: int
    given_to: int = THE_PERSON


def delivery_of(stated: str | None, *, given_to: int | None, protected: bool | None, cover: bool) -> str:
    """How a copy reaches the person, a code of list `copy_delivery`.

    `protected`: the person has protected identity, None where nobody said. Raises `HS-RECORD-DELIVERY` naming what is
    missing or does not go together, `HS-CODE-UNKNOWN`, `HS-NOT-YET` for a channel that does not exist.
    INVARIANT: test_nothing_is_written_before_somebody_says_how_it_is_delivered.
    """
    if stated is None:
        if not protected:
            raise HandslagError("HS-RECORD-DELIVERY", field="delivery")
        stated = KEPT
    if known("copy_delivery", stated, "delivery") == _SEALED:
        raise HandslagError("HS-NOT-YET", field="delivery")
    if (given_to is None) != (stated == KEPT):
        raise HandslagError("HS-RECORD-DELIVERY", field="given_to")
    if stated == HANDED_OVER and protected is not False and not cover:
        raise HandslagError("HS-RECORD-DELIVERY", field="cover")
    return stated


def may_receive(view: LedgerView, consent_id: bytes, person: int, at_us: int) -> None:
    """Raise unless the person with this number in the case may be given a copy of the consent at a moment.

    The case's own person, or who represents them in it and still may. `HS-RECORD-RECIPIENT`, `HS-RECORD-NOT-FOUND`,
    `HS-NOT-YET` for another person whose secrecy it lifts: the copy would name the case of somebody else.
    INVARIANT: test_a_guardian_who_was_kept_out_never_gets_a_copy.
    """
    grant, terms, made = found(view, consent_id, at_us)
    about = terms.about or (THE_PERSON,)
    if THE_PERSON not in about or (person != THE_PERSON and person in about):
        raise HandslagError("HS-NOT-YET", field="about")
    if person == THE_PERSON:
        return
    givers = [one for one in terms.givers or () if one.person == person and one.capacity != "SELF"]
    later = (ConsentAct.from_bytes(event.act) for event in view.events[made.ledger_seq :])
    if not givers or not all(_in_force(one, at_us) for one in givers) or any(_lapses(one, person) for one in later):
        raise HandslagError("HS-RECORD-RECIPIENT")
    if any(one.capacity in CUSTODIANS for one in givers):
        _require_guardian(view, grant, terms, made, person, at_us)


def _in_force(one: Giver, at_us: int) -> bool:
    since, until = one.authority_from_us, one.authority_until_us
    return (since is None or since <= at_us) and (until is None or at_us < until)


def _require_guardian(view: LedgerView, grant: Grant, terms: Terms, made: LedgerEvent, person: int, at_us: int) -> None:
    minor = terms.minor
    guardians = {one.person for one in terms.givers or () if one.capacity == "GUARDIAN"}
    refused = (
        minor is None
        or at_us >= minor.reassess_at_us
        or minor.child_view == "OBJECTS"
        # More gave it than may decide: the one who is kept out may be among them, and nobody can say which it is.
        or len(guardians) > minor.guardians - minor.guardians_excluded
        or grant.ended(at_us) & standing.GUARDIAN_AUTHORITY_ENDED
        or any(_shuts_out(ConsentAct.from_bytes(event.act), person) for event in view.events[made.ledger_seq :])
    )
    if refused:
        raise HandslagError("HS-RECORD-RECIPIENT")


def _shuts_out(act: ConsentAct, person: int) -> bool:
    """Whether a later act ended this guardian's say, or was given with a guardian kept out who may be this one.

    The copy tells the whole history of a consent, so an older one is no safer than the newest.
    """
    terms = act.terms
    if terms is None or terms.minor is None or THE_PERSON not in (terms.about or (THE_PERSON,)):
        return _lapses(act, person)
    guardians = {one.person for one in terms.givers or () if one.capacity in CUSTODIANS}
    unclear = len(guardians) > max(terms.minor.guardians - terms.minor.guardians_excluded, 1)
    return terms.minor.guardians_excluded > 0 and (unclear or person not in guardians)


def _lapses(act: ConsentAct, person: int) -> bool:
    return act.act == "LAPSE" and lapses(act, frozenset((person,)))


def found(view: LedgerView, consent_id: bytes, at_us: int) -> tuple[Grant, Terms, LedgerEvent]:
    """One consent as it stands at a moment, with the act that its terms come from; raises `HS-RECORD-NOT-FOUND`."""
    grant = next((each for each in view.grants if each.consent_id == consent_id and each.stands(at_us)), None)
    if grant is None or view.broken:
        raise HandslagError("HS-RECORD-NOT-FOUND")
    event = next(each for each in view.events if sha256(each.act) == grant.act_hash)
    terms = ConsentAct.from_bytes(event.act).terms
    if terms is None:
        raise HandslagError("HS-RECORD-NOT-FOUND")
    return grant, terms, event


def record_of(view: LedgerView, consent_id: bytes, about: About, rules: Rules) -> dict[str, Any]:
    """The copy, before it is signed; raises `HS-RECORD-NOT-FOUND`."""
    grant, terms, event = found(view, consent_id, about.at_us)
    state = {
        "event_state": state_of(grant, about.at_us, rules),
        "as_of": iso(about.at_us),
        "partly_withdrawn": any(part.from_us <= about.at_us for part in grant.parts),
    }
    if about.given_to == THE_PERSON:
        # INVARIANT: test_who_speaks_for_a_child_is_not_told_of_its_blocks
        state["blocks_in_force"] = sum(1 for block in view.blocks if block.holds(about.at_us))
    return {
        "schema_version": PROFILE,
        "record_id": shown(about.record_id),
        "created": iso(about.at_us),
        "pii_principal_id": about.principal,
        "pii_processing": _processing(terms, about.unit),
        "party_identification": _parties(terms, about),
        "events": _events(view, consent_id, terms, event),
        "state": state,
        "evidence": {
            "consent_id": shown(consent_id),
            "ledger_seq": event.ledger_seq,
            "act_sha256": grant.act_hash.hex(),
            "ledger_head": view.head.hex(),
        },
    }


def state_of(grant: Grant, at_us: int, rules: Rules) -> str:
    """What the consent is at a moment, a word of `state` on the page. It never says "given" of one that opens nothing.

    INVARIANT: test_a_consent_that_opens_nothing_is_not_said_to_be_in_force.
    """
    bits = grant.fault | grant.ended(at_us) | grant.stale(rules.texts_ended)
    if grant.facts is not None:
        bits |= judged(grant.facts, min(grant.actions, default="DISCLOSE"), rules)
    for mask, state in _STATES:
        if bits & mask:
            return state
    if bits:
        return "needs_a_look"
    if at_us < grant.start_us:
        return "not_yet"
    if at_us >= grant.end_us:
        return "expired"
    return "suspended" if grant.paused(at_us) else "given"


def _processing(terms: Terms, unit: str) -> dict[str, Any]:
    told = terms.information
    notice: dict[str, Any] = {"notice_id": terms.text_version}
    if told is not None:
        notice |= {
            "language": told.language,
            "form": told.form,
            "sha256": told.text_hash.hex(),
            "explained": told.how,
            "interpreter": told.interpreter,
            "consequences_told": told.consequences_told,
            "voluntary_told": told.voluntary_told,
            "refusal_told": told.refusal_told,
        }
    return {
        "consent_kind": terms.kind or "SECRECY_WAIVER",
        # Consent lifts secrecy here (OSL 10:1, 12:2). It is not what the processing rests on, and the copy says so.
        "lawful_basis": "NOT_CONSENT",
        "secrecy_lifted_by": ["OSL 10:1", "OSL 12:2"],
        "privacy_notice": notice,
        "purposes": sorted(terms.purposes),
        "pii_information": [{"pii_type": code} for code in sorted(terms.categories)],
        "pii_controllers": [unit],
        "collection_method": terms.method,
        "processing_method": sorted(terms.actions),
        "recipient_third_parties": [{"party_id": ref.id, "follows_role": ref.follows_role} for ref in terms.recipients],
        "retention_period": sorted(terms.recipient_obligations or ()),
        "storage_locations": ["RECIPIENT_UNDER_ITS_OWN_RULES"],
        "reservations": [ref.code or "IN_WORDS" for ref in terms.reservations] + sorted(terms.reserved or ()),
        "data_period": [_optional(terms.data_from_us), _optional(terms.data_until_us)],
        "withdrawal_method": terms.withdrawal_method or "ANY_AGENCY",
        "jurisdictions": ["SE"],
    }


def _parties(terms: Terms, about: About) -> list[dict[str, Any]]:
    own = {
        "party_id": about.unit,
        "party_role": "PII_CONTROLLER",
        "party_name": about.controller,
        "party_type": authority_of(about.unit),
    }
    recipients = [{"party_id": ref.id, "party_role": "RECIPIENT", "party_type": ref.kind} for ref in terms.recipients]
    return [own, *recipients]


def _events(view: LedgerView, consent_id: bytes, terms: Terms, made: LedgerEvent) -> list[dict[str, Any]]:
    rows = []
    for event in view.events:
        act = ConsentAct.from_bytes(event.act)
        of_all = act.act in _OF_ALL and event.ledger_seq > made.ledger_seq
        if act.consent_id != consent_id and not of_all:
            continue
        if act.act == "EXPIRE" and act.ended_event != terms.until_event:
            continue
        if act.act == "LAPSE" and not lapses(act, representatives(terms)):
            continue
        said = act.terms
        row: dict[str, Any] = {
            "event_time": iso(event.recorded_at_us),
            "event_type": act.act,
            "event_state": "partly_withdrawn" if act.act == "WITHDRAW" and act.scope else _EVENTS.get(act.act, "other"),
        }
        if said is not None:
            row["entity_id"] = sorted({one.capacity for one in said.givers or ()}) or [said.given_by]
            row["valid_from"], row["valid_until"] = iso(said.valid_from_us), _optional(said.valid_until_us)
            row["validity_ends_with"] = said.until_event
        rows.append(row)
    return rows


def canonical(record: Any) -> bytes:
    """What is signed after `LABEL`: JSON with sorted keys and no spaces (for what a record holds, RFC 8785)."""
    return json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def iso(at_us: int) -> str:
    """A moment in UTC, to the second."""
    moment = _EPOCH + dt.timedelta(seconds=at_us // 1_000_000)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _optional(at_us: int | None) -> str | None:
    return None if at_us is None else iso(at_us)
