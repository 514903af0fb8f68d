"""The topic of submissions is made as it must be, and one that differs is refused, by name and with what mends it."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from types import MappingProxyType

import pytest
from pydantic import ValidationError

import handslag
from broker.engine_settings import StreamSettings
from broker.stream import kafka_setup, topic
from broker.stream.kafka_clients import REQUEST
from schemas.errors import HandslagError


def settings(bootstrap=("127.0.0.1:1",), **more):
    given = {"replication_factor": 1, "min_insync_replicas": 1, "transit_key_file": "transit.key", **more}
    return StreamSettings(engine="kafka", bootstrap=bootstrap, **given)


def as_wanted(must):
    copies = (must.replication_factor,) * must.partitions
    return topic.Found(bytes(16), copies, copies, 0, dict(must.configs))


def test_what_is_acknowledged_is_on_two_of_three_servers_and_none_that_was_behind_leads():
    must = topic.wanted(StreamSettings(engine="kafka", bootstrap=("127.0.0.1:1",), transit_key_file="transit.key"))
    assert (must.partitions, must.replication_factor, must.configs["min.insync.replicas"]) == (64, 3, "2")
    assert must.configs["unclean.leader.election.enable"] == "false"
    assert int(must.configs["max.message.bytes"]) == REQUEST < int(must.configs["segment.bytes"])


def test_more_in_sync_than_there_are_copies_is_refused():
    with pytest.raises(ValidationError, match="min_insync_replicas"):
        settings(replication_factor=1, min_insync_replicas=2)


@pytest.mark.parametrize("name", [*topic.FIXED, "min.insync.replicas"])
def test_each_setting_is_compared(name):
    must = topic.wanted(settings())
    found = as_wanted(must)
    assert topic.differences(must, found) == []
    for other in (None, "EXEMPEL"):
        configs = {key: value for key, value in must.configs.items() if key != name}
        configs |= {} if other is None else {name: other}
        (differ,) = topic.differences(must, replace(found, configs=MappingProxyType(configs)))
        assert (differ.name, differ.wanted, differ.found) == (name, must.configs[name], other or "")
        assert differ.why
        assert f"--add-config {name}={must.configs[name]}" in topic.mending(must, [differ], "k:1", "admin.properties")


def test_partitions_and_copies_are_compared_and_no_line_mends_them():
    must = topic.wanted(settings(replication_factor=3, min_insync_replicas=2))
    found = replace(as_wanted(must), copies=(3,) * 62 + (2,))
    differ = topic.differences(must, found)
    assert [each.name for each in differ] == ["partitions", "replication.factor"]
    assert topic.mending(must, differ, "k:1", "admin.properties") is None
    moving = replace(as_wanted(must), copies=(3,) * 63 + (4,))
    assert topic.differences(must, moving) == []


async def test_a_topic_is_made_as_it_must_be_and_made_once(kafka):
    of = settings(kafka.bootstrap, topic="topic.made")
    must = topic.wanted(of)
    assert await kafka_setup.look(of) is None
    made = await asyncio.gather(kafka_setup.make(of, must), kafka_setup.make(of, must))
    found = await kafka_setup.look(of)
    assert {each.topic_id for each in made} == {found.topic_id}
    assert topic.differences(must, found) == []
    assert found.in_sync == (1,) * 64
    assert found.leaderless == 0


async def test_a_topic_that_differs_is_refused(kafka):
    of = settings(kafka.bootstrap, topic="topic.differs")
    must = topic.wanted(of)
    other = replace(must, partitions=3, configs={"cleanup.policy": "compact", "max.message.bytes": str(REQUEST)})
    found = await kafka_setup.make(of, other)
    names = {each.name for each in topic.differences(must, found)}
    assert {"partitions", "cleanup.policy", "retention.ms", "message.timestamp.type"} <= names
    assert "max.message.bytes" not in names


async def test_fewer_servers_than_copies_make_no_topic(kafka):
    of = settings(kafka.bootstrap, topic="topic.copies", replication_factor=3)
    with pytest.raises(HandslagError, match="HS-STREAM-COPIES"):
        await kafka_setup.make(of, topic.wanted(of))
    assert await kafka_setup.look(of) is None


async def test_servers_that_do_not_answer_have_a_code():
    with pytest.raises(HandslagError, match="HS-STREAM-AWAY"):
        await kafka_setup.look(settings())


# --- the commands, as an operator types them


def run(*words):
    out, said = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as left, redirect_stdout(out), redirect_stderr(said):
        handslag.main(["--lang", "en", "stream", *map(str, words)])
    return left.value.code, out.getvalue(), said.getvalue()


@pytest.fixture(scope="module")
def configured(tmp_path_factory):
    """Writes a broker's configuration with this table `[stream]`; returns its path."""
    folder = tmp_path_factory.mktemp("broker") / "b"
    init = ("init", "--dir", folder, "--host", "127.0.0.1", "--listen", "127.0.0.1:0")
    with pytest.raises(SystemExit, match="0"), redirect_stdout(io.StringIO()):
        handslag.main([*map(str, init)])
    file = folder / "broker.toml"
    before = [line for line in file.read_text().splitlines() if not line.startswith(("store", "stream"))]

    def write(bootstrap, name, **more):
        given = {"engine": "kafka", "bootstrap": list(bootstrap), "topic": name, "transit_key_file": "t.key", **more}
        given = {"replication_factor": 1, "min_insync_replicas": 1, **given}
        table = ", ".join(f"{key} = {json.dumps(value)}" for key, value in given.items())
        file.write_text("\n".join([f"stream = {{ {table} }}", 'store = "postgresql"', *before]))
        return file

    return write


def test_the_commands_make_a_topic_and_check_it(kafka, configured):
    config = configured(kafka.bootstrap, "topic.command")
    code, _out, said = run("check", "--config", config, "--json")
    assert (code, json.loads(said)["code"], json.loads(said)["context"]) == (1, "HS-STREAM-OTHER", {"check": "topic"})
    code, out, _said = run("init", "--config", config, "--json")
    made = json.loads(out)
    assert (code, made["made"], made["partitions"], made["differences"]) == (0, True, 64, [])
    code, out, _said = run("init", "--config", config, "--json")
    assert (code, json.loads(out)) == (0, {**made, "made": False})
    code, out, _said = run("check", "--config", configured(kafka.bootstrap, "topic.command", min_insync_replicas=1))
    assert code == 0
    assert "64 partitions, 1 copies, 1 in sync" in out


def test_what_differs_is_shown_with_the_line_that_mends_it_and_refused(kafka, configured):
    other = topic.wanted(settings(topic="topic.mend"))
    configs = {**other.configs, "retention.ms": "1000000"}
    asyncio.run(kafka_setup.make(settings(kafka.bootstrap, topic="topic.mend"), replace(other, configs=configs)))
    config = configured(kafka.bootstrap, "topic.mend")
    for command in ("init", "check"):
        code, out, said = run(command, "--config", config, "--json")
        assert (code, json.loads(said)["context"]) == (1, {"check": "retention.ms"})
        (differ,) = json.loads(out)["differences"]
        assert (differ["wanted"], differ["found"]) == ("259200000", "1000000")
    words = json.loads(out)["line"].split()
    kafka.tool("ConfigCommand", *words[words.index("--alter") :])
    assert run("check", "--config", config)[0] == 0


def test_the_lines_for_whoever_administers_kafka_do_what_the_command_does(kafka, configured):
    config = configured(kafka.bootstrap, "topic.lines")
    code, out, _said = run("init", "--config", config, "--lines")
    assert code == 0
    words = out.split()
    kafka.tool("TopicCommand", *words[words.index("--create") :])
    assert run("check", "--config", config)[0] == 0
    code, out, _said = run("acls", "--config", config, "--principal", "User:CN=n-1", "--json")
    assert (code, json.loads(out)["principals"]) == (0, ["User:CN=n-1"])
    code, _out, said = run("acls", "--config", config, "--json")
    assert (code, json.loads(said)["context"]) == (1, {"field": "stream.certificate_file"})


def test_a_broker_whose_stream_is_its_own_is_told_so(configured):
    config = configured(("127.0.0.1:1",), "topic.none")
    config.write_text("\n".join(line for line in config.read_text().splitlines() if not line.startswith("st")))
    for command in ("init", "check", "acls"):
        code, _out, said = run(command, "--config", config, "--json")
        assert (code, json.loads(said)["code"]) == (1, "HS-STREAM-NOT-KAFKA")


def test_without_a_grant_the_command_says_what_is_missing(closed_kafka, configured):
    certificate, key = closed_kafka.authority.issue("node-9", "handslag-local")
    config = configured(
        closed_kafka.bootstrap,
        "topic.closed",
        replication_factor=3,
        min_insync_replicas=2,
        ca_file=str(closed_kafka.authority.file),
        certificate_file=str(certificate),
        key_file=str(key),
    )
    code, _out, said = run("init", "--config", config, "--json")
    assert (code, json.loads(said)["code"]) == (1, "HS-STREAM-FORBIDDEN")
    of_admin = ("--as-certificate", *closed_kafka.administrator[:1], "--as-key", *closed_kafka.administrator[1:])
    code, out, _said = run("init", "--config", config, "--json", *of_admin)
    assert (code, json.loads(out)["copies"], json.loads(out)["in_sync"]) == (0, 3, 3)
    assert run("check", "--config", config)[0] == 1
    code, out, _said = run("acls", "--config", config, "--json")
    assert json.loads(out)["principals"] == ["User:CN=node-9,OU=handslag-local"]
    words = json.loads(out)["line"].split()
    closed_kafka.tool("AclCommand", *words[words.index("--add") :])
    assert run("check", "--config", config)[0] == 0
