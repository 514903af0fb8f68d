"""One broker and three connectors as processes, set up by the documented commands."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import deploy.demo
from deploy.demo.play import Play
from deploy.demo.scenario import load


@pytest.fixture
def play(tmp_path) -> Iterator[Play]:
    play = Play(tmp_path / "site", load(Path(deploy.demo.__file__).parent), lambda _line: None)
    with play:
        play.set_up()
        yield play


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    def wait(met: Callable[[], bool], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < end, "not seen in time"
            time.sleep(0.1)

    return wait
