"""A second decision, written from the design pages without looking for speed: it reads the acts themselves each time.

Shares nothing with `consent/` but the request's types: rules are taken from the file's text, the ledger from the acts.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import consent
from schemas import codes, event_types
from schemas.acts import ConsentAct

RULES = tomllib.loads((Path(consent.__file__).parent / "rules" / "2026-11-22.toml").read_text(encoding="utf-8"))
SCOPE = {
    "WRONG_DISCLOSER", "RECIPIENT_NOT_COVERED", "RECIPIENT_CHANGED", "CATEGORY_NOT_COVERED", "PURPOSE_MISMATCH",
    "ACTION_NOT_COVERED",
}  # fmt: skip
LIFE = {"INVALIDATED", "NOT_YET_VALID", "EXPIRED", "WITHDRAWN", "PARTIALLY_WITHDRAWN", "SUSPENDED"}
NARROWING = {"WITHDRAW", "WITHDRAW_ALL", "SUSPEND", "AMEND"}


def rule_reasons(request, category, flag):
    """Steps 1 to 4 for one category, as a set."""
    found = set()
    types, roles = RULES["types"], codes.table()["role"]
    rule = types.get(request.event_type)
    sender, recipient = request.sender, request.recipient
    if rule is None:
        found.add("SCHEMA_UNKNOWN")
        rule = {"senders": list(roles), "recipients": list(roles), "purposes": []}
    if sender.role not in rule["senders"] or roles[sender.role]["authority"] != sender.authority:
        found.add("SENDER_NOT_ALLOWED")
    if not sender.active:
        found.add("SENDER_INACTIVE")
    if recipient.role not in rule["recipients"] or roles[recipient.role]["authority"] != recipient.authority:
        found.add("TYPE_NOT_ALLOWED")
    if request.purpose not in rule.get("purposes", codes.table()["purpose"]):
        found.add("TYPE_NOT_ALLOWED")
    if not rule.get("to_unit"):
        if not recipient.held:
            found.add("NO_HOLDER")
        elif not recipient.active:
            found.add("SEAT_INACTIVE")
    pair = (sender.role, recipient.role)
    rows = [rule] if "categories" in rule else [p for p in RULES["pairs"] if (p["sender"], p["recipient"]) == pair]
    row = next((one for one in rows if category in one["categories"]), None)
    if (
        any((one["sender"], one["recipient"]) == pair for one in RULES["never"])
        or row is None
        or request.event_type not in row.get("only", {}).get(category, [request.event_type])
    ):
        found.add("CATEGORY_NOT_ALLOWED")
    elif "asks_human" in row:
        found.add(row["asks_human"])
    if category in RULES["not_waivable"]:
        found.add("NON_WAIVABLE")
    public = RULES["public_interest"]
    if sender.authority in public["sender_authorities"] and category in public["categories"] and not flag:
        found.add("PUBLIC_INTEREST_NOT_RELEASED")
    return found, bool(rule.get("to_unit"))


def hits(recipients, party):
    """Whether a narrowing list of recipients meets a party."""
    if not recipients:
        return True
    for ref in recipients:
        if ref.kind == "ROLE" and ref.id == party.role:
            return True
        if ref.kind == "UNIT":
            if party.unit is None and ref.id.split("/")[0] == party.authority:
                return True
            if ref.id == party.unit:
                return True
    return False


def listed(items, word):
    return not items or word in items


def grant_reasons(acts, place, request, category, to_unit):
    """Everything wrong with the grant at `place` for one category, as a set."""
    grant, recorded, signed = acts[place]
    given, party, at = grant.terms, request.recipient, request.at_us
    found = set()
    if grant.member != request.sender.member:
        found.add("WRONG_DISCLOSER")
    by_unit = any(ref.kind == "UNIT" and ref.id == party.unit for ref in given.recipients)
    by_role = [ref for ref in given.recipients if ref.kind == "ROLE" and ref.id == party.role and not to_unit]
    same = any(ref.follows_role or (ref.member is not None and ref.member == party.member) for ref in by_role)
    if not by_unit and not by_role:
        found.add("RECIPIENT_NOT_COVERED")
    elif not by_unit and not same and party.held:
        found.add("RECIPIENT_CHANGED")
    if category not in given.categories:
        found.add("CATEGORY_NOT_COVERED")
    if request.purpose not in given.purposes:
        found.add("PURPOSE_MISMATCH")
    if request.action not in given.actions:
        found.add("ACTION_NOT_COVERED")
    if at < given.valid_from_us or at < recorded:
        found.add("NOT_YET_VALID")
    if given.valid_until_us is None or at >= given.valid_until_us:
        found.add("EXPIRED")
    if given.valid_until_us is None or not signed:
        found.add("INVALIDATED")
    if given.given_by != "SELF":
        found.add("CAPACITY")
    if given.reservations:
        found.add("RESERVATION")
    for other_place, (other, other_recorded, _signed) in enumerate(acts):
        since = other_recorded if other.effective_at_us is None else min(other.effective_at_us, other_recorded)
        mine = other.consent_id == grant.consent_id
        if other.act == "GRANT" and mine and other_place > place and other != grant and at >= other_recorded:
            found.add("INVALIDATED")
        if other.act in {"ANNUL", "ANNUL_WRONG_PERSON"} and mine:
            found.add("INVALIDATED")  # never valid, whenever one asks
        if other.act not in NARROWING or at < since:
            continue
        if other.act == "WITHDRAW_ALL" and other_place > place:
            found.add("WITHDRAWN")
        elif other.act in {"SUSPEND", "AMEND"} and mine:
            found.add("SUSPENDED")
        elif other.act == "WITHDRAW" and mine:
            part = other.scope
            if part is None or not (part.recipients or part.categories or part.purposes):
                found.add("WITHDRAWN")
            elif (
                hits(part.recipients, party)
                and listed(part.categories, category)
                and listed(part.purposes, request.purpose)
            ):
                found.add("PARTIALLY_WITHDRAWN")
    return found


def blocked(acts, request, category):
    for place, (act, recorded, _signed) in enumerate(acts):
        if act.act != "BLOCK":
            continue
        given, at = act.terms, request.at_us
        since = min(recorded, given.valid_from_us, recorded if act.effective_at_us is None else act.effective_at_us)
        lifted = [
            max(when, other.effective_at_us or when)
            for other, when, signed in acts[place + 1 :]
            if other.act == "UNBLOCK" and other.consent_id == act.consent_id and signed and other.scope is None
        ]
        over = any(at >= when for when in lifted)
        ended = given.valid_until_us is not None and at > given.valid_until_us
        if (
            at >= since
            and not over
            and not ended
            and hits(given.recipients, request.recipient)
            and listed(given.categories, category)
            and listed(given.purposes, request.purpose)
            and listed(given.actions, request.action)
        ):
            return True
    return False


def section_reasons(request, acts, category, *, flag, persons, withheld):
    found, to_unit = rule_reasons(request, category, flag)
    places = []
    for place, (act, _recorded, _signed) in enumerate(acts):
        if act.act == "GRANT" and all(acts[before][0].consent_id != act.consent_id for before in places):
            places.append(place)
    each = [grant_reasons(acts, place, request, category, to_unit) for place in places]
    if not each:
        found.add("NO_RECORD")
    elif all(each):

        def far(one):
            return (len(one & SCOPE), len(one & LIFE), len(one - SCOPE - LIFE))

        nearest = min(far(one) for one in each)
        found |= set().union(*(one for one in each if far(one) == nearest))
    if set(persons) != {0}:
        found.add("OTHER_SUBJECT_NO_CONSENT")
    if blocked(acts, request, category):
        found.add("BLOCK_IN_FORCE")
    if withheld:
        found.add("SENDER_WITHHELD")
    return found


def decide(request, acts):
    """(outcome, {category: set of reasons}); acts are (ConsentAct, recorded_at_us, signed) in order."""
    assert all(isinstance(act, ConsentAct) for act, _when, _signed in acts)
    each = {
        ask.category: section_reasons(
            request,
            acts,
            ask.category,
            flag=ask.public_interest_released,
            persons=ask.persons,
            withheld=ask.sender_withheld,
        )
        for ask in request.sections
    }
    name = event_types.type_category(request.event_type)
    tells = each.get(name)
    if tells is None:
        tells = section_reasons(request, acts, name, flag=False, persons=(0,), withheld=False)
    if tells:
        for found in each.values():
            if not any(codes.reason_kind(one) == "RULE" for one in found):
                found.add("TYPE_WITHHELD")
    return codes.outcome_of([(not found, found) for found in each.values()]), each
