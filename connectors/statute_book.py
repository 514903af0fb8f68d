"""The connector's own list of what was decided without consent: what waits, what went, what did not.

Sealed with everything else in the spool. The content of a decision lies here until it went or was given up, and then
no more; the reasons and the request's reference stay, for the trail holds their commitments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from connectors import fields, sealing
from connectors.context import Context
from connectors.sealing import SealedEvent
from schemas.envelope import Core
from schemas.errors import HandslagError
from schemas.identifiers import shown
from schemas.statute import TYPE, StatutoryDisclosure

_BOOK = "statutes"
WAITS, SENT, DONE, REFUSED = "WAITS_FOR_SECOND", "SENT_UNCONFIRMED", "DONE", "REFUSED"
LIFE_US = 24 * 3600 * 1_000_000  # a decision that nobody confirmed is decided anew


def one(ctx: Context, disclosure_id: bytes) -> dict[str, Any]:
    """One decision as it stands here; raises `HS-STATUTE-INVALID`."""
    found = book(ctx).get(disclosure_id.hex())
    if found is None:
        raise HandslagError("HS-STATUTE-INVALID", field="disclosure")
    return found


def book(ctx: Context) -> dict[str, dict[str, Any]]:
    """Every decision of this unit by its id; what was never confirmed in a day is over, and its content is gone."""
    raw = ctx.spool.memory.get(_BOOK)
    rows: dict[str, dict[str, Any]] = {} if raw is None else json.loads(raw)
    late = ctx.now() - LIFE_US
    return {k: over(v, REFUSED) if _given_up(v, late) else v for k, v in rows.items()}


def _given_up(value: Mapping[str, Any], late_us: int) -> bool:
    """Whether nobody confirmed it in time; what was sent and never answered may have gone, and its call asks."""
    return value["state"] == WAITS and value["at_us"] < late_us and "request" not in value


def event_of(ctx: Context, event_id: bytes) -> str | None:
    """The type of an event that went without consent, for notices about it; None for any other event."""
    return TYPE if any(row.get("event_id") == event_id.hex() for row in book(ctx).values()) else None


def shown_row(disclosure_id: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """One decision in codes, without what it discloses."""
    told = StatutoryDisclosure.from_bytes(bytes.fromhex(value["statement"]))
    until = value.get("confirm_by_us")
    return {
        "disclosure": shown(bytes.fromhex(disclosure_id)),
        "ref": value["ref"],
        "state": value["state"],
        "to": told.role,
        "provision": told.provision_id,
        "categories": list(told.categories),
        "acute": told.acute,
        "decider": told.decider_ref,
        "decided_at": fields.shown_moment(told.decided_at_us),
        "confirm_by": None if until is None else fields.shown_moment(until),
        "outcome": value.get("outcome"),
        "lost": value.get("lost", False),
    }


def over(value: Mapping[str, Any], state: str) -> dict[str, Any]:
    """A decision without its content: what was disclosed is with its recipient and in the agency's own file."""
    core = value.get("event_id") or _event_id(value)
    gone = {"sealed", "data", "request"}
    return {**{k: v for k, v in value.items() if k not in gone}, "state": state, "event_id": core}


def _event_id(value: Mapping[str, Any]) -> str:
    from_core = SealedEvent.from_bytes(bytes.fromhex(value["sealed"]), sealing.SEALED_BYTES).core
    return Core.from_bytes(from_core).event_id.hex()


def put(ctx: Context, disclosure_id: bytes, value: Mapping[str, Any]) -> None:
    """Keep one decision as it stands now."""
    with ctx.spool.transaction():
        rows = book(ctx)
        rows[disclosure_id.hex()] = dict(value)
        ctx.spool.memory.put(_BOOK, json.dumps(rows).encode())
