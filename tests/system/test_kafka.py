"""A whole case between real processes, with PostgreSQL and Apache Kafka under the broker; and a topic that is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import deploy.demo
from deploy.demo.play import Play
from deploy.demo.readback import read_back
from deploy.demo.scenario import load
from deploy.demo.table import differences
from tests.stream.conftest import create, delete

TOPIC = "handslag.submissions"


@pytest.fixture
def stream(kafka):
    asyncio.run(create(kafka.bootstrap, TOPIC))
    yield {"engine": "kafka", "bootstrap": list(kafka.bootstrap), "transit_key_file": "transit.key"}
    asyncio.run(delete(kafka.bootstrap, TOPIC))


@pytest.fixture
def play(tmp_path, database, stream):
    scenario = load(Path(deploy.demo.__file__).parent)
    with Play(tmp_path / "site", scenario, lambda _line: None, database, stream) as play:
        play.set_up()
        yield play


def test_a_whole_case_comes_out_as_on_a_file(play):
    play.run_steps()
    assert differences(play.scenario.outcomes, read_back(play)) == []
