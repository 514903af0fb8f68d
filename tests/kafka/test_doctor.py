"""`handslag doctor` and `stream check` on real servers: each thing that is wrong with a stream is found by its name."""

from __future__ import annotations

import asyncio
import io
import json
import re
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest

import handslag
from broker.diagnosis import checks, stream
from broker.engine_settings import StreamSettings
from broker.stream import acls, kafka_setup, topic
from deploy.kafka_pki import NODES
from deploy.processes import free_ports
from schemas.faults import faults
from tests.doctor.seed_stream import STREAM


def settings(cluster, name, files, **more):
    certificate, key = files
    return StreamSettings(
        engine="kafka",
        bootstrap=cluster.bootstrap,
        topic=name,
        transit_key_file="transit.key",
        ca_file=cluster.authority.file,
        certificate_file=certificate,
        key_file=key,
        **more,
    )


def made(cluster, name, **configs):
    of = settings(cluster, name, cluster.administrator)
    must = topic.wanted(of)
    asyncio.run(kafka_setup.make(of, replace(must, configs={**must.configs, **configs})))


SOUND = "doctor.sound"


@pytest.fixture(scope="module")
def sound(closed_kafka):
    """A topic as it must be."""
    made(closed_kafka, SOUND)
    return SOUND


@pytest.fixture
def node(closed_kafka, request):
    """The settings of a node with a certificate of its own and these rights on a topic."""

    def granted(name, *rights):
        own = re.sub(r"[^a-z0-9-]+", ".", f"doctor.{request.node.name[-40:]}".lower()).strip(".")
        files = closed_kafka.authority.issue(own, NODES)
        if rights:
            words = acls.words(name, [acls.principal(files[0].read_bytes())])
            refused = {f"--operation={each}" for each in acls.OPERATIONS if each not in rights}
            closed_kafka.tool("AclCommand", *(word for word in words if word not in refused))
        return settings(closed_kafka, name, files)

    return granted


def found(of):
    return [(each.code, each.field) for each in checks.stream(stream.seen(of))]


def test_a_node_with_its_rights_on_a_topic_as_it_must_be_is_sound_and_too_few_copies_are_named(sound, node):
    of = node(sound, *acls.OPERATIONS)
    assert found(of) == []
    assert asyncio.run(kafka_setup.missing_rights(of)) == ()
    asked = of.model_copy(update={"min_insync_replicas": 4})  # as when servers are away: fewer are in sync than must be
    assert ("F-STREAM-COPIES", "") in found(asked)


@pytest.mark.parametrize("lacking", [*acls.OPERATIONS, "all"])
def test_a_right_that_a_node_lacks_is_named(sound, node, lacking):
    of = node(sound, *(each for each in acls.OPERATIONS if lacking not in {each, "all"}))
    assert found(of) == [("F-STREAM-RIGHTS", ", ".join(acls.OPERATIONS) if lacking == "all" else lacking)]


def test_a_topic_that_is_not_there_or_differs_is_named(closed_kafka, node):
    of = node("doctor.other", *acls.OPERATIONS)
    assert found(of) == [("F-STREAM-TOPIC", "topic")]
    made(closed_kafka, of.topic, **{"retention.ms": "1000", "cleanup.policy": "compact"})
    assert found(of) == [("F-STREAM-TOPIC", "cleanup.policy, retention.ms")]


def test_servers_that_are_away_and_files_that_are_gone_are_named(node, tmp_path):
    of = node(SOUND)
    away = of.model_copy(update={"bootstrap": (f"127.0.0.1:{free_ports(1)[0]}",)})
    assert found(away) == [("F-STREAM-AWAY", "stream.bootstrap")]
    assert found(of.model_copy(update={"key_file": tmp_path / "none.key"})) == [("F-STREAM-FILE", "stream")]


def test_a_stream_in_the_store_is_not_looked_for_in_kafka():
    assert stream.seen(StreamSettings()) is None
    assert list(checks.stream(None)) == []


def test_every_fault_of_a_stream_is_planted_here():
    """What tests/doctor leaves to the real servers, and no more."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert {code for code in faults() if code.startswith("F-STREAM-")} == STREAM
    assert all(f'"{code}"' in text for code in STREAM)


def test_the_command_names_the_right_that_is_missing_and_the_doctor_says_it_in_both_languages(sound, node, tmp_path):
    of = node(sound, "Read", "Write", "DescribeConfigs")
    said = io.StringIO()
    with pytest.raises(SystemExit, match="0"), redirect_stdout(said):
        handslag.main(["init", "--dir", str(tmp_path / "b"), "--host", "127.0.0.1", "--listen", "127.0.0.1:0"])
    config = tmp_path / "b/broker.toml"
    names = ("ca_file", "certificate_file", "key_file")
    table = {"bootstrap": list(of.bootstrap), "topic": of.topic} | {name: str(getattr(of, name)) for name in names}
    pairs = ", ".join(f"{name} = {json.dumps(value)}" for name, value in table.items())
    stream_line = f'stream = {{ engine = "kafka", transit_key_file = "t.key", {pairs} }}'
    kept = [line for line in config.read_text().splitlines() if not line.startswith(("store", "stream"))]
    config.write_text(
        "\n".join([stream_line, 'store = { engine = "postgresql", host = "127.0.0.1", port = 1 }', *kept])
    )

    def run(*words):
        out, said = io.StringIO(), io.StringIO()
        with pytest.raises(SystemExit) as left, redirect_stdout(out), redirect_stderr(said):
            handslag.main([*map(str, words), "--config", str(config)])
        return left.value.code, out.getvalue(), said.getvalue()

    code, out, told = run("stream", "check", "--json")
    assert (code, json.loads(out)["differences"]) == (1, [])
    assert (json.loads(told)["code"], json.loads(told)["context"]) == ("HS-STREAM-FORBIDDEN", {"check": "Delete"})
    for language, words in (("sv", "rättigheter i Kafka"), ("en", "lacks rights in Kafka")):
        code, out, _told = run("--lang", language, "doctor")
        assert code == 1
        assert words in out
        assert "Delete" in out
        assert "handslag stream acls" in out
