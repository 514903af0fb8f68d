"""The main path on Kafka: what nobody can read blocks nothing, what comes twice is decided once."""

import asyncio
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaProducer
from sqlalchemy import select

from audit.entry import open_payload
from broker import transit, worker
from broker.engine_settings import StreamSettings
from broker.metrics import Metrics
from broker.store.gate import GateMoved
from broker.store.tables import entry, payload
from broker.transit import KeyFile, day_of
from schemas.errors import HandslagError
from schemas.trail import AuditEntry, Payload
from tests.promises.again import attempt, bundle
from tests.promises.case import event, grant, ready, receipts, states
from tests.site import DAY
from tests.stream.conftest import Patient, started


def stream_of(site, tmp_path, kafka, topic):
    settings = StreamSettings(
        engine="kafka", bootstrap=kafka.bootstrap, topic=topic, transit_key_file=tmp_path / "transit.key"
    )

    def recorded(at_us):
        return site.context.recorder.about_operator("ADMIN", Payload(code="HS-STREAM-GENERATION"), at_us)

    return Patient(settings, site.store, KeyFile(tmp_path / "transit.key"), Metrics(), site.clock, recorded)


@pytest.fixture
async def site(tmp_path, kafka, topic):
    """A case with its seats, its submissions on Kafka."""
    made = await ready(tmp_path)
    KeyFile.create(tmp_path / "transit.key", day_of(made.clock()))
    stream = stream_of(made, tmp_path, kafka, topic)
    await started(stream)
    made.context = replace(made.context, stream=stream)
    yield made
    await stream.close()
    made.close()


@pytest.fixture
async def second(site, tmp_path, kafka, topic):
    """Another node's view of the same Store and topic."""
    stream = stream_of(site, tmp_path, kafka, topic)
    await started(stream)
    yield replace(site.context, stream=stream)
    await stream.close()


async def refusals(site):
    """Codes of the refusals in the operator's own trail, oldest first."""

    def look(rows):
        query = select(entry.c.bytes, payload.c.blob).join(payload, payload.c.entry_id == entry.c.entry_id)
        found = rows.gate._c.execute(query.where(entry.c.operation == "REFUSAL").order_by(entry.c.number))
        return [
            (rows.cipher.open("entry.bytes", row.bytes), rows.cipher.open("payload.blob", row.blob)) for row in found
        ]

    keys = site.vault.operator()
    recorded = [(AuditEntry.from_bytes(raw), blob) for raw, blob in await site.store.read(look)]
    return [open_payload(one, blob, keys.dek(one.entry_id)).code for one, blob in recorded]


async def foreign(kafka, topic, bucket, value):
    async with AIOKafkaProducer(bootstrap_servers=list(kafka.bootstrap)) as producer:
        await producer.send_and_wait(topic, value, partition=bucket)


async def test_what_is_sent_on_kafka_is_decided_and_delivered(site):
    await grant(site)
    for _ in range(3):
        await site.submit(site.police, event(site))
    assert await site.decide() == 3
    assert await states(site) == ["PENDING"] * 3
    assert await site.context.stream.waiting() == []


async def test_a_record_that_nobody_can_read_blocks_nothing(site, kafka, topic):
    await grant(site)
    await site.submit(site.police, event(site))
    (bucket,) = await site.context.stream.waiting()
    keys, today = site.context.stream._keys, day_of(site.clock())
    other = transit.Ratchet(today, bytes(32))
    junk = [
        b"", b"EXEMPEL", b"\xff" * 100,
        transit.seal(transit.cipher_of(other, today), today, b"stream/%d" % bucket, b"another chain", bytes(12)),
        keys.seal(b"stream/%d" % ((bucket + 1) % 64), b"another bucket", today),
        keys.seal(b"stream/%d" % bucket, b"no submission", today),
        (today - 1).to_bytes(4, "big") + bytes(60),
    ]  # fmt: skip
    for value in junk:
        await foreign(kafka, topic, bucket, value)
    await site.submit(site.police, event(site))
    assert await asyncio.wait_for(worker.drain(site.context, bucket), 60) == len(junk) + 2
    assert await states(site) == ["PENDING", "PENDING"]
    damaged, gone = "HS-TRANSIT-DAMAGED", "HS-TRANSIT-GONE"
    told = await refusals(site)
    assert told[:5] + told[6:] == [damaged] * 5 + [gone]
    assert told[5] not in {damaged, gone}  # it was read, and is no submission
    shown = site.context.stream._metrics.render().decode()
    assert f'handslag_refusals_total{{code="{gone}"}} 0.0' not in shown
    assert f'handslag_refusals_total{{code="{damaged}"}} 0.0' not in shown
    assert await site.context.stream.waiting() == []


async def test_what_comes_twice_is_decided_once(site):
    """An append whose end nobody knew: the connector sent it all again, and the log holds it twice."""
    await grant(site)
    first, second = attempt(site, event(site)), attempt(site, event(site))
    for bundled in ([first, second], [first, second], [first]):
        await bundle(site, bundled)
    (bucket,) = await site.context.stream.waiting()
    await worker.drain(site.context, bucket)
    assert await states(site) == ["PENDING", "PENDING"]
    told = await receipts(site)
    assert len({each.event_id for each in told}) == 2
    assert all(each.refused_code is None for each in told)


async def test_a_node_that_was_stopped_with_records_in_hand_changes_nothing(site, second):
    """It resumes with an old buffer and an old gate; the other node has decided meanwhile."""
    await grant(site)
    for _ in range(4):
        await site.submit(site.police, event(site))
    (bucket,) = await site.context.stream.waiting()
    assert second is not site.context
    gate = await site.store.read(lambda rows: rows.gate.read(bucket))
    await second.stream.waiting()
    in_hand = await second.stream.read(bucket, gate.next_position, 200)
    assert len(in_hand) == 4
    assert await worker.drain(site.context, bucket) == 4
    with pytest.raises(GateMoved):
        await second.store.write(lambda rows: rows.gate.advance(gate, in_hand[-1][0] + 1, site.clock()))
    assert await worker.drain(second, bucket) == 0
    await site.submit(site.police, event(site))
    assert bucket in await second.stream.waiting()
    assert await worker.drain(second, bucket) == 1
    assert await states(site) == ["PENDING"] * 5


async def test_two_nodes_on_one_bucket_decide_everything_once(site, second):
    await grant(site)
    for _ in range(12):
        await site.submit(site.police, event(site))
    (bucket,) = await site.context.stream.waiting()
    await second.stream.waiting()
    done = await asyncio.gather(worker.drain(site.context, bucket), worker.drain(second, bucket))
    assert sum(done) == 12
    assert await states(site) == ["PENDING"] * 12


async def test_a_key_is_destroyed_when_nothing_waits_for_it(site):
    stream, keys = site.context.stream, site.context.stream._keys
    first = keys.ratchet.day
    await grant(site)
    await site.submit(site.police, event(site))
    site.clock.us += 3 * DAY
    await stream.forget()
    assert keys.ratchet.day == first  # something of that day waits
    assert b"handslag_transit_key_age_seconds" in stream._metrics.render()
    await site.decide()
    await stream.forget()
    assert keys.ratchet.day == first + 2
    with pytest.raises(HandslagError) as raised:
        keys.ratchet.forward(first)
    assert raised.value.code == "HS-TRANSIT-GONE"
