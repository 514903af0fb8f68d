"""When the log is lost or exchanged: one generation, every gate at once, and nothing decided twice or skipped."""

import asyncio
import time

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from broker.store.gate import GateMoved
from broker.store.tables import BUCKETS, entry
from broker.stream import generations, kafka
from broker.stream.embedded import EmbeddedStream
from broker.stream.generations import placed
from broker.transit import KeyFile, day_of
from schemas.errors import HandslagError
from tests.stream.conftest import administering, create, delete, started

BUCKET = 7
UNIT = "POL/EXEMPEL/SYD"


async def gate(place, bucket=BUCKET):
    return await place.store.read(lambda rows: rows.gate.read(bucket))


async def advance(place, bucket, end):
    seen = await gate(place, bucket)
    await place.store.write(lambda rows: rows.gate.advance(seen, end, place.clock()))


async def origin(place):
    return await place.store.read(lambda rows: rows.origins.latest())


async def entries(place):
    return await place.store.read(
        lambda rows: len(rows.entries._c.execute(entry.select().where(entry.c.operation == "ADMIN")).all())
    )


async def again(place):
    """The topic deleted and made anew under its name."""
    await delete(place.bootstrap, place.topic)
    for _ in range(40):
        try:
            return await create(place.bootstrap, place.topic)
        except AssertionError:  # the name is not free yet
            await asyncio.sleep(0.25)
    raise AssertionError("the topic cannot be made again")


async def taken(node, generation):
    """`run`'s looks until the node stands in a generation."""
    for _ in range(60):
        try:
            node._topic_at = 0.0
            await node.tend()
        except HandslagError:
            await asyncio.sleep(0.25)
            continue
        if node._origin.generation == generation:
            return
    raise AssertionError("the generation was not opened")


async def repeated(node, call):
    """A call until it succeeds."""
    for _ in range(60):
        try:
            return await call()
        except HandslagError:
            await node._kafka.bury()
            await asyncio.sleep(0.25)
    raise AssertionError("it did not come back")


@pytest.mark.parametrize(
    ("position", "start", "end", "same", "goes_on"),
    [(5, 0, 9, True, 5), (5, 5, 5, True, 5), (5, 6, 9, True, 6), (5, 0, 4, True, 0), (5, 3, 4, True, 3),
     (5, 0, 9, False, 0), (5, 2, 9, False, 2), (0, 0, 0, False, 0)],
)  # fmt: skip
def test_a_bucket_goes_on_where_it_was_only_in_the_same_log(position, start, end, same, goes_on):
    assert placed([position], {0: start}, {0: end}, same=same) == [goes_on]


async def test_the_first_start_opens_the_first_generation_and_the_next_start_none(place, node):
    first = await origin(place)
    assert (first.generation, first.cause) == (1, generations.FIRST)
    assert first.chain == KeyFile(place.folder / "transit.key").ratchet.name()
    assert await entries(place) == 1
    version = (await gate(place)).gate_version
    other = place.node()
    await started(other)
    assert await origin(place) == first
    assert (await gate(place)).gate_version == version
    assert await entries(place) == 1


async def test_a_topic_made_anew_is_another_generation(place, node):
    await node.append({BUCKET: [b"a", b"b", b"lost"], 3: [b"lost too"]}, UNIT)
    await advance(place, BUCKET, 2)
    before, seen = await gate(place), await origin(place)
    await again(place)
    await taken(node, 2)
    now = await origin(place)
    assert (now.generation, now.cause) == (2, generations.TOPIC)
    assert now.topic_id != seen.topic_id
    after = await gate(place)
    assert (after.next_position, after.gate_version) == (0, before.gate_version + 1)
    assert await entries(place) == 2
    assert b"handslag_stream_generation 2.0" in node._metrics.render()
    assert await node.waiting() == []
    assert await node.share(UNIT) == (0, 0)
    await node.append({BUCKET: [b"again"]}, UNIT)
    assert await node.waiting() == [BUCKET]
    assert await node.read(BUCKET, 0, 9) == [(0, b"again")]


async def test_no_batch_of_the_log_of_before_commits(place, node):
    """A node read gate and records, was stopped, and the stream began anew meanwhile: every gate has moved."""
    await node.append({BUCKET: [b"a"]}, UNIT)
    old = [await gate(place, bucket) for bucket in range(BUCKETS)]
    await again(place)
    await taken(node, 2)
    for seen in old:
        with pytest.raises(GateMoved):
            await place.store.write(lambda rows, seen=seen: rows.gate.advance(seen, 1, place.clock()))


async def test_records_that_the_servers_deleted_undecided_are_another_generation(place, node):
    """As retention would: the log begins after the position. The other buckets stay where they are."""
    await node.append({BUCKET: [b"a", b"b", b"c"], 3: [b"x", b"y"]}, UNIT)
    await advance(place, 3, 1)
    async with administering(place.bootstrap) as admin:
        await admin.delete_records({TopicPartition(place.topic, BUCKET): RecordsToDelete(before_offset=2)})
    assert BUCKET in await node.waiting()
    assert await node.read(BUCKET, 0, 9) == []
    now = await origin(place)
    assert (now.generation, now.cause) == (2, generations.OUTSIDE)
    assert (await gate(place)).next_position == 2
    assert (await gate(place, 3)).next_position == 1
    assert sorted(await node.waiting()) == [3, BUCKET]
    assert await node.read(BUCKET, 2, 9) == [(2, b"c")]


async def test_a_log_that_ends_before_the_position_is_believed_after_a_while(place, node, monkeypatch):
    """A new leader may know less for a moment; what stays away is lost."""
    monkeypatch.setattr(kafka, "_DOUBT_S", 1.0)
    await node.append({BUCKET: [b"a"]}, UNIT)
    await advance(place, BUCKET, 5)
    began = time.monotonic()
    await node.waiting()
    assert (await origin(place)).generation == 1
    while (await origin(place)).generation == 1:
        assert time.monotonic() - began < 20
        await node.waiting()
        await asyncio.sleep(0.1)
    assert time.monotonic() - began >= 1.0
    assert (await gate(place)).next_position == 0


async def test_nodes_that_notice_together_open_one_generation(place, node):
    others = [place.node() for _ in range(3)]
    for other in others:
        await started(other)
    await again(place)
    await asyncio.gather(*[taken(each, 2) for each in (node, *others)])
    assert (await origin(place)).generation == 2
    assert await entries(place) == 2
    await node.append({BUCKET: [b"a"]}, UNIT)
    for other in others:
        await other.waiting()
        assert await other.read(BUCKET, 0, 9) == [(0, b"a")]


async def test_a_generation_that_another_node_opened_is_taken_up(place, node):
    """The same topic, cut: this node would not notice by itself."""
    other = place.node()
    await started(other)
    await node.append({BUCKET: [b"a", b"b"]}, UNIT)
    async with administering(place.bootstrap) as admin:
        await admin.delete_records({TopicPartition(place.topic, BUCKET): RecordsToDelete(before_offset=1)})
    assert BUCKET in await other.waiting()
    await other.read(BUCKET, 0, 9)
    assert (await origin(place)).generation == 2
    await taken(node, 2)
    assert (await origin(place)).generation == 2
    assert b"handslag_stream_generation 2.0" in node._metrics.render()


async def test_a_node_with_another_chain_takes_nothing_out(place, node):
    await node.append({BUCKET: [b"a"]}, UNIT)
    KeyFile.create(place.folder / "other.key", day_of(place.clock.us))
    stranger = place.node(transit_key_file=place.folder / "other.key")
    with pytest.raises(HandslagError) as raised:
        await stranger.start()
    assert raised.value.code == stranger.trouble() == "HS-TRANSIT-OTHER"
    assert await stranger.waiting() == []
    with pytest.raises(HandslagError):
        await stranger.append({BUCKET: [b"b"]}, UNIT)
    assert await node.read(BUCKET, 0, 9) == [(0, b"a")]


@pytest.mark.parametrize("partitions", [0, 63])
async def test_a_topic_that_is_not_there_or_has_other_partitions_is_refused(place, node, partitions, monkeypatch):
    monkeypatch.setattr(kafka, "_TRIES", 1)
    place.topic = f"{place.topic}.other"
    if partitions:
        await create(place.bootstrap, place.topic, partitions)
    wrong = place.node()
    with pytest.raises(HandslagError) as raised:
        await wrong.start()
    assert raised.value.code == "HS-STREAM-OTHER"
    if partitions:
        await delete(place.bootstrap, place.topic)


async def test_deletion_spares_a_topic_that_nobody_has_noticed_yet(place, node):
    """The positions of the lost topic would delete what waits in the new one."""
    await node.append({BUCKET: [b"a", b"b"]}, UNIT)
    await advance(place, BUCKET, 2)
    await again(place)
    new = [b"c", b"d", b"e"]
    await repeated(node, lambda: node.append({BUCKET: new}, UNIT))
    assert (await origin(place)).generation == 1
    await repeated(node, node.forget)
    await node.waiting()
    assert [record for _, record in await node.read(BUCKET, 0, 9)][-3:] == new


async def test_a_stream_that_comes_home_is_read_from_its_own_positions(place, node):
    """From the table to Kafka and back: positions always point into the log that is read."""
    table = EmbeddedStream(place.store)
    await node.append({BUCKET: [b"a", b"b", b"c"]}, UNIT)
    await advance(place, BUCKET, 3)
    await generations.come_home(place.store, place.clock(), place.entry)
    now = await origin(place)
    assert (now.generation, now.cause) == (2, generations.HOME)
    assert (await gate(place)).next_position == 0
    await table.append({BUCKET: [b"d"]}, UNIT)
    assert await table.read(BUCKET, (await gate(place)).next_position, 9) == [(0, b"d")]
    await generations.come_home(place.store, place.clock(), place.entry)
    assert await origin(place) == now
    away = place.node()
    await started(away)
    assert (await origin(place)).generation == 3
    assert await table.waiting() == []  # what lay in the table comes again by itself
    assert await away.waiting() == [BUCKET]  # an event that was decided gets its receipt again
    await generations.come_home(place.store, place.clock(), place.entry)
    assert (await gate(place)).next_position == 1


async def test_a_store_that_never_left_home_has_no_generation(place):
    await generations.come_home(place.store, place.clock(), place.entry)
    assert await origin(place) is None
    assert await entries(place) == 0
