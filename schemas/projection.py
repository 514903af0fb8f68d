"""Splitting an event into the sections of its categories and merging what a recipient was given.

A projection is the event's record with the top-level fields of one category only. A section exists when one of its
fields is given. The recipient gets merged fields: a field of an absent category has *no key*, null means that the
sender said none.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from schemas import catalogue, codec
from schemas.catalogue import SchemaEntry, entry_of
from schemas.errors import HandslagError, PayloadRejected
from schemas.event_types import schema_of


@cache
def categories_of(event_type: str) -> tuple[str, ...]:
    """Categories of the event's fields, ascending."""
    return tuple(sorted({field["category"] for field in schema_of(event_type).source["fields"]}))


@cache
def projected(event_type: str, category: str, schema_hash: bytes | None = None) -> SchemaEntry:
    """The projection schema of one category, of today's event schema or of the version with `schema_hash`.

    Raises `HS-CODE-UNKNOWN` when the event has no such category, `HS-SCHEMA-UNKNOWN` for a version never released.
    """
    today = schema_of(event_type)
    source = today.source
    if schema_hash not in {None, today.project_hash}:
        source = catalogue.documented(catalogue.version_of(today.name, schema_hash or b"").source)
    fields = [field for field in source["fields"] if field["category"] == category]
    if not fields:
        raise HandslagError("HS-CODE-UNKNOWN", field="category")
    kept = {key: value for key, value in source.items() if key not in {"fields", "mandatory_categories"}}
    return entry_of({**kept, "name": f"{source['name']}_{category}", "fields": fields})


def split(event_type: str, data: Mapping[str, Any]) -> dict[str, bytes]:
    """Encoded projections by category, ascending.

    Raises PayloadRejected for an unknown field, a missing field of a given category, a value of another type than
    the field's or a missing mandatory category; `HS-NOT-YET` or `HS-CODE-UNKNOWN` for the event type.
    """
    source = schema_of(event_type).source
    names = {field["name"] for field in source["fields"]}
    if not set(data) <= names:
        raise PayloadRejected(field="unknown field")
    sections: dict[str, bytes] = {}
    for category in categories_of(event_type):
        entry = projected(event_type, category)
        own = [field["name"] for field in entry.source["fields"]]
        if any(name in data for name in own):
            optional = {f["name"]: None for f in entry.source["fields"] if isinstance(f["type"], list)}
            given = {**optional, **{name: data[name] for name in own if name in data}}
            sections[category] = body = codec.encode_body(entry.parsed, given)
            # The writer takes the word "no" for a boolean and writes true: what the recipient reads must be what
            # the sender said. INVARIANT: test_a_value_of_another_type_is_refused_not_bent
            if not _same(codec.decode_body(entry.parsed, body), given):
                raise PayloadRejected(field=category)
    for category in source["mandatory_categories"]:
        if category not in sections:
            raise PayloadRejected(field=category)
    return sections


def _same(read: Any, given: Any) -> bool:
    if isinstance(read, dict):
        return isinstance(given, Mapping) and read.keys() >= given.keys() and _each(read, given)
    if isinstance(read, list):
        return isinstance(given, list | tuple) and len(read) == len(given) and all(map(_same, read, given))
    # A date-time is a date to Python, a boolean a number; `==` alone would take a moment without a zone as another.
    return type(read) is type(given) and bool(read == given)


def _each(read: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    return all(_same(value, given.get(name)) for name, value in read.items())


def open_section(event_type: str, category: str, body: bytes, schema_hash: bytes | None = None) -> dict[str, Any]:
    """The fields of one encoded projection, as today's schema names them, whichever version wrote it.

    Raises PayloadRejected, also for trailing bytes, and as `projected`.
    """
    # INVARIANT: test_a_section_of_a_released_version_opens_as_todays
    writer, reader = projected(event_type, category, schema_hash), projected(event_type, category)
    return codec.decode_body(writer.parsed, body, None if writer.project_hash == reader.project_hash else reader.parsed)


def merge(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Merged fields of the categories present."""
    merged: dict[str, Any] = {}
    for category in sorted(sections):
        merged.update(sections[category])
    return merged
