"""When two versions of a schema read each other, judged by us and by two libraries that really read."""

import copy

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from schemas import catalogue
from schemas.compatibility import Break, Rule, breaks, breaks_of_sets
from tests.schemas.oracles import reads

STAMP = {"type": "long", "logicalType": "timestamp-micros"}
DAY = {"type": "int", "logicalType": "date"}


def enum(*symbols, name="Colour", **more):
    return {"type": "enum", "name": name, "symbols": list(symbols), **more}


def fixed(size, name="Id"):
    return {"type": "fixed", "name": name, "size": size}


def inner(*fields, name="Inner"):
    return {"type": "record", "name": name, "doc": "x", "fields": [plain(*field) for field in fields]}


def plain(name, kind, **more):
    return {"name": name, "type": kind, "doc": "x", **more}


def field(name, kind, category="IC12", **more):
    more = {"default": None, **more} if isinstance(kind, list) else more
    return {"name": name, "type": kind, "doc": "x", "category": category, **more}


def schema(*fields, **more):
    return {
        "type": "record",
        "name": "Sample",
        "namespace": "handslag.event",
        "doc": "x",
        "type_category": "IC12",
        "mandatory_categories": [],
        "fields": [field("when", "long"), *fields],
        **more,
    }


BASE = schema()
# Rule, where, two versions: each breaks this rule and no other.
BROKEN = [
    (Rule.TYPE, "Sample.a", schema(field("a", "int")), schema(field("a", "long"))),
    (Rule.TYPE, "Sample.a", schema(field("a", "string")), schema(field("a", enum("A")))),
    (Rule.TYPE, "Sample.a[]", schema(field("a", {"type": "array", "items": "int"})),
     schema(field("a", {"type": "array", "items": "string"}))),
    (Rule.NULLABILITY, "Sample.a", schema(field("a", "int")), schema(field("a", ["null", "int"]))),
    (Rule.DEFAULT, "Sample.a", BASE, schema(field("a", "int"))),
    (Rule.DEFAULT, "Sample.a.m", schema(field("a", inner(("n", "int")))),
     schema(field("a", inner(("n", "int"), ("m", "int"))))),
    (Rule.SYMBOLS, "Sample.a", schema(field("a", enum("A"))), schema(field("a", enum("A", "B")))),
    (Rule.SIZE, "Sample.a", schema(field("a", fixed(4))), schema(field("a", fixed(8)))),
    (Rule.PROMOTION, "Sample.a", schema(field("a", "string")), schema(field("a", "bytes"))),
    (Rule.NAME, "Sample.a", schema(field("a", fixed(4))), schema(field("a", fixed(4, "Other")))),
    (Rule.NAME, "Sample.a", schema(field("a", fixed(4))),
     schema(field("a", {**fixed(4), "namespace": "handslag.types"}))),
    (Rule.NAME, "Sample", BASE, schema(name="Simple")),
    (Rule.LOGICAL_TYPE, "Sample.a", schema(field("a", STAMP)),
     schema(field("a", {**STAMP, "logicalType": "timestamp-millis"}))),
    (Rule.LOGICAL_TYPE, "Sample.a", schema(field("a", "int")), schema(field("a", DAY))),
    (Rule.LOGICAL_TYPE, "Sample.a", schema(field("a", ["null", "int"])), schema(field("a", ["null", DAY]))),
    (Rule.CATEGORY, "Sample.a", schema(field("a", "int")), schema(field("a", "int", "IC01"))),
    (Rule.TYPE_CATEGORY, "Sample", BASE, schema(type_category="IC04")),
    (Rule.MANDATORY, "Sample", BASE, schema(mandatory_categories=["IC12"])),
    (Rule.ALIAS, "Sample.a", schema(field("a", "int")), schema(field("a", "int", aliases=["b"]))),
    (Rule.SYMBOL_DEFAULT, "Sample.a", schema(field("a", enum("A", default="A"))), schema(field("a", enum("A")))),
    (Rule.LINT, "Sample: recursion", BASE, schema(field("a", ["null", "Sample"]))),
    (Rule.LINT, "Sample: zero width or inexact", BASE, schema(field("a", {"type": "array", "items": "null"}))),
    (Rule.LINT, "Sample: zero width or inexact", BASE, schema(field("a", {"type": "array", "items": inner()}))),
    (Rule.LINT, "Sample: doc", BASE, schema({**field("a", ["null", "int"]), "doc": ""})),
    (Rule.LINT, "Sample: category", BASE, schema(field("a", ["null", "int"], "IC99"))),
    (Rule.LINT, "Sample: null-first default", BASE, schema(field("a", ["int", "null"]))),
    (Rule.LINT, "Sample: null-first default", BASE, schema(plain("a", ["null", "int"], category="IC12", default=1))),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "where", "one", "other"), BROKEN, ids=lambda value: str(value)[:24])
def test_each_rule_is_told_with_its_place(rule, where, one, other):
    assert breaks(one, other) == (Break(rule, where),)
    assert breaks(other, one) == (Break(rule, where),)
    assert rule.why


def test_every_rule_has_its_example():
    elsewhere = {Rule.REBUILT, Rule.GONE, Rule.FINGERPRINT}  # below
    assert {rule for rule, *_ in BROKEN} | elsewhere == set(Rule)


@pytest.mark.parametrize(
    "other",
    [
        schema(field("a", ["null", "int"])),
        schema(field("a", ["null", fixed(4)]), field("b", ["null", "Id"])),
        schema(field("a", ["null", {"type": "array", "items": inner(("n", "int"))}])),
        {**BASE, "doc": "another sentence"},
        {**schema(field("a", ["null", "int"])), "fields": schema(field("a", ["null", "int"]))["fields"][::-1]},
    ],
)
def test_what_an_agency_may_do_is_accepted(other):
    """Positive control: a nullable field more, other words, another order."""
    assert breaks(BASE, other) == ()
    assert reads(BASE, other)
    assert reads(other, BASE)


def test_a_nullable_field_inside_a_record_may_be_added():
    one, other = inner(("n", "int")), inner(("n", "int"))
    other["fields"].append(plain("m", ["null", "int"], default=None))
    assert breaks(schema(field("a", one)), schema(field("a", other))) == ()


def test_a_reference_is_what_it_names():
    """The first use of a named type defines it; which use that is may change."""
    one = schema(field("a", fixed(4)), field("b", ["null", "Id"]))
    other = schema(field("b", ["null", fixed(4)]), field("a", "Id"))
    assert breaks(one, other) == ()
    assert breaks(one, schema(field("b", ["null", fixed(8)]), field("a", "Id"))) == (
        Break(Rule.SIZE, "Sample.a"),
        Break(Rule.SIZE, "Sample.b"),
    )


def test_a_record_that_both_sides_build_never_changes():
    found = catalogue.by_name("handslag.wire.BundleLeaf").source
    changed = {**found, "fields": [*found["fields"], plain("more", ["null", "int"], default=None)]}
    assert breaks(found, changed) == (Break(Rule.REBUILT, "BundleLeaf"),)
    assert breaks(found, {**found, "doc": "other words"}) == ()
    sent = catalogue.by_name("handslag.wire.Core").source  # positive control: this one travels as bytes
    assert breaks(sent, {**sent, "fields": [*sent["fields"], plain("more", ["null", "int"], default=None)]}) == ()


def test_every_version_is_compared_with_every_other():
    """Transitive: today reads the second, the second reads the first, and today does not read the first."""
    first, second, today = schema(field("a", ["null", "int"])), BASE, schema(field("a", ["null", "string"]))
    name = "handslag.event.Sample"
    assert breaks(first, second) == breaks(second, today) == ()
    versions = {"0.1.0": {name: first}, "0.2.0": {name: second}, "today": {name: today}}
    assert breaks_of_sets(versions, "today") == (("0.1.0", "today", Break(Rule.TYPE, "Sample.a")),)
    assert breaks_of_sets({**versions, "today": {}}, "today") == (
        ("0.1.0", "today", Break(Rule.GONE, name)),
        ("0.2.0", "today", Break(Rule.GONE, name)),
    )


def test_one_fingerprint_names_one_content():
    """The fingerprint does not see a category; two contents under one would leave the reader guessing."""
    name = "handslag.event.Sample"
    found = breaks_of_sets({"0.1.0": {name: BASE}, "today": {name: schema(type_category="IC04")}}, "today")
    assert ("0.1.0", "today", Break(Rule.FINGERPRINT, name)) in found


KINDS = st.sampled_from([
    "int", "long", "string", "bytes", "boolean", STAMP, DAY, enum("A", "B"), fixed(4),
    inner(("n", "int"), ("s", "string")),
])  # fmt: skip


@st.composite
def fields(draw, name):
    kind = copy.deepcopy(draw(KINDS))
    if isinstance(kind, dict) and "name" in kind:
        kind["name"] += name
    if draw(st.booleans()) and kind != "null":
        kind = {"type": "array", "items": kind} if draw(st.booleans()) else ["null", kind]
    return field(name, kind, draw(st.sampled_from(["IC01", "IC12"])))


def whole():
    names = st.lists(st.sampled_from("abcdef"), unique=True, max_size=4)
    return names.flatmap(lambda names: st.tuples(*(fields(name) for name in names)).map(lambda found: schema(*found)))


@st.composite
def pairs(draw):
    """A schema, and what somebody made of it in one to three steps."""
    one = draw(whole())
    other = copy.deepcopy(one)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(other["fields"]) - 1))
        there = {found["name"] for found in other["fields"]}
        step = draw(st.sampled_from(
            ["add", "add nullable", "drop", "replace", "move", "null", "category", "symbols", "size", "name", "alias"]
        ))  # fmt: skip
        _changed(draw, other, step, at, sorted(set("abcdefgh") - there)[0])
    return one, other


def _changed(draw, other, step, at, fresh):
    chosen = other["fields"][at]
    kind = chosen["type"]
    named = kind[1] if isinstance(kind, list) else kind
    match step:
        case "add" | "add nullable":
            made = draw(fields(fresh))
            if step == "add nullable" and not isinstance(made["type"], list):
                made = field(fresh, ["null", made["type"]])
            other["fields"].insert(at, made)
        case "drop" if len(other["fields"]) > 1:
            del other["fields"][at]
        case "replace":
            other["fields"][at] = draw(fields(chosen["name"]))
        case "move":
            other["fields"].append(other["fields"].pop(at))
        case "null":
            chosen["type"] = named if isinstance(kind, list) else ["null", kind]
            chosen.pop("default", None)
            if isinstance(chosen["type"], list):
                chosen["default"] = None
        case "category":
            chosen["category"] = "IC02"
        case "alias":
            chosen["aliases"] = [fresh]
        case "symbols" if isinstance(named, dict) and named["type"] == "enum":
            named["symbols"] = draw(st.permutations([*named["symbols"], "C"]))[: draw(st.integers(1, 3))]
            if draw(st.booleans()):
                named["default"] = named["symbols"][0]
        case "size" if isinstance(named, dict) and named["type"] == "fixed":
            named["size"] += 1
        case "name" if isinstance(named, dict) and "name" in named:
            named["name"] += "x"


@settings(max_examples=400, deadline=None)
@given(pairs())
def test_we_accept_only_what_both_libraries_read_and_refuse_more_only_by_our_own_rules(pair):
    one, other = pair
    found = breaks(one, other)
    assert set(found) == set(breaks(other, one))
    read = reads(one, other) and reads(other, one)
    event(f"{'accepted' if not found else 'refused'}, {'read' if read else 'not read'}")
    if not found:
        assert read
    elif read:
        assert any(broken.rule.extra for broken in found), found


def test_the_libraries_do_read_what_only_our_rules_refuse():
    """Positive control of the property: the extra rules are about bytes that are read, and told wrong."""
    silent = [one for one in BROKEN if one[0] in {Rule.LOGICAL_TYPE, Rule.CATEGORY, Rule.TYPE_CATEGORY, Rule.MANDATORY}]
    assert len(silent) > 4
    for _rule, _where, one, other in silent:
        assert reads(one, other)
        assert reads(other, one)
    for rule, _where, one, other in BROKEN:
        if not rule.extra:
            assert not (reads(one, other) and reads(other, one))
