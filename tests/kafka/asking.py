"""Everything a client may ask of a Kafka server about one topic, sent raw: a client's own caution must not answer."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol import admin, coordination, fetch, group, metadata, offset, produce, transaction
from aiokafka.record.default_records import DefaultRecordBatchBuilder

UNNAMED = {73: "TopicDeletionDisabled"}  # that aiokafka has no name for
LOADING = 14  # ask again
ANY = 1  # of kinds, operations, pattern types and permissions in the protocol of grants


def tls(ca_file, certificate_file=None, key_file=None):
    context = ssl.create_default_context(cafile=ca_file)
    if certificate_file is not None:
        context.load_cert_chain(certificate_file, key_file)
    return context


def batch(value):
    made = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 100_000)
    made.append(0, 1, b"", value, [])
    return bytes(made.build())


def requests(topic):
    """name -> (request, its error codes in the answer)."""
    of_topics = [(topic, [(0, -1)])]
    return {
        "metadata": (metadata.MetadataRequest([topic]), lambda a: [each[0] for each in a.topics]),
        "write": (
            produce.ProduceRequest(None, -1, 5000, [(topic, [(0, batch(b"EXEMPEL"))])]),
            lambda a: [part[1] for _, parts in a.topics for part in parts],
        ),
        "read": (
            fetch.FetchRequest(100, 0, 1 << 20, 0, [(topic, [(0, 0, 1 << 20)])]),
            lambda a: [part[1] for _, parts in a.topics for part in parts],
        ),
        "ends": (offset.OffsetRequest(-1, 0, of_topics), lambda a: [p[1] for _, parts in a.topics for p in parts]),
        "delete records": (
            admin.DeleteRecordsRequest([(topic, [(0, 0)])], 5000),
            lambda a: [part[2] for _, parts, *_ in a.topics for part in parts],
        ),
        "settings": (admin.DescribeConfigsRequest([(2, topic, None)]), lambda a: [each[0] for each in a.resources]),
        "number writes": (transaction.InitProducerIdRequest(None, 60_000), lambda a: [a.error_code]),
        "delete topic": (admin.DeleteTopicsRequest([topic], 5000), lambda a: [c for _, c in a.topic_error_codes]),
        "change settings": (
            admin.AlterConfigsRequest([(2, topic, [("retention.ms", "1")])]),
            lambda a: [each[0] for each in a.resources],
        ),
        "more partitions": (
            admin.CreatePartitionsRequest([(topic, (99, None))], 5000, False),
            lambda a: [each[1] for each in a.topic_errors],
        ),
        "another topic": (
            admin.CreateTopicsRequest([("another", 1, 1, [], [])], 5000, False),
            lambda a: [each[1] for each in a.topic_errors],
        ),
        "group": (coordination.FindCoordinatorRequest("group", 0), lambda a: [a.error_code]),
        "join group": (
            group.JoinGroupRequest("group", 10_000, 10_000, "", None, "consumer", [("range", b"")]),
            lambda a: [a.error_code],
        ),
        "transaction": (transaction.InitProducerIdRequest("EXEMPEL", 60_000), lambda a: [a.error_code]),
        "grants": (admin.DescribeAclsRequest(ANY, None, ANY, None, None, ANY, ANY), lambda a: [a.error_code]),
        "grant": (
            admin.CreateAclsRequest(2, topic, 3, "User:EXEMPEL", "*", 2, 3),
            lambda a: [each[0] for each in a.creation_responses],
        ),
    }


async def connected(cluster, context):
    """A client that has found the servers; raises KafkaConnectionError when they do not talk to it."""
    client = AIOKafkaClient(
        bootstrap_servers=list(cluster.bootstrap),
        security_protocol="SSL" if context else "PLAINTEXT",
        ssl_context=context,
        request_timeout_ms=5000,
    )
    try:
        await client.bootstrap()
    except BaseException:
        await client.close()
        raise
    return client


async def ended(seconds=5.0):
    """Return when no connection of this loop is open any longer: with TLS a closed one still waits for the other side.

    Neither aiokafka nor asyncio says when that is; the loop knows its transports.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while any(is_open(each) for each in loop._transports.values()) and loop.time() < until:
        await asyncio.sleep(0.01)


def is_open(transport):
    return transport.get_extra_info("socket").fileno() != -1


def named(code):
    return UNNAMED.get(code) or (for_code(code).__name__ if code else "")


async def answered_in_clear(node):
    """What a server says to somebody who knows nothing of TLS and asks which requests it takes (ApiVersions)."""
    host, _, port = node.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        request = struct.pack(">hhih", 18, 0, 1, -1)
        writer.write(struct.pack(">i", len(request)) + request)
        return await asyncio.wait_for(reader.read(1000), 5)
    except (ConnectionError, TimeoutError):
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def answers(cluster, context, topic):
    """name -> set of names of the errors that the servers answered with, "" for none."""
    client = await connected(cluster, context)
    got = {}
    try:
        for name, (request, codes) in requests(topic).items():
            for node in cluster.nodes:
                assert await client.ready(node.node_id)
                while LOADING in (found := set(codes(await client.send(node.node_id, request)))):
                    await asyncio.sleep(0.2)
                got.setdefault(name, set()).update(map(named, found))
    finally:
        await client.close()
    return got


async def topics(cluster, context):
    """Every topic that this client is told of."""
    client = await connected(cluster, context)
    try:
        answer = await client.send(client.get_random_node(), metadata.MetadataRequest(None))
        return {name for _, name, *_ in answer.topics}
    finally:
        await client.close()
