"""A real Apache Kafka cluster on this machine: one node or three, each a process of its own on free ports.

For tests, the demonstration and measurements; Nothing of it is for an operator's servers.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path
from string import Template
from types import TracebackType
from typing import BinaryIO, Self

import click

from deploy import kafka_jars, kafka_pki

_START_S = 180.0
_STOP_S = 20.0
_TOOL_S = 60.0
# Quick to start and small; a server that runs for months wants neither.
_JVM = ("-Xms64m", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData")
_LOG = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
)
_SERVES = "Kafka Server started"


class Ports:
    """Free ports of the loopback address, kept from everybody but the server they are meant for.

    Each is bound and not listening: a server may bind it too, and no one is given it by chance while that server is
    down.
    """

    def __init__(self, count: int) -> None:
        self._sockets = [socket.socket() for _ in range(count)]
        for each in self._sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.bind(("127.0.0.1", 0))
        self.numbers: list[int] = [each.getsockname()[1] for each in self._sockets]

    def close(self) -> None:
        """Give them back."""
        for each in self._sockets:
            each.close()


class Node:
    """One server of the cluster, broker and controller in one process."""

    def __init__(self, folder: Path, node_id: int, address: str) -> None:
        self.folder = folder
        self.node_id = node_id
        self.address = address
        self.log_dir = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether its process is there, stopped by a signal or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id; raises ClickException when it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise click.ClickException(f"node {self.node_id} does not run")
        return self._process.pid

    @property
    def said(self) -> str:
        """What it wrote to its log since its folder was made."""
        file = self.folder / "server.log"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def format(self, cluster_id: str) -> subprocess.Popen[bytes]:
        """Begin to prepare its empty data folder; the caller waits."""
        # An id may begin with a hyphen: beside `-t` it would be taken for an option.
        properties = str(self.folder / "server.properties")
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "--config", properties]
        with (self.folder / "format.log").open("wb") as log:
            return _started(tool, log)

    def launch(self) -> None:
        """Start the process; `wait` says when it serves."""
        if self.running:
            raise click.ClickException(f"node {self.node_id} runs already")
        self._starts = self.said.count(_SERVES)
        with (self.folder / "server.log").open("ab") as log:
            self._process = _started(["kafka.Kafka", str(self.folder / "server.properties")], log)

    def wait(self) -> None:
        """Return when it serves; raises ClickException with its last words when it ended or took too long."""
        end = time.monotonic() + _START_S
        while self.said.count(_SERVES) == self._starts:
            if not self.running or time.monotonic() > end:
                raise click.ClickException(f"Kafka node {self.node_id} does not serve:\n{self.said[-3000:]}")
            time.sleep(0.05)

    def start(self) -> None:
        """Start and return when it serves."""
        self.launch()
        self.wait()

    def ask_to_stop(self) -> None:
        """SIGTERM: it hands its leaderships over and ends."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when it does not end (the last of a cluster cannot hand anything over)."""
        self.ask_to_stop()
        if self._process is not None:
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL, as a power cut of this one machine."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: alive and silent until `resume`. Comes back when the last of its threads has stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)


class Cluster:
    """A KRaft cluster of one or three nodes in `folder`; entering its context starts it, leaving it stops it.

    With `closed` every connection is TLS with certificates of both ends, from `authority`, and nobody but the servers
    themselves may do anything until `tool` grants it.
    """

    def __init__(self, folder: Path, nodes: int = 1, *, closed: bool = False) -> None:
        self.folder = folder
        self.authority = kafka_pki.Authority(folder / "tls") if closed else None
        self.administrator: tuple[Path, Path] | None = None  # a server's own certificate and key
        self.version = kafka_jars.version()
        self._ports = Ports(3 * nodes)
        numbers = self._ports.numbers
        self._places = {n + 1: tuple(numbers[3 * n : 3 * n + 3]) for n in range(nodes)}
        self.nodes = [Node(folder / f"node-{n}", n, f"127.0.0.1:{at[0]}") for n, at in self._places.items()]

    @property
    def bootstrap(self) -> tuple[str, ...]:
        """host:port of every node, for clients."""
        return tuple(node.address for node in self.nodes)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Start every node that does not run and return when all serve; raises ClickException."""
        new = [node for node in self.nodes if not node.log_dir.exists()]
        if new:
            self._prepare(new)
        starting = [node for node in self.nodes if not node.running]
        for node in starting:
            node.launch()
        for node in starting:
            node.wait()

    def stop(self) -> None:
        """Stop every node; their data and ports stay."""
        for node in self.nodes:
            if node.running:
                with contextlib.suppress(ProcessLookupError):
                    node.resume()
            node.ask_to_stop()
        for node in self.nodes:
            node.stop()

    def close(self) -> None:
        """Kill every node and give the ports back: what nobody will read again needs no orderly end."""
        for node in self.nodes:
            node.kill()
        self._ports.close()

    def _prepare(self, new: list[Node]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "admin.properties").write_text("", encoding="utf-8")
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        formatting = []
        for node in new:
            node.folder.mkdir(parents=True)
            (node.folder / "server.properties").write_text(self._properties(node), encoding="utf-8")
            formatting.append(node.format(cluster_id))
        for node, process in zip(new, formatting, strict=True):
            if process.wait(_START_S):
                said = (node.folder / "format.log").read_text(encoding="utf-8", errors="replace")
                raise click.ClickException(f"Kafka node {node.node_id} could not be prepared:\n{said[-3000:]}")

    def tool(self, main: str, *words: str) -> str:
        """Run one of Kafka's own commands as a server would; returns what it wrote, raises ClickException."""
        package = "kafka.admin" if main == "ConfigCommand" else "org.apache.kafka.tools"
        command = [*_java(), f"{package}.{main}", "--bootstrap-server", ",".join(self.bootstrap)]
        command += ["--command-config", str(self.folder / "admin.properties"), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TOOL_S, check=False)  # noqa: S603 - our own
        if done.returncode:
            raise click.ClickException(f"{main} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _security(self, node: Node) -> str:
        if self.authority is None:
            return ""
        self.administrator = self.authority.issue(f"kafka-{node.node_id}", kafka_pki.SERVERS, server=True)
        mine = kafka_pki.properties(self.authority.file, *self.administrator)
        (self.folder / "admin.properties").write_text("security.protocol=SSL\n" + mine, encoding="utf-8")
        supers = ";".join(f"User:CN=kafka-{n},OU={kafka_pki.SERVERS}" for n in self._places)
        return Template(_template("closed.properties")).substitute(super_users=supers) + mine

    def _properties(self, node: Node) -> str:
        port, inter_port, controller_port = self._places[node.node_id]
        return self._security(node) + Template(_template("server.properties")).substitute(
            node_id=node.node_id,
            voters=",".join(f"{n}@127.0.0.1:{places[2]}" for n, places in self._places.items()),
            port=port,
            inter_port=inter_port,
            controller_port=controller_port,
            protocol="SSL" if self.authority else "PLAINTEXT",
            log_dir=node.log_dir,
            replication_factor=len(self.nodes),
            min_insync_replicas=min(2, len(self.nodes)),
            retention_check_ms=2000,
            delete_delay_ms=1000,
        )


def _java() -> list[str]:
    return [kafka_jars.java(), *_JVM, *_LOG, "-cp", ":".join(map(str, kafka_jars.jars()))]


def _started(words: list[str], log: BinaryIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*_java(), *words], stdout=log, stderr=subprocess.STDOUT)  # noqa: S603 - our own command


def _template(name: str) -> str:
    """A file of the folder without its comments, which would be taken for `$words`."""
    return re.sub(r"^#.*\n", "", (kafka_jars.HERE / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
