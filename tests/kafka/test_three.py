"""Three real servers: one may die and nobody notices; when two are gone nothing is acknowledged, and nothing is lost.

One history, told once by `story` and looked at by each test: server 1 dies, server 2 dies, 1 comes back, 2 comes back.
Two further topics lie on servers 1 and 2 alone and are written to while 1 is gone. They differ in one setting, so that
the one shows what the other is kept from.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from broker.engine_settings import StreamSettings
from broker.stream import kafka_setup, topic
from broker.stream.kafka_clients import admin_options, tls_context
from broker.stream.kafka_log import KafkaLog
from schemas.errors import HandslagError

SETTING = "unclean.leader.election.enable"
BUCKETS = range(0, 64, 8)
PATIENCE_S = 60


@dataclass
class Story:
    """What was acknowledged per bucket as (end, records), what was refused, and what was there at the end."""

    acknowledged: dict[int, list[tuple[int, bytes]]] = field(default_factory=lambda: defaultdict(list))
    refused: dict[str, int] = field(default_factory=dict)
    waited: dict[str, int] = field(default_factory=dict)
    at_the_end: dict[int, list[bytes]] = field(default_factory=dict)
    thin: list[int] = field(default_factory=list)
    leaderless: dict[str, bool] = field(default_factory=dict)
    left: dict[str, list[bytes]] = field(default_factory=dict)


def settings_of(cluster, name, **more):
    certificate, key = cluster.administrator
    files = {"ca_file": cluster.authority.file, "certificate_file": certificate, "key_file": key}
    return StreamSettings(
        engine="kafka", bootstrap=cluster.bootstrap, topic=name, transit_key_file="transit.key", **files, **more
    )


async def until(look, what):
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(HandslagError):
                if found := await look():
                    return found
            await asyncio.sleep(0.1)
    pytest.fail(what)


async def records(log, bucket, end):
    """Everything from the first record to `end`; repeats what the servers do not answer."""
    held = []
    while len(held) < end:
        held += await until(partial(log.fetch, bucket, len(held)), "the records")
    return [value for _, value in held]


class Teller:
    def __init__(self, cluster):
        self.cluster, self.story = cluster, Story()
        self.of = settings_of(cluster, "three.submissions")
        self.pairs = {value: settings_of(cluster, f"three.unclean.{value}") for value in ("false", "true")}
        self.logs = {value: KafkaLog(of, 1) for value, of in self.pairs.items()}
        self.log = KafkaLog(self.of, 64)

    async def topics(self):
        await kafka_setup.make(self.of, topic.wanted(self.of))
        admin = AIOKafkaAdminClient(**admin_options(self.of, tls_context(self.of)))
        await admin.start()
        one = {"min.insync.replicas": "1"}
        made = await admin.create_topics(
            [NewTopic(of.topic, -1, -1, {0: [1, 2]}, {**one, SETTING: value}) for value, of in self.pairs.items()]
        )
        await admin.close()
        assert [error[1] for error in made.topic_errors] == [0, 0]
        for of in self.pairs.values():
            await until(lambda of=of: kafka_setup.look(of), "the pair")

    async def write(self, chapter):
        """A record to each bucket, at once; each is tried once."""
        taken = await asyncio.gather(*(self.one(bucket, chapter) for bucket in BUCKETS))
        self.story.refused[chapter] = taken.count(False)

    async def one(self, bucket, chapter):
        value = f"{chapter} {bucket}".encode()
        try:
            end = await self.log.put(bucket, [value])
        except HandslagError:  # `HS-NOT-RECORDED`: a connector comes again
            return False
        self.story.acknowledged[bucket].append((end, value))
        return True

    async def write_until_taken(self, chapter):
        """A record to each bucket, repeated as a connector repeats it; how many had to be."""
        self.story.waited[chapter] = 0
        for bucket in BUCKETS:
            while not await self.one(bucket, chapter):
                self.story.waited[chapter] += 1

    async def look(self, expected):
        """What a node sees of the copies, at the latest when the news had time to come round."""
        for _ in range(100):
            with contextlib.suppress(HandslagError):
                await self.log.topic_id()
                if self.log.thin == expected:
                    break
            await asyncio.sleep(0.1)
        self.story.thin.append(self.log.thin)

    async def pair(self, value):
        for log in self.logs.values():
            await until(lambda log=log: log.put(0, [value]), "a write to the pair")

    async def in_sync(self, count):
        for of in self.pairs.values():
            await until(lambda of=of: self._has(of, count), "the copies in sync")

    async def _has(self, of, count):
        found = await kafka_setup.look(of)
        return found is not None and found.in_sync == (count,)

    async def tell(self):
        first, second, _third = self.cluster.nodes
        await self.topics()
        await self.write("all three")
        await self.look(0)
        await self.in_sync(2)
        await self.pair(b"early")

        await asyncio.to_thread(first.kill)
        await self.write_until_taken("one is gone")
        await self.in_sync(1)
        await self.look(64)
        await self.pair(b"late")

        await asyncio.to_thread(second.kill)
        await self.write("two are gone")

        await asyncio.to_thread(first.start)
        await self.write_until_taken("one is back")
        unclean = KafkaLog(self.pairs["true"], 1)
        await until(lambda: unclean.put(0, [b"after"]), "a leader that was behind")
        for value, of in self.pairs.items():
            self.story.leaderless[value] = bool((await until(lambda of=of: kafka_setup.look(of), "it")).leaderless)
        self.story.left["true"] = await records(unclean, 0, (await unclean.ends())[0])
        await unclean.close()

        await asyncio.to_thread(second.start)
        ends = await until(self.logs["false"].ends, "the leader that was not behind")
        self.story.left["false"] = await records(self.logs["false"], 0, ends[0])
        await self.write_until_taken("all are back")
        ends = await until(self.log.ends, "the ends")
        for bucket in BUCKETS:
            self.story.at_the_end[bucket] = await records(self.log, bucket, ends[bucket])
        return self.story

    async def close(self):
        for log in (self.log, *self.logs.values()):
            await log.close()


async def told(cluster):
    teller = Teller(cluster)
    try:
        return await teller.tell()
    finally:
        await teller.close()


@pytest.fixture(scope="module")
def story(closed_kafka):
    try:
        yield asyncio.run(told(closed_kafka))
    finally:
        closed_kafka.start()


def test_one_server_dies_and_writing_goes_on(story):
    assert story.refused["all three"] == 0
    taken = {bucket: [value for _, value in got] for bucket, got in story.acknowledged.items()}
    assert all(f"one is gone {bucket}".encode() in taken[bucket] for bucket in BUCKETS)


def test_a_node_sees_that_a_copy_is_missing(story):
    """Every partition has three copies, so each misses the one of the server that is gone."""
    assert story.thin == [0, 64]


def test_with_two_of_three_gone_nothing_is_acknowledged(story):
    assert story.refused["two are gone"] == len(BUCKETS)
    assert all(
        f"one is back {bucket}".encode() in dict.fromkeys(v for _, v in story.acknowledged[bucket])
        for bucket in BUCKETS
    )


def test_nothing_acknowledged_is_lost_or_moved(story):
    """Each record lies where its acknowledgement said; what was refused may lie between, promised to nobody."""
    assert min(map(len, story.acknowledged.values())) >= 4
    for bucket, acknowledged in story.acknowledged.items():
        for end, value in acknowledged:
            assert story.at_the_end[bucket][end - 1] == value
        assert len(story.at_the_end[bucket]) >= len(acknowledged)


def test_a_copy_that_was_behind_never_leads(story):
    """With the setting the other way round it did, and what was acknowledged meanwhile was gone."""
    assert topic.FIXED[SETTING][0] == "false"
    assert story.leaderless == {"false": True, "true": False}
    assert b"late" in story.left["false"]
    assert b"late" not in story.left["true"]
    assert b"early" in story.left["true"]
