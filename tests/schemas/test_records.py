"""Records of Python agree with their schemas field by field."""

import dataclasses
import types
import typing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import catalogue
from schemas.errors import HandslagError, PayloadRejected
from schemas.records import VERSION, Record
from tests.schemas.making import data_of, expanded, labelled, named_types, records, sources, tops

SCALARS = {"string": str, "bytes": bytes, "boolean": bool, "int": int, "long": int}


def inline():
    """Every record of every file by full name, nested ones included."""
    return {
        found["name"]: found
        for source in sources().values()
        for found in named_types(expanded(source))
        if found["type"] == "record"
    }


INLINE = inline()


def python_type(kind):
    """What a field of this Avro type is in Python."""
    if isinstance(kind, list):
        return python_type(kind[1]) | None
    if isinstance(kind, str):
        return SCALARS[kind]
    match kind["type"]:
        case "array":
            return tuple[python_type(kind["items"]), ...]
        case "fixed":
            return bytes
        case "record":
            return next(cls for cls in records() if kind["name"] == cls.SCHEMA)
    return python_type(kind["type"])


@pytest.mark.parametrize("cls", records(), ids=lambda cls: cls.SCHEMA)
def test_a_record_has_the_fields_of_its_schema(cls):
    declared = INLINE[cls.SCHEMA]["fields"]
    if cls.LABEL:
        assert [(field["name"], field["type"]) for field in declared[:2]] == [("label", "string"), ("version", "int")]
        declared = declared[2:]
    hints = typing.get_type_hints(cls)
    own = dataclasses.fields(cls)
    assert [field.name for field in own] == [field["name"] for field in declared]
    for mine, theirs in zip(own, declared, strict=True):
        assert hints[mine.name] == python_type(theirs["type"]), mine.name
        if isinstance(theirs["type"], list):
            assert mine.default is None
        else:
            assert mine.default in (dataclasses.MISSING, ()), mine.name
    assert cls.__dataclass_params__.frozen


def test_every_record_has_its_schema_and_every_schema_its_record():
    names = [cls.SCHEMA for cls in records()]
    assert len(set(names)) == len(names)
    assert set(names) == {name for name in INLINE if not name.startswith("handslag.event.")}


def test_a_label_belongs_to_one_record():
    labels = [cls.LABEL for cls in labelled()]
    assert len(set(labels)) == len(labels) > 15
    assert all(label.startswith("HS1 ") for label in labels)
    for name, found in INLINE.items():
        has_label = any(field["name"] == "label" for field in found["fields"])
        assert has_label == (name in {cls.SCHEMA for cls in labelled()}), name
    assert {cls.SCHEMA for cls in labelled()} <= set(catalogue.loaded())


@pytest.mark.parametrize("cls", tops(), ids=lambda cls: cls.SCHEMA)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_record_comes_back_as_it_was_written(cls, data):
    found = cls.from_dict(data.draw(data_of(cls)))
    written = found.to_bytes()
    assert written[:10] == catalogue.by_name(cls.SCHEMA).header
    assert cls.from_bytes(written) == found
    assert cls.from_bytes(written).to_bytes() == written


@pytest.mark.parametrize("cls", labelled(), ids=lambda cls: cls.SCHEMA)
def test_another_label_or_version_is_refused(cls):
    from schemas import codec
    from tests.schemas.making import example_of

    fine = example_of(cls)
    assert cls.from_bytes(codec.encode(cls.SCHEMA, fine)).to_dict() == fine
    other = next(one.LABEL for one in labelled() if one is not cls)
    for wrong in ({"label": other}, {"label": ""}, {"version": VERSION + 1}, {"version": 0}):
        with pytest.raises(PayloadRejected):
            cls.from_bytes(codec.encode(cls.SCHEMA, {**fine, **wrong}))


def test_bytes_of_another_record_are_not_taken():
    from schemas.envelope import EventStatement, SeatKey

    bytes_of_one = EventStatement(core_hash=bytes(32), digests_hash=bytes(32)).to_bytes()
    with pytest.raises(HandslagError) as refused:
        SeatKey.from_bytes(bytes_of_one)
    assert refused.value.code == "HS-SCHEMA-UNKNOWN"


def test_the_converters_know_optional_and_nested_records():
    """A record in a tuple, an optional record and a plain value all go down and come up again."""
    from schemas.acts import RecipientRef, Reservation, Scope

    scope = Scope(
        recipients=(RecipientRef(kind="ROLE", id="provider", follows_role=False),), categories=("IC01",), purposes=()
    )
    assert Scope.from_dict(scope.to_dict()) == scope
    assert Reservation.from_dict({"code": None, "text_ref": None}) == Reservation()
    assert isinstance(scope, Record)
    assert isinstance(int | None, types.UnionType)
