"""Searching an agency's own audit entries: opening, choosing and showing what was fetched.

Finding a person starts at the agency, whose connector alone knows which seat is whose; it fetches the seat's entries
and hands them in here. No I/O.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from audit.entry import open_payload
from schemas import codes
from schemas.calls import KeyedEntry
from schemas.errors import HandslagError
from schemas.identifiers import shown
from schemas.trail import AuditEntry, Payload


@dataclass(frozen=True, slots=True)
class Found:
    """One entry with its content; `payload` is None when it does not open, and `problem` then is the error's code."""

    number: int
    entry: AuditEntry
    payload: Payload | None
    problem: str | None


def opened(entries: Iterable[KeyedEntry]) -> list[Found]:
    """Open fetched entries, each under its own key, in the order given.

    Raises HS-PROOF-INVALID (`check` = leaf-hash) for an entry whose bytes are not those of its leaf: such an answer is
    evidence and not a search result. Raises PayloadRejected for bytes that are no entry.
    """
    # INVARIANT: test_an_entry_that_is_not_its_leaf_is_never_shown
    found = []
    for one in entries:
        if sha256(b"\x00" + one.entry).digest() != one.leaf_hash:
            raise HandslagError("HS-PROOF-INVALID", check="leaf-hash")
        entry = AuditEntry.from_bytes(one.entry)
        try:
            found.append(Found(one.number, entry, open_payload(entry, one.payload, one.key), None))
        except HandslagError as error:
            found.append(Found(one.number, entry, None, error.code))
    return found


def select(
    found: Iterable[Found],
    *,
    seat_id: bytes | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    operation: str | None = None,
    outcome: str | None = None,
) -> list[Found]:
    """Return what meets every condition given; times are microseconds UTC, `until_us` excluded.

    An entry that does not open belongs to no seat that can be named, and stays in: it must not vanish from an answer.
    """
    return [
        one
        for one in found
        if (seat_id is None or one.payload is None or one.payload.seat_id == seat_id)
        and (since_us is None or one.entry.at_us >= since_us)
        and (until_us is None or one.entry.at_us < until_us)
        and (operation is None or one.entry.operation == operation)
        and (outcome is None or one.entry.outcome == outcome)
    ]


def render(found: Sequence[Found], *, as_json: bool = False, language: str = "sv") -> str:
    """Return a table (`sv` or `en`), or a JSON array of objects with codes, without a final newline."""
    if as_json:
        return json.dumps([as_data(one) for one in found], ensure_ascii=False, indent=1)
    swedish = language == "sv"
    head = ("nr", "tid (UTC)", "operation", "utfall", "händelse", "motpart", "kategorier")
    if not swedish:
        head = ("no", "time (UTC)", "operation", "outcome", "event", "counterpart", "categories")
    return "\n".join(_lines([head, *(_row(one, language) for one in found)]))


def as_data(one: Found) -> dict[str, Any]:
    """Return one entry as plain data: codes and ids, no words."""
    entry, payload = one.entry, one.payload
    data: dict[str, Any] = {
        "number": one.number,
        "entry_id": shown(entry.entry_id),
        "at": _time(entry.at_us),
        "operation": entry.operation,
        "outcome": entry.outcome,
        "owner": entry.owner,
        "problem": one.problem,
    }
    if payload is None:
        return data
    for name in ("seat_id", "event_id", "delivery_id"):
        value = getattr(payload, name)
        data[name] = None if value is None else shown(value)
    for name in ("role", "counter_role", "event_type", "attempt", "hand_number", "purpose", "action", "basis",
                 "ledger_seq", "actor_ref", "assurance", "query_purpose", "case_number", "code"):  # fmt: skip
        data[name] = getattr(payload, name)
    data["sections"] = [
        {"category": section.category, "released": section.released, "reasons": list(section.reasons)}
        for section in payload.sections
    ]
    return data


def _row(one: Found, language: str) -> tuple[str, ...]:
    entry, payload = one.entry, one.payload
    outcome = codes.words("outcome", entry.outcome, language) if entry.outcome else ""
    start = (str(one.number), _time(entry.at_us)[:19].replace("T", " "),
             codes.words("operation", entry.operation, language), outcome)  # fmt: skip
    if payload is None:
        return (*start, one.problem or "", "", "")
    counter = codes.words("role", payload.counter_role, language) if payload.counter_role else ""
    sections = " ".join(f"{'+' if section.released else '-'}{section.category}" for section in payload.sections)
    return (*start, payload.event_type or payload.code or "", counter, sections)


def _lines(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _time(at_us: int) -> str:
    seconds, micro = divmod(at_us, 1_000_000)
    try:
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micro).isoformat()
    except (OverflowError, ValueError, OSError):
        return str(at_us)
