"""The Apache Kafka that tests and measurements start is the real one, and so is what is done to it."""

import hashlib
import os
import socket

import click
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy import kafka_jars
from deploy.kafka_local import Cluster


async def create(bootstrap, topic):
    admin = AIOKafkaAdminClient(bootstrap_servers=list(bootstrap))
    await admin.start()
    try:
        made = await admin.create_topics([NewTopic(topic, 2, 1)])
    finally:
        await admin.close()
    assert [error[1] for error in made.topic_errors] == [0]


async def write(bootstrap, topic, value):
    async with AIOKafkaProducer(bootstrap_servers=list(bootstrap), acks="all", enable_idempotence=True) as producer:
        return (await producer.send_and_wait(topic, value, partition=1)).offset


async def read(bootstrap, topic):
    partition = TopicPartition(topic, 1)
    async with AIOKafkaConsumer(
        bootstrap_servers=list(bootstrap), group_id=None, enable_auto_commit=False, auto_offset_reset="none"
    ) as consumer:
        consumer.assign([partition])
        consumer.seek(partition, 0)
        end = (await consumer.end_offsets([partition]))[partition]
        values = []
        while len(values) < end:
            values += [record.value for record in (await consumer.getmany(timeout_ms=1000)).get(partition, ())]
        return values


async def test_a_record_written_is_read_where_it_was_written(kafka):
    assert kafka.version == kafka_jars.version()
    assert int(kafka.version.split(".")[0]) >= 4
    await create(kafka.bootstrap, "local.one")
    assert await write(kafka.bootstrap, "local.one", b"EXEMPEL") == 0
    assert await read(kafka.bootstrap, "local.one") == [b"EXEMPEL"]


async def test_what_was_acknowledged_is_there_after_a_stop_and_after_a_kill(tmp_path):
    with Cluster(tmp_path / "cluster") as cluster:
        (node,) = cluster.nodes
        await create(cluster.bootstrap, "local.two")
        await write(cluster.bootstrap, "local.two", b"1")
        node.stop()
        with pytest.raises(click.ClickException, match="does not run"):
            node.pause()
        node.start()
        await write(cluster.bootstrap, "local.two", b"2")
        node.kill()
        node.start()
        assert await read(cluster.bootstrap, "local.two") == [b"1", b"2"]
        pid, port = node.pid, int(node.address.split(":")[1])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))


def test_a_server_that_cannot_start_says_why(tmp_path):
    cluster = Cluster(tmp_path / "cluster")
    (node,) = cluster.nodes
    node.folder.mkdir(parents=True)
    (node.folder / "server.properties").write_text("process.roles=EXEMPEL\n")
    node.log_dir.mkdir()
    with pytest.raises(click.ClickException, match="does not serve"), cluster:
        pass
    assert not node.running


def test_a_machine_without_java_or_maven_is_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(click.ClickException, match="default-jre-headless"):
        kafka_jars.java()
    with pytest.raises(click.ClickException, match="`maven`"):
        kafka_jars.jars(tmp_path / "libs")
    assert not (tmp_path / "libs").exists()


def test_a_jar_that_is_not_the_known_one_is_refused(tmp_path, monkeypatch):
    (tmp_path / "kafka-local").mkdir()
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs/a-1.jar").write_bytes(b"EXEMPEL")
    listed = tmp_path / "kafka-local/jars.sha256"
    monkeypatch.setattr(kafka_jars, "HERE", listed.parent)
    listed.write_text(f"{hashlib.sha256(b'EXEMPEL').hexdigest()}  a-1.jar\n")
    kafka_jars.compare(tmp_path / "libs")
    (tmp_path / "libs/a-1.jar").write_bytes(b"another")
    with pytest.raises(click.ClickException, match="a-1"):
        kafka_jars.compare(tmp_path / "libs")
    (tmp_path / "libs/a-1.jar").write_bytes(b"EXEMPEL")
    (tmp_path / "libs/b-2.jar").write_bytes(b"one more")
    with pytest.raises(click.ClickException, match="b-2"):
        kafka_jars.compare(tmp_path / "libs")


def test_the_jars_here_are_the_known_ones():
    assert len(kafka_jars.jars()) == len(kafka_jars.expected())
    kafka_jars.compare(kafka_jars.DEFAULT)
