"""Kafka is closed to agencies: what a certificate of theirs gets from three real servers is nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aiokafka.errors import KafkaConnectionError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from broker import pki
from broker.engine_settings import StreamSettings
from broker.stream import acls, kafka_setup, topic
from broker.stream.kafka_log import KafkaLog
from deploy.kafka_pki import NODES
from schemas.errors import HandslagError
from tests.kafka import asking

TOPIC = "handslag.closed"
UNIT = "KV/FRI"
NOTHING = {"TopicAuthorizationFailedError", "GroupAuthorizationFailedError", "ClusterAuthorizationFailedError"}
# The last is said to everybody: no topic is deleted here, whoever asks.
NOTHING |= {"TransactionalIdAuthorizationFailed", "TopicDeletionDisabled"}
# What a node is granted, and what the servers answer it: the leader does it, the others say who leads.
NODE = ("metadata", "write", "read", "ends", "delete records", "settings", "number writes")
NOT_HERE = {"NotLeaderForPartitionError", "ReplicaNotAvailableError"}


@pytest.fixture(scope="module")
def files(closed_kafka):
    """The certificate of a broker's node, granted its topic by the line that our command writes."""
    files = closed_kafka.authority.issue("node-1", NODES)
    granted = acls.words(TOPIC, [acls.principal(files[0].read_bytes())])
    closed_kafka.tool("AclCommand", *granted)
    of = settings(closed_kafka, closed_kafka.administrator)
    asyncio.run(made(of))
    return files


async def made(of):
    await kafka_setup.make(of, replace(topic.wanted(of), partitions=2))
    await asking.ended()


@pytest.fixture(autouse=True)
async def nothing_open():
    """What one test closed is not told as left open in another one's name."""
    yield
    await asking.ended()


@pytest.fixture(scope="module")
def node(closed_kafka, files):
    return asking.tls(closed_kafka.authority.file, *files)


def settings(cluster, files):
    certificate, key = files
    return StreamSettings(
        engine="kafka",
        bootstrap=cluster.bootstrap,
        topic=TOPIC,
        transit_key_file="transit.key",
        ca_file=cluster.authority.file,
        certificate_file=certificate,
        key_file=key,
    )


def admitted_by_the_broker(folder):
    """The files of an agency's connector, with a certificate as `handslag agency admit` gives it."""
    key = pki.new_key()
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(pki.unit_uri(UNIT))])
    request = x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]))
    signed = request.add_extension(names, critical=False).sign(key, hashes.SHA256())
    now = datetime.now(UTC)
    certificate = pki.client_certificate(
        pki.new_authority(now), signed.public_bytes(serialization.Encoding.PEM), UNIT, now
    )
    (folder / "agency.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "agency.key").write_bytes(pki.key_pem(key))
    return folder / "agency.pem", folder / "agency.key"


async def test_an_agency_gets_nothing_and_a_node_gets_its_topic(closed_kafka, node):
    """Even a certificate of Kafka's own authority, which no agency is ever given, opens nothing without a grant."""
    agency = asking.tls(closed_kafka.authority.file, *closed_kafka.authority.issue("EXEMPEL", "agency"))
    for name, got in (await asking.answers(closed_kafka, agency, TOPIC)).items():
        assert got, name
        assert got <= NOTHING, name
    assert await asking.topics(closed_kafka, agency) == set()

    of_node = await asking.answers(closed_kafka, node, TOPIC)
    for name in NODE:
        assert "" in of_node.pop(name) <= {"", *NOT_HERE}, name
    for name, got in of_node.items():
        assert got <= NOTHING, name
    assert await asking.topics(closed_kafka, node) == {TOPIC}


async def test_four_rights_are_all_that_a_node_needs(closed_kafka, files):
    log = KafkaLog(settings(closed_kafka, files), 2)
    try:
        assert len(await log.topic_id()) == 16
        end = await log.put(1, [b"1", b"2", b"3"])
        assert await log.fetch(1, end - 2) == [(end - 2, b"2"), (end - 1, b"3")]
        await log.delete_below({1: end - 1})
        assert (await log.starts())[1] == end - 1
        assert (await log.ends())[1] == end
    finally:
        await log.close()
    found = await kafka_setup.look(settings(closed_kafka, files))
    differ = topic.differences(topic.wanted(settings(closed_kafka, files)), found)
    assert [each.name for each in differ] == ["partitions"]


async def test_with_an_agencys_certificate_a_node_does_nothing(closed_kafka, files):
    log = KafkaLog(settings(closed_kafka, closed_kafka.authority.issue("EXEMPEL", "agency")), 2)
    try:
        for refused in (log.topic_id(), log.put(1, [b"1"]), log.starts(), log.ends(), log.delete_below({1: 1})):
            with pytest.raises(HandslagError, match="HS-NOT-RECORDED"):
                await refused
    finally:
        await log.close()


async def test_a_nodes_grant_covers_no_other_topic(closed_kafka, node):
    for name, got in (await asking.answers(closed_kafka, node, f"{TOPIC}.other")).items():
        if name != "number writes":
            assert got <= NOTHING, name


async def test_who_shows_no_certificate_of_kafkas_own_authority_is_not_talked_to(closed_kafka, node, tmp_path):
    ca = closed_kafka.authority.file
    agency = asking.tls(ca, *admitted_by_the_broker(tmp_path))
    for context in (agency, asking.tls(ca)):
        with pytest.raises(KafkaConnectionError):
            await asking.connected(closed_kafka, context)
    await (await asking.connected(closed_kafka, node)).close()


async def test_nothing_is_said_in_clear(closed_kafka, kafka):
    said = [await asking.answered_in_clear(server) for server in closed_kafka.nodes]
    assert all(len(each) < 10 for each in said), "at most an alert of TLS"
    assert len(await asking.answered_in_clear(kafka.nodes[0])) > 100
