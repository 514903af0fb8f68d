"""Two or more real nodes on one real PostgreSQL database, and three real connectors that know all of them."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest

import deploy.demo
from deploy.demo.play import Play
from deploy.demo.scenario import load
from deploy.processes import argv, free_ports, handslag
from tests.site import Site

PATIENCE_S = 90.0


@pytest.fixture(autouse=True)
def sites():
    """A test that fails leaves no connection behind for another one to trip over."""
    yield
    Site.close_all()


class Nodes:
    """The nodes of one play, by number; the first is the play's own broker."""

    def __init__(self, play):
        self.play = play
        self.folders = [play.folder / "broker"]
        self.processes = {}

    def config(self, number):
        return self.folders[number] / "broker.toml"

    def data(self, number):
        return self.folders[number] / "data"

    def join(self):
        """One more node, by the documented command; returns its number."""
        number = len(self.folders)
        folder = self.play.folder / f"node{number}"
        gateway, operations = free_ports(2)
        handslag("init", "--dir", folder, "--join", self.config(0), "--host", "127.0.0.1",
                 "--listen", f"127.0.0.1:{gateway}", "--operations", f"127.0.0.1:{operations}")  # fmt: skip
        self.folders.append(folder)
        return number

    def url(self, number):
        return tomllib.loads(self.config(number).read_text())["url"]

    def operations(self, number):
        return "http://" + tomllib.loads(self.config(number).read_text())["operations"]["listen"]

    def start(self, number, *, wait=True):
        log = (self.play.folder / "logs" / f"node{number}.log").open("ab")
        self.processes[number] = subprocess.Popen(
            argv("serve", "--config", self.config(number)), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        log.close()
        if wait:
            self.until(lambda: self.ready(number), f"node {number} is ready")

    def signal(self, number, name):
        self.processes[number].send_signal(name)

    def stop(self, number):
        """As a service manager does; returns the exit code."""
        process = self.processes.pop(number)
        process.send_signal(signal.SIGTERM)
        return process.wait(30)

    def kill(self, number):
        process = self.processes.pop(number)
        process.kill()
        process.wait()

    def ready(self, number):
        try:
            with urllib.request.urlopen(self.operations(number) + "/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def metric(self, number, name):
        with urllib.request.urlopen(self.operations(number) + "/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).rpartition(" ")[2])

    def status(self, number):
        return json.loads(handslag("node", "status", "--config", self.config(number), "--json"))

    def name(self, number):
        return (self.data(number) / "node.id").read_text()

    def leader(self, among):
        """The number of the node that says it leads, None when none of these does."""
        return next((number for number in among if self.metric(number, "handslag_node_leader") == 1), None)

    def until(self, met, what, seconds=PATIENCE_S):
        end = time.monotonic() + seconds
        while not (found := met()):
            if time.monotonic() > end:
                logs = [path.read_text()[-2000:] for path in sorted((self.play.folder / "logs").glob("*.log"))]
                raise AssertionError(f"did not see within {seconds} s: {what}\n" + "\n--\n".join(logs))
            time.sleep(0.05)
        return found

    def end(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


class SeveralNodes(Play):
    """A play whose broker is several nodes."""

    def __init__(self, folder, scenario, store, count):
        super().__init__(folder, scenario, lambda _line: None, store)
        self.count = count
        self.nodes = Nodes(self)

    def start(self, name):
        if name != "broker":
            super().start(name)
            return
        if len(self.nodes.folders) == 1:
            for number in range(self.count):
                if number:
                    self.nodes.join()
                self.nodes.start(number)
            urls = [self.nodes.url(number) for number in range(1, self.count)]
            text = self.broker.read_text(encoding="utf-8")
            self.broker.write_text(f"further_urls = {json.dumps(urls)}\n{text}", encoding="utf-8")

    def __exit__(self, *raised):
        super().__exit__(*raised)
        self.nodes.end()


@pytest.fixture
def migrated_database(postgres, migrated_template, database_names):
    """The `[store]` table of a new database with today's tables."""
    name = next(database_names)
    yield postgres.create(name, migrated_template)
    postgres.drop(name)


@pytest.fixture
def two_nodes(tmp_path, database):
    """A set-up play on two nodes; the connectors are running."""
    scenario = load(Path(deploy.demo.__file__).parent)
    with SeveralNodes(tmp_path / "site", scenario, database, 2) as play:
        play.set_up()
        yield play


@pytest.fixture
def bare_nodes(tmp_path, database):
    """As `two_nodes` without agencies: only the nodes."""
    scenario = load(Path(deploy.demo.__file__).parent)
    with SeveralNodes(tmp_path / "site", scenario, database, 2) as play:
        for name in ("logs", "inputs"):
            (play.folder / name).mkdir(parents=True)
        play.make_broker()
        yield play
