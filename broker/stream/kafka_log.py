"""One topic of Apache Kafka as 64 logs: write in order, read from a place, ends, starts, deletion. Knows no Store.

Every call is bounded in time. What fails is `HS-NOT-RECORDED`: unknown or undone, and the client that failed is
replaced. A place that a log does not hold is `Outside`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import OffsetOutOfRangeError

from broker.engine_settings import StreamSettings
from broker.stream.kafka_clients import admin_options, consumer_options, producer_options, tls_context
from broker.stream.kafka_held import FAULTS, Held, away
from broker.stream.kafka_topic import topic_of
from schemas.errors import HandslagError

PUT_S = 8.0  # then the submission is not recorded; a connector waits for longer
LOOK_S = 2.0  # for the ends of all buckets; a leader may be missing for a while
_READ_S = 1.0
_DELETE_S = 8.0


class Outside(Exception):  # noqa: N818 - an answer, not a fault: the log lacks the place that was asked for
    """The log ends before the position, or begins after it."""


class KafkaLog:
    """The clients of one node. `answered_at` is when the servers last did what was asked, by the monotonic clock.

    `thin` is how many partitions had fewer copies in sync than they have, when the topic was last looked at.
    """

    def __init__(self, settings: StreamSettings, buckets: int) -> None:
        tls = tls_context(settings)
        self._topic = settings.topic
        self._buckets = buckets
        self._producer = Held(lambda: AIOKafkaProducer(**producer_options(settings, tls)))
        self._consumer = Held(lambda: AIOKafkaConsumer(**consumer_options(settings, tls)))
        self._admin = Held(lambda: AIOKafkaAdminClient(**admin_options(settings, tls)))
        self._assigned: AIOKafkaConsumer | None = None
        self._partitions = [TopicPartition(settings.topic, bucket) for bucket in range(buckets)]
        self._lanes = [asyncio.Lock() for _ in range(buckets)]
        self.answered_at = time.monotonic()
        self.thin = 0

    async def topic_id(self) -> bytes:
        """Id of the topic, 16 bytes; raises `HS-STREAM-OTHER` when it is not there or has other partitions."""
        async with self._asked(self._producer, LOOK_S * 5) as producer:
            found = await topic_of(producer.client, self._topic)
        if found is None or len(found[1]) != self._buckets:
            raise HandslagError("HS-STREAM-OTHER", check="topic" if found is None else "partitions")
        self.thin = sum(len(each.in_sync) < len(each.replicas) for each in found[1])
        return found[0]

    async def put(self, bucket: int, records: Sequence[bytes]) -> int:
        """Write records in order, one batch after the other; returns the position after the last.

        Acknowledged by every replica in sync. A batch that fails ends it, and its producer with it: what that still
        sends is older than anything that follows.
        """
        async with self._asked(self._producer, PUT_S, self._lanes[bucket]) as producer:
            # INVARIANT: test_nothing_of_a_bundle_passes_what_failed_before_it
            left, end = list(records), 0
            while left:
                batch = producer.create_batch()
                while left and batch.append(key=None, value=left[0], timestamp=None) is not None:
                    del left[0]
                batch.close()
                told = await (await producer.send_batch(batch, self._topic, partition=bucket))
                end = told.offset + batch.record_count()
        return end

    async def fetch(self, bucket: int, position: int) -> list[tuple[int, bytes]]:
        """(offset, record) that one request brings from a position on; nothing when nothing came in time.

        Raises `Outside`.
        """
        tp = self._partitions[bucket]
        try:
            async with self._asked(self._consumer, _READ_S * 3) as consumer:
                self._assign(consumer)
                consumer.seek(tp, position)
                consumer.resume(tp)
                try:
                    found = (await consumer.getmany(tp, timeout_ms=int(_READ_S * 1000))).get(tp, [])
                finally:
                    consumer.pause(tp)
        except OffsetOutOfRangeError:
            raise Outside from None
        return [(one.offset, one.value or b"") for one in found]

    async def ends(self) -> dict[int, int]:
        """The position after the last record of every bucket."""
        async with self._asked(self._consumer, LOOK_S, keep=True) as consumer:
            self._assign(consumer)
            found = await consumer.end_offsets(self._partitions)
        return {tp.partition: int(end) for tp, end in found.items()}

    async def starts(self) -> dict[int, int]:
        """The position of the first record of every bucket that is still there."""
        async with self._asked(self._consumer, LOOK_S, keep=True) as consumer:
            self._assign(consumer)
            found = await consumer.beginning_offsets(self._partitions)
        return {tp.partition: int(start) for tp, start in found.items()}

    async def delete_below(self, positions: Mapping[int, int]) -> None:
        """Delete records below a position per bucket, all in one call to each server."""
        wanted = {self._partitions[bucket]: RecordsToDelete(before_offset=at) for bucket, at in positions.items()}
        async with self._asked(self._admin, _DELETE_S) as admin:
            await admin.delete_records(wanted, timeout_ms=int(_DELETE_S * 1000))

    def renew(self) -> bool:
        """Replace the consumer: it lives and brings nothing. Whether there was one."""
        found, self._assigned = self._assigned, None
        if found is not None:
            self._consumer.drop(found)
        return found is not None

    async def bury(self) -> None:
        """End the clients that were replaced, each within a bound."""
        for held in (self._producer, self._consumer, self._admin):
            await held.bury()

    async def close(self) -> None:
        """End every client; what is in flight is finished if the servers let it within a bound."""
        for held in (self._producer, self._consumer, self._admin):
            await held.close()

    @contextlib.asynccontextmanager
    async def _asked(
        self, held: Held[Any], seconds: float, lane: asyncio.Lock | None = None, *, keep: bool = False
    ) -> AsyncIterator[Any]:
        """The open client for one request, bounded; a client that fails is given up unless `keep`."""
        client = None
        try:
            async with asyncio.timeout(seconds), lane or contextlib.nullcontext():
                client = await held.get()
                yield client
        except OffsetOutOfRangeError:
            raise
        except FAULTS:
            if client is not None and not keep:
                held.drop(client)
            raise away() from None
        self.answered_at = time.monotonic()

    def _assign(self, consumer: AIOKafkaConsumer) -> None:
        """All buckets, none of them fetched: only what is asked for costs memory."""
        if consumer is self._assigned:
            return
        consumer.assign(self._partitions)
        for tp in self._partitions:
            consumer.seek(tp, 0)
        consumer.pause(*self._partitions)
        self._assigned = consumer
