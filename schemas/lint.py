"""What a schema must be before it is loaded (protocol, "Schemas"): every rule names its field when broken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas import codes
from schemas.errors import HandslagError

# Words for where somebody is, whole parts of a field's name. A yes or no is no place, and neither is anything sealed:
# where a person is travels in the capsule (`handslag.capsule`) alone, which opens for one unit.
PLACE_WORDS = frozenset(
    {
        *("address", "adress", "area", "city", "coordinate", "coordinates", "country", "county", "gata", "geo"),
        *("kommun", "kommunkod", "lan", "lat", "latitude", "lng", "location", "lon", "longitude", "municipality"),
        *("neighbourhood", "ort", "parish", "place", "plats", "position", "postal", "postcode", "postnummer"),
        *("postort", "region", "room", "school", "site", "skola", "skolort", "street", "town", "village", "where"),
        *("whereabouts", "zip", "zone"),
    }
)
# What an event's name alone tells is where it would lead to: such an event has no text at all to write a place into.
_NO_TEXT = frozenset({"IC10", "IC11"})

_PRIMITIVE_WIDTH = {"boolean", "int", "long", "float", "double", "bytes", "string"}


def check(schema: Mapping[str, Any], *, is_event: bool) -> None:
    """Raise HandslagError `HS-SCHEMA-REFUSED` unless the record schema keeps every rule.

    Rules: each field documented; an event's top-level fields carry a category and nested ones none; no recursion
    (5 kB of input would kill the interpreter); no zero-width items (5 bytes would become 30 million); a nullable
    is `["null", T]` with default null and no other field has a default (a missing key must be refused, not filled
    in); no maps, floats or doubles (one value must have one encoding); an event names the category that its name
    alone tells, and which of its categories are mandatory, and has no field for where somebody is.
    """
    _record(schema, (), top=is_event)
    if is_event:
        _event(schema)


def _event(schema: Mapping[str, Any]) -> None:
    if not _is_category(schema.get("type_category")):
        raise _refuse("type_category", str(schema["name"]))
    _no_place(schema, str(schema["name"]), text=schema["type_category"] not in _NO_TEXT)
    mandatory = schema.get("mandatory_categories", [])  # a projection has none of its own
    carried = {field["category"] for field in schema["fields"]}
    if not isinstance(mandatory, list) or not set(mandatory) <= carried or len(set(mandatory)) != len(mandatory):
        raise _refuse("mandatory_categories", str(schema["name"]))


def _no_place(node: Any, where: str, *, text: bool) -> None:
    """No field of an event, however deep, is named for a place; beside IC10 and IC11 not even a text, which holds any.

    INVARIANT: test_no_event_has_a_field_for_a_place.
    """
    if isinstance(node, Mapping):
        for field in node.get("fields", ()):
            here = f"{where}.{field['name']}"
            words = set(field["name"].lower().split("_"))
            if words & PLACE_WORDS and field["type"] not in ("boolean", ["null", "boolean"]):
                raise _refuse("place", here)
            _no_place(field["type"], here, text=text and field.get("category") not in _NO_TEXT)
        _no_place(node.get("items"), where, text=text)
        _no_place(node.get("type") if "name" not in node or "fields" not in node else None, where, text=text)
    elif isinstance(node, list):
        for part in node:
            _no_place(part, where, text=text)
    elif node == "string" and not text:
        raise _refuse("place", where)


def _is_category(value: Any) -> bool:
    # Criminal records and intelligence (IC20, IC21) stand in no table: no schema can carry them.
    return value in codes.table()["category"]


def _refuse(rule: str, field: str) -> HandslagError:
    return HandslagError("HS-SCHEMA-REFUSED", rule=rule, field=field)


def _full_name(schema: Mapping[str, Any], namespace: str) -> str:
    return f"{schema.get('namespace', namespace)}.{schema['name']}"


def _record(schema: Mapping[str, Any], inside: tuple[str, ...], *, top: bool) -> None:
    name = _full_name(schema, inside[-1].rsplit(".", 1)[0] if inside else "")
    if not schema.get("doc"):
        raise _refuse("doc", name)
    for field in schema["fields"]:
        where = f"{schema['name']}.{field['name']}"
        if not field.get("doc"):
            raise _refuse("doc", where)
        if top != ("category" in field) or (top and not _is_category(field["category"])):
            raise _refuse("category", where)
        if field.get("default", 0) is not None if isinstance(field["type"], list) else "default" in field:
            raise _refuse("null-first default", where)
        _type(field["type"], where, (*inside, name))


def _type(kind: Any, where: str, inside: tuple[str, ...]) -> None:
    if isinstance(kind, list):
        if len(kind) != 2 or kind[0] != "null":
            raise _refuse("null-first default", where)
        _type(kind[1], where, inside)
    elif isinstance(kind, str):
        if kind in {"null", "float", "double"}:
            raise _refuse("zero width or inexact", where)
        if kind not in _PRIMITIVE_WIDTH and any(kind in {name, name.rsplit(".", 1)[1]} for name in inside):
            raise _refuse("recursion", where)
    else:
        _complex(kind, where, inside)


def _complex(kind: Mapping[str, Any], where: str, inside: tuple[str, ...]) -> None:
    match kind["type"]:
        case "record":
            if not kind["fields"]:
                raise _refuse("zero width or inexact", where)
            _record(kind, inside, top=False)
        case "array":
            _type(kind["items"], where, inside)
        case "fixed":
            if kind["size"] < 1:
                raise _refuse("zero width or inexact", where)
        case "enum":
            if not kind["symbols"]:
                raise _refuse("enum symbols", where)
        case "map":
            raise _refuse("map", where)
        case inner:
            _type(inner, where, inside)
