"""A whole case between real processes, PostgreSQL and Apache Kafka under the broker, and a topic that is lost in it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

import deploy.demo
from deploy.demo.play import Play
from deploy.demo.readback import read_back
from deploy.demo.scenario import load
from deploy.demo.table import differences
from tests.stream.conftest import create, delete

TOPIC = "handslag.submissions"
LOST = "social-08-request-assessment"


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


@contextlib.contextmanager
def session(of):
    """A session beside the broker's, as its user."""
    password = Path(of["password_file"]).read_text()
    with psycopg.connect(
        host=of["host"], port=of["port"], dbname=of["database"], user=of["user"], password=password
    ) as made:
        yield made


async def taken(bootstrap):
    """How many records the topic has ever taken."""
    async with AIOKafkaConsumer(bootstrap_servers=list(bootstrap), enable_auto_commit=False) as consumer:
        ends = await consumer.end_offsets([TopicPartition(TOPIC, bucket) for bucket in range(64)])
    return sum(ends.values())


async def exchanged(bootstrap):
    await delete(bootstrap, TOPIC)
    for _ in range(60):
        with contextlib.suppress(AssertionError):  # until the name is free
            return await create(bootstrap, TOPIC)
        await asyncio.sleep(0.25)
    raise AssertionError("the topic cannot be made again")


def test_a_whole_case_comes_out_as_on_a_file_although_the_topic_is_lost(play, until, kafka, database):
    """A submission lies undecided in the topic when it is deleted: its connector sends it again by itself."""
    steps = play.scenario.steps
    (at,) = [number for number, step in enumerate(steps) if step.drop == LOST]
    whole = play.scenario
    play.scenario = replace(whole, steps=steps[:at])
    play.run_steps()
    with session(database) as other:
        decided = sum(row[0] for row in other.execute("SELECT next_position FROM bucket ORDER BY bucket FOR UPDATE"))
        assert asyncio.run(taken(kafka.bootstrap)) == decided > 0
        play._drop(LOST)  # nothing can be decided while the gates are locked
        until(lambda: asyncio.run(taken(kafka.bootstrap)) > decided)
        asyncio.run(exchanged(kafka.bootstrap))
        other.rollback()
    play.scenario = replace(whole, steps=(replace(steps[at], drop=None), *steps[at + 1 :]))
    play.run_steps()
    assert differences(whole.outcomes, read_back(play)) == []
    with session(database) as other:
        found = other.execute("SELECT generation, cause FROM stream_origin ORDER BY generation").fetchall()
    assert found == [(1, "FIRST"), (2, "TOPIC")]
