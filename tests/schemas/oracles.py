"""Two libraries that are not ours, asked what they really do: Apache's `avro` and `fastavro`."""

from __future__ import annotations

import io
import json
from typing import Any

import avro.io
import avro.schema
import fastavro
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

_LONGS = [0, 1, -1, 2**40, -(2**62)]
_PLAIN = {
    "boolean": [True, False],
    "int": [0, -1, 2**31 - 1],
    "long": _LONGS,
    "bytes": [b"", b"\xff\xfe", b"abc"],
    "string": ["", "åäö", "x" * 40],
}
_SAMPLES = 6


def samples(kind: Any, known: dict[str, list[Any]] | None = None) -> list[Any]:
    """`_SAMPLES` values of a type, with its extremes: null, every symbol, large numbers, no text."""
    known = {} if known is None else known
    found = _values(kind, known)
    return [found[i % len(found)] for i in range(_SAMPLES)]


def _values(kind: Any, known: dict[str, list[Any]]) -> list[Any]:
    if isinstance(kind, list):
        return [None, *(value for part in kind if part != "null" for value in samples(part, known))]
    if isinstance(kind, str):
        return _PLAIN.get(kind) or known[kind.rpartition(".")[2]]
    match kind["type"]:
        case "record":
            columns = {field["name"]: samples(field["type"], known) for field in kind["fields"]}
            found = [{name: column[i] for name, column in columns.items()} for i in range(_SAMPLES)]
        case "enum":
            found = list(kind["symbols"])
        case "fixed":
            found = [bytes(kind["size"]), b"\xff" * kind["size"]]
        case "array":
            inner = samples(kind["items"], known)
            return [[], inner[:1], inner]
        case plain:
            return _values(plain, known)
    known[kind["name"]] = found
    return found


def _undated(schema: Any) -> Any:
    """Without logical types: the libraries would want other Python types, and resolution does not look at them."""
    if isinstance(schema, list):
        return [_undated(part) for part in schema]
    if isinstance(schema, dict):
        return {k: _undated(v) for k, v in schema.items() if k not in {"logicalType", "precision", "scale"}}
    return schema


def reads(writer: dict[str, Any], reader: dict[str, Any]) -> bool:
    """Whether both libraries read every sample that `writer` wrote, and the checker of one calls it compatible."""
    writer, reader = _undated(writer), _undated(reader)
    theirs, ours = avro.schema.parse(json.dumps(writer)), avro.schema.parse(json.dumps(reader))
    judged = ReaderWriterCompatibilityChecker().get_compatibility(ours, theirs)
    if judged.compatibility is not SchemaCompatibilityType.compatible:
        return False
    parsed = fastavro.parse_schema(writer, named_schemas={}), fastavro.parse_schema(reader, named_schemas={})
    return all(_read(value, parsed, (theirs, ours)) for value in samples(writer))


def _read(value: Any, fast: tuple[Any, Any], apache: tuple[Any, Any]) -> bool:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fast[0], value, strict=True)
    body = out.getvalue()
    try:
        first = fastavro.schemaless_reader(io.BytesIO(body), fast[0], fast[1])
        second = avro.io.DatumReader(*apache).read(avro.io.BinaryDecoder(io.BytesIO(body)))
    except Exception:  # noqa: BLE001 - whatever a library raises, it cannot read
        return False
    return bool(first == second)
