"""A consumer that lives and brings nothing is noticed by our own check, reported, replaced. With the real server."""

import asyncio
import socket
import time

import pytest

from deploy.kafka_local import Cluster
from schemas.errors import HandslagError
from tests.stream.conftest import create, placed
from tests.stream.proxy import Proxy

BUCKET = 7


class Behind(Cluster):
    """A cluster whose clients are sent to another port than it listens on."""

    told = 0

    def _properties(self, node):
        shown = (
            f"advertised.listeners=NODES://127.0.0.1:{self.told},BROKERS://127.0.0.1:{self._places[node.node_id][1]}"
        )
        return super()._properties(node) + f"\n{shown}\n"


@pytest.fixture(scope="module")
def behind(tmp_path_factory, engines):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        cluster = Behind(tmp_path_factory.mktemp("kafka") / "cluster")
        cluster.told = free.getsockname()[1]
    with cluster:
        engines["Apache Kafka"] = cluster.version
        yield cluster


@pytest.fixture
async def proxy(behind):
    made = Proxy("127.0.0.1", int(behind.bootstrap[0].rpartition(":")[2]))
    await made.start(behind.told)
    yield made
    await made.close()


@pytest.fixture
async def stream(tmp_path, behind, proxy):
    address = (f"127.0.0.1:{behind.told}",)
    topic = tmp_path.name.lower().replace("_", "-")
    await create(address, topic)
    async with placed(tmp_path, address, topic) as place:
        stream = place.node()
        for _ in range(20):
            await stream.start()
            if stream.trouble() is None:
                break
            await asyncio.sleep(0.25)
        yield stream


def told(stream):
    lines = stream._metrics.render().decode().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("handslag_stream_")}


async def looked_after(stream, met):
    """`run`'s looks and a worker's until something is so."""
    began = time.monotonic()
    while not met():
        assert time.monotonic() - began < 40
        try:
            await stream.tend()
            for bucket in await stream.waiting():
                await stream.read(bucket, 0, 9)
        except HandslagError:
            pass
        await asyncio.sleep(0.2)


async def test_a_consumer_that_brings_nothing_is_noticed_and_replaced(stream, proxy):
    await stream.append({BUCKET: [b"a"]}, "")
    assert await stream.waiting() == [BUCKET]
    await stream.tend()
    assert told(stream)["handslag_stream_stalled"] == 0
    proxy.swallows = True
    began = time.monotonic()
    await looked_after(stream, lambda: told(stream)["handslag_stream_stalled"] == 1)
    assert 1.0 <= time.monotonic() - began < 20
    assert proxy.swallowed > 0
    assert stream.trouble() is not None
    renewed = told(stream)["handslag_stream_renewed_total"]
    assert renewed >= 1
    proxy.swallows = False
    await looked_after(stream, lambda: stream._backlog.positions[BUCKET] == 0 and BUCKET in stream._held)
    gate = await stream._store.read(lambda rows: rows.gate.read(BUCKET))
    await stream._store.write(lambda rows: rows.gate.advance(gate, 1, 0))
    await stream.trim(BUCKET, 1)
    await looked_after(stream, lambda: told(stream)["handslag_stream_stalled"] == 0)
    assert stream.trouble() is None


async def test_a_position_that_does_not_move_is_a_stall_although_the_servers_answer(stream):
    """Submissions wait and nobody decides them: that is told as well, and no more often than it is new."""
    await stream.append({BUCKET: [b"a"]}, "")
    await looked_after(stream, lambda: told(stream)["handslag_stream_stalled"] == 1)
    renewed = told(stream)["handslag_stream_renewed_total"]
    await stream.tend()
    await stream.tend()
    assert told(stream)["handslag_stream_renewed_total"] == renewed
    gate = await stream._store.read(lambda rows: rows.gate.read(BUCKET))
    await stream._store.write(lambda rows: rows.gate.advance(gate, 1, 0))
    await looked_after(stream, lambda: told(stream)["handslag_stream_stalled"] == 0)


async def test_a_quiet_stream_is_no_stalled_one(stream):
    began = time.monotonic()
    while time.monotonic() - began < 3:
        await stream.tend()
        assert await stream.waiting() == []
        await asyncio.sleep(0.2)
    assert told(stream)["handslag_stream_stalled"] == 0
    assert told(stream)["handslag_stream_renewed_total"] == 0
