"""The stream on the real Apache Kafka: what lies there, what comes back, and what happens when nobody answers."""

import asyncio
import os
import re
import time

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from broker.stream.kafka_held import CLOSE_S
from broker.stream.kafka_log import PUT_S
from schemas import limits
from schemas.errors import HandslagError
from tests.stream.conftest import administering, started

BUCKET = 7
UNIT = "POL/EXEMPEL/SYD"


async def advance(place, bucket, end):
    gate = await place.store.read(lambda rows: rows.gate.read(bucket))
    await place.store.write(lambda rows: rows.gate.advance(gate, end, place.clock()))


async def lying(place, bucket=BUCKET):
    """What a consumer of Kafka's own sees in a bucket."""
    partition = TopicPartition(place.topic, bucket)
    async with AIOKafkaConsumer(bootstrap_servers=list(place.bootstrap), enable_auto_commit=False) as consumer:
        consumer.assign([partition])
        start = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        consumer.seek(partition, start)
        found = []
        while len(found) < end - start:
            found += (await consumer.getmany(timeout_ms=1000)).get(partition, [])
    return found


async def refused(call):
    with pytest.raises(HandslagError) as raised:
        await call
    return raised.value.code


async def until(call, node):
    """What the call gives when the servers answer again; a node's own loop buries meanwhile what failed."""
    for _ in range(60):
        try:
            return await call()
        except HandslagError as error:
            if error.code != "HS-NOT-RECORDED":
                raise
            await node._kafka.bury()
            await asyncio.sleep(0.25)
    raise AssertionError("it did not come back")


def at_work():
    """Tasks of the library that still do something."""
    return [task for task in asyncio.all_tasks() if re.search("_sender_routine|_fetch_requests|_md_sync", repr(task))]


async def test_kafka_holds_ciphertext_without_key_and_header(place, node):
    await node.append({BUCKET: [b"EXEMPEL-submission" * 20, b"another"]}, UNIT)
    found = await lying(place)
    assert [one.offset for one in found] == [0, 1]
    for one in found:
        assert (one.key, one.headers) == (None, ())
        assert b"EXEMPEL" not in one.value
        assert UNIT.encode() not in one.value
    assert [record for _, record in await node.read(BUCKET, 0, 9)] == [b"EXEMPEL-submission" * 20, b"another"]


async def test_the_largest_submissions_go_through_and_come_back_in_order(place, node):
    size = limits.SUBMISSION + limits.CALL
    records = [bytes([number]) * size for number in range(5)] + [b"small"]
    await node.append({BUCKET: records, 3: [os.urandom(size)]}, UNIT)
    position, found = 0, []
    while part := await node.read(BUCKET, position, 200):
        assert sum(len(record) for _, record in part) <= 2 * size  # memory: what one request brings
        found += [record for _, record in part]
        position = part[-1][0] + 1
    assert found == records


async def test_another_node_sees_at_once_what_was_appended(place, node):
    other = place.node()
    await started(other)
    assert await other.waiting() == []
    waiting = asyncio.create_task(other.wait(30))
    await asyncio.sleep(0.2)
    await node.append({BUCKET: [b"a"]}, UNIT)
    began = time.monotonic()
    await waiting
    assert time.monotonic() - began < 2
    assert await other.waiting() == [BUCKET]
    assert await other.read(BUCKET, 0, 10) == [(0, b"a")]


async def test_a_node_goes_on_at_the_stores_position(place, node):
    await node.append({BUCKET: [b"a", b"b", b"c"]}, UNIT)
    await advance(place, BUCKET, 2)
    again = place.node()
    await started(again)
    assert await again.waiting() == [BUCKET]
    assert await again.read(BUCKET, 2, 10) == [(2, b"c")]
    assert (await again.lag())[0] == 1
    await advance(place, BUCKET, 3)
    assert await again.waiting() == []


async def test_a_unit_has_its_share_until_it_is_decided(place, node):
    await node.append({BUCKET: [b"a" * 100] * 3, 2: [b"b" * 100]}, UNIT)
    await node.append({BUCKET: [b"c"]}, "SOC/EXEMPEL/KONSULT")
    count, size = await node.share(UNIT)
    assert count == 4
    assert size >= 400
    await advance(place, BUCKET, 3)
    await node.waiting()
    assert (await node.share(UNIT))[0] == 1
    assert (await node.share("SOC/EXEMPEL/KONSULT"))[0] == 1
    assert await node.share("KV/EXEMPEL/FRI") == (0, 0)


async def test_the_age_of_what_waits_is_told(place, node):
    assert await node.lag() == (0, None)
    await node.append({BUCKET: [b"a"]}, UNIT)
    place.clock.us += 60_000_000
    await node.append({2: [b"b"]}, UNIT)
    await node.waiting()
    assert await node.lag() == (2, place.clock.us - 60_000_000)


async def test_nothing_of_a_bundle_passes_what_failed_before_it(place, node):
    """The first part is in the log, the second cannot be written: the third must not stand before the second."""
    async with administering(place.bootstrap) as admin:
        small = ConfigResource(ConfigResourceType.TOPIC, place.topic, {"max.message.bytes": "500000"})
        await admin.alter_configs([small])
    records = [b"1" * 200_000, b"2" * 600_000, b"3" * 200_000]
    assert await refused(node.append({BUCKET: records, 2: [b"other"]}, UNIT)) == "HS-NOT-RECORDED"
    assert [record for _, record in await node.read(BUCKET, 0, 9)] == records[:1]
    assert [record for _, record in await node.read(2, 0, 9)] == [b"other"]
    # A server that knows nothing of a producer takes any sequence number: idempotence alone would let this one pass.
    assert await refused(node.append({5: records[1:]}, UNIT)) == "HS-NOT-RECORDED"
    assert await lying(place, 5) == []
    await node.append({BUCKET: [records[0], records[2]]}, UNIT)  # the producer that failed is not used again
    found = [record for _, record in await node.read(BUCKET, 1, 9)]
    assert found == [records[0], records[2]]


async def test_a_silent_server_is_told_in_time_and_nothing_is_lost_or_out_of_order(place, kafka, node):
    await node.append({BUCKET: [b"before"]}, UNIT)
    (server,) = kafka.nodes
    server.pause()
    try:
        began = time.monotonic()
        tries = [node.append({BUCKET: [b"a", b"b"]}, UNIT), node.append({3: [b"c"]}, UNIT)]
        assert [error.code for error in await asyncio.gather(*tries, return_exceptions=True)] == ["HS-NOT-RECORDED"] * 2
        assert time.monotonic() - began < PUT_S + 3
        assert await node.waiting() in ([], [BUCKET])
    finally:
        server.resume()
    await until(lambda: node.append({BUCKET: [b"a", b"b"]}, UNIT), node)
    found = [record for _, record in await until(lambda: node.read(BUCKET, 0, 99), node)]
    assert found[0] == b"before"
    assert b"".join(found[1:]) in (b"ab", b"abab")  # what was unknown may have arrived, whole and in order


async def test_a_producer_that_reaches_nobody_is_ended_in_time(place, kafka, node):
    await node.append({BUCKET: [b"a"]}, UNIT)
    (server,) = kafka.nodes
    server.pause()
    try:
        sending = asyncio.create_task(refused(node.append({BUCKET: [b"b"]}, UNIT)))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        await node.close()
        assert time.monotonic() - began < 6 * CLOSE_S + 1
        assert await sending == "HS-NOT-RECORDED"
        for _ in range(40):
            if not at_work():  # nothing goes on in the dark
                break
            await asyncio.sleep(0.25)
        assert at_work() == []
    finally:
        server.resume()


async def test_a_client_that_goes_away_does_not_stop_others(place, node):
    """The connector hung up: what it sent may be in the log or not, and the lane is free again."""
    for _ in range(5):
        call = asyncio.create_task(node.append({BUCKET: [b"gone"] * 3}, UNIT))
        await asyncio.sleep(0.001)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    await asyncio.wait_for(node.append({BUCKET: [b"last"]}, UNIT), 5)
    found = [record for _, record in await node.read(BUCKET, 0, 99)]
    assert found[-1] == b"last"


async def test_a_node_that_finds_no_server_begins_and_says_so(place):
    lost = place.node(bootstrap=("127.0.0.1:9",))
    began = time.monotonic()
    await lost.start()
    assert lost.trouble() == "HS-NOT-RECORDED"
    assert await lost.waiting() == []
    assert await refused(lost.append({BUCKET: [b"a"]}, UNIT)) == "HS-NOT-RECORDED"
    assert await refused(lost.read(BUCKET, 0, 1)) == "HS-NOT-RECORDED"
    assert time.monotonic() - began < 15


async def test_what_is_decided_is_deleted_from_the_log(place, node):
    await node.append({BUCKET: [b"a", b"b", b"c"], 3: [b"x"]}, UNIT)
    await node.forget()
    assert len(await lying(place)) == 3  # nothing is decided yet
    await advance(place, BUCKET, 2)
    await node.forget()
    assert [one.offset for one in await lying(place)] == [2]
    assert [one.offset for one in await lying(place, 3)] == [0]
    await node.forget()
    await advance(place, BUCKET, 3)
    await node.append({BUCKET: [b"d"]}, UNIT)
    await node.forget()
    assert await node.read(BUCKET, 3, 9) == [(3, b"d")]


async def test_a_deletion_that_passes_a_slow_node_takes_nothing_from_it(place, node):
    """It read the gate and was stopped; when it goes on, what it wanted is decided and gone: no generation, no loss."""
    await node.append({BUCKET: [b"a", b"b", b"c"]}, UNIT)
    slow = place.node()
    await started(slow)
    assert await slow.waiting() == [BUCKET]
    await advance(place, BUCKET, 2)
    await node.forget()
    late = await slow.read(BUCKET, 0, 10)
    assert [record for _, record in late] in ([], [b"c"])
    assert await slow.waiting() == [BUCKET]
    assert await slow.read(BUCKET, 2, 10) == [(2, b"c")]
    assert (await place.store.read(lambda rows: rows.origins.latest())).generation == 1


async def test_two_nodes_that_append_to_one_bucket_keep_each_bundle_whole(place, node):
    other = place.node()
    await started(other)
    await asyncio.gather(
        *[each.append({BUCKET: [bytes([number])] * 5}, UNIT) for number in range(20) for each in (node, other)]
    )
    found = [record for _, record in await node.read(BUCKET, 0, 999)]
    assert len(found) == 200
    assert all(len(set(found[at : at + 5])) == 1 for at in range(0, 200, 5))


async def test_no_more_is_held_than_one_request_brings(place, node):
    """Buffers are bounded by bytes: a bucket with a long queue costs what one request brings, the others nothing."""
    for _ in range(4):
        await node.append({bucket: [b"x" * 200_000] * 5 for bucket in range(8)}, UNIT)
    await node.waiting()
    for bucket in range(8):
        await node.read(bucket, 0, 200)
    held = [sum(len(record) for _, record in records) for records in node._held.values()]
    assert max(held) <= 2_000_000
    for bucket in range(8):
        await node.trim(bucket, 20)
    assert node._held == {}
