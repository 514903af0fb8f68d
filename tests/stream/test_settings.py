"""Every parameter of the clients of Kafka is said or left out for a reason, and what matters is set right."""

import inspect
import re
import time

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from broker.engine_settings import StreamSettings
from broker.metrics import Metrics
from broker.stream import kafka_clients
from broker.stream.kafka import KafkaStream
from broker.stream.kafka_clients import (
    UNSAID,
    admin_options,
    certificate_ends_s,
    consumer_options,
    producer_options,
    tls_context,
)
from broker.transit import KeyFile
from deploy.kafka_pki import Authority
from schemas import limits
from schemas.errors import HandslagError
from tests.stream.conftest import placed

LOCAL = StreamSettings(engine="kafka", bootstrap=("127.0.0.1:9092",), transit_key_file="transit.key")
CLIENTS = {
    "producer": (AIOKafkaProducer, producer_options),
    "consumer": (AIOKafkaConsumer, consumer_options),
    "admin": (AIOKafkaAdminClient, admin_options),
}


@pytest.mark.parametrize("name", CLIENTS)
def test_no_parameter_is_left_to_a_default(name):
    client, options = CLIENTS[name]
    known = {one for one in inspect.signature(client.__init__).parameters if one != "self"}
    said = set(options(LOCAL, None))
    assert said <= known, "a parameter that this version does not have"
    assert known - said <= set(UNSAID), "look at what is new, then say it"
    assert not said & set(UNSAID)


def test_nothing_is_excused_that_does_not_exist():
    known = {one for client, _ in CLIENTS.values() for one in inspect.signature(client.__init__).parameters}
    assert set(UNSAID) <= known
    assert all(UNSAID.values())


def test_what_the_promises_rest_on_is_set():
    producer, consumer = producer_options(LOCAL, None), consumer_options(LOCAL, None)
    assert (producer["acks"], producer["enable_idempotence"], producer["compression_type"]) == ("all", True, None)
    assert (consumer["group_id"], consumer["enable_auto_commit"]) == (None, False)
    assert (consumer["auto_offset_reset"], consumer["isolation_level"]) == ("none", "read_committed")
    bites = {"enable_auto_commit": True, "auto_offset_reset": "latest", "isolation_level": "read_uncommitted"}
    defaults = inspect.signature(AIOKafkaConsumer.__init__).parameters
    assert {name: defaults[name].default for name in bites} == bites  # the control: they do bite


def test_the_largest_submission_fits_everywhere():
    largest = limits.SUBMISSION + limits.CALL + 1024  # with what transit and Kafka put around it
    assert largest < producer_options(LOCAL, None)["max_request_size"] == kafka_clients.REQUEST
    assert largest > kafka_clients.RECORD


def test_options_cannot_be_changed_by_who_uses_them():
    with pytest.raises(TypeError):
        producer_options(LOCAL, None)["acks"] = 0


def test_a_file_that_is_no_certificate_is_told_by_its_setting(tmp_path):
    assert tls_context(LOCAL) is None
    for name in ("ca.pem", "node.pem", "node.key"):
        (tmp_path / name).write_text("EXEMPEL")
    settings = LOCAL.model_copy(
        update={"ca_file": tmp_path / "ca.pem", "certificate_file": tmp_path / "node.pem",
                "key_file": tmp_path / "node.key"}
    )  # fmt: skip
    with pytest.raises(HandslagError) as raised:
        tls_context(settings)
    assert raised.value.context["field"] == "stream.ca_file"


async def test_the_end_of_the_nodes_certificate_is_a_metric(tmp_path):
    authority = Authority(tmp_path / "tls")
    certificate, key = authority.issue("node-1", "EXEMPEL")
    async with placed(tmp_path, ("127.0.0.1:1",), "handslag.submissions") as place:
        of = place.settings(ca_file=authority.file, certificate_file=certificate, key_file=key)
        metrics = Metrics()
        keys = KeyFile(of.transit_key_file)
        await KafkaStream(of, place.store, keys, metrics, place.clock, place.entry).close()
    ends = re.search(
        r'handslag_certificate_end_timestamp_seconds\{certificate="stream"\} (\S+)', metrics.render().decode()
    )
    assert 29 < (float(ends[1]) - time.time()) / 86400 < 31
    with pytest.raises(HandslagError, match="HS-SETTINGS-INVALID"):
        certificate_ends_s(of.model_copy(update={"certificate_file": key}))
