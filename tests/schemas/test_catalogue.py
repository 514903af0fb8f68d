"""What a schema must be before it is loaded, and what tells two schemas apart."""

import copy
import hashlib
import json
from collections import defaultdict

import fastavro
import pytest

from schemas import catalogue, codes
from schemas.errors import HandslagError
from tests.schemas.making import AVRO, EVENTS, expanded, named_types, sources

EVENT = {
    "type": "record",
    "namespace": "handslag.event",
    "name": "Sample",
    "doc": "A sample.",
    "type_category": "IC12",
    "mandatory_categories": ["IC12"],
    "fields": [
        {"name": "when", "type": "long", "category": "IC12", "doc": "a number"},
        {"name": "who", "type": ["null", "string"], "default": None, "category": "IC01", "doc": "a word"},
        {"name": "whether", "type": "boolean", "category": "IC12", "doc": "yes or no"},
    ],
}


def broken(*, second=None, **field):
    """The sample with its first field changed, a None dropping the key, or another type of the second."""
    found = copy.deepcopy(EVENT)
    found["fields"][1]["type"] = second or found["fields"][1]["type"]
    found["fields"][0].update(field)
    found["fields"][0] = {key: value for key, value in found["fields"][0].items() if value is not None}
    return found


def record(**given):
    """A nested record with one documented field."""
    return {
        "type": "record",
        "name": "Inner",
        "doc": "x",
        "fields": [{"name": "n", "type": "int", "doc": "x"}],
        **given,
    }


def test_the_sample_is_accepted():
    """Positive control of everything that is refused below."""
    assert catalogue.entry_of(EVENT).is_event
    assert catalogue.entry_of(broken(type=record())).is_event
    assert catalogue.entry_of(broken(type={"type": "array", "items": record()})).is_event


RULES = {
    "no sentence about the record": ("doc", {**EVENT, "doc": ""}),
    "no sentence about a field": ("doc", broken(doc=None)),
    "no sentence about a nested field": ("doc", broken(type=record(fields=[{"name": "n", "type": "int"}]))),
    "no sentence about a nested record": ("doc", broken(type=record(doc=""))),
    "no category": ("category", broken(category=None)),
    "a category nobody listed": ("category", broken(category="IC99")),
    "criminal records": ("category", broken(category="IC20")),
    "intelligence": ("category", broken(category="IC21")),
    "a category on a nested field": (
        "category",
        broken(type=record(fields=[{"name": "n", "type": "int", "doc": "x", "category": "IC12"}])),
    ),
    "a category outside the events": ("category", {**EVENT, "namespace": "handslag.wire"}),
    "no type category": ("type_category", {k: v for k, v in EVENT.items() if k != "type_category"}),
    "an unknown type category": ("type_category", {**EVENT, "type_category": "IC00"}),
    "a mandatory category without a field": ("mandatory_categories", {**EVENT, "mandatory_categories": ["IC02"]}),
    "a mandatory category twice": ("mandatory_categories", {**EVENT, "mandatory_categories": ["IC12", "IC12"]}),
    "mandatory categories that are no list": ("mandatory_categories", {**EVENT, "mandatory_categories": "IC12"}),
    "a nullable without a default": ("null-first default", broken(type=["null", "int"])),
    "a nullable with a value as default": ("null-first default", broken(type=["null", "int"], default=1)),
    "null last": ("null-first default", broken(second=["string", "null"])),
    "three branches": (
        "null-first default",
        broken(type=["null", "int", "long"]),
    ),
    "a default that fills in a missing key": ("null-first default", broken(default=0)),
    "itself inside itself": ("recursion", broken(type={"type": "array", "items": "Sample"})),
    "itself by its full name": ("recursion", broken(type={"type": "array", "items": "handslag.event.Sample"})),
    "itself two levels down": (
        "recursion",
        broken(type=record(fields=[{"name": "n", "type": {"type": "array", "items": "Sample"}, "doc": "x"}])),
    ),
    "null as an array's item": ("zero width or inexact", broken(type={"type": "array", "items": "null"})),
    "an empty record as an array's item": (
        "zero width or inexact",
        broken(type={"type": "array", "items": record(fields=[])}),
    ),
    "a fixed of nothing": ("zero width or inexact", broken(type={"type": "fixed", "name": "F", "size": 0})),
    "a float": ("zero width or inexact", broken(type="float")),
    "a double inside an array": ("zero width or inexact", broken(type={"type": "array", "items": "double"})),
    "a map": ("map", broken(type={"type": "map", "values": "string"})),
    "an enum of nothing": ("enum symbols", broken(type={"type": "enum", "name": "E", "symbols": []})),
    "an enum with a symbol twice": ("avro", broken(type={"type": "enum", "name": "E", "symbols": ["A", "A"]})),
    "a type nobody defined": ("avro", broken(type="handslag.types.Nothing")),
    "no fields at all": ("avro", {k: v for k, v in EVENT.items() if k != "fields"}),
    "no namespace": ("avro", {k: v for k, v in EVENT.items() if k != "namespace"}),
    "a field that is no field": ("avro", {**EVENT, "fields": ["when"]}),
    "a type without a kind": ("avro", broken(type={"items": "int"})),
}


@pytest.mark.parametrize("case", RULES)
def test_each_rule_broken_once_is_refused_by_its_name(case):
    rule, source = RULES[case]
    with pytest.raises(HandslagError) as refused:
        catalogue.entry_of(source)
    assert refused.value.code == "HS-SCHEMA-REFUSED"
    assert refused.value.context["rule"] == rule


@pytest.mark.parametrize("path", sources())
def test_every_schema_of_the_product_keeps_the_rules(path):
    source = sources()[path]
    entry = catalogue.entry_of(source)
    folder, _, file = path.partition("/")
    # A file is found where its name says it is.
    assert source["namespace"] == f"handslag.{folder}"
    words = "".join(part.capitalize() for part in file.removesuffix(".avsc").split("_"))
    assert words.casefold() == source["name"].casefold()
    assert entry.project_hash == hashlib.sha256(catalogue.project_form(source)).digest()


def test_the_catalogue_holds_every_file_and_nothing_more():
    assert len(catalogue.loaded()) == len(list(AVRO.rglob("*.avsc"))) > 50
    for name, entry in catalogue.loaded().items():
        assert catalogue.by_name(name) is entry
        assert catalogue.by_header(entry.header) is entry
    assert len({entry.project_hash for entry in catalogue.loaded().values()}) == len(catalogue.loaded())


@pytest.mark.parametrize(
    "call", [lambda: catalogue.by_name("handslag.wire.Nothing"), lambda: catalogue.by_header(bytes(10))]
)
def test_an_unknown_schema_has_a_code(call):
    with pytest.raises(HandslagError) as refused:
        call()
    assert refused.value.code == "HS-SCHEMA-UNKNOWN"


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_says_which_of_its_categories_are_mandatory(name):
    source = catalogue.by_name(name).source
    if name != "handslag.event.StatutoryDisclosure":  # is what people decided, and nothing of it must be there
        assert source["mandatory_categories"]
        assert source["type_category"] in source["mandatory_categories"]
    assert {field["category"] for field in source["fields"]} <= set(codes.table()["category"])


def test_two_schemas_with_one_fingerprint_are_refused():
    """Avro's fingerprint does not see the category, so both would claim one header."""
    moved = broken(category="IC01")
    assert fastavro.schema.to_parsing_canonical_form(EVENT) == fastavro.schema.to_parsing_canonical_form(moved)
    assert catalogue.build([EVENT])
    other = copy.deepcopy(EVENT)
    other["name"] = "Another"
    assert len(catalogue.build([EVENT, other])) == 2
    for twin in (moved, EVENT):
        with pytest.raises(HandslagError) as refused:
            catalogue.build([EVENT, twin])
        assert refused.value.context["rule"] == "one fingerprint, one schema"


def colliding_names():
    """Two names of 65 letters whose schemas share a CRC: it is linear, so 65 choices of a letter depend on 64 bits."""

    def header(letters):
        return int.from_bytes(catalogue.entry_of({**EVENT, "name": "".join(letters)}).header[2:], "big")

    plain = ["a"] * 65
    none = header(plain)
    basis = {}  # highest bit -> (difference of the CRC, which letters were changed)
    for at in range(65):
        changed = plain.copy()
        changed[at] = "b"
        difference, which = header(changed) ^ none, 1 << at
        while difference and difference.bit_length() in basis:
            other, others = basis[difference.bit_length()]
            difference, which = difference ^ other, which ^ others
        if not difference:
            return "".join(plain), "".join("b" if which >> n & 1 else "a" for n in range(65))
        basis[difference.bit_length()] = difference, which
    raise AssertionError("65 vectors of 64 bits depend on each other")


def test_two_names_with_one_fingerprint_are_refused():
    """A header is forged with a little algebra, which is why it is a catalogue key and never what is signed."""
    one, other = ({**EVENT, "name": name} for name in colliding_names())
    assert one["name"] != other["name"]
    assert catalogue.entry_of(one).header == catalogue.entry_of(other).header
    assert catalogue.entry_of(one).project_hash != catalogue.entry_of(other).project_hash
    with pytest.raises(HandslagError) as refused:
        catalogue.build([one, other])
    assert refused.value.context["rule"] == "one fingerprint, one schema"


def test_moving_a_field_to_another_category_changes_what_is_signed():
    """The parsing canonical form stays the same, the project form does not."""
    moved, worded = broken(category="IC01"), broken(doc="told in other words")
    dated = broken(type={"type": "long", "logicalType": "timestamp-micros"})
    plain = catalogue.entry_of(EVENT)
    for changed in (moved, dated):
        assert catalogue.entry_of(changed).header == plain.header
        assert catalogue.entry_of(changed).project_hash != plain.project_hash
    # The sentences are not part of the contract.
    assert catalogue.entry_of(worded).project_hash == plain.project_hash
    assert b"a number" not in catalogue.project_form(EVENT)


def test_the_project_form_does_not_depend_on_the_order_of_keys():
    turned = json.loads(json.dumps(EVENT, sort_keys=True))
    assert list(turned) != list(EVENT)
    assert catalogue.project_form(turned) == catalogue.project_form(EVENT)


def test_one_name_means_one_thing_in_every_file():
    """A nested record, enum or fixed is written out in several files: everywhere the same, sentence for sentence."""
    seen = defaultdict(set)
    for source in sources().values():
        for found in named_types(expanded(source)):
            seen[found["name"]].add(json.dumps(found, sort_keys=True))
    assert {name for name, forms in seen.items() if len(forms) > 1} == set()
    assert len(seen) > 80


def test_an_enum_is_for_words_of_events_and_codes_are_strings():
    """A code of the tables may grow; an enum on the wire could not."""
    for path, source in sources().items():
        if not path.startswith("event/"):
            assert [found["name"] for found in named_types(expanded(source)) if found["type"] == "enum"] == []
