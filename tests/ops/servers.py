"""A broker and a Prometheus as processes of their own, on free ports of the loopback address."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

import handslag

ROOT = Path(handslag.__file__).parent
PROMETHEUS = ROOT / "deploy/prometheus"
PATIENCE_S = 40.0


def binary(name):
    """The path of a server or tool of Prometheus; without it the test fails, it is never left out."""
    found = shutil.which(name)
    if found is None:
        package = {"prometheus-alertmanager": "prometheus-alertmanager", "amtool": "prometheus-alertmanager"}
        needed = package.get(name, "prometheus")
        pytest.fail(f"{name} is not installed: these tests need the Debian package `{needed}` (apt-get install it).")
    return found


def promtool(*words, told=None):
    """Exit code and everything that promtool wrote, run beside the shipped files; `told` goes to its stdin."""
    done = subprocess.run(
        [binary("promtool"), *words], cwd=PROMETHEUS, input=told, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def until(look, what):
    """What `look` returns as soon as it is true; fails after `PATIENCE_S`."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.1)
    return pytest.fail(f"{what}: not within {PATIENCE_S:.0f} s")


def read(url):
    """The body of an answer, or None while nobody answers well."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as refused:
        refused.close()
        return None
    except OSError:
        return None


@contextlib.contextmanager
def process(words, log, **more):
    """A process that ends with the block, and with it what it started; its output in the file `log`."""
    with log.open("wb") as out:
        started = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, **more)
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(10)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGTERM)  # children of a demo that ended before its time


def command(*words):
    return [sys.executable, str(ROOT / "handslag.py"), *map(str, words)]


def set_up(folder, beat_s=None):
    """A broker's folder made by `init`; returns (configuration, address of its operations port)."""
    home, operations = folder / "broker", f"127.0.0.1:{free_port()}"
    gateway, config = f"127.0.0.1:{free_port()}", home / "broker.toml"
    made = command("init", "--dir", home, "--host", "127.0.0.1", "--listen", gateway, "--operations", operations)
    subprocess.run(made, check=True, capture_output=True)
    if beat_s is not None:
        changed(config, beat_seconds=beat_s)
    return config, operations


def changed(config, **values):
    """Change settings of a TOML file line by line, as a person would."""
    text = config.read_text(encoding="utf-8")
    for name, value in values.items():
        text, count = re.subn(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
        assert count == 1, name
    config.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def broker(folder, beat_s=None):
    """A broker made by `init` and run by `serve`; yields the address of its operations port."""
    config, operations = set_up(folder, beat_s)
    with process(command("serve", "--config", config), folder / "broker.log"):
        until(lambda: read(f"http://{operations}/readyz"), "the broker is ready")
        yield operations


def probe_set_up(folder, broker_config, **settings):
    """A probe's folder made by `probe init`; returns (configuration, address of its metrics)."""
    listen = f"127.0.0.1:{free_port()}"
    made = command("probe", "init", "--config", broker_config, "--dir", folder / "probe", "--listen", listen)
    done = subprocess.run(made, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    config = folder / "probe/probe.toml"
    changed(config, **settings)
    return config, listen


@contextlib.contextmanager
def probe(folder, broker_config, **settings):
    """A probe made by `probe init` and run by `probe run`, after its first withdrawal; yields (config, address)."""
    config, listen = probe_set_up(folder, broker_config, **settings)
    with process(command("probe", "run", "--config", config), folder / "probe.log"):
        bitten = 'handslag_probe_duration_seconds_count{kind="withdrawal"} 0.0'
        until(lambda: bitten not in (read(f"http://{listen}/metrics") or bitten), "a withdrawal of the probe bites")
        yield config, listen


class Prometheus:
    """Questions to a running Prometheus over its HTTP API."""

    def __init__(self, address):
        self.url = f"http://{address}"

    def ask(self, path, **parameters):
        body = read(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        assert body is not None, f"Prometheus refuses {path} {parameters}"
        return json.loads(body)["data"]

    def parses(self, expr):
        return read(f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expr})}") is not None

    def samples(self, expr):
        """[(labels, value)] now."""
        return [(row["metric"], float(row["value"][1])) for row in self.ask("query", query=expr)["result"]]

    def history(self, expr, start, end):
        """[(seconds since 1970, value)] of all series together, every second of a span, NaN left out."""
        rows = self.ask("query_range", query=expr, start=start, end=end, step=1)["result"]
        points = [(at, float(value)) for row in rows for at, value in row["values"]]
        return [(at, value) for at, value in points if math.isfinite(value)]

    def version(self):
        return self.ask("status/buildinfo")["version"].partition("+")[0]

    def rules(self):
        (group,) = self.ask("rules")["groups"]
        return {rule["name"]: rule for rule in group["rules"]}


@contextlib.contextmanager
def alertmanager(folder):
    """The shipped configuration with short waits, sending to nobody who listens; yields its address."""
    text = (PROMETHEUS / "alertmanager.yml").read_text(encoding="utf-8")
    (folder / "alertmanager.yml").write_text(text.replace("group_wait: 30s", "group_wait: 1s"), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    words = [
        binary("prometheus-alertmanager"),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    with process(words, folder / "alertmanager.log", cwd=folder):
        until(lambda: read(f"http://{address}/-/ready"), "Alertmanager is ready")
        yield address


def ringing(address):
    """Alert name -> its labels, of what Alertmanager holds as active now."""
    return {each["labels"]["alertname"]: each["labels"] for each in json.loads(read(f"http://{address}/api/v2/alerts"))
            if each["status"]["state"] != "unprocessed"}  # fmt: skip


@contextlib.contextmanager
def prometheus(folder, operations, probe="127.0.0.1:9", alerts="127.0.0.1:9", sooner=()):
    """The shipped configuration, scraping every second; `sooner` are (shipped, shorter) of the alerts' thresholds."""
    config = (PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8")
    for shipped, here in (
        ("127.0.0.1:9464", operations),
        ("127.0.0.1:9465", probe),
        ("127.0.0.1:9093", alerts),
        ("_interval: 15s", "_interval: 1s"),
    ):
        assert shipped in config
        config = config.replace(shipped, here)
    (folder / "prometheus.yml").write_text(config, encoding="utf-8")
    rules = (PROMETHEUS / "alerts.yml").read_text(encoding="utf-8")
    for shipped, here in sooner:
        assert shipped in rules, shipped
        rules = rules.replace(shipped, here)
    (folder / "alerts.yml").write_text(rules, encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    words = [
        binary("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    ]
    with process(words, folder / "prometheus.log", cwd=folder):
        server = Prometheus(address)
        until(lambda: read(f"{server.url}/-/ready"), "Prometheus is ready")
        until(lambda: server.samples('up{job="handslag"} == 1'), "Prometheus scrapes the broker")
        yield server


def metric_names(expr):
    """Every name of ours in an expression, and `up`."""
    return set(re.findall(r"\b(?:handslag_\w+|up)\b(?![\"(])", expr))


def panels():
    board = json.loads((ROOT / "deploy/grafana/handslag.json").read_text(encoding="utf-8"))
    return board, board["panels"]


TARGETS = [
    pytest.param(target["expr"], id=f"{panel['id']}{target['refId']}")
    for panel in panels()[1]
    for target in panel["targets"]
]
