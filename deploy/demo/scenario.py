"""The scenario file and its inputs: what is dropped where, what must be seen, what the table must say."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """One unit that takes part."""

    name: str
    code: str
    agency: str
    role: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step: something said, done, waited for and expected.

    `run` is a unit and one of its commands, which prints what `shows` says, or ends with the code `refused`.
    """

    say: str
    drop: str | None = None
    stop: str | None = None
    start: str | None = None
    pause: float = 0.0
    run: list[str] = field(default_factory=list)
    shows: str | None = None
    refused: str | None = None
    awaited: dict[str, Any] | None = None
    expect: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row that the table must have."""

    event: str
    role: str
    outcome: str
    came: list[str]
    end: str
    withheld: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole scenario; `inputs` is the folder of the JSON files, `slot_s` the length of a slot if not a week."""

    units: dict[str, UnitPlan]
    steps: list[Step]
    outcomes: list[Outcome]
    inputs: Path
    slot_s: float | None = None


def load(folder: Path) -> Scenario:
    """Read `scenario.toml` and say where its inputs lie."""
    raw = tomllib.loads((folder / "scenario.toml").read_text(encoding="utf-8"))
    steps = []
    for step in raw["step"]:
        awaited = step.pop("await", None)
        steps.append(Step(awaited=awaited, **step))
    return Scenario(
        units={name: UnitPlan(name=name, **unit) for name, unit in raw["units"].items()},
        steps=steps,
        outcomes=[Outcome(**row) for row in raw.get("outcome", [])],
        inputs=folder / "inputs",
        slot_s=raw.get("slot_s"),
    )


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def filled(text: str, now: datetime, look_up: Callable[[str, str], str]) -> str:
    """An input file with its `@` values filled in: a file that says "in 90 days" is a good example for years.

    `@in 90d` a moment, `@day 7d` a date, `@consent FILE` and `@event FILE` what that file's command got, `@invitation`
    the newest invitation of the unit; the last three come from `look_up(kind, name)`.
    """

    def value(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: value(item) for key, item in node.items()}
        if isinstance(node, list):
            return [value(item) for item in node]
        if isinstance(node, str) and node.startswith("@"):
            kind, _, name = node[1:].partition(" ")
            return _moment(kind, name, now) if kind in {"in", "day"} else look_up(kind, name)
        return node

    return json.dumps(value(json.loads(text)), ensure_ascii=False, indent=2) + "\n"


def _moment(kind: str, span: str, now: datetime) -> str:
    then = now.astimezone(UTC) + timedelta(**{_UNITS[span[-1]]: int(span[:-1])})
    return then.date().isoformat() if kind == "day" else then.isoformat(timespec="milliseconds")
