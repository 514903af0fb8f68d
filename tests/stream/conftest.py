"""One topic of the real Kafka for each test, and nodes' streams on it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from sqlalchemy import Connection

from audit.entry import SealedEntry
from broker.engine_settings import StreamSettings
from broker.metrics import Metrics
from broker.recorder import Recorder
from broker.store.cipher import ColumnCipher
from broker.store.keys import KeyVault
from broker.store.migrate import migrate
from broker.store.port import Rows
from broker.store.sqlite import SqliteStore
from broker.store.tables import BUCKETS
from broker.stream.kafka import KafkaStream
from broker.stream.kafka_clients import REQUEST
from broker.transit import KeyFile, day_of
from schemas.errors import HandslagError
from schemas.trail import Payload
from tests.units import START

TOPICS = itertools.count(1)


@asynccontextmanager
async def administering(bootstrap: tuple[str, ...]) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=list(bootstrap))
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def create(bootstrap: tuple[str, ...], name: str, partitions: int = BUCKETS) -> None:
    async with administering(bootstrap) as admin:
        made = await admin.create_topics(
            [NewTopic(name, partitions, 1, topic_configs={"max.message.bytes": str(REQUEST)})]
        )
    assert [error[1] for error in made.topic_errors] == [0]


async def delete(bootstrap: tuple[str, ...], name: str) -> None:
    async with administering(bootstrap) as admin:
        await admin.delete_topics([name])


@pytest.fixture
async def topic(kafka):
    """The name of a topic of this test alone."""
    name = f"stream.t{next(TOPICS)}"
    await create(kafka.bootstrap, name)
    yield name
    await delete(kafka.bootstrap, name)


class Patient(KafkaStream):
    """On a machine that is busy with other things an answer may come late; a node asks again anyway, as this does."""

    async def read(self, bucket: int, position: int, limit: int) -> Any:
        for _ in range(20):
            found = await super().read(bucket, position, limit)
            known = self._backlog.ends[bucket] or 0, self._backlog.positions[bucket] or 0
            if found or known[0] <= max(position, known[1]):
                break
        return found

    async def _look(self) -> None:
        for _ in range(4):
            with contextlib.suppress(HandslagError):
                return await super()._look()
        return await super()._look()


@dataclass
class Place:
    """A Store that several nodes share, and where their streams are made."""

    folder: Path
    bootstrap: tuple[str, ...]
    topic: str
    store: SqliteStore
    recorder: Recorder
    clock: Callable[[], int]
    open: list[KafkaStream] = field(default_factory=list)

    def settings(self, **changes: Any) -> StreamSettings:
        values = {"engine": "kafka", "bootstrap": self.bootstrap, "topic": self.topic, "stalled_seconds": 2.0,
                  "transit_key_file": self.folder / "transit.key"}  # fmt: skip
        return StreamSettings(**{**values, **changes})

    def entry(self, at_us: int) -> SealedEntry:
        return self.recorder.about_operator("ADMIN", Payload(code="HS-STREAM-GENERATION"), at_us)

    def node(self, kind: type[KafkaStream] = Patient, **changes: Any) -> KafkaStream:
        settings = self.settings(**changes)
        assert settings.transit_key_file is not None
        keys = KeyFile(settings.transit_key_file)
        stream = kind(settings, self.store, keys, Metrics(), self.clock, self.entry)
        self.open.append(stream)
        return stream


class Moved:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.us = START

    def __call__(self) -> int:
        return self.us


@asynccontextmanager
async def placed(
    folder: Path, bootstrap: tuple[str, ...], topic: str, rows: Callable[[Connection, ColumnCipher], Rows] = Rows
) -> AsyncIterator[Place]:
    clock = Moved()
    migrate(folder / "broker.db")
    vault = KeyVault.open(folder / "keys.db", folder / "root.key")
    store = SqliteStore(folder / "broker.db", ColumnCipher(vault.columns()), rows)
    KeyFile.create(folder / "transit.key", day_of(clock.us))
    place = Place(folder, bootstrap, topic, store, Recorder(vault, os.urandom, 1), clock)
    try:
        yield place
    finally:
        for stream in place.open:
            await stream.close()
        store.close()
        vault.close()


@pytest.fixture
async def place(tmp_path, kafka, topic):
    async with placed(tmp_path, kafka.bootstrap, topic) as made:
        yield made


async def started(stream: KafkaStream) -> None:
    for _ in range(40):  # a server that an earlier test stopped may still be finding its feet
        await stream.start()
        if stream.trouble() is None:
            return
        await asyncio.sleep(0.5)
    raise AssertionError("the server does not answer")


@pytest.fixture
async def node(place):
    stream = place.node()
    await started(stream)
    return stream
