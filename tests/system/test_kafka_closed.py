"""A whole case between real processes on three closed Kafka servers, with the rights that our own line grants."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

import deploy.demo
from broker.engine_settings import StreamSettings
from broker.stream import acls, kafka_setup, topic
from deploy.demo.play import Play
from deploy.demo.readback import read_back
from deploy.demo.scenario import load
from deploy.demo.table import differences
from deploy.processes import handslag

TOPIC = "system.closed"


@pytest.fixture
def stream(closed_kafka):
    """The table `[stream]` of a node that is granted the topic and nothing else."""
    certificate, key = closed_kafka.authority.issue("node-7", "handslag-local")
    table = {
        "engine": "kafka",
        "bootstrap": list(closed_kafka.bootstrap),
        "topic": TOPIC,
        "transit_key_file": "transit.key",
        "ca_file": str(closed_kafka.authority.file),
        "certificate_file": str(certificate),
        "key_file": str(key),
    }
    admin = dict(zip(("certificate_file", "key_file"), closed_kafka.administrator, strict=True))
    of = StreamSettings(**{**table, **admin})
    asyncio.run(kafka_setup.make(of, topic.wanted(of)))
    closed_kafka.tool("AclCommand", *acls.words(TOPIC, [acls.principal(certificate.read_bytes())]))
    return table


@pytest.mark.long
def test_a_whole_case_comes_out_as_on_a_file_on_three_closed_servers(tmp_path, database, stream):
    scenario = load(Path(deploy.demo.__file__).parent)
    with Play(tmp_path / "site", scenario, lambda _line: None, database, stream) as play:
        play.set_up()
        play.run_steps()
        assert differences(scenario.outcomes, read_back(play)) == []
        seen = json.loads(handslag("stream", "check", "--config", play.broker, "--json"))
    assert (seen["copies"], seen["in_sync"], seen["differences"]) == (3, 3, [])
