"""What a connector tells the agency's system, as JSON values; words from the one table of codes."""

from __future__ import annotations

from typing import Any

from connectors import waiting
from connectors.context import Context
from connectors.fields import shown_moment, to_json
from connectors.identity import Seat
from connectors.opening import OpenedEvent
from schemas import codes
from schemas.errors import HandslagError, registry
from schemas.identifiers import shown
from schemas.inbox import Notice, Receipt, RoleCount
from schemas.statute import TYPE as STATUTORY

_NO_NUMBER = {
    "sv": "INGET NUMMER ATT RINGA UPP följde med. Fråga den enhet som lämnade ut det, på ett nummer du redan har.",
    "en": "NO NUMBER TO CALL BACK came with it. Ask the unit that disclosed it, on a number that you already have.",
}


def error_value(error: HandslagError) -> dict[str, Any]:
    """Code, sentences and the field's name; never anything of the input."""
    # INVARIANT: test_an_error_file_repeats_nothing
    value: dict[str, Any] = {"code": error.code, "sv": error.diagnostics("sv"), "en": error.diagnostics("en")}
    if "field" in error.context:
        value["field"] = error.context["field"]
    return value


def words(kind: str, code: str) -> dict[str, str]:
    """A code with its Swedish and English words."""
    return {"code": code, "sv": codes.words(kind, code, "sv"), "en": codes.words(kind, code, "en")}


def counts(rows: tuple[RoleCount, ...]) -> list[dict[str, Any]]:
    """What an act stopped, per role."""
    return [
        {"role": r.role, "stopped": r.stopped, "may_have_arrived": r.may_have_arrived, "received": r.received}
        for r in rows
    ]


def receipt(seat: Seat, event: dict[str, Any], told: Receipt) -> dict[str, Any]:
    """A receipt: per role and section what became of it and why not."""
    value: dict[str, Any] = {
        "kind": "receipt",
        "id": event.get("id", ""),
        "ref": seat.ref,
        "event_id": shown(told.event_id),
        "event_type": event.get("event_type", ""),
        "attempt": told.attempt,
        "decided_at": shown_moment(told.decided_at_us),
        "entry_id": shown(told.entry_id),
        "leaf_hash": told.leaf_hash.hex(),
        "roles": [
            {
                "role": role.role,
                "outcome": words("outcome", role.outcome),
                "sections": [
                    {
                        "category": section.category,
                        "released": section.released,
                        "reasons": [words("reason", reason) for reason in section.reasons],
                    }
                    for section in role.sections
                ],
                "obligations": list(role.obligations),
            }
            for role in told.roles
        ],
    }
    if told.refused_code is not None:
        known = told.refused_code in registry()  # a newer broker may name a code that is not known here
        value["refused"] = error_value(HandslagError(told.refused_code if known else "HS-DECISION-FAILED"))
    return value


def delivery(seat: Seat, delivery_id: bytes, opened: OpenedEvent, fresh: set[bytes], told: Any) -> dict[str, Any]:
    """What the agency's system is given of a delivery: the sections it was not given before."""
    core = opened.core
    given = [section for section in opened.sections if section.digest in fresh]
    data: dict[str, Any] = {}
    for section in given:
        data.update(to_json(section.fields))
    value: dict[str, Any] = {
        "kind": "delivery",
        "delivery_id": shown(delivery_id),
        "ref": seat.ref,
        "event_id": shown(core.event_id),
        "event_type": core.event_type,
        "from_role": opened.sender.role,
        "occurred_at": shown_moment(core.occurred_at_us),
        "sent_at": shown_moment(core.sent_at_us),
        "purpose": core.purpose,
        "action": core.action,
        "statement_kind": core.statement_kind,
        "reliability": core.reliability,
        "in_reply_to": shown(core.in_reply_to) if core.in_reply_to else None,
        "replaces": shown(core.replaces) if core.replaces else None,
        "categories": sorted(section.category for section in given),
        "obligations": list(told.obligations),
        "entry_id": shown(told.entry_id),
        "leaf_hash": told.leaf_hash.hex(),
        "data": data,
    }
    # INVARIANT: test_who_gets_it_is_told_that_there_is_no_number_to_call_back
    if core.event_type == STATUTORY and not all(part.get("call_back") for part in data.values() if part):
        value["warning"] = dict(_NO_NUMBER)
    return value


def notice(seat: Seat, told: Notice, event_type: str | None, correlation: str) -> dict[str, Any]:
    """A notice in codes and words; with the life-safety sentence where a message did not arrive."""
    value: dict[str, Any] = {
        "kind": "notice",
        "id": correlation,
        "ref": seat.ref,
        **words("notice", told.code),
        "event_id": shown(told.event_id) if told.event_id else None,
        "event_type": event_type,
        "role": told.role,
        "categories": list(told.categories),
        "detail": told.detail,
        "at": shown_moment(told.at_us),
    }
    alarm = waiting.warning(told.code, event_type) if event_type else None
    if alarm is not None:
        value["warning"] = alarm
    return value


def alarm(ctx: Context, error: HandslagError, name: str, **more: Any) -> None:
    """Tell the agency's own people of something that a person must look into; once for each `name`."""
    value = {"kind": "alarm", **error_value(error), **more}
    ctx.spool.incoming.put(f"alarm-{name}", "receipts", value)


def event_notice(ctx: Context, event_id: bytes, event_type: str, correlation: str, what: dict[str, Any]) -> None:
    """Tell the agency's system something about its own event, under a random name."""
    value = {"id": correlation, "event_id": shown(event_id), "event_type": event_type, **what}
    ctx.spool.incoming.put(ctx.random(16).hex(), "receipts", value)
