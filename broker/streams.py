"""Which stream carries a node's submissions, looked after while the node runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from audit.entry import SealedEntry
from broker.metrics import Metrics
from broker.recorder import Recorder
from broker.settings import BrokerSettings
from broker.store.port import Store
from broker.stream.embedded import EmbeddedStream
from broker.stream.generations import come_home
from broker.transit import KeyFile
from schemas.trail import Payload

if TYPE_CHECKING:
    from broker.stream.kafka import KafkaStream


class Carrier:
    """The stream of one node: a table of the Store, or a topic of Apache Kafka that needs looking after."""

    def __init__(
        self,
        settings: BrokerSettings,
        store: Store,
        recorder: Recorder,
        metrics: Metrics,
        now_us: Callable[[], int],
    ) -> None:
        """Open nothing yet; raises `HS-SECRET-FILE` and `HS-SETTINGS-INVALID` for what the table `[stream]` names."""
        self._store, self._recorder, self._now_us = store, recorder, now_us
        self._kafka: KafkaStream | None = None
        of = settings.stream
        if of.engine == "kafka" and of.transit_key_file is not None:
            from broker.stream.kafka import KafkaStream

            keys = KeyFile(of.transit_key_file)
            self._kafka = KafkaStream(of, store, keys, metrics, now_us, self._entry)
        self.stream = self._kafka or EmbeddedStream(store)

    def _entry(self, at_us: int) -> SealedEntry:
        return self._recorder.about_operator("ADMIN", Payload(code="HS-STREAM-GENERATION"), at_us)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Take the stream up where the Store stands, and end its clients at last.

        Raises `HS-TRANSIT-OTHER`, `HS-STREAM-OTHER`; servers that do not answer are no reason not to start.
        """
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
        """Look after the stream for as long as the node runs; returns at once where there is nothing to look after."""
        if self._kafka is not None:
            await self._kafka.run()
