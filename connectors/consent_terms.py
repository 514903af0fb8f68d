"""The terms of an act as they are signed, from a command as it was kept."""

from __future__ import annotations

from typing import Any

from connectors.fields import moment
from schemas.acts import (
    CapacityGround,
    EvidenceRef,
    Giver,
    InformationGiven,
    MinorGround,
    RecipientRef,
    Reservation,
    Terms,
)
from schemas.identifiers import parsed


def terms_of(value: dict[str, Any], recipients: tuple[RecipientRef, ...], now_us: int) -> Terms:
    """Terms of a grant, an amendment or a block; raises `HS-INPUT-INVALID` for a moment that is none."""
    evidence_hash = value.get("evidence_hash")
    return Terms(
        recipients=recipients,
        categories=tuple(value.get("categories", ())),
        purposes=tuple(value.get("purposes", ())),
        actions=tuple(value.get("actions", ())),
        valid_from_us=now_us if (since := _moment(value, "valid_from")) is None else since,
        valid_until_us=_moment(value, "valid_until"),
        reservations=tuple(Reservation(code=each["code"]) for each in value.get("reservations", [])),
        text_version=value.get("text_version", ""),
        terms_version=value.get("terms_version", ""),
        processing_acknowledged=value.get("processing_acknowledged", False),
        given_by=value.get("given_by", "SELF"),
        method=value.get("method", ""),
        evidence_hash=bytes.fromhex(evidence_hash) if evidence_hash else None,
        **_more(value),
    )


def _more(value: dict[str, Any]) -> dict[str, Any]:
    """What older versions did not know; None where the command does not say it."""
    minor, told, capacity = value.get("minor"), value.get("information"), value.get("capacity")
    return {
        "kind": value.get("kind"),
        "about": _listed(value, "about"),
        "givers": None if value.get("givers") is None else tuple(_giver(each) for each in value["givers"]),
        "minor": None if minor is None else _minor(minor),
        "capacity": None if capacity is None else _capacity(capacity),
        "data_from_us": _moment(value, "data_from"),
        "data_until_us": _moment(value, "data_until"),
        "until_event": value.get("until_event"),
        "review_by_us": _moment(value, "review_by"),
        "information": None
        if told is None
        else InformationGiven(**{**told, "text_hash": bytes.fromhex(told["text_hash"])}),
        "withdrawal_method": value.get("withdrawal_method"),
        "all_agencies_required": value.get("all_agencies_required"),
        "recipient_obligations": _listed(value, "recipient_obligations"),
        "supersedes": parsed(value["supersedes"]) if value.get("supersedes") else None,
        "reserved": _listed(value, "reserved"),
        "evidence": None
        if value.get("evidence") is None
        else tuple(EvidenceRef(kind=each["kind"], sha256=bytes.fromhex(each["sha256"])) for each in value["evidence"]),
    }


def _moment(value: dict[str, Any], name: str) -> int | None:
    return moment(value[name], name) if value.get(name) else None


def _listed(value: dict[str, Any], name: str) -> tuple[Any, ...] | None:
    return None if value.get(name) is None else tuple(value[name])


def _giver(value: dict[str, Any]) -> Giver:
    return Giver(
        person=value["person"],
        capacity=value["capacity"],
        method=value["method"],
        at_us=moment(value["at"], "at"),
        authority_from_us=_moment(value, "authority_from"),
        authority_until_us=_moment(value, "authority_until"),
    )


def _minor(value: dict[str, Any]) -> MinorGround:
    return MinorGround(
        rule_id=value["rule_id"],
        age_band=value["age_band"],
        maturity=value["maturity"],
        child_view=value["child_view"],
        guardians=value["guardians"],
        guardians_excluded=value["guardians_excluded"],
        reassess_at_us=moment(value["reassess_at"], "reassess_at"),
    )


def _capacity(value: dict[str, Any]) -> CapacityGround:
    return CapacityGround(
        status=value["status"],
        assessed_at_us=moment(value["assessed_at"], "assessed_at"),
        valid_until_us=_moment(value, "valid_until"),
    )
