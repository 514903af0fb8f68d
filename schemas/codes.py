"""Codes with their Swedish and English words, read from the one table `tables/codes.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

from schemas.errors import HandslagError


@cache
def table() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """The whole table: list name -> code -> row."""
    return tomllib.loads(resources.files("schemas").joinpath("tables/codes.toml").read_text(encoding="utf-8"))


def words(kind: str, code: str, language: str = "en") -> str:
    """The word for `code` of list `kind` in `sv` or `en`; the code itself where the list lacks it."""
    row = table()[kind].get(code)
    return str(row[language]) if row else code


def known(kind: str, code: str, field: str) -> str:
    """Return `code`; raises HandslagError `HS-CODE-UNKNOWN` naming `field` when list `kind` lacks it."""
    if code not in table()[kind]:
        raise HandslagError("HS-CODE-UNKNOWN", field=field)
    return code


class Outcome(StrEnum):
    """What became of one submission for one recipient role."""

    RELEASED = "RELEASED"
    PARTIAL = "PARTIAL"
    WITHHELD = "WITHHELD"
    NEEDS_HUMAN = "NEEDS_HUMAN"
    REFUSED = "REFUSED"


class DeliveryState(StrEnum):
    """States of a delivery; the last six are reached from PENDING or HANDED and, but for HANDED, final."""

    PENDING = "PENDING"
    HANDED = "HANDED"
    ACKED = "ACKED"
    REJECTED = "REJECTED"
    RECALLED = "RECALLED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    RESEAL = "RESEAL"


DELIVERY_TRANSITIONS: Mapping[DeliveryState, frozenset[DeliveryState]] = {
    DeliveryState.PENDING: frozenset(
        {DeliveryState.HANDED, DeliveryState.CANCELLED, DeliveryState.EXPIRED, DeliveryState.RESEAL}
    ),
    DeliveryState.HANDED: frozenset(
        {
            DeliveryState.HANDED,
            DeliveryState.ACKED,
            DeliveryState.REJECTED,
            DeliveryState.RECALLED,
            DeliveryState.EXPIRED,
            DeliveryState.RESEAL,
        }
    ),
    DeliveryState.ACKED: frozenset(),
    DeliveryState.REJECTED: frozenset(),
    DeliveryState.RECALLED: frozenset(),
    DeliveryState.CANCELLED: frozenset(),
    DeliveryState.EXPIRED: frozenset(),
    DeliveryState.RESEAL: frozenset(),
}


class SeatState(StrEnum):
    """States of a seat."""

    ACCEPTED = "ACCEPTED"
    ACTIVE = "ACTIVE"
    CLOSED = "CLOSED"


SEAT_TRANSITIONS: Mapping[SeatState, frozenset[SeatState]] = {
    SeatState.ACCEPTED: frozenset({SeatState.ACTIVE, SeatState.CLOSED}),
    SeatState.ACTIVE: frozenset({SeatState.CLOSED}),
    SeatState.CLOSED: frozenset(),
}


def base_role(role: str) -> str:
    """The role that a unit's agency must have listed for it to hold this one: the role itself, or what it leads to."""
    return str(table()["role"].get(role, {}).get("taken_as", role))


def reason_kind(reason: str) -> str:
    """RULE, PERSON or HUMAN."""
    return str(table()["reason"][reason]["kind"])


def shown_to_sender(reasons: Iterable[str]) -> tuple[str, ...]:
    """What the sender is told: less than the auditor sees, each code once, in order."""
    rows = table()["reason"]
    return tuple(dict.fromkeys(str(rows[reason]["sender"]) for reason in reasons))


def outcome_of(sections: Iterable[tuple[bool, Iterable[str]]]) -> Outcome:
    """Outcome of a submission for one role from (released, reasons) of its sections (architecture, "Vocabulary")."""
    released = []
    kinds: set[str] = set()
    for given, reasons in sections:
        released.append(given)
        if not given:
            kinds.update(reason_kind(reason) for reason in reasons)
    if released and all(released):
        return Outcome.RELEASED
    if any(released):
        return Outcome.PARTIAL
    if kinds == {"RULE"}:
        return Outcome.REFUSED
    return Outcome.NEEDS_HUMAN if "HUMAN" in kinds else Outcome.WITHHELD


@cache
def consent_acts(kind: str) -> frozenset[str]:
    """The consent acts of a class: WIDENS, NARROWS or NEITHER."""
    return frozenset(act for act, row in table()["consent_act"].items() if row["class"] == kind)
