"""The cases a lawyer can read (`tests/vectors/consent`), run against the decision."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from consent.decide import decide
from consent.ledger import view_of
from consent.rules import shipped
from schemas import codes
from schemas.acts import RecipientRef
from schemas.codes import outcome_of
from schemas.identifiers import ZERO16
from tests.consent.making import RESERVED, act, ask, named, party, recorded, request, scope, terms

RULES = shipped()[1]
FILES = sorted((Path(__file__).parents[1] / "vectors" / "consent").glob("*.json"))
CASES = [
    pytest.param(case, id=f"{path.stem}-{case['name']}")
    for path in FILES
    for case in json.loads(path.read_text(encoding="utf-8"))["cases"]
]


def moment(text):
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


def ref(one):
    if "unit" in one:
        return RecipientRef(kind="UNIT", id=one["unit"], follows_role=False)
    return RecipientRef(kind="ROLE", id=one["role"], member=named(one["holder"]), follows_role=one["follows_role"])


def act_of(one, sender):
    common = {
        "effective_at_us": moment(one["effective_at"]) if "effective_at" in one else None,
        "member": named(one.get("member", sender)),
    }
    refs = tuple(ref(item) for item in one.get("recipients", ()))
    given = terms(
        *refs,
        categories=tuple(one.get("categories", ())),
        purposes=tuple(one.get("purposes", ())),
        actions=tuple(one.get("actions", ())),
        valid_from_us=moment(one.get("valid_from", one["recorded_at"])),
        valid_until_us=moment(one["valid_until"]) if "valid_until" in one else None,
        reservations=RESERVED if one.get("reserved") else (),
        given_by=one.get("given_by", "SELF"),
    )
    if one["act"] in {"GRANT", "BLOCK"}:
        common["terms"] = given
    if "scope" in one:
        part = one["scope"]
        refs = tuple(ref(item) for item in part.get("recipients", ()))
        common["scope"] = scope(*refs, categories=part.get("categories", ()), purposes=part.get("purposes", ()))
    return act(one["act"], ZERO16 if one["act"] == "WITHDRAW_ALL" else one["consent"], **common)


def asked_of(one):
    to = one["recipient"]
    changes = {key: to[key] for key in ("unit", "authority", "held", "active") if key in to}
    if to.get("no_seat"):
        changes |= {"member": None, "held": False, "active": False}
    elif to.get("held", True):
        changes["member"] = named(to.get("holder", to["role"]))
    sections = [
        replace(ask(part["category"]), **{key: value for key, value in part.items() if key != "persons"})
        if "persons" not in part
        else replace(ask(part["category"]), persons=tuple(part["persons"]))
        for part in one["sections"]
    ]
    return request(
        sections,
        event_type=one["event_type"],
        sender=party(one["sender"]["role"]),
        recipient=party(to["role"], **changes),
        purpose=one["purpose"],
        action=one["action"],
        at_us=moment(one["at"]),
    )


@pytest.mark.parametrize("case", CASES)
def test_case(case):
    sender = case["request"]["sender"]["role"]
    unsigned = tuple(place for place, one in enumerate(case["ledger"]) if not one.get("signed", True))
    events = recorded([(act_of(one, sender), moment(one["recorded_at"])) for one in case["ledger"]], unsigned=unsigned)
    known = case["request"].get("known_at")
    found = decide(asked_of(case["request"]), view_of(events, None if known is None else moment(known)), RULES)
    expected = case["expected"]
    assert {one.category: list(one.reasons) for one in found.sections} == expected["sections"], case["sentence"]
    assert found.outcome == expected["outcome"], case["sentence"]
    assert found.outcome == outcome_of([(one.released, one.reasons) for one in found.sections])
    assert list(found.obligations) == expected.get("obligations", [])
    if "holds_until" in expected:
        assert found.holds_until_us == moment(expected["holds_until"])
    if "depends_on" in expected:
        assert list(found.depends_on) == [named(one) for one in expected["depends_on"]]
    if case["row"] not in {"LB-32", "-"}:
        lane = case["request"]["event_type"], sender, case["request"]["recipient"]["role"]
        assert case["row"] in {RULES.row(*lane, category) for category in expected["sections"]}


def test_every_reason_a_decision_can_give_has_a_case():
    """The reasons left out belong to the caller: a schema nobody knows, a sender whose seat is closed."""
    told = {
        reason for case in CASES for reasons in case.values[0]["expected"]["sections"].values() for reason in reasons
    }
    statutory = {code for code in codes.table()["reason"] if code.startswith("STATUTORY_")}  # tests/vectors/statute
    assert set(codes.table()["reason"]) - told == {"SCHEMA_UNKNOWN", "SENDER_INACTIVE"} | statutory
    assert len(CASES) >= 30
