"""Connectors that grant and withdraw without a pause while events are decided, and what they wrote down of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Self

from tests.chaos.site import Site
from tests.kills.load import CATEGORIES, PURPOSES, REFS, ROLES, Dropped, Load, terms

_PATIENCE_S = 120.0
_LOOK_S = 0.05  # an agency system that looks more often takes the processor from what is measured
_EVENT_S = 0.2
_QUEUE = 4
_SENDERS = ("police", "probation")


@dataclass(frozen=True, slots=True)
class Sample:
    """One withdrawal: accepted from the agency, its call first made, answered; CLOCK_MONOTONIC in microseconds."""

    accepted: int
    asked: int
    answered: int

    @property
    def call_us(self) -> int:
        """From the first call to its answer."""
        return self.answered - self.asked

    @property
    def waited_us(self) -> int:
        """From the moment the connector had taken the agency's file."""
        return self.answered - self.accepted

    def during(self, spans: Sequence[tuple[int, int]]) -> bool:
        """Whether any of the spans covers a part of the call."""
        return any(self.asked < until and self.answered > since for since, until in spans)


class Samples:
    """Reads what the connectors write down as it grows; every line once."""

    def __init__(self, site: Site) -> None:
        self._files: list[IO[bytes]] = []
        self._paths = [site.facts_of(unit) for unit in REFS]
        self._seen: dict[str, dict[str, int]] = {}
        self._found: list[Sample] = []

    def since(self, moment_us: int) -> list[Sample]:
        """Every withdrawal that was asked for from this moment on and is answered."""
        if not self._files:
            self._files = [path.open("rb") for path in self._paths]
        for file in self._files:
            while (line := file.readline()).endswith(b"\n"):
                self._take(json.loads(line))
            file.seek(file.tell() - len(line))  # a line that is being written is read whole next time
        return [one for one in self._found if one.asked >= moment_us]

    def _take(self, fact: dict[str, Any]) -> None:
        if fact.get("do") != "withdraw":
            return
        moments = self._seen.setdefault(fact["id"], {})
        moments.setdefault(fact["what"], fact["at"])
        if fact["what"] == "answered" and {"accepted", "asked"} <= set(moments):
            self._found.append(Sample(moments["accepted"], moments["asked"], moments["answered"]))


class Withdrawing:
    """Load in threads of its own; a context manager that ends it after what is under way."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._over = threading.Event()
        runs = [(self._events, ()), *((self._consents, (unit,)) for unit in REFS)]
        self._threads = [threading.Thread(target=run, args=of, daemon=True) for run, of in runs]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _events(self) -> None:
        world, load = self._site.world, Load(self._site.seed)
        while not self._over.is_set():
            for unit in _SENDERS:
                if len(list((world.root(unit) / "in").glob("*.json"))) < _QUEUE:
                    world.drop(load.event(unit))
                self._over.wait(_EVENT_S)

    def _consents(self, unit: str) -> None:
        """A consent to everything the unit sends, taken back category by category and then whole."""
        to = [{"role": role} for name, role in ROLES.items() if name != unit]
        number = 0
        while not self._over.is_set():
            number += 1
            name = f"c-{unit}-{number:05d}"
            given = self._done(unit, f"{name}-grant", terms(to, CATEGORIES[unit], PURPOSES))
            if given is None or given["kind"] != "result":
                continue
            withdraw = {"do": "withdraw", "consent": given["consent"]}
            for category in CATEGORIES[unit][:-1]:
                scope = {"recipients": [], "categories": [category], "purposes": []}
                self._done(unit, f"{name}-{category}", {**withdraw, "scope": scope})
            self._done(unit, f"{name}-whole", withdraw)

    def _done(self, unit: str, name: str, value: dict[str, Any]) -> dict[str, Any] | None:
        """Drop a command and wait for its final word; None when the load is over or it never comes."""
        world, end = self._site.world, time.monotonic() + _PATIENCE_S
        world.drop(Dropped(unit, name, {"id": name, "ref": REFS[unit], **value}))
        receipts = world.root(unit) / "receipts"
        while not self._over.is_set() and time.monotonic() < end:
            for file in receipts.glob("[!.]*.json"):  # what has its name is whole
                told: dict[str, Any] = json.loads(file.read_bytes())
                file.unlink()  # a folder that grows makes every look slower
                if told.get("id") == name and told["kind"] in {"result", "refused"}:
                    return told
            self._over.wait(_LOOK_S)
        return None
