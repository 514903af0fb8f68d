"""Avro single-object encoding for everything that travels or is stored; the only user of fastavro's codec.

A decoder checks the size first, then the fingerprint, decodes, and refuses trailing bytes. Every error of the
library becomes one PayloadRejected here and nowhere else.
"""

from __future__ import annotations

import io
from typing import Any

import fastavro

from schemas import catalogue
from schemas.errors import HandslagError, PayloadRejected

DEFAULT_LIMIT = 64 * 1024
MARKER = b"\xc3\x01"

# Everything that fastavro raises on hostile input, collected from its readers and its writer.
_FOREIGN = (
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    MemoryError,
    AttributeError,
    fastavro.schema.SchemaParseException,
    fastavro.read.SchemaResolutionError,
)


def encode(name: str, data: dict[str, Any]) -> bytes:
    """Single-object bytes of `data` under the catalogue's schema `name`; unknown or missing keys are refused.

    Raises PayloadRejected; `HS-SCHEMA-UNKNOWN` for a name outside the catalogue.
    """
    entry = catalogue.by_name(name)
    return entry.header + encode_body(entry.parsed, data)


def decode(name: str, data: bytes, limit: int = DEFAULT_LIMIT) -> dict[str, Any]:
    """The record in `data`, which must be single-object bytes of schema `name` and nothing more.

    Bytes that a released older version of the schema wrote are read as today's: what the older one did not know is
    null. Raises `HS-TOO-LARGE`, `HS-SCHEMA-UNKNOWN` (another fingerprint) or PayloadRejected.
    """
    entry = catalogue.by_name(name)
    if len(data) > limit:
        raise HandslagError("HS-TOO-LARGE", limit=limit)
    if data[:2] != MARKER:
        raise PayloadRejected(field="header")
    if data[:10] == entry.header:
        return decode_body(entry.parsed, data[10:])
    # INVARIANT: test_what_a_released_version_wrote_is_read_today
    writer = catalogue.by_header(data[:10])
    if writer.name != name:
        raise HandslagError("HS-SCHEMA-UNKNOWN")
    return decode_body(writer.parsed, data[10:], entry.parsed)


def name_of(data: bytes) -> str:
    """Which schema of the catalogue these single-object bytes name; raises PayloadRejected, `HS-SCHEMA-UNKNOWN`."""
    if len(data) < 10 or data[:2] != MARKER:
        raise PayloadRejected(field="header")
    return catalogue.by_header(data[:10]).name


def encode_body(parsed: Any, data: dict[str, Any]) -> bytes:
    """Avro binary body without a header; raises PayloadRejected."""
    out = io.BytesIO()
    try:
        fastavro.schemaless_writer(out, parsed, data, strict=True)
    except _FOREIGN as error:
        raise PayloadRejected(kind=type(error).__name__) from None
    return out.getvalue()


def decode_body(parsed: Any, body: bytes, reader: Any = None) -> dict[str, Any]:
    """The record of an Avro binary body written as `parsed`, read as `reader` (None: the same).

    Raises PayloadRejected, also on trailing bytes.
    """
    source = io.BytesIO(body)
    try:
        record = fastavro.schemaless_reader(source, parsed, reader)
    except _FOREIGN as error:
        raise PayloadRejected(kind=type(error).__name__) from None
    if source.tell() != len(body):
        raise PayloadRejected(kind="TrailingBytes")
    assert isinstance(record, dict)
    return record
