"""Which stream carries a node's submissions, looked after while the node runs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from audit.entry import SealedEntry
from broker.context import Context
from broker.forgetting import Forgetting
from broker.metrics import Metrics
from broker.recorder import Recorder
from broker.settings import BrokerSettings
from broker.store.port import Store
from broker.stream.embedded import EmbeddedStream
from broker.stream.generations import come_home
from broker.transit import Days, KeyFile
from schemas.trail import Payload

if TYPE_CHECKING:
    from broker.stream.kafka import KafkaStream


def _now_us() -> int:
    return time.time_ns() // 1000


class Carrier:
    """The stream of one node: a table of the Store, or a topic of Apache Kafka that needs looking after."""

    def __init__(
        self,
        settings: BrokerSettings,
        store: Store,
        recorder: Recorder,
        metrics: Metrics,
        now_us: Callable[[], int],
        days: Days | None = None,
    ) -> None:
        """Open nothing yet; raises `HS-SECRET-FILE` and `HS-SETTINGS-INVALID` for what the table `[stream]` names."""
        self._store, self._recorder, self._now_us = store, recorder, now_us
        self._kafka: KafkaStream | None = None
        self._forgetting: Forgetting | None = None
        self._days = days or days_of(settings)
        if settings.stream.engine == "kafka" and self._days is not None:
            from broker.stream.kafka import KafkaStream

            self._kafka = KafkaStream(settings.stream, store, self._days.keys, metrics, now_us, self._entry)
        self.stream = self._kafka or EmbeddedStream(store)

    def forgets(self, context: Context, *, several: bool) -> None:
        """Let content go with its keys from now on; a store of `several` nodes is opened with its own keys only."""
        self._forgetting = Forgetting(context, self._days, strict=several)
        if self._kafka is not None:
            self._kafka.renewed = self._forgetting.renewed

    def _entry(self, at_us: int) -> SealedEntry:
        return self._recorder.about_operator("ADMIN", Payload(code="HS-STREAM-GENERATION"), at_us)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Take the stream up where the Store stands, and end its clients at last.

        Raises `HS-TRANSIT-OTHER`, `HS-STREAM-OTHER`; servers that do not answer are no reason not to start.
        """
        if self._forgetting is not None:
            await self._forgetting.start()
        if self._kafka is None:
            await come_home(self._store, self._now_us(), self._entry)
            yield
            return
        try:
            await self._kafka.start()
            yield
        finally:
            await self._kafka.close()

    def on_append(self, told: Callable[[], None]) -> None:
        """Call `told` after records were appended here; servers tell every node themselves."""
        if isinstance(self.stream, EmbeddedStream):
            self.stream.on_append = told

    def rung(self) -> None:
        """Another node appended something to a stream that has no server of its own."""
        if isinstance(self.stream, EmbeddedStream):
            self.stream.rung()

    async def run(self) -> None:
        """Look after the stream, and after what is to be forgotten, for as long as the node runs."""
        if self._kafka is not None:
            await self._kafka.run()

    async def forget(self) -> None:
        """As `run`, beside it."""
        if self._forgetting is not None:
            await self._forgetting.run(alone=self._kafka is None)


def days_of(settings: BrokerSettings, now_us: Callable[[], int] = _now_us) -> Days | None:
    """The keys of days of this node, None where `[stream]` names none; raises `HS-SECRET-FILE`."""
    file = settings.stream.transit_key_file
    return None if file is None else Days(KeyFile(file), now_us)
