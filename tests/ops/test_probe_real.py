"""A real probe against real brokers: killed, restored from an old copy, deaf, or shutting it out."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from deploy.probe.run import CAUSES
from schemas.errors import registry
from tests.ops import servers

FAST = {"interval_s": 1.0, "withdrawal_every_s": 3.0, "patience_s": 5.0}


def handslag(*words, code=0):
    done = subprocess.run(servers.command(*words), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout


class Seen:
    """The metrics of a running probe or broker."""

    def __init__(self, address):
        self.address = address

    def __call__(self, name, **labels):
        """The sum of a metric's series that have these labels, None while nobody answers."""
        text = servers.read(f"http://{self.address}/metrics")
        if text is None:
            return None
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        rows = re.findall(rf"^handslag_{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
        return sum(float(value) for found, value in rows if all(each in found for each in wanted))

    def succeeds(self, kind):
        """Wait until one more message of a kind came out as it must."""
        before = self("probe_duration_seconds_count", kind=kind)
        servers.until(lambda: (self("probe_duration_seconds_count", kind=kind) or 0) > before, f"one more {kind}")


@pytest.fixture
def serving(tmp_path):
    """Start the broker of this test, by another program if told so."""
    config, operations = servers.set_up(tmp_path, beat_s=0.5)

    def serve(program=None):
        words = servers.command("serve", "--config", config)
        if program is not None:
            words[1] = str(program)
        return servers.process(words, tmp_path / "broker.log")

    serve.config, serve.operations = config, operations
    return serve


def ready(serving):
    servers.until(lambda: servers.read(f"http://{serving.operations}/readyz"), "the broker is ready")


@pytest.mark.long
def test_the_probe_outlives_a_killed_broker_and_its_own_case(tmp_path, serving):
    with serving() as broker:
        ready(serving)
        config, listen = servers.probe_set_up(tmp_path, serving.config, **FAST, renew_s=4.0)
        seen = Seen(listen)
        with servers.process(servers.command("probe", "run", "--config", config), tmp_path / "probe.log"):
            servers.until((tmp_path / "probe/sender/data.old").is_dir, "a new case is opened")
            seen.succeeds("released")
            seen.succeeds("withheld")
            failed = seen("probe_failures_total")
            broker.kill()
            servers.until(lambda: seen("probe_failures_total") > failed, "the probe misses the broker")
            assert seen("probe_broken") == 0  # it is the path
            _status_of_a_broker_that_is_down(serving)
            with serving():
                seen.succeeds("withdrawal")
                assert (seen("probe_wrong_outcomes_open"), seen("probe_log_contradicted")) == (0, 0)
                assert 0 < seen("probe_disk_bytes") < 20_000_000


def test_a_probe_that_was_shut_out_says_that_it_is_itself_at_fault(tmp_path, serving):
    with serving():
        ready(serving)
        with servers.probe(tmp_path, serving.config, **FAST) as (_config, listen):
            _shut_out(serving.config, Seen(listen))


def _status_of_a_broker_that_is_down(serving):
    told = json.loads(handslag("agency", "status", "--config", serving.config, "--json"))
    assert told["running"] is False
    assert [unit["unit"] for unit in told["units"]] == ["POL/DRIFT/SOND", "SOC/DRIFT/SOND"]


def _shut_out(config, seen):
    told = json.loads(handslag("agency", "status", "--config", config, "--json"))
    assert told["running"] is True
    for unit in told["units"]:
        assert unit["probe"]
        assert unit["silent_s"] < 30
        assert abs(unit["clock_offset_s"]) < 30
        assert unit["connector_version"]
        handslag("agency", "revoke", "--config", config, unit["unit"])
    servers.until(lambda: seen("probe_broken", cause="certificate") == 1, "the probe says that it is itself at fault")


def test_only_the_probes_own_faults_count_as_its_own():
    assert CAUSES["HS-UNIT-UNKNOWN"] == "certificate"
    assert set(CAUSES) <= set(registry())
    for path in ("HS-BROKER-UNREACHABLE", "HS-BROKER-BEHIND", "HS-NOT-RECORDED", "HS-TRAIL-ROLLBACK", "HS-PROBE-LATE"):
        assert path not in CAUSES


def test_no_agency_is_asked_to_trust_the_probe(tmp_path, serving):
    servers.probe_set_up(tmp_path, serving.config)
    draft = handslag("agency", "trust", "--config", serving.config)
    assert "SOND" not in draft
    handslag("connector", "init", "--dir", tmp_path / "k", "--unit", "SOC/EXEMPEL/KA", "--agency", "SOC/EXEMPEL",
             "--controller", "EXEMPEL", "--role", "social_services_lead")  # fmt: skip
    handslag("agency", "admit", "--config", serving.config, tmp_path / "k/request.json")
    draft = handslag("agency", "trust", "--config", serving.config)
    assert "EXEMPEL" in draft
    assert "SOND" not in draft
    own = handslag("agency", "trust", "--probe", "--config", serving.config)
    assert "SOC/DRIFT" in own
    assert "EXEMPEL" not in own
    assert not list((tmp_path / "probe").rglob("agency.key"))
    again = subprocess.run(
        servers.command("probe", "init", "--config", serving.config, "--dir", tmp_path / "probe"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "HS-INIT-EXISTS" in again.stderr
    assert (tmp_path / "probe/probe.toml").is_file()  # what was there is untouched


@pytest.mark.long
def test_a_witness_that_saw_a_rollback_is_not_forgotten(tmp_path, serving):
    data = serving.config.parent / "data"
    config, listen = servers.probe_set_up(tmp_path, serving.config, **FAST, renew_s=2.0)
    seen, run = Seen(listen), servers.command("probe", "run", "--config", config)
    with serving():
        ready(serving)
    shutil.copytree(data, tmp_path / "old")
    with servers.process(run, tmp_path / "probe.log"):
        with serving():
            ready(serving)
            servers.until(lambda: seen("probe_duration_seconds_count", kind="released"), "a message comes through")
        shutil.rmtree(data)
        shutil.copytree(tmp_path / "old", data)
        with serving():
            servers.until(lambda: seen("probe_log_contradicted") == 1, "a witness sees that the log went back")
            broker = Seen(serving.operations)
            servers.until(lambda: broker("log_contradicted") == 1, "and so does the broker")
            time.sleep(4)  # twice as long as a case lives here
            assert seen("probe_log_contradicted") == 1
    with serving(), servers.process(run, tmp_path / "probe.log"):
        servers.until(lambda: seen("probe_log_contradicted") == 1, "a restart does not make it forget")


def test_a_broker_that_is_deaf_to_withdrawals_is_seen(tmp_path, serving):
    with serving(Path(__file__).with_name("deaf.py")):
        ready(serving)
        config, listen = servers.probe_set_up(tmp_path, serving.config, **FAST)
        seen = Seen(listen)
        with servers.process(servers.command("probe", "run", "--config", config), tmp_path / "probe.log"):
            servers.until(lambda: seen("probe_wrong_outcomes_open", kind="withdrawal"), "the worst alarm but one")
        told = json.loads(handslag("probe", "wrong", "--config", config, "--json"))["wrong"]
        assert {row["kind"] for row in told} == {"withdrawal"}
        with servers.process(servers.command("probe", "run", "--config", config), tmp_path / "probe.log"):
            servers.until(lambda: seen("probe_wrong_outcomes_open", kind="withdrawal"), "and it stays after a restart")
            assert "WRONG" in handslag("probe", "status", "--config", config, code=1)
