"""Connectors that wait at the broker, as processes: quick without a quick beat, and nobody waits out a stop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import deploy.demo
from deploy.demo.play import Play
from deploy.demo.scenario import load

_BEAT_S, _WAIT_S = 25.0, 15.0
_LAST = "police-01-accept"


class Waits(Play):
    """The demonstration's processes with a slow beat and `wait_s` set."""

    def start(self, name: str) -> None:
        if name != "broker":
            text = self.config(name).read_text(encoding="utf-8")
            slow = text.replace("poll_s = 0.3\n", f"poll_s = {_BEAT_S}\nwait_s = {_WAIT_S}\n")
            self.config(name).write_text(slow, encoding="utf-8")
        super().start(name)


@pytest.fixture
def waits(tmp_path) -> Iterator[Waits]:
    scenario = load(Path(deploy.demo.__file__).parent)
    names = [step.drop for step in scenario.steps]
    steps = scenario.steps[: names.index(_LAST) + 1]
    with Waits(tmp_path / "site", replace(scenario, steps=steps), lambda _line: None) as play:
        play.set_up()
        yield play


def test_a_connector_that_waits_needs_no_quick_beat_and_stops_at_once(waits, until):
    """An invitation, its acceptance and the JOIN are three items, one after the other, none on the beat."""
    started = time.monotonic()
    waits.run_steps()
    until(lambda: any(f["kind"] == "seat" and f["state"] == "ACTIVE" for f in waits.files("police")))
    assert time.monotonic() - started < _BEAT_S
    for name in ("social", "broker"):
        before = time.monotonic()
        waits.stop(name)
        assert time.monotonic() - before < 5, name
