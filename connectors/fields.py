"""Between JSON and the values of an event schema: dates and times are ISO 8601 in files, Python values in Avro."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from schemas.errors import HandslagError, PayloadRejected
from schemas.event_types import schema_of

_DEPTH = 8  # deeper than any schema of the catalogue; a bound because the input is a stranger's


def from_json(event_type: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Field values of an event as Avro wants them.

    Raises PayloadRejected naming the schema's field (an unknown one is called `unknown field`: its name is input).
    """
    declared = {field["name"]: field["type"] for field in schema_of(event_type).source["fields"]}
    if not set(data) <= set(declared):
        raise PayloadRejected(field="unknown field")
    values: dict[str, Any] = {}
    for name, value in data.items():
        try:
            values[name] = _down(declared[name], value, _DEPTH)
        except (ValueError, TypeError, OverflowError):
            raise PayloadRejected(field=name) from None
    return values


def to_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """Opened fields as JSON values; times end in `Z`, bytes become hexadecimal."""
    return {name: _up(value) for name, value in data.items()}


def moment(text: str, field: str) -> int:
    """Microseconds UTC of an ISO 8601 time that names its zone; raises `HS-INPUT-INVALID` naming `field`."""
    try:
        parsed = dt.datetime.fromisoformat(text)
        if parsed.tzinfo is None:
            raise ValueError
        return microseconds(parsed.astimezone(dt.UTC))  # beyond the calendar in UTC: OverflowError
    except (ValueError, OverflowError):
        raise HandslagError("HS-INPUT-INVALID", field=field) from None


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def microseconds(value: dt.datetime) -> int:
    """Microseconds since the epoch of an aware time, exact (a float would round)."""
    return (value - _EPOCH) // dt.timedelta(microseconds=1)


def shown_moment(at_us: int) -> str:
    """ISO 8601 UTC of microseconds since the epoch."""
    return (_EPOCH + dt.timedelta(microseconds=at_us)).isoformat().replace("+00:00", "Z")


def _down(kind: Any, value: Any, depth: int) -> Any:
    if depth == 0:
        raise ValueError("depth")
    if isinstance(kind, list):
        if value is None:
            return None
        return _down(next(branch for branch in kind if branch != "null"), value, depth - 1)
    if isinstance(kind, Mapping):
        return _down_complex(kind, value, depth)
    if kind == "bytes":
        return bytes.fromhex(value)
    # A JSON number is no text and `true` is no number: Avro's writer would take both.
    wanted = {"string": str, "boolean": bool, "int": int, "long": int}.get(str(kind))
    if wanted is not None and type(value) is not wanted:
        raise TypeError(str(kind))
    return value


def _down_complex(kind: Mapping[str, Any], value: Any, depth: int) -> Any:
    if kind.get("logicalType") == "date":
        return dt.date.fromisoformat(value)
    if kind.get("logicalType") == "timestamp-micros":
        parsed = dt.datetime.fromisoformat(value)
        if parsed.tzinfo is None:
            raise ValueError("zone")
        return parsed
    if kind["type"] == "array":
        if not isinstance(value, list):
            raise TypeError("array")
        return [_down(kind["items"], item, depth - 1) for item in value]
    if kind["type"] == "record":
        declared = {field["name"]: field["type"] for field in kind["fields"]}
        if not isinstance(value, Mapping) or not set(value) <= set(declared):
            raise TypeError("record")
        return {name: _down(declared[name], item, depth - 1) for name, item in value.items()}
    return _down(kind["type"], value, depth - 1) if not isinstance(kind["type"], str) else _plain(kind, value)


def _plain(kind: Mapping[str, Any], value: Any) -> Any:
    if kind["type"] == "enum" and value not in kind["symbols"]:
        raise ValueError("symbol")
    return value


def _up(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return shown_moment(microseconds(value))
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {name: _up(item) for name, item in value.items()}
    return [_up(item) for item in value] if isinstance(value, list) else value
