"""The rule file: read strictly, and nothing in it beyond what a row of the domain page says."""

from __future__ import annotations

import hashlib
import itertools
import re
import tomllib
from dataclasses import replace

import pytest

from consent import rules as reader
from consent.rules import MinorRule, Reserve, parse, shipped
from schemas import codes, event_types
from schemas.errors import HandslagError
from schemas.said import SPOKEN
from tests.consent.mutations_of_rules import written

TEXT = shipped()[0].decode()


def test_the_hash_is_of_the_file():
    data, rules = shipped()
    assert rules.hash32 == hashlib.sha256(data).digest()
    assert (rules.version, rules.in_force_from.isoformat()) == ("2026-11-23", "2026-11-23")


def test_every_type_that_exists_has_rules():
    exists = {
        c for c, t in event_types.table().items() if t.available and t.type_class is event_types.TypeClass.CONTENT
    }
    rules = shipped()[1]
    assert {lane[0] for lane in rules.lanes} == exists
    assert len(rules.lanes) == len(exists) * len(codes.table()["role"]) ** 2


def test_every_line_cites_a_row():
    rows = re.findall(r'^row = "(.+)"$', TEXT, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^(\[\[|\[(?!not_waivable))", TEXT, re.MULTILINE))
    assert all(re.fullmatch(r"LB-\d\d|B-\d\d|L\d|PROTOCOL", row) for row in rows)


@pytest.mark.parametrize(
    ("row", "sender", "recipient", "categories"),
    [
        ("LB-01", "social_services_lead", "police_coordination", {"IC01", "IC02", "IC04", "IC12"}),
        ("LB-04", "social_services_lead", "prison_probation", {"IC08", "IC12", "IC13"}),
        ("LB-06", "social_services_lead", "health_care", {"IC07", "IC08", "IC13"}),
        ("LB-09", "provider", "social_services_lead", {"IC13", "IC14", "IC15"}),
        ("LB-11", "police_coordination", "social_services_lead", {"IC04", "IC06"}),
        ("LB-12", "police_coordination", "prison_probation", {"IC04", "IC05", "IC06"}),
        ("LB-13", "police_coordination", "secure_youth_care", {"IC04", "IC12"}),
        ("LB-14", "police_coordination", "provider", set()),
        ("LB-17", "prison_probation", "social_services_lead", {"IC05", "IC13", "IC14", "IC15"}),
        ("LB-19", "prison_probation", "provider", {"IC13"}),
        ("LB-22", "secure_youth_care", "prison_probation", {"IC04", "IC13"}),
        ("LB-23", "health_care", "social_services_lead", {"IC07"}),
    ],
)
def test_a_pair_may_share_what_its_row_lists(row, sender, recipient, categories):
    rules = shipped()[1]
    lane = rules.lane("threat_assessment_requested", sender, recipient)
    listed = {category for category in codes.table()["category"] if lane.rows.get(category) == row}
    assert {category for category in listed if lane.verdict(category) == ()} == categories
    assert row != "LB-14" or listed == set(codes.table()["category"])


def test_nobody_receives_who_is_in_no_row():
    rules = shipped()[1]
    for sender, recipient in (("provider", "police_coordination"), ("health_care", "police_coordination")):
        lane = rules.lane("coordination_meeting_scheduled", sender, recipient)
        assert all(lane.verdict(category) for category in codes.table()["category"])


def test_what_may_be_said_is_what_the_pairs_list_and_no_more():
    """The pairs, without what may go in one event type only; read from the file here, not through the rules."""
    data, rules = tomllib.loads(TEXT), shipped()[1]
    listed = {}
    for row in data["pairs"]:
        plain = set(row["categories"]) - set(row.get("only", {})) - set(data["not_waivable"])
        listed.setdefault((row["sender"], row["recipient"]), {}).update(
            dict.fromkeys(plain, (row["asks_human"],) if "asks_human" in row else ())
        )
    closed = {(row["sender"], row["recipient"]) for row in data["never"]}
    for sender, recipient in itertools.product(codes.table()["role"], repeat=2):
        lane = rules.lane(SPOKEN, sender, recipient)
        wanted = {} if (sender, recipient) in closed else listed.get((sender, recipient), {})
        known = {category: lane.verdict(category) for category in codes.table()["category"]}
        allowed = {c: v for c, v in known.items() if not {"CATEGORY_NOT_ALLOWED", "NON_WAIVABLE"} & set(v)}
        assert allowed == wanted
        assert (lane.refusals, lane.to_unit) == ((), False)
        # Secrecy for a public interest asks for the same release decision as when it is sent.
        assert lane.needs_release == rules.lane("threat_assessment_completed", sender, recipient).needs_release
    assert rules.lane(SPOKEN, "nobody", "police_coordination").refusals == ("SENDER_NOT_ALLOWED",)
    assert rules.lane("spoken_otherwise", "provider", "police_coordination").refusals == ("SCHEMA_UNKNOWN",)


@pytest.mark.parametrize(
    ("lane", "refusals"),
    [
        (("joint_plan_adopted", "nobody", "provider"), ("SENDER_NOT_ALLOWED",)),
        (("joint_plan_adopted", "provider", "nobody"), ("TYPE_NOT_ALLOWED",)),
        (("no_such_type", "nobody", "nobody"), ("SCHEMA_UNKNOWN", "SENDER_NOT_ALLOWED", "TYPE_NOT_ALLOWED")),
    ],
)
def test_a_word_nobody_knows_is_refused_as_what_it_is(lane, refusals):
    """And of what is not listed there is no row to cite."""
    assert shipped()[1].lane(*lane).refusals == refusals
    assert shipped()[1].row(*lane, "IC01") == "-"


def test_nothing_goes_by_law_where_a_body_a_refusal_or_an_empty_lane_closes_the_pair():
    """Each of the three by itself; rules narrowed by others may refuse a lane that lists categories."""
    rules, pair = shipped()[1], ("health_care", "social_services_lead")
    lane = rules.spoken[pair]
    assert not rules.never(*pair)
    assert replace(rules, never_individual=frozenset((lane.recipient_authority,))).never(*pair)
    for closed in (lane._replace(refusals=("EVALUATION_ERROR",)), lane._replace(verdicts={})):
        assert replace(rules, spoken={pair: closed}).never(*pair)


def test_threat_goes_to_the_police_only_as_a_request():
    lane = shipped()[1].lane("coordination_meeting_scheduled", "social_services_lead", "police_coordination")
    assert lane.verdict("IC04") == ("CATEGORY_NOT_ALLOWED",)
    assert lane.verdict("IC13") == ()


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('version = "2026-11-23"', "version = 1", "version"),
        ("in_force_from = 2026-11-23", 'in_force_from = "soon"', "in_force_from"),
        ("[public_interest]", "[publik_interest]", "file"),
        (
            'sender = "police_coordination"\nrecipient = "provider"',
            'sender = "police"\nrecipient = "provider"',
            "sender",
        ),
        ('categories = ["IC07"]', 'categories = ["IC77"]', "categories"),
        ('categories = ["IC07"]', "categories = []", "categories"),
        ('categories = ["IC07"]', 'category = ["IC07"]', "pairs"),
        ('asks_human = "CAPACITY"', 'asks_human = "WITHDRAWN"', "asks_human"),
        ('obligations = ["NO_ONWARD"]', 'obligations = ["BE_KIND"]', "obligations"),
        ("to_unit = true", 'to_unit = "yes"', "to_unit"),
        ("[types.custody_status_changed]", "[types.case_closed]", "types"),
        ('only = { IC04 = ["threat', 'only = { IC05 = ["threat', "only"),
        ('row = "LB-02"', "row = 2", "row"),
        ('categories = ["IC08", "IC13", "IC14"]', 'categories = ["IC01"]', "pairs"),
        ('IC11 = "E-06"', "IC11 = 6", "IC11"),
        ("version =", "version", "toml"),
        ('version = "2026-11-23"', 'version = ""', "version"),
        # A key that nobody knows, in each kind of table.
        ("[never_individual]", "[never_individual]\nuntil = 2030-01-01", "never_individual"),
        ("[public_interest]", "[public_interest]\nuntil = 2030-01-01", "public_interest"),
        ("[types.support_requested]", "[types.support_requested]\nuntil = 2030-01-01", "types"),
        ("[[never]]", "[[never]]\nuntil = 2030-01-01", "never"),
        ("[[minors]]", "[[minors]]\nuntil = 2030-01-01", "minors"),
        ("[[reservations]]", "[[reservations]]\nuntil = 2030-01-01", "reservations"),
        # What must be there, in its form.
        ('row = "L1"\n', "", "row"),
        ('row = "L2"\n', "", "row"),
        ("[types.support_requested]", "[types]\nsupport = 1\n[types.support_requested]", "support"),
        ('code = "NO_ORAL"', 'code = ["NO_ORAL"]', "code"),
        ('["BRA", "CVE", "LST", "RK", "SKR", "SOS"]', '"BRA"', "authorities"),
        ('["CASE_TRANSFER", "RELOCATION"]', '"RELOCATION"', "purposes"),
        ('["CASE_TRANSFER", "RELOCATION"]', '["RELOCATION", []]', "purposes"),
        ('["threat_assessment_requested"]', '["no_such_type"]', "only"),
        # A child's consent: one row for each age and maturity, a yes or no, all guardians or none.
        ('maturity = "SUFFICIENT"', 'maturity = "INSUFFICIENT"', "minors"),
        ("cosign = false", 'cosign = "no"', "minors"),
        ('guardians = "ALL"', 'guardians = "SOME"', "minors"),
        # A reservation: one row for each code, which does something.
        ('code = "WRITTEN_ONLY"', 'code = "NO_ORAL"', "reservations"),
        ('denies = ["ORAL_DISCUSS"]\n', "", "reservations"),
        ("asks_human = true", 'asks_human = "yes"', "reservations"),
        ("asks_human = true", "asks_human = false", "reservations"),
        # A day, with no hour of its own, for every wording.
        ("EXEMPEL-1 = 2026-11-01", "EXEMPEL-1 = 2026-11-01\nEXEMPEL-2 = 2026-11-01T00:00:00Z", "texts_ended"),
    ],
)
def test_a_file_not_understood_is_refused_whole(old, new, place):
    assert old in TEXT
    with pytest.raises(HandslagError) as caught:
        parse(TEXT.replace(old, new, 1).encode())
    assert (caught.value.code, caught.value.context["field"]) == ("HS-RULES-INVALID", place)


@pytest.mark.parametrize("value", [None, 7, {}, [7], [{"row": "L", "sender": "provider", "recipient": "provider"}, 7]])
def test_a_list_of_tables_is_one(value):
    tree = tomllib.loads(TEXT)
    del tree["never"]
    with pytest.raises(HandslagError) as caught:
        parse(written(tree if value is None else {**tree, "never": value}))
    assert (caught.value.code, caught.value.context["field"]) == ("HS-RULES-INVALID", "never")


def test_a_file_may_say_otherwise_than_the_shipped_one():
    """Each of these is understood: no guardian asked, a reservation that lays a duty only, any type for a category."""
    every = ", ".join(f'"{code}"' for code in event_types.table())
    changed = {
        'guardians = "ALL"': 'guardians = "NONE"',
        'denies = ["ONWARD_DISCLOSE"]\n': "",
        '["threat_assessment_requested"]': f"[{every}]",
    }
    text = TEXT
    for old, new in changed.items():
        text = text.replace(old, new, 1)
    rules = parse(text.encode())
    assert rules.minors["UNDER_12", "INSUFFICIENT"] == MinorRule("L6", cosign=False, guardians=False)
    assert rules.reservations["NO_ONWARD"] == Reserve(frozenset(), ("NO_ONWARD",), asks_human=False)
    lane = rules.lane("joint_plan_adopted", "social_services_lead", "police_coordination")
    assert lane.verdict("IC04") == ()


def test_what_lies_beside_the_rule_files_is_no_rule_set(monkeypatch, tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "one.toml").write_bytes(TEXT.encode())
    (tmp_path / "rules" / "README.md").write_text("Rule sets, by date.", encoding="utf-8")
    monkeypatch.setattr(reader.resources, "files", lambda _package: tmp_path)
    assert list(reader.released.__wrapped__()) == [parse(TEXT.encode()).hash32]


def test_size_and_encoding_are_bounded():
    """65,536 bytes are read, and here refused for what they say; one more is not."""
    full = b"?" * 65_536
    for data, code in ((full, "HS-RULES-INVALID"), (full + b"?", "HS-TOO-LARGE"), (b"\xff", "HS-RULES-INVALID")):
        with pytest.raises(HandslagError) as caught:
            parse(data)
        assert caught.value.code == code
