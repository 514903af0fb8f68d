"""A second reader of the wire formats: Avro, written from the Avro 1.12 specification and the `.avsc` files alone.

Imports nothing of the product and no Avro library. Values come out raw: a date as days, a moment as microseconds, an
enum as its symbol. Whatever is not exactly one encoding of one record raises ValueError.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

AVSC = Path(__file__).resolve().parents[2] / "schemas" / "avro"
PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
_EMPTY = 0xC15D213AA4D7A795  # the fingerprint of the empty string, from the specification


def full_name(node: dict[str, Any], space: str) -> str:
    name = node["name"]
    return name if "." in name else f"{node.get('namespace', space)}.{name}"


class Schema:
    """One `.avsc`: its names resolved, its header and project hash computed here."""

    def __init__(self, source: dict[str, Any]) -> None:
        self.source = source
        self.names: dict[str, tuple[dict[str, Any], str]] = {}
        self._gather(source, "")
        self.name = full_name(source, "")
        self.header = b"\xc3\x01" + struct.pack("<Q", fingerprint(canonical(source, "").encode()))
        self.project_hash = hashlib.sha256(project_form(source)).digest()

    def _gather(self, node: Any, space: str) -> None:
        if isinstance(node, list):
            for each in node:
                self._gather(each, space)
        elif isinstance(node, dict):
            kind = node["type"]
            if kind in ("record", "enum", "fixed"):
                name = full_name(node, space)
                space = name.rpartition(".")[0]
                self.names[name] = (node, space)
                for field in node.get("fields", ()):
                    self._gather(field["type"], space)
            elif kind == "array":
                self._gather(node["items"], space)
            elif not isinstance(kind, str):
                self._gather(kind, space)

    def read(self, data: bytes) -> dict[str, Any]:
        """The record of single-object bytes."""
        if data[:10] != self.header:
            raise ValueError("another schema")
        return self.read_body(data[10:])

    def read_body(self, body: bytes) -> dict[str, Any]:
        value, at = self._value(self.source, "", body, 0)
        if at != len(body):
            raise ValueError("trailing bytes")
        return value

    def write(self, record: dict[str, Any]) -> bytes:
        return self.header + self.write_body(record)

    def write_body(self, record: dict[str, Any]) -> bytes:
        return self._written(self.source, "", record)

    def _named(self, node: str, space: str) -> tuple[dict[str, Any], str]:
        return self.names[node if "." in node else f"{space}.{node}"]

    def _value(self, node: Any, space: str, data: bytes, at: int) -> tuple[Any, int]:
        if isinstance(node, str) and node not in PRIMITIVES:
            node, space = self._named(node, space)
        if isinstance(node, list):
            branch, at = read_long(data, at)
            if not 0 <= branch < len(node):
                raise ValueError("no such branch")
            return self._value(node[branch], space, data, at)
        kind = node if isinstance(node, str) else node["type"]
        if kind == "record":
            space, record = full_name(node, space).rpartition(".")[0], {}
            for field in node["fields"]:
                record[field["name"]], at = self._value(field["type"], space, data, at)
            return record, at
        if kind == "array":
            return self._items(node["items"], space, data, at)
        if kind == "enum":
            place, at = read_long(data, at)
            if not 0 <= place < len(node["symbols"]):
                raise ValueError("no such symbol")
            return node["symbols"][place], at
        if kind == "fixed":
            return taken(data, at, node["size"])
        return READERS[kind](data, at) if isinstance(kind, str) else self._value(kind, space, data, at)

    def _items(self, node: Any, space: str, data: bytes, at: int) -> tuple[list[Any], int]:
        found: list[Any] = []
        while True:
            count, at = read_long(data, at)
            if count == 0:
                return found, at
            if count < 0:  # a block that says its size in bytes as well
                _, at = read_long(data, at)
            for _ in range(abs(count)):
                value, at = self._value(node, space, data, at)
                found.append(value)

    def _written(self, node: Any, space: str, value: Any) -> bytes:
        if isinstance(node, str) and node not in PRIMITIVES:
            node, space = self._named(node, space)
        if isinstance(node, list):  # only null and one other type, null first
            if value is None:
                return b"\x00"
            return write_long(1) + self._written(node[1], space, value)
        kind = node if isinstance(node, str) else node["type"]
        if kind == "record":
            space = full_name(node, space).rpartition(".")[0]
            return b"".join(self._written(field["type"], space, value[field["name"]]) for field in node["fields"])
        if kind == "array":
            items = b"".join(self._written(node["items"], space, each) for each in value)
            return (write_long(len(value)) + items if value else b"") + b"\x00"
        if kind == "enum":
            return write_long(node["symbols"].index(value))
        if kind == "fixed":
            return bytes(value)
        return WRITERS[kind](value) if isinstance(kind, str) else self._written(kind, space, value)


def read_long(data: bytes, at: int) -> tuple[int, int]:
    shift = value = 0
    while True:
        (byte,), at = taken(data, at, 1)
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return (value >> 1) ^ -(value & 1), at
        if shift > 63:
            raise ValueError("a number too long")


def write_long(value: int) -> bytes:
    left, out = (value << 1) ^ (value >> 63), bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])


def taken(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if not 0 <= size <= len(data) - at:
        raise ValueError("not enough bytes")
    return data[at : at + size], at + size


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = read_long(data, at)
    return taken(data, at, size)


def _string(data: bytes, at: int) -> tuple[str, int]:
    raw, at = _bytes(data, at)
    return raw.decode("utf-8"), at


def _boolean(data: bytes, at: int) -> tuple[bool, int]:
    raw, at = taken(data, at, 1)
    if raw not in (b"\0", b"\1"):
        raise ValueError("no boolean")
    return raw == b"\1", at


READERS: dict[str, Callable[[bytes, int], tuple[Any, int]]] = {
    "null": lambda data, at: (None, at),
    "boolean": _boolean,
    "int": read_long,
    "long": read_long,
    "bytes": _bytes,
    "string": _string,
}
WRITERS: dict[str, Callable[[Any], bytes]] = {
    "null": lambda value: b"",
    "boolean": lambda value: b"\1" if value else b"\0",
    "int": write_long,
    "long": write_long,
    "bytes": lambda value: write_long(len(value)) + value,
    "string": lambda value: write_long(len(value.encode())) + value.encode(),
}


def canonical(node: Any, space: str) -> str:
    """The Parsing Canonical Form: full names, no attributes but these, in this order, no spaces."""
    if isinstance(node, str):
        return json.dumps(node if node in PRIMITIVES or "." in node else f"{space}.{node}")
    if isinstance(node, list):
        return "[" + ",".join(canonical(each, space) for each in node) + "]"
    kind = node["type"]
    if kind == "array":
        return '{"type":"array","items":' + canonical(node["items"], space) + "}"
    if kind not in ("record", "enum", "fixed"):
        return canonical(kind, space)
    name = full_name(node, space)
    space = name.rpartition(".")[0]
    head = f'{{"name":{json.dumps(name)},"type":"{kind}"'
    if kind == "fixed":
        return f'{head},"size":{node["size"]}}}'
    if kind == "enum":
        return f'{head},"symbols":{json.dumps(node["symbols"], separators=(",", ":"))}}}'
    fields = ",".join(f'{{"name":"{f["name"]}","type":{canonical(f["type"], space)}}}' for f in node["fields"])
    return f'{head},"fields":[{fields}]}}'


def fingerprint(data: bytes) -> int:
    """CRC-64-AVRO, bit by bit as the specification gives it."""
    crc = _EMPTY
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_EMPTY if crc & 1 else 0)
    return crc


def project_form(schema: Any) -> bytes:
    """The project's own form: sorted keys, everything but `doc`, UTF-8, no spaces."""

    def without(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: without(value) for key, value in node.items() if key != "doc"}
        return [without(each) for each in node] if isinstance(node, list) else node

    return json.dumps(without(schema), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def catalogue() -> dict[str, Schema]:
    """Every `.avsc` by its full name."""
    found = [Schema(json.loads(path.read_text("utf-8"))) for path in sorted(AVSC.rglob("*.avsc"))]
    return {schema.name: schema for schema in found}


SCHEMAS = catalogue()


def read(name: str, data: bytes) -> dict[str, Any]:
    return SCHEMAS[f"handslag.{name}"].read(data)


def write(name: str, label: str | None = None, /, **record: Any) -> bytes:
    head = {"label": label, "version": 1} if label else {}
    return SCHEMAS[f"handslag.{name}"].write({**head, **record})


def event_schema(event_type: str) -> Schema:
    return SCHEMAS["handslag.event." + "".join(part.capitalize() for part in event_type.split("_"))]


def projection(event_type: str, category: str) -> Schema:
    """The schema of one section: the event's with the fields of one category, without `mandatory_categories`."""
    source = {key: value for key, value in event_schema(event_type).source.items() if key != "mandatory_categories"}
    fields = [field for field in source["fields"] if field["category"] == category]
    return Schema({**source, "name": f"{source['name']}_{category}", "fields": fields})
