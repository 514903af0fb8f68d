"""The engines that a bench runs on: sites whose Store, and Stream, are real servers started for it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from audit.entry import SealedEntry
from broker.engine_settings import StoreSettings, StreamSettings
from broker.store.cipher import ColumnCipher
from broker.store.port import Rows
from broker.store.postgresql import PostgresStore
from broker.stream.kafka import KafkaStream
from broker.transit import KeyFile, day_of
from deploy.kafka_local import Cluster
from deploy.postgres_local import LocalPostgres
from schemas.trail import Payload
from tests.engines import TEMPLATE, template
from tests.site import Site
from tests.stream.conftest import create

ENGINES = ("sqlite", "postgresql", "kafka")
"""`kafka` is Apache Kafka, one server, with PostgreSQL; the other two have the embedded stream."""


@dataclass(frozen=True, slots=True)
class Servers:
    """What was started for a bench."""

    postgres: LocalPostgres | None = None
    kafka: Cluster | None = None


@contextlib.contextmanager
def servers(engines: str, folder: Path) -> Iterator[Servers]:
    """Start what `engines` (one of ENGINES) needs."""
    with contextlib.ExitStack() as started:
        if engines == "sqlite":
            yield Servers()
            return
        conf = {"shared_buffers": "'512MB'", "max_wal_size": "'4GB'"}
        postgres = started.enter_context(LocalPostgres.temporary(conf))
        template(postgres)
        kafka = started.enter_context(Cluster(folder / "kafka")) if engines == "kafka" else None
        yield Servers(postgres, kafka)


@contextlib.asynccontextmanager
async def site(folder: Path, of: Servers, name: str) -> AsyncIterator[Site]:
    """A site on tables of its own; `name` is that of its database and its topic."""
    if of.postgres is None:
        made = Site(folder)
    else:
        settings = StoreSettings(**of.postgres.create(name, TEMPLATE))
        made = Site(folder, store=partial(_on, settings))
    stream = await _stream(made, of.kafka, folder, name) if of.kafka else None
    if stream is not None:
        made.context = replace(made.context, stream=stream)
    try:
        yield made
    finally:
        if stream is not None:
            await stream.close()
        made.close()


async def _stream(made: Site, kafka: Cluster, folder: Path, name: str) -> KafkaStream:
    await create(kafka.bootstrap, name)
    key = folder / "transit.key"
    KeyFile.create(key, day_of(made.clock()))
    settings = StreamSettings(engine="kafka", bootstrap=kafka.bootstrap, topic=name, transit_key_file=key)
    context = made.context

    def opened(at_us: int) -> SealedEntry:
        return context.recorder.about_operator("ADMIN", Payload(code="HS-STREAM-GENERATION"), at_us)

    stream = KafkaStream(settings, made.store, KeyFile(key), context.metrics, made.clock, opened)
    await stream.start()
    return stream


def _on(
    settings: StoreSettings, cipher: ColumnCipher, rows: Callable[[Connection, ColumnCipher], Rows]
) -> PostgresStore:
    return PostgresStore(settings, cipher, rows, server_clock=False)
