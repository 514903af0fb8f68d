"""What a new rule set opens and closes, over every lane, in words."""

from __future__ import annotations

import json

from click.testing import CliRunner

import handslag
from consent.rules import released, shipped
from consent.rules_diff import changes, sentences
from schemas import codes
from tests.rules.ruling import CLOSED, HEALTH, OPENING, POLICE, SHIPPED, changed, rules

NOW = shipped()[1]
NEVER = 'sender = "police_coordination"\nrecipient = "provider"\n\n# ---'
PROVIDER = f"""
[[pairs]]
row = "LB-23"
sender = "health_care"
recipient = "provider"
{HEALTH}
asks_human = "CAPACITY"
"""


def codes_of(text: str) -> set[str]:
    return {one.code for one in changes(NOW, rules(text))}


def test_the_same_rules_differ_in_nothing():
    assert changes(NOW, rules(SHIPPED + "\n# another hash\n")) == ()


def test_what_opens_is_named_with_its_types_and_roles():
    found = changes(NOW, rules(OPENING))
    assert {(one.code, one.sender, one.recipient, one.category) for one in found} == {
        ("CATEGORY_OPENED", "health_care", "social_services_lead", "IC08")
    }
    assert all(one.opens and not one.closes for one in found)
    assert {one.event_type for one in found} == {"spoken"}  # health care sends no event type yet, but may speak


def test_what_closes_is_named():
    found = changes(NOW, rules(CLOSED))
    assert {(one.code, one.category) for one in found} == {("CATEGORY_CLOSED", "IC04")}
    assert {"threat_assessment_completed", "spoken"} <= {one.event_type for one in found}
    assert not any(one.opens for one in found)


def test_every_kind_of_difference_is_seen():
    kinds = {
        "HUMAN_ASKED": changed((POLICE, POLICE + '\nasks_human = "CAPACITY"')),
        "HUMAN_DROPPED": changed(('asks_human = "CAPACITY"\n', "")),
        "HUMAN_CHANGED": changed(('asks_human = "CAPACITY"', 'asks_human = "RESERVATION"')),
        "PURPOSE_REMOVED": changed(('"RELOCATION", "PROTECTION", ', "")),
        "PURPOSE_ADDED": changed(('"CASE_TRANSFER", "RELOCATION"]', '"CASE_TRANSFER", "RELOCATION", "INTAKE"]')),
        "RELEASE_REMOVED": changed(('["POL", "KV", "SIS"]', '["KV", "SIS"]')),
        "RELEASE_ADDED": changed(('["POL", "KV", "SIS"]', '["POL", "KV", "SIS", "SOC"]')),
        "OBLIGATION_ADDED": changed((HEALTH, HEALTH + '\nobligations = ["NO_ONWARD"]')),
        "OBLIGATION_REMOVED": changed(('obligations = ["NO_ONWARD"]\n', "")),
        "FORM_CHANGED": changed(("to_unit = true", "to_unit = false")),
        "HUMAN_OPENED": SHIPPED + PROVIDER,
        "PAIR_OPENED": changed((NEVER, NEVER.replace("provider", "health_care"))),
        "PAIR_CLOSED": changed((NEVER, NEVER.replace("provider", "health_care"))),
    }
    for code, text in kinds.items():
        assert code in codes_of(text), code
    told = {"CATEGORY_OPENED", "CATEGORY_CLOSED"}
    # Actions are the program's own list and no file names them.
    conditions = {"CONDITION_ADDED", "CONDITION_DROPPED", "CONDITION_CHANGED"}
    assert set(codes.table()["rules_change"]) == {*kinds, *told, *conditions, "ACTION_ADDED", "ACTION_REMOVED"}


def test_a_body_that_never_gets_anything_closes_every_lane_to_it():
    found = changes(NOW, rules(changed(('["BRA",', '["UTF", "BRA",'))))
    assert found
    assert {(one.code, one.recipient) for one in found} == {
        ("CATEGORY_CLOSED", "provider"),
        ("PAIR_CLOSED", "provider"),
    }


def test_forward_and_back_are_mirror_images():
    old = next(each for each in released().values() if each.version == "2026-11")
    there, back = changes(old, NOW), changes(NOW, old)
    assert {one[1:] for one in there if one.opens} == {one[1:] for one in back if one.closes}
    assert {one[1:] for one in there if one.closes} == {one[1:] for one in back if one.opens}


def test_the_differences_are_told_in_both_languages(tmp_path):
    file = tmp_path / "new.toml"
    file.write_text(CLOSED, encoding="utf-8")
    ran = CliRunner().invoke(handslag.front, ["--lang", "sv", "rules", "diff", "-", str(file)])
    assert ran.exit_code == 0
    assert "STÄNGER polisens avhopparsamordning -> socialtjänst, huvudansvarig: IC04 hotbild" in ran.stdout
    told = sentences(changes(NOW, rules(CLOSED)), "en")
    assert all(line.startswith("CLOSES ") for line in told)
    data = json.loads(CliRunner().invoke(handslag.front, ["rules", "diff", "-", str(file), "--json"]).stdout)
    assert (data["opens"], data["closes"]) == (False, True)
    assert {"code", "event_type", "sender", "recipient", "category", "detail", "opens", "closes"} == set(
        data["changes"][0]
    )


def test_nothing_changed_is_said(tmp_path):
    file = tmp_path / "new.toml"
    file.write_text(SHIPPED, encoding="utf-8")
    ran = CliRunner().invoke(handslag.front, ["--lang", "sv", "rules", "diff", "-", str(file)])
    assert "Inget öppnas och inget stängs." in ran.stdout
