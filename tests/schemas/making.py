"""Values of every schema: named types written out, records of Python found, examples that are the same every time."""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

import connectors.sealing  # noqa: F401

# The modules that define records; a record that is defined elsewhere is found by test_every_record_has_its_schema.
import schemas.admin
import schemas.calls
import schemas.capsule
import schemas.explain
import schemas.hold
import schemas.instances
import schemas.joins
import schemas.rekey
import schemas.rules
import schemas.said
import schemas.statute
import schemas.stream_record
import schemas.trail
import schemas.trust_calls  # noqa: F401
from schemas import catalogue
from schemas.records import VERSION, Record

AVRO = Path(catalogue.__file__).parent / "avro"
VECTORS = Path(__file__).parents[1] / "vectors" / "schemas"
EVENTS = sorted(name for name, entry in catalogue.loaded().items() if entry.is_event)


def sources() -> dict[str, dict[str, Any]]:
    """Every file of the catalogue as written, by its path below `schemas/avro`."""
    return {
        path.relative_to(AVRO).as_posix(): json.loads(path.read_text("utf-8")) for path in sorted(AVRO.rglob("*.avsc"))
    }


def expanded(source: dict[str, Any]) -> dict[str, Any]:
    """The schema with every named type written out in full and named by its full name."""
    known: dict[str, Any] = {}
    found = _expanded(copy.deepcopy(source), "", known)
    assert isinstance(found, dict)
    return found


def _expanded(node: Any, namespace: str, known: dict[str, Any]) -> Any:
    if isinstance(node, str):
        return known.get(node, known.get(f"{namespace}.{node}", node))
    if isinstance(node, list):
        return [_expanded(part, namespace, known) for part in node]
    kind = node["type"]
    if kind == "array":
        return {**node, "items": _expanded(node["items"], namespace, known)}
    if kind not in {"record", "enum", "fixed"}:
        inner = _expanded(kind, namespace, known)
        return {**inner, **{k: v for k, v in node.items() if k != "type"}} if isinstance(inner, dict) else node
    space = node.pop("namespace", namespace)
    node["name"] = f"{space}.{node['name']}"
    if kind == "record":
        node["fields"] = [{**field, "type": _expanded(field["type"], space, known)} for field in node["fields"]]
    known[node["name"]] = node
    return node


def named_types(node: Any) -> list[dict[str, Any]]:
    """Every record, enum and fixed inside an expanded schema, itself included."""
    if isinstance(node, list):
        return [found for part in node for found in named_types(part)]
    if not isinstance(node, dict):
        return []
    found = [node] if node["type"] in {"record", "enum", "fixed"} else []
    for field in node.get("fields", ()):
        found += named_types(field["type"])
    return found + named_types(node.get("items"))


def records() -> list[type[Record]]:
    """Every record class, by schema name."""
    # A dataclass with slots leaves the class it was made from behind; only the one its module names counts.
    found = {getattr(sys.modules[cls.__module__], cls.__name__) for cls in Record.__subclasses__()}
    return sorted(found, key=lambda cls: cls.SCHEMA)


def labelled() -> list[type[Record]]:
    """Records that are signed, hashed or bound: those with a label."""
    return [cls for cls in records() if cls.LABEL]


def tops() -> list[type[Record]]:
    """Records with a file of their own; the others stand inside one."""
    return [cls for cls in records() if cls.SCHEMA in catalogue.loaded()]


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of an expanded type."""
    if isinstance(kind, list):
        return st.none() | values(kind[1])
    if isinstance(kind, str):
        return _primitive(kind)
    match kind["type"]:
        case "record":
            return st.fixed_dictionaries({field["name"]: values(field["type"]) for field in kind["fields"]})
        case "array":
            return st.lists(values(kind["items"]), max_size=3)
        case "enum":
            return st.sampled_from(kind["symbols"])
        case "fixed":
            return st.binary(min_size=kind["size"], max_size=kind["size"])
    match kind.get("logicalType"):
        case "date":
            return st.dates()
        case "timestamp-micros":
            return st.datetimes(timezones=st.just(dt.UTC))
    return _primitive(kind["type"])


def _primitive(kind: str) -> st.SearchStrategy[Any]:
    return {
        "boolean": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "bytes": st.binary(max_size=40),
        "string": st.text(max_size=20),
    }[kind]


def data_of(cls: type[Record]) -> st.SearchStrategy[dict[str, Any]]:
    """Any dictionary of a record with its own label and version."""
    fixed = {"label": cls.LABEL, "version": VERSION} if cls.LABEL else {}
    return values(expanded(dict(catalogue.by_name(cls.SCHEMA).source))).map(lambda data: {**data, **fixed})


def example(kind: Any, path: str) -> Any:
    """One value of an expanded type, the same every time: drawn from the hash of where it stands."""
    seed = hashlib.sha256(path.encode()).digest()
    if isinstance(kind, list):
        return example(kind[1], path)
    if isinstance(kind, str):
        number = int.from_bytes(seed[:2], "big")
        plain = {"boolean": True, "int": number, "long": number, "bytes": seed[:8], "string": f"EXEMPEL-{number}"}
        return plain[kind]
    match kind["type"]:
        case "record":
            return {field["name"]: example(field["type"], f"{path}.{field['name']}") for field in kind["fields"]}
        case "array":
            return [example(kind["items"], f"{path}[{index}]") for index in range(2)]
        case "enum":
            return kind["symbols"][-1]
        case "fixed":
            return (seed * 40)[: kind["size"]]
    match kind.get("logicalType"):
        case "date":
            return dt.date(2026, 11, 2)
        case "timestamp-micros":
            return dt.datetime(2026, 11, 2, 9, 30, 0, 123456, dt.UTC)
    return example(kind["type"], path)


def example_of(cls: type[Record]) -> dict[str, Any]:
    """The example of a record, with its own label and version."""
    fixed = {"label": cls.LABEL, "version": VERSION} if cls.LABEL else {}
    return {**example(expanded(dict(catalogue.by_name(cls.SCHEMA).source)), cls.SCHEMA), **fixed}
