"""Disclosure with support in law: the cases a lawyer can read, the list of provisions, and what holds for all of it."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import fields, replace
from datetime import datetime
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent import provisions, statute
from consent.rules import shipped as shipped_rules
from consent.statute import Approved, Asked, Person, StatuteDecision, check
from schemas import codes
from schemas.errors import HandslagError
from tests.consent.making import party

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/statute/cases.json").read_text(encoding="utf-8"))
REGISTRY, RULES = provisions.shipped(), shipped_rules()[1]
SOURCE = resources.files("consent").joinpath(f"provisions/{provisions.SHIPPED}").read_text(encoding="utf-8")


def moment(text):
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


def approved_of(one):
    if one is None:
        return None
    provision = REGISTRY.provision(one["provision"])
    return Approved(
        provision_id=one["provision"],
        provision_hash=provision.hash32,
        reviewed_at_us=moment(one["from"]),
        valid_until_us=moment(one["until"]),
        acute=one["acute"],
    )


def person(name, assurance):
    return Person(ref=name, key=hashlib.sha256(name.encode()).digest(), assurance=assurance)


def asked_of(one):
    recipient = party(one["recipient"], held=one.get("recipient_held", True), active=one.get("recipient_active", True))
    return Asked(
        provision_id=one["provision"],
        sender=party(one["sender"], active=one.get("sender_active", True)),
        recipient=replace(recipient, authority=one.get("recipient_authority", recipient.authority)),
        categories=tuple(one["categories"]),
        released=frozenset(one["released"]),
        persons=tuple(one["persons"]),
        initiated_by=one["initiated_by"],
        requested=one["requested"],
        secrecy=tuple(one["secrecy"]),
        exclusions=tuple(one["exclusions"]),
        balanced=one["balanced"],
        age=one["age"],
        consent_sought=one["consent_sought"],
        subject_informed=one["subject_informed"],
        acute=one["acute"],
        decider=person(one["decider"], one["assurance"]),
        second=None if one["second"] is None else person(one["second"], one["assurance"]),
        decided_at_us=moment(one["decided_at"]),
    )


CASES = [(one, {**VECTORS["usual"], **one.get("case", {})}) for one in VECTORS["cases"]]


@pytest.mark.parametrize(("case", "whole"), CASES, ids=[case["name"] for case, _whole in CASES])
def test_case(case, whole):
    expected = case["expected"]
    if "error" in expected:
        with pytest.raises(HandslagError) as refused:
            check(asked_of(whole), REGISTRY, approved_of(whole["approved"]), RULES)
        assert refused.value.code == expected["error"], case["sentence"]
        return
    found = check(asked_of(whole), REGISTRY, approved_of(whole["approved"]), RULES)
    assert found.outcome == expected["outcome"], case["sentence"]
    assert {one.category: list(one.reasons) for one in found.sections} == expected["sections"], case["sentence"]
    if "rows" in expected:
        assert {one.category: one.row for one in found.sections} == expected["rows"]


def test_the_vectors_are_of_these_lists():
    assert VECTORS["provisions"] == REGISTRY.version
    assert len({case["name"] for case, _ in CASES}) == len(CASES) >= 40
    told = {r for case, _ in CASES for reasons in case["expected"].get("sections", {}).values() for r in reasons}
    assert {"STATUTORY_EXCLUDED", "STATUTORY_NEEDS_HUMAN"} <= told


# --- the list


def test_no_line_of_the_file_can_approve_a_provision():
    """Whatever looks like a review refuses the whole file, so nothing in the product can turn a provision on."""
    for line in ('reviewed_by = "EXEMPEL"', "reviewed_at = 2026-11-23", "approved = true", "enabled = true"):
        with pytest.raises(HandslagError) as refused:
            provisions.parse(SOURCE.replace('row = "NEC"', f'row = "NEC"\n{line}', 1).encode())
        assert (refused.value.code, refused.value.context) == ("HS-PROVISIONS-INVALID", {"field": "provisions"})
    assert "reviewed" not in {field.name for field in fields(provisions.Provision)}


def test_a_provision_that_nobody_approved_discloses_nothing():
    usual = asked_of(VECTORS["usual"])
    for provision_id in REGISTRY.provisions:
        other = approved_of(VECTORS["usual"]["approved"])
        of_another_text = replace(other, provision_id=provision_id, provision_hash=bytes(32))
        for wrong in (None, of_another_text, *([] if other.provision_id == provision_id else [other])):
            # Complete in everything else, so that only the approval is missing.
            provision = REGISTRY.provision(provision_id)
            age = "UNDER_18" if provision.age_below else None
            asked = replace(usual, provision_id=provision_id, age=age, initiated_by="RECIPIENT_REQUEST", requested=True)
            with pytest.raises(HandslagError) as refused:
                check(asked, REGISTRY, wrong, RULES)
            assert refused.value.code == "HS-PROVISION-UNREVIEWED"


def test_a_changed_text_is_not_the_one_that_was_approved():
    other = provisions.parse(SOURCE.replace('section = "10 kap. 18 a §"', 'section = "10 kap. 18 a § x"').encode())
    assert other.provision("OSL-10-18A").hash32 != REGISTRY.provision("OSL-10-18A").hash32
    assert other.provision("OSL-10-20").hash32 == REGISTRY.provision("OSL-10-20").hash32
    with pytest.raises(HandslagError) as refused:
        check(asked_of(VECTORS["usual"]), other, approved_of(VECTORS["usual"]["approved"]), RULES)
    assert refused.value.code == "HS-PROVISION-UNREVIEWED"


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ('kind = "DUTY"', 'kind = "PERHAPS"', "kind"),
        ("age_below = 18", "age_below = 30", "age_below"),
        ('"IC04", "IC08", "IC09"', '"IC04", "IC04", "IC09"', "categories"),
        ('"IC04", "IC08", "IC09"', '"IC04", "IC11", "IC09"', "categories"),
        ('sender = "provider"', 'sender = "nobody"', "sender"),
        ('"OSL_24_2_A", ', '"OSL_99", ', "excluded_secrecy"),
        ("acute = true", 'acute = "yes"', "acute"),
        ("in_force_from = 2026-11-23", 'in_force_from = "soon"', "in_force_from"),
        ('id = "OSL-10-20"', 'id = "OSL-10-21"', "id"),
        ("version =", "version = = ", "toml"),
    ],
)
def test_a_list_that_says_something_else_is_refused_whole(before, after, field):
    assert before in SOURCE
    with pytest.raises(HandslagError) as refused:
        provisions.parse(SOURCE.replace(before, after, 1).encode())
    assert (refused.value.code, refused.value.context["field"]) == ("HS-PROVISIONS-INVALID", field)


def test_every_list_that_was_in_force_is_found_by_its_hash():
    assert provisions.released()[REGISTRY.hash32].version == REGISTRY.version
    raw = tomllib.loads(SOURCE)
    assert {row["id"] for row in raw["provisions"]} == set(REGISTRY.provisions)
    # Where somebody is stands in no lane, and no provision leads to a provider from the police (E-14, LB-14).
    for one in REGISTRY.provisions.values():
        assert ("police_coordination", "provider") not in one.lanes
        assert not {"IC10", "IC11"} & {category for lane in one.lanes.values() for category in lane}


# --- what holds for everything

ROLES = sorted(codes.table()["role"])
EVERY = st.fixed_dictionaries(
    {
        "provision": st.sampled_from(sorted(REGISTRY.provisions)),
        "sender": st.sampled_from(ROLES),
        "recipient": st.sampled_from(ROLES),
        "categories": st.lists(st.sampled_from(sorted(codes.table()["category"])), min_size=1, max_size=4, unique=True),
        "secrecy": st.lists(st.sampled_from(sorted(codes.table()["secrecy"])), min_size=1, max_size=2, unique=True),
        "exclusions": st.lists(st.sampled_from(sorted(codes.table()["exclusion"])), unique=True),
        "balanced": st.sampled_from([None, *codes.table()["balanced"]]),
        "age": st.sampled_from([None, *codes.table()["age_stated"]]),
        "second": st.sampled_from([None, "handl-7", "handl-9"]),
        "acute": st.booleans(),
        "requested": st.booleans(),
        "initiated_by": st.sampled_from(sorted(codes.table()["initiated_by"])),
        "recipient_held": st.booleans(),
        "recipient_active": st.booleans(),
        "sender_active": st.booleans(),
        "night": st.booleans(),
        "stated": st.booleans(),
    }
)


def answered(drawn):
    """The answer to a drawn case with an approval of its own provision; None where it is refused with a code."""
    released = drawn["categories"] if drawn["stated"] else []
    whole = {**VECTORS["usual"], **drawn, "released": released}
    approved = approved_of({**VECTORS["usual"]["approved"], "provision": drawn["provision"], "acute": drawn["night"]})
    asked = asked_of(whole)
    try:
        return asked, check(asked, REGISTRY, approved, RULES)
    except HandslagError:
        return asked, None


def whole(found):
    assert found.outcome in {"RELEASED", "REFUSED", "NEEDS_HUMAN"}
    assert len({one.released for one in found.sections}) == 1
    assert all(one.released != bool(one.reasons) for one in found.sections)


def within_the_rules(asked):
    provision = REGISTRY.provision(asked.provision_id)
    assert asked.sender.active
    assert asked.recipient.active
    assert asked.recipient.held
    assert set(asked.categories) <= set(provision.lanes[asked.sender.role, asked.recipient.role])
    assert not set(asked.categories) & {"IC10", "IC11"}
    assert not set(asked.secrecy) & REGISTRY.never_secrecy
    assert (asked.sender.role, asked.recipient.role) != ("police_coordination", "provider")


@settings(max_examples=2000, deadline=None)
@given(EVERY)
def test_whatever_is_asked_the_rules_hold(drawn):
    """Whole or not at all, nothing that the rules close, and one person alone for threat and measures only."""
    asked, found = answered(drawn)
    if found is None:
        return
    whole(found)
    if found.outcome == "RELEASED":
        within_the_rules(asked)
    if asked.second is None:
        assert asked.acute
        assert set(asked.categories) <= {"IC04", "IC06"}
        assert drawn["night"]


def by_lane():
    """Every provision, pair and category that the list has, asked for as it should be."""
    for one in REGISTRY.provisions.values():
        for (sender, recipient), lane in one.lanes.items():
            for category in lane:
                yield one, sender, recipient, category


def asked_rightly(one, sender, recipient, *categories):
    case = {
        **VECTORS["usual"], "provision": one.provision_id, "sender": sender, "recipient": recipient,
        "categories": categories, "released": categories, "initiated_by": "RECIPIENT_REQUEST", "requested": True,
        "exclusions": sorted(one.exclusions), "age": "UNDER_18" if one.age_below else None,
        "secrecy": ["OSL_35_1"], "balanced": None if one.balancing == "NONE" else "FOR",
    }  # fmt: skip
    return asked_of(case), approved_of({**VECTORS["usual"]["approved"], "provision": one.provision_id})


def test_every_lane_of_the_list_carries_what_it_says():
    for one, sender, recipient, category in by_lane():
        asked, approved = asked_rightly(one, sender, recipient, category)
        assert check(asked, REGISTRY, approved, RULES).outcome == "RELEASED", (one.provision_id, sender, recipient)


def test_a_statutory_disclosure_is_whole_or_not_at_all():
    for one, sender, recipient, category in by_lane():
        outside = next(c for c in ("IC16", "IC17") if c not in one.lanes[sender, recipient])
        asked, approved = asked_rightly(one, sender, recipient, category, outside)
        found = check(asked, REGISTRY, approved, RULES)
        assert [section.released for section in found.sections] == [False, False]
        assert found.sections[0].reasons == ("STATUTORY_NEEDS_HUMAN",)


def test_no_provision_opens_what_the_rules_close():
    """The rules of sender, recipient and pair stand also against a list that would let everything go."""
    opened = SOURCE.replace('sender = "provider", recipient = "police_coordination"',
                            'sender = "police_coordination", recipient = "provider"')  # fmt: skip
    registry = provisions.parse(opened.encode())
    one = registry.provision("SFS-2025-170-4")
    asked, _ = asked_rightly(one, "police_coordination", "provider", "IC02")
    approved = replace(approved_of(VECTORS["usual"]["approved"]), provision_id=one.provision_id)
    approved = replace(approved, provision_hash=one.hash32)
    assert check(asked, registry, approved, RULES).sections[0].reasons == ("TYPE_NOT_ALLOWED",)
    for authority in RULES.never_individual:
        told = replace(asked, recipient=replace(asked.recipient, authority=authority))
        assert "TYPE_NOT_ALLOWED" in check(told, registry, approved, RULES).sections[0].reasons


def test_acute_danger_carries_threat_and_measures_only():
    for one, sender, recipient, category in by_lane():
        asked, approved = asked_rightly(one, sender, recipient, category)
        asked, approved = replace(asked, acute=True, second=None), replace(approved, acute=True)
        if category in {"IC04", "IC06"} and one.acute:
            assert check(asked, REGISTRY, approved, RULES).outcome == "RELEASED"
            continue
        with pytest.raises(HandslagError) as refused:
            check(asked, REGISTRY, approved, RULES)
        assert refused.value.code == "HS-STATUTE-ACUTE"


def test_nobody_is_their_own_second_person():
    usual = asked_of(VECTORS["usual"])
    approved = approved_of(VECTORS["usual"]["approved"])
    assert check(usual, REGISTRY, approved, RULES).outcome == "RELEASED"
    other_name = replace(usual.decider, ref="handl-9")  # the same key under another name
    for second in (None, usual.decider, other_name, replace(usual.second, ref=usual.decider.ref)):
        with pytest.raises(HandslagError) as refused:
            check(replace(usual, second=second), REGISTRY, approved, RULES)
        assert refused.value.code == "HS-STATUTE-SECOND"


def test_no_consent_can_be_asked_about_or_answered():
    """The question has no place for a consent or an event, and the answer none either."""
    words = {field.name for kind in (Asked, Approved, Person) for field in fields(kind)} | set(StatuteDecision._fields)
    words |= set(statute.StatuteSection._fields)
    assert "consent_sought" in words  # what was asked of the person before; a code, and nothing rests on it
    assert not [w for w in words - {"consent_sought"} if "consent" in w or "grant" in w or "event" in w or "basis" in w]
    usual, approved = asked_of(VECTORS["usual"]), approved_of(VECTORS["usual"]["approved"])
    answers = {
        check(replace(usual, consent_sought=c), REGISTRY, approved, RULES) for c in codes.table()["consent_sought"]
    }
    assert len(answers) == 1
