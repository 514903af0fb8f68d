"""Event types: class, actions, shelf life, deadline, category of the name, from `tables/event_types.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources

from schemas import catalogue, codes
from schemas.errors import HandslagError
from schemas.said import SPOKEN

_HOUR_US = 3600 * 1_000_000
_MINUTE_US = 60 * 1_000_000


class TypeClass(StrEnum):
    """The closed list of what travels (promise consent-before-release)."""

    CONTENT = "CONTENT"
    STATUTORY = "STATUTORY"
    NOTICE = "NOTICE"
    PERSONLESS = "PERSONLESS"


@dataclass(frozen=True, slots=True)
class EventType:
    """One event type; times in microseconds, 0 where the type does not exist yet; a notice has no `actions`."""

    code: str
    number: int
    type_class: TypeClass
    actions: frozenset[str]
    available: bool
    shelf_life_us: int
    deadline_us: int
    life_safety: bool
    sv: str

    @property
    def schema_name(self) -> str:
        """Full name of the event's schema."""
        return f"{catalogue.EVENT_NAMESPACE}.{''.join(part.capitalize() for part in self.code.split('_'))}"


@cache
def table() -> Mapping[str, EventType]:
    """Every event type by its code."""
    text = resources.files("schemas").joinpath("tables/event_types.toml").read_text(encoding="utf-8")
    return {
        code: EventType(
            code=code,
            number=row["number"],
            type_class=TypeClass(row["class"]),
            actions=frozenset(row.get("actions", ())),
            available=row["status"] == "NOW",
            shelf_life_us=row.get("shelf_life_h", 0) * _HOUR_US,
            deadline_us=row.get("deadline_min", 0) * _MINUTE_US,
            life_safety=row.get("life_safety", False),
            sv=row["sv"],
        )
        for code, row in tomllib.loads(text).items()
    }


def content_type(code: str) -> EventType:
    """The type of a case event; raises `HS-CODE-UNKNOWN`, or `HS-NOT-YET` for one that does not exist yet."""
    found = table().get(code)
    if found is None or found.type_class is TypeClass.NOTICE:
        raise HandslagError("HS-CODE-UNKNOWN", field="event_type")
    if not found.available or found.type_class is not TypeClass.CONTENT:
        raise HandslagError("HS-NOT-YET", field="event_type")
    return found


def carried_type(code: str) -> EventType:
    """The type of anything that is sealed and handed over: a case event, or a disclosure with support in law.

    Raises as `content_type`. What asks consent asks `content_type`, which refuses the other.
    """
    found = table().get(code)
    if found is not None and found.available and found.type_class is TypeClass.STATUTORY:
        return found
    return content_type(code)


def check_action(code: str, action: str) -> None:
    """Raise `HS-ACTION-OTHER` for an action that is not one of what is done: an event that goes is disclosed.

    `code`: anything that is carried, or `SPOKEN`, which has the actions of the manners. Raises as `carried_type`.
    """
    codes.known("action", action, "action")
    if code == SPOKEN:
        possible = frozenset(str(row["action"]) for row in codes.table()["manner"].values())
    else:
        possible = carried_type(code).actions
    if action not in possible:
        raise HandslagError("HS-ACTION-OTHER", field="action")


def schema_of(code: str) -> catalogue.SchemaEntry:
    """The schema of what is sealed and handed over; raises as `carried_type`."""
    return catalogue.by_name(carried_type(code).schema_name)


def type_category(code: str) -> str:
    """What the event's name alone tells: no section goes where this category is not released."""
    return str(schema_of(code).source["type_category"])
