"""A whole site by the five commands: a running broker, connectors that have run, and copies of them to spoil."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.server
import io
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import handslag
from broker import pki
from connectors import settings as connector_settings
from connectors.box import DataKey
from connectors.spool import Spool
from deploy.processes import Started, free_ports, started

LAUNCH = Path(__file__).with_name("launch.py")
NOW = dt.datetime.now(dt.UTC)


@dataclass(frozen=True)
class Report:
    """What a doctor said: its exit code, faults of their own, faults that follow, notices, and all of its words."""

    code: int
    faults: frozenset[str]
    follow: frozenset[str]
    notices: frozenset[str]
    text: str


def report(code: int, out: str, err: str) -> Report:
    try:
        told = json.loads(out)
        faults = told["faults"]
    except (ValueError, KeyError):  # another command, or a doctor that could not look
        return Report(code, frozenset(), frozenset(), frozenset(), out + err)
    return Report(
        code,
        frozenset(row["code"] for row in faults if row["follows_from"] is None),
        frozenset(row["code"] for row in faults if row["follows_from"] is not None),
        frozenset(row["code"] for row in told["notices"]),
        out + err,
    )


def here(*words: Any) -> Report:
    """The command line in this process, through its front door."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            handslag.main([*map(str, words), "--json"])
        except SystemExit as stop:
            code = int(stop.code or 0)
    return report(code, out.getvalue(), err.getvalue())


def apart(environment: dict[str, str], *words: Any) -> Report:
    """The command line in a process of its own, on a machine that is somewhat wrong."""
    done = subprocess.run(
        [sys.executable, LAUNCH, *map(str, words), "--json"],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return report(done.returncode, done.stdout, done.stderr)


def run(*words: Any) -> None:
    """One command through the front door, to its end."""
    done = here(*words)
    assert done.code == 0, done.text


def set_line(config: Path, key: str, value: str) -> None:
    """Change or add one top-level line of a configuration, as a person would in an editor."""
    lines = config.read_text("utf-8").splitlines()
    changed = [f"{key} = {value}" if line.startswith(f"{key} = ") else line for line in lines]
    if changed == lines and f"{key} = {value}" not in lines:
        changed.insert(0, f"{key} = {value}")
    config.write_text("\n".join(changed) + "\n", "utf-8")


def until(met: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "not seen in time"
        time.sleep(0.05)


@dataclass
class Site:
    """The site in its folder. `broker` and `connector` give copies that a test may spoil."""

    folder: Path
    running: ExitStack
    scratch: Path
    port: int = 0
    count: int = 0
    report: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def build(cls, folder: Path, running: ExitStack) -> Site:
        """Five commands and a message; then the broker on a quick beat, and connectors until they have a checkpoint."""
        home = folder / "site"
        home.mkdir()
        done = subprocess.run(
            [sys.executable, "-m", "deploy.five_minutes", "--dir", home, "--json"],
            cwd=LAUNCH.parents[2], capture_output=True, text=True, timeout=250, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        site = cls(home, running, folder, report=json.loads(done.stdout))
        config = home / "broker/broker.toml"
        set_line(config, "beat_seconds", "0.3")
        site.port = int(config.read_text().split('url = "https://127.0.0.1:')[1].split('"')[0])
        site.serve(config)
        with ExitStack() as running_now:
            for name in ("konsult", "syd"):
                running_now.enter_context(site.run(home / name / "connector.toml"))
            for name in ("konsult", "syd"):
                until(lambda name=name: seen(home / name / "connector.toml"))
        return site

    def serve(self, config: Path) -> Started:
        """A broker that runs until the site ends, unless it is stopped before."""
        log = self.scratch / f"broker-{self.next()}.log"
        process = self.running.enter_context(started(log, "serve", "--config", config))
        until(lambda: "Serving on" in log.read_text() or process.ended)
        return process

    @contextmanager
    def run(self, config: Path) -> Any:
        """A connector that runs as long as the block, which begins when it has made its first round."""
        marks = [config.parent / "folder/.high-water.json", config.parent / "data/running.config"]
        before = [_written(mark) for mark in marks]
        log = self.scratch / f"connector-{self.next()}.log"
        with started(log, "connector", "run", "--config", config) as process:
            until(lambda: process.ended or all(_written(m) != b for m, b in zip(marks, before, strict=True)))
            yield process

    def next(self) -> int:
        self.count += 1
        return self.count

    def connector(self, name: str = "konsult", into: str = "copy") -> Path:
        """A copy of a connector that has run: its configuration."""
        target = self.scratch / f"{into}-{self.next()}"
        shutil.copytree(self.folder / name, target)
        return target / "connector.toml"

    def extra(self) -> tuple[Path, str]:
        """One more unit of the municipality, admitted and enrolled, never run: its configuration and its code."""
        unit, target = f"SOC/EXEMPEL/EXTRA{self.next()}", self.scratch / f"extra-{self.next()}"
        key = self.folder / "konsult/keys/agency.key"
        run("connector", "init", "--dir", target, "--unit", unit, "--agency", "SOC/EXEMPEL",
            "--role", "social_services_lead", "--agency-key", key)  # fmt: skip
        run("agency", "admit", "--config", self.folder / "broker/broker.toml", target / "request.json")
        config = target / "connector.toml"
        run("connector", "enrol", target / "request.answer.json", "--config", config)
        shutil.copy2(self.folder / "konsult/trust.toml", target / "trust.toml")
        set_line(config, "trust_fingerprint", f'"{self.report["fingerprint"].replace(" ", "")}"')
        return config, unit

    def broker(self, into: str = "broker") -> Path:
        """A copy of the broker, stopped, on ports of its own: its configuration."""
        target = self.scratch / f"{into}-{self.next()}"
        source = self.folder / "broker"
        target.mkdir(mode=0o700)
        for part in ("keys", "tls", "supervisor-demo", "administrators-demo"):
            shutil.copytree(source / part, target / part)
        copy_data(source / "data", target / "data")
        gateway, operations = free_ports(2)
        text = (source / "broker.toml").read_text()
        (target / "broker.toml").write_text(text)
        set_line(target / "broker.toml", "listen", f'"127.0.0.1:{gateway}"')
        set_line(target / "broker.toml", "url", f'"https://127.0.0.1:{gateway}"')
        head, tail = (target / "broker.toml").read_text().split("[operations]")
        (target / "broker.toml").write_text(f'{head}[operations]\nlisten = "127.0.0.1:{operations}"\n')
        assert "listen" in tail
        return target / "broker.toml"

    @property
    def authority(self) -> pki.Authority:
        tls = self.folder / "broker/tls"
        return pki.load_authority((tls / "demo-ca.pem").read_bytes(), (tls / "demo-ca.key").read_bytes())


def _written(path: Path) -> tuple[int, int] | None:
    """Which writing of a file this is."""
    return (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None


def seen(config: Path) -> int:
    """How large the largest log is that a connector has seen; 0 before the first checkpoint."""
    settings = connector_settings.load(config)
    with contextlib.closing(Spool(settings.database, DataKey.load(settings.data_key))) as spool:
        note = spool.memory.get("checkpoint")
    return int(note.split(b"\n")[1]) if note else 0


def copy_data(source: Path, target: Path) -> None:
    """A data folder as a careful backup takes it: databases through SQLite, the rest as files."""
    import sqlite3

    target.mkdir(mode=0o700)
    for path in source.iterdir():
        if path.suffix == ".db":
            with (
                contextlib.closing(sqlite3.connect(path)) as old,
                contextlib.closing(sqlite3.connect(target / path.name)) as new,
            ):
                old.backup(new)
            (target / path.name).chmod(0o600)
        elif path.is_dir():
            shutil.copytree(path, target / path.name)
        elif path.is_file() and not path.name.endswith(("-wal", "-shm")):
            shutil.copy2(path, target / path.name)


# --- certificates


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def csr(config: Path, unit: str, key: Any = None) -> bytes:
    """A request for a unit, signed by the key that lies at the connector."""
    key = key or serialization.load_pem_private_key((config.parent / "keys/certificate.key").read_bytes(), None)
    algorithm = hashes.SHA256() if isinstance(key, ec.EllipticCurvePrivateKey) else None
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(pki.unit_uri(unit))])
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "EXEMPEL")])
    )
    return builder.add_extension(names, critical=True).sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


def server_pair(
    folder: Path, authority: pki.Authority, hosts: tuple[str, ...], at: dt.datetime = NOW
) -> tuple[Path, Path]:
    """A server's certificate and key as files."""
    key = pki.new_key()
    files = folder / "server.pem", folder / "server.key"
    folder.mkdir(parents=True, exist_ok=True)
    files[0].write_bytes(pem(pki.server_certificate(authority, key, hosts, at)))
    files[1].write_bytes(pki.key_pem(key))
    files[1].chmod(0o600)
    return files


# --- endpoints that are not the broker


class _Answers(http.server.BaseHTTPRequestHandler):
    answers: dict[str, tuple[int, bytes]]

    def do_GET(self) -> None:
        status, body = self.answers.get(self.path) or self.answers["*"]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: Any) -> None:
        pass  # tests are quiet


class _Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        del request, client_address  # a doctor that hangs up on a stranger is no news


@contextmanager
def endpoint(files: tuple[Path, Path] | None, answers: dict[str, tuple[int, bytes]]) -> Any:
    """A web server on a free port of the loopback address; with `files` it speaks TLS. Gives its port."""
    server = _Quiet(("127.0.0.1", 0), type("Answers", (_Answers,), {"answers": answers}))
    if files is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def listening() -> Any:
    """A port that takes connections and says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        yield silent.getsockname()[1]
