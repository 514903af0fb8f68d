"""The cases of `tests/vectors/consent` as acts, requests and answers; fields and order as its README says.

A case states only what it is about. Every other field keeps the value an ordinary consent has, and a field of the
schema that no case states is left to its own default.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from consent.ledger import view_of
from consent.rules import parse, shipped
from consent.terms import SectionAsk
from schemas.acts import ConsentAct, RecipientRef, Reservation, Scope, Terms
from schemas.identifiers import ZERO16
from schemas.records import Record
from tests.consent.making import RESERVED, act, named, party, recorded, request, terms

FOLDER = Path(__file__).parents[1] / "vectors" / "consent"
DATA, RULES = shipped()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RENAMED = {"obligations": "recipient_obligations", "reserved_fields": "reserved"}
# Parts of a consent that a case hands on as they stand; the others are spelt out in `given_by_case`.
PLAIN = (
    "kind", "about", "givers", "minor", "capacity", "data_from", "data_until", "until_event", "review_by",
    "information", "all_agencies_required", "obligations", "retention_until", "reserved_fields", "text_version",
    "processing_acknowledged", "method", "withdrawal_method",
)  # fmt: skip
STANDS_FOR_TERMS = {"GRANT", "AMEND", "BLOCK"}


def cases(path):
    """(path, case) of one file."""
    return [(path, case) for case in json.loads(path.read_text(encoding="utf-8"))["cases"]]


def moment(text):
    """Microseconds since 1970; the text may have a fraction of a second, of up to six digits."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def made(record, given, **unsaid):
    """A record of the schema from the words of a case: a time has no `_us` in a case, lists become tuples."""
    hints = typing.get_type_hints(record)
    return record(**(unsaid | dict(field(hints, RENAMED.get(key, key), value) for key, value in given.items())))


def field(hints, key, value):
    if key + "_us" in hints:
        return key + "_us", moment(value)
    part = next((one for one in types_in(hints[key]) if isinstance(one, type) and issubclass(one, Record)), None)
    if part is None:
        return key, tuple(value) if isinstance(value, list) else value
    if isinstance(value, list):
        return key, tuple(one_of(part, item) for item in value)
    return key, one_of(part, value)


def one_of(part, value):
    named_by = {one.name for one in dataclasses.fields(part)}
    unsaid = {"rule_id": "L3"} if "rule_id" in named_by else {}
    if "text_hash" in named_by:
        unsaid["text_hash"] = hashlib.sha256(b"the text").digest()
    return made(part, value, **unsaid)


def types_in(hint):
    """Every type named in a hint, inside unions and tuples as well."""
    inside = typing.get_args(hint)
    return [hint] if not inside else [one for part in inside for one in types_in(part)]


def ref(one):
    if "unit" in one:
        return RecipientRef(kind="UNIT", id=one["unit"], follows_role=False)
    if "officer" in one:
        return RecipientRef(kind="NAMED_OFFICER", id=one["officer"], follows_role=False)
    return RecipientRef(kind="ROLE", id=one["role"], member=named(one["holder"]), follows_role=one["follows_role"])


def refs(one):
    return tuple(ref(item) for item in one.get("recipients", ()))


def reservations(one):
    if "reservations" not in one:
        return RESERVED if one.get("reserved") else ()
    return tuple(Reservation(code=item["code"]) if "code" in item else RESERVED[0] for item in one["reservations"])


def given_by_case(one):
    """The terms of a consent or block."""
    base = terms(
        *refs(one),
        categories=tuple(one.get("categories", ())),
        purposes=tuple(one.get("purposes", ())),
        actions=tuple(one.get("actions", ())),
        valid_from_us=moment(one.get("valid_from", one["recorded_at"])),
        valid_until_us=moment(one["valid_until"]) if "valid_until" in one else None,
        reservations=reservations(one),
        given_by=one.get("given_by", "SELF"),
    )
    hints = typing.get_type_hints(Terms)
    said = dict(field(hints, RENAMED.get(key, key), one[key]) for key in PLAIN if key in one)
    if "supersedes" in one:
        said["supersedes"] = named(one["supersedes"])
    return replace(base, **said)


def scope_of(part):
    """What a partial withdrawal, a lift or a lapse reaches."""
    said = {"givers": tuple(part["givers"])} if "givers" in part else {}
    return Scope(
        recipients=refs(part),
        categories=tuple(part.get("categories", ())),
        purposes=tuple(part.get("purposes", ())),
        **said,
    )


def act_of(one, sender):
    """One act; `sender` is the role whose seat records it, unless it names another `member`."""
    said = {
        "effective_at_us": moment(one["effective_at"]) if "effective_at" in one else None,
        "member": named(one.get("member", sender)),
    }
    if one["act"] in STANDS_FOR_TERMS or "recipients" in one:
        said["terms"] = given_by_case(one)
    if "scope" in one:
        said["scope"] = scope_of(one["scope"])
    hints = typing.get_type_hints(ConsentAct)
    said |= dict(field(hints, key, one[key]) for key in ("ended_event", "lift_until") if key in one)
    return act(one["act"], one.get("consent", ZERO16), **said)


def section_of(part):
    said = dict(field(typing.get_type_hints(SectionAsk), key, value) for key, value in part.items())
    return SectionAsk(**({"persons": (0,), "public_interest_released": False, "sender_withheld": False} | said))


def asked_of(one):
    """The request of a case."""
    to, sender = one["recipient"], one["sender"]
    changes = {key: to[key] for key in ("unit", "authority", "held", "active") if key in to}
    if to.get("no_seat"):
        changes |= {"member": None, "held": False, "active": False}
    elif to.get("held", True):
        changes["member"] = named(to.get("holder", to["role"]))
    return request(
        tuple(section_of(part) for part in one["sections"]),
        event_type=one["event_type"],
        sender=party(sender["role"], **{key: sender[key] for key in ("authority", "active") if key in sender}),
        recipient=party(to["role"], **changes),
        purpose=one["purpose"],
        action=one["action"],
        at_us=moment(one["at"]),
    )


def events_for(case):
    """The ledger of the case, as the broker hands it out."""
    sender = case["request"]["sender"]["role"]
    unsigned = tuple(place for place, one in enumerate(case["ledger"]) if not one.get("signed", True))
    return recorded([(act_of(one, sender), moment(one["recorded_at"])) for one in case["ledger"]], unsigned=unsigned)


def known_at(case):
    """What was known is what was recorded until then; None: all of it."""
    known = case["request"].get("known_at")
    return None if known is None else moment(known)


def view_for(case):
    """What was known of the ledger of the case at the time it names, or all of it."""
    return view_of(events_for(case), known_at(case))


def rules_for(case):
    """The rules that a case is decided by."""
    return parse(rules_bytes(case)) if "texts_ended" in case else RULES


def rules_bytes(case, data=DATA):
    """The shipped rules file; for a case that says which texts have ended, with those days in `[texts_ended]`."""
    if "texts_ended" not in case:
        return data
    said = "".join(f'"{version}" = {day}\n' for version, day in case["texts_ended"].items())
    head = "[texts_ended]\n"
    text = data.decode("utf-8")
    return (text.replace(head, head + said) if head in text else f"{text}\n{head}{said}").encode("utf-8")


def told(found):
    """{category: reasons} of a decision; the second section of a category is `IC09#1`."""
    sections = {}
    for one in found.sections:
        again = sum(key.split("#")[0] == one.category for key in sections)
        sections[f"{one.category}#{again}" if again else one.category] = list(one.reasons)
    return sections
