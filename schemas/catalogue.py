"""Every schema of the product, linted when loaded, found by name or by its CRC-64-AVRO fingerprint.

The CRC is a catalogue key only. What is signed or bound uses the SHA-256 of the *project form*: the schema's JSON
with sorted keys and everything but `doc`, because Avro's parsing canonical form drops `category` and logical types,
so that moving a field to another category would change no hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import fastavro

from schemas import lint
from schemas.errors import HandslagError

EVENT_NAMESPACE = "handslag.event"

# What a file that is no schema at all makes the library and the lint raise.
_FOREIGN = (
    fastavro.schema.SchemaParseException,
    fastavro.schema.UnknownType,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class SchemaEntry:
    """One schema: full name, JSON as written, parsed form, single-object header (10 bytes), project hash (32)."""

    name: str
    source: Mapping[str, Any]
    parsed: Any
    header: bytes
    project_hash: bytes

    @property
    def is_event(self) -> bool:
        """Whether it is a case event, whose fields carry categories."""
        return self.name.startswith(EVENT_NAMESPACE + ".")


def project_form(schema: Any) -> bytes:
    """The schema's JSON with sorted keys and without `doc`, UTF-8, no spaces."""
    return json.dumps(_without_doc(schema), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _without_doc(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _without_doc(value) for key, value in node.items() if key != "doc"}
    if isinstance(node, list):
        return [_without_doc(value) for value in node]
    return node


def documented(node: Any) -> Any:
    """A project form with a word for every `doc` it lost, so that the lint can look at everything else."""
    if isinstance(node, list):
        return [documented(part) for part in node]
    if not isinstance(node, Mapping):
        return node
    whole = {key: documented(value) for key, value in node.items()}
    return {"doc": "-", **whole} if "name" in node else whole


def entry_of(source: Mapping[str, Any]) -> SchemaEntry:
    """Lint and parse one schema; raises HandslagError `HS-SCHEMA-REFUSED`."""
    name = f"{source.get('namespace', '')}.{source.get('name', '')}"
    try:
        lint.check(source, is_event=source["namespace"] == EVENT_NAMESPACE)
        parsed, header = _parsed(source)
    except _FOREIGN:
        raise HandslagError("HS-SCHEMA-REFUSED", rule="avro", field=name) from None
    return SchemaEntry(name, source, parsed, header, hashlib.sha256(project_form(source)).digest())


def _parsed(source: Mapping[str, Any]) -> tuple[Any, bytes]:
    parsed = fastavro.parse_schema(dict(source), named_schemas={})
    canonical = fastavro.schema.to_parsing_canonical_form(parsed)
    crc = fastavro.schema.fingerprint(canonical, "CRC-64-AVRO")
    return parsed, b"\xc3\x01" + bytes.fromhex(crc)  # fastavro spells the fingerprint in wire order


def build(sources: list[Mapping[str, Any]]) -> dict[str, SchemaEntry]:
    """A catalogue by name; raises `HS-SCHEMA-REFUSED` when two project forms share one CRC or one name."""
    entries: dict[str, SchemaEntry] = {}
    headers: dict[bytes, SchemaEntry] = {}
    for source in sources:
        entry = entry_of(source)
        if entry.name in entries or entry.header in headers:
            raise HandslagError("HS-SCHEMA-REFUSED", rule="one fingerprint, one schema", field=entry.name)
        entries[entry.name] = headers[entry.header] = entry
    return entries


@cache
def loaded() -> dict[str, SchemaEntry]:
    """The product's own catalogue, read once from `schemas/avro/`."""
    root = resources.files("schemas").joinpath("avro")
    return build([json.loads(path.read_text(encoding="utf-8")) for path in _files(root)])


def _files(folder: Traversable) -> list[Traversable]:
    found: list[Traversable] = []
    for child in sorted(folder.iterdir(), key=lambda item: item.name):
        if child.is_dir():
            found.extend(_files(child))
        elif child.name.endswith(".avsc"):
            found.append(child)
    return found


@cache
def released() -> dict[str, dict[str, Any]]:
    """Version -> full name -> project form, of every release: `schemas/released/VERSION.jsonl`, one a line."""
    found: dict[str, dict[str, Any]] = {}
    for file in resources.files("schemas").joinpath("released").iterdir():
        if file.name.endswith(".jsonl"):
            forms = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            found[file.name.removesuffix(".jsonl")] = {f"{form['namespace']}.{form['name']}": form for form in forms}
    return found


@cache
def _older() -> tuple[dict[bytes, SchemaEntry], dict[tuple[str, bytes], SchemaEntry]]:
    """Released versions that differ from today's, by header and by (name, project hash); linted when released."""
    today = {entry.project_hash for entry in loaded().values()}
    entries = [
        SchemaEntry(name, form, *_parsed(form), hashlib.sha256(project_form(form)).digest())
        for forms in released().values()
        for name, form in forms.items()
        if hashlib.sha256(project_form(form)).digest() not in today
    ]
    return {entry.header: entry for entry in entries}, {(entry.name, entry.project_hash): entry for entry in entries}


@cache
def _headers() -> dict[bytes, SchemaEntry]:
    return _older()[0] | {entry.header: entry for entry in loaded().values()}


def by_name(name: str) -> SchemaEntry:
    """Look a schema up by full name; raises `HS-SCHEMA-UNKNOWN`."""
    entry = loaded().get(name)
    if entry is None:
        raise HandslagError("HS-SCHEMA-UNKNOWN")
    return entry


def by_header(header: bytes) -> SchemaEntry:
    """Look a schema up by its 10-byte single-object header, released versions too; raises `HS-SCHEMA-UNKNOWN`."""
    entry = _headers().get(header)
    if entry is None:
        raise HandslagError("HS-SCHEMA-UNKNOWN")
    return entry


def version_of(name: str, project_hash: bytes) -> SchemaEntry:
    """The version of a schema, today's or a released one, with this project hash; raises `HS-SCHEMA-UNKNOWN`."""
    entry = by_name(name)
    if entry.project_hash == project_hash:
        return entry
    older = _older()[1].get((name, project_hash))
    if older is None:
        raise HandslagError("HS-SCHEMA-UNKNOWN")
    return older
