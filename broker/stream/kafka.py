"""The Stream on Apache Kafka: one topic, partition = bucket, and the Store's position as the only offset.

No groups, no offsets in Kafka, no transactions. A record has neither key nor header and is encrypted under the transit
key of its day, so the servers hold sizes, buckets and times. What was appended and what is decided meet in the gate
row alone; everything this module remembers is a hint.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from audit.entry import SealedEntry
from broker import logs, transit
from broker.engine_settings import StreamSettings
from broker.metrics import Metrics
from broker.pace import paced
from broker.store.origins import Origin
from broker.store.port import Store
from broker.store.tables import BUCKETS
from broker.stream import generations
from broker.stream.backlog import Backlog
from broker.stream.kafka_clients import certificate_ends_s
from broker.stream.kafka_log import KafkaLog, Outside
from schemas.errors import HandslagError

_log = logging.getLogger("handslag.stream")
_POLL_S = 0.05  # what a submission taken by another node waits at most to be noticed here
_SHY_S = 1.0  # how long a bucket is left alone whose leader does not answer
_TOPIC_S = 5.0
_TRIM_S = 60.0
_TEND_S = 1.0
_DOUBT_S = 6.0  # a new leader may know less than the position for a moment (KIP-207)
_TRIES = 8  # a server that has just begun does not know its topics yet
_LASTING = frozenset({"HS-TRANSIT-OTHER", "HS-STREAM-OTHER"})


class KafkaStream:
    """Stream driver of one node. `entry` makes the operator's entry about a new generation, at a moment."""

    def __init__(
        self,
        settings: StreamSettings,
        store: Store,
        keys: transit.KeyFile,
        metrics: Metrics,
        now_us: Callable[[], int],
        entry: Callable[[int], SealedEntry],
    ) -> None:
        self._stalled_s, self._store, self._keys = settings.stalled_seconds, store, keys
        self._metrics, self._now_us, self._entry = metrics, now_us, entry
        self._kafka = KafkaLog(settings, BUCKETS)
        metrics.certificate_ends("stream", certificate_ends_s(settings))  # taken once: a renewed one needs a restart
        self._readers = [asyncio.Lock() for _ in range(BUCKETS)]
        self._held: dict[int, list[tuple[int, bytes]]] = {}
        self._backlog = Backlog(BUCKETS)
        self._shy: dict[int, float] = {}
        self._doubts: dict[int, float] = {}
        self._news = asyncio.Event()
        self._opening = asyncio.Lock()
        self._trimmed = [0] * BUCKETS
        self._looked_at = self._topic_at = self._trimmed_at = time.monotonic()
        self._renewed_at = float("-inf")
        self._origin: Origin | None = None
        self._code: str | None = "HS-NOT-READY"
        self._stalled = False
        self.renewed: Callable[[int], Awaitable[bool]] | None = None
        """Asked before keys older than a day are destroyed: whether nothing else needs one."""

    # --- the port

    async def append(self, records: Mapping[int, Sequence[bytes]], unit: str = "") -> None:
        """Add records of a unit per bucket; acknowledged by every replica in sync when it returns.

        Raises `HS-NOT-RECORDED` when that is not known: some may be in the log, and will be once more when the
        connector has sent them again; the pipeline decides an event once.
        """
        await self._require_open()
        today = transit.day_of(self._now_us())
        sealed: dict[int, list[bytes]] = defaultdict(list)
        async for bucket, record in paced((each, record) for each in sorted(records) for record in records[each]):
            sealed[bucket].append(self._keys.seal(_place(bucket), record, today))
        puts = [self._kafka.put(bucket, sealed[bucket]) for bucket in sealed]
        ends = await asyncio.gather(*puts, return_exceptions=True)
        for bucket, end in zip(sealed, ends, strict=True):
            if not isinstance(end, BaseException):
                self._backlog.appended(bucket, end, unit, list(map(len, sealed[bucket])), self._now_us())
        self._news.set()
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    async def share(self, unit: str) -> tuple[int, int]:
        """How many records of a unit this node took that wait, and their bytes. Other nodes count their own."""
        return self._backlog.share(unit)

    async def read(self, bucket: int, position: int, limit: int) -> Sequence[tuple[int, bytes | HandslagError]]:
        """Records from a position on; raises `HS-NOT-RECORDED` while the servers do not answer."""
        await self._require_open()
        held = await self._from(bucket, position)
        today = transit.day_of(self._now_us())
        return [(offset, self._opened(bucket, sealed, today)) for offset, sealed in held[:limit]]

    async def waiting(self) -> list[int]:
        """Buckets whose log ends above the Store's position, as far as servers and Store answer."""
        with contextlib.suppress(HandslagError):
            await self._require_open()
            await self._look()
            return self._due()
        return []

    async def trim(self, bucket: int, below: int) -> None:
        """Note that everything below is decided; it is deleted from the log within a minute, all buckets at once."""
        self._backlog.decided(bucket, below)
        self._held[bucket] = [one for one in self._held.pop(bucket, ()) if one[0] >= below]
        if not self._held[bucket]:
            del self._held[bucket]

    async def lag(self) -> tuple[int, int | None]:
        """(undecided records, moment the oldest was first seen here in microseconds), as of the last look."""
        return self._backlog.lag()

    async def wait(self, seconds: float) -> None:
        """Return when something was appended, here or by another node, or after `seconds`."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), min(_POLL_S, left))
                break
            with contextlib.suppress(HandslagError):
                if self._origin is not None:
                    self._backlog.ended(await self._kafka.ends(), self._now_us())
            if self._due():
                break
        self._news.clear()

    def trouble(self) -> str | None:
        """Code of what keeps submissions from being taken or decided; None when nothing does."""
        return self._code or ("STREAM-STALLED" if self._stalled else None)

    # --- a node's part

    async def start(self) -> None:
        """Open the stream; servers that do not answer are tried again by `run`.

        Raises `HS-TRANSIT-OTHER`, `HS-STREAM-OTHER`: with another key or topic this node would refuse everything.
        """
        for left in reversed(range(_TRIES)):
            try:
                await self._require_open()
            except HandslagError as error:
                lasting = error.code in _LASTING
                if lasting and (not left or error.code == "HS-TRANSIT-OTHER"):
                    raise
                if lasting:
                    await asyncio.sleep(0.5)
                    continue
            return

    async def run(self) -> None:
        """Look after the stream for ever: clients that failed, progress, the topic, what is decided, keys."""
        said = None
        while True:
            try:
                await self.tend()
                said = None
            except HandslagError as error:
                if error.code != said:  # once, not once a second
                    logs.event(_log, logging.WARNING, error.code, task="stream")
                said = error.code
            await asyncio.sleep(_TEND_S)

    async def tend(self) -> None:
        """One look of `run`; raises what the Store and the servers fail with."""
        await self._kafka.bury()
        self._progress()
        self._metrics.stream_kept(time.monotonic() - self._trimmed_at, self._key_age_s())
        await self._require_open()
        if time.monotonic() - self._topic_at >= _TOPIC_S:
            self._topic_at = time.monotonic()
            await self._check_topic()
        if time.monotonic() - self._trimmed_at >= _TRIM_S:
            await self.forget()

    async def forget(self) -> None:
        """Delete what is decided from the log, then the keys that nothing undecided needs any more."""
        # INVARIANT: test_what_is_decided_is_deleted_from_the_log
        await self._check_topic()  # the positions of another topic would delete what nobody has read
        positions = await self._store.read(lambda rows: rows.gate.positions())
        below = {bucket: at for bucket, at in enumerate(positions) if at > self._trimmed[bucket]}
        if below:
            await self._kafka.delete_below(below)
        self._trimmed, self._trimmed_at = positions, time.monotonic()
        await self._destroy_keys()

    async def close(self) -> None:
        """End every client; what is in flight is finished if the servers let it within a bound."""
        await self._kafka.close()

    # --- opening, and another generation

    async def _require_open(self) -> None:
        if self._is_open():
            return
        async with self._opening:
            if self._is_open():
                return
            try:
                await self._open()
            except HandslagError as error:
                self._code = error.code
                raise
            self._code = None

    def _is_open(self) -> bool:
        return self._origin is not None

    async def _open(self) -> None:
        topic_id = await self._kafka.topic_id()
        origin = await self._store.read(lambda rows: rows.origins.latest())
        if origin is None or origin.topic_id != topic_id:
            origin = await self._begin(origin, topic_id, generations.TOPIC if origin else generations.FIRST)
        elif origin.chain != self._keys.ratchet.name() and self._keys.instead:
            origin = await self._begin(origin, topic_id, generations.KEYS)
        # INVARIANT: test_a_node_with_another_chain_takes_nothing_out
        if origin.chain != self._keys.ratchet.name():
            raise HandslagError("HS-TRANSIT-OTHER")
        self._take_up(origin)

    def _take_up(self, origin: Origin) -> None:
        self._held.clear()
        self._shy.clear()
        self._doubts.clear()
        self._backlog = Backlog(BUCKETS)
        self._trimmed = [0] * BUCKETS
        self._kafka.renew()
        self._origin = origin
        self._metrics.stream_generation(origin.generation)

    async def _begin(self, seen: Origin | None, topic_id: bytes, cause: str) -> Origin:
        """Open a generation, or take the one that another node opened meanwhile."""
        starts, ends = await self._kafka.starts(), await self._kafka.ends()
        same = seen is not None and seen.topic_id == topic_id
        number = 1 if seen is None else seen.generation + 1
        opened = Origin(number, topic_id, self._keys.ratchet.name(), self._now_us(), cause)
        first = await generations.open_generation(
            self._store, seen, opened, lambda now: generations.placed(now, starts, ends, same=same), self._entry
        )
        if first:
            level = logging.INFO if cause == generations.FIRST else logging.ERROR
            logs.event(_log, level, "HS-STREAM-GENERATION", generation=number, cause=cause)
        return await self._store.read(lambda rows: rows.origins.latest()) or opened

    async def _check_topic(self) -> None:
        seen = self._origin
        if seen is None:
            return
        latest = await self._store.read(lambda rows: rows.origins.latest())  # another node may have noticed first
        topic_id = await self._kafka.topic_id()
        self._metrics.stream_thin(self._kafka.thin)
        if latest != seen or topic_id != seen.topic_id:
            self._origin = None
            await self._require_open()

    async def _outside(self, bucket: int, position: int) -> None:
        """The log may lack a position: another generation if it does, nothing if the caller was only late."""
        now = await self._store.read(lambda rows: rows.gate.read(bucket))
        async with self._opening:
            if now.next_position != position or self._origin is None:
                return
            start, end = (await self._kafka.starts())[bucket], (await self._kafka.ends())[bucket]
            if start <= position <= end:
                self._doubts.pop(bucket, None)
                return
            doubted = self._doubts.setdefault(bucket, time.monotonic())
            topic_id = await self._kafka.topic_id()
            same = topic_id == self._origin.topic_id
            if same and position > end and time.monotonic() - doubted < _DOUBT_S:
                return
            cause = generations.OUTSIDE if same else generations.TOPIC
            self._take_up(await self._begin(self._origin, topic_id, cause))

    # --- reading

    async def _from(self, bucket: int, position: int) -> list[tuple[int, bytes]]:
        """What is held or fetched from a position on; nothing when the log ends there or its leader is away."""
        position = max(position, self._backlog.positions[bucket] or 0)
        async with self._readers[bucket]:
            held = self._held.get(bucket, [])
            if held and held[0][0] <= position <= held[-1][0]:
                return [one for one in held if one[0] >= position]
            self._held.pop(bucket, None)
            if self._backlog.ends[bucket] is None:
                self._backlog.ended(await self._kafka.ends(), self._now_us())
            if (self._backlog.ends[bucket] or 0) <= position:
                return []
            try:
                found = await self._kafka.fetch(bucket, position)
            except Outside:
                await self._outside(bucket, position)
                return []
            if found:
                self._held[bucket] = found
            else:
                self._shy[bucket] = time.monotonic() + _SHY_S
            return found

    def _opened(self, bucket: int, sealed: bytes, today: int) -> bytes | HandslagError:
        """The record, or why nobody can read it; the pipeline then refuses it with that code and goes on."""
        # INVARIANT: test_a_record_that_nobody_can_read_blocks_nothing
        try:
            return self._keys.open(_place(bucket), sealed, today)
        except HandslagError as error:
            self._metrics.refused(error.code)
            return error

    async def _look(self) -> None:
        # The positions first: an end that is read later is never below them in a log that is whole.
        positions = await self._store.read(lambda rows: rows.gate.positions())
        for bucket, position in enumerate(positions):
            self._backlog.stands(bucket, position)
        self._looked_at = time.monotonic()
        ends = await self._kafka.ends()
        self._backlog.ended(ends, self._now_us())
        for bucket, position in enumerate(positions):
            if ends[bucket] < position:
                await self._outside(bucket, position)
            else:
                self._doubts.pop(bucket, None)

    def _due(self) -> list[int]:
        now_s = time.monotonic()
        return [bucket for bucket in self._backlog.waiting() if self._shy.get(bucket, 0.0) <= now_s]

    # --- what must not stand still, and what must not stay

    def _progress(self) -> None:
        """A consumer that lives and brings nothing is replaced, and reported until the positions move."""
        # INVARIANT: test_a_consumer_that_brings_nothing_is_noticed_and_replaced
        now_s = time.monotonic()
        fresh = now_s - self._looked_at < self._stalled_s  # else it is the Store that does not answer
        stuck = len(self._backlog.stalled(now_s, self._stalled_s)) if fresh else 0
        silent = now_s - self._kafka.answered_at >= self._stalled_s
        self._stalled = bool(stuck) or silent
        self._metrics.stream_stalled(self._stalled)
        if self._stalled and now_s - self._renewed_at >= self._stalled_s:
            self._renewed_at = now_s
            self._shy.clear()
            logs.event(_log, logging.ERROR, "STREAM-STALLED", buckets=stuck, silent=int(silent))
            if self._kafka.renew():
                self._metrics.stream_renewed()

    async def _destroy_keys(self) -> None:
        today = transit.day_of(self._now_us())
        if self._keys.ratchet.day >= transit.oldest_needed(today, None):
            return
        await self._look()
        days = [await self._first_day(bucket, today) for bucket in self._backlog.waiting()]
        if None not in days:  # else something waits that nobody could look at
            waiting = min((day for day in days if day is not None), default=None)
            oldest = transit.oldest_needed(today, waiting)
            if self.renewed is None or await self.renewed(oldest):
                await asyncio.to_thread(self._keys.destroy_before, oldest)

    async def _first_day(self, bucket: int, today: int) -> int | None:
        """The day of a bucket's first undecided record; None when it cannot be told."""
        held = await self._from(bucket, self._backlog.positions[bucket] or 0)
        day = transit.sealed_day(held[0][1]) if held else None
        return None if day is None or day > today + 1 else day

    def _key_age_s(self) -> float:
        return (self._now_us() - self._keys.ratchet.day * transit.DAY_US) / 1e6


def _place(bucket: int) -> bytes:
    return b"stream/%d" % bucket
