"""Gathering what can be seen of a broker on its own machine, whether it runs or not. Changes nothing that stays."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import stat
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from broker import admissions, control, keyfiles, pki, regions
from broker.anchor import Anchor
from broker.diagnosis import stream
from broker.diagnosis.facts import BrokerFacts, NodeFacts, ServerFacts
from broker.settings import Address, BrokerSettings
from broker.store import look, rootkey
from schemas.errors import HandslagError, registry

PROBE_S = 3.0
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_PROBE_BYTES = 64 * 1024
_PHASES = {"STARTING", "CORE-SILENT"}


def gather(loaded: BrokerSettings, now: datetime) -> BrokerFacts:
    """Everything; `now` is this machine's clock (UTC). Raises `HS-DOCTOR-BLIND`."""
    _sighted(loaded)
    data_dir = loaded.data_dir if loaded.data_dir.is_dir() else None
    authority = _certificate(loaded.tls.client_ca_file)
    anchor, anchor_size = _anchor(loaded)  # before the store: a node that runs raises the store's head first
    return BrokerFacts(
        now=now,
        server=_server(loaded),
        authority_ends=None if authority is None else authority.not_valid_after_utc,
        trying_out=_trying_out(loaded),
        files=_files(loaded),
        folders={"data_dir": _folder(loaded.data_dir)},
        keys_belong=_keys_belong(loaded) if data_dir else None,
        store=look.look(loaded.database) if loaded.store.engine == "sqlite" else look.look_server(loaded.store),
        stream=stream.seen(loaded.stream),
        anchor=anchor,
        anchor_size=anchor_size,
        admissions=_fails(lambda: (admissions.load_all(loaded.data_dir), regions.load(loaded.data_dir))) is None,
        node=_node(loaded),
        operations_inside=_inside(loaded.operations.address.host),
        free_bytes=shutil.disk_usage(data_dir).free if data_dir else None,
        writable=_writable(data_dir) if data_dir else None,
        locks=look.locks(data_dir) if data_dir else None,
    )


def _keys_belong(loaded: BrokerSettings) -> bool | None:
    if loaded.store.engine == "postgresql":
        return look.server_keys_belong(loaded.store, loaded.root_key_file)
    return look.keys_belong(loaded.data_dir / "keys.db", loaded.root_key_file)


def _sighted(loaded: BrokerSettings) -> None:
    """Raise `HS-DOCTOR-BLIND` where this account may not read what it should examine: nothing seen is nothing sound."""
    # INVARIANT: test_a_doctor_that_may_not_read_does_not_call_it_a_fault
    files = (loaded.log_key_file, loaded.root_key_file, loaded.tls.key_file, loaded.tls.certificate_file)
    for folder in {loaded.data_dir, *(path.parent for path in files)}:
        if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
            raise HandslagError("HS-DOCTOR-BLIND", field="folder")
    own = loaded.store.password_file if loaded.store.engine == "postgresql" else loaded.database
    if any(path.exists() and not os.access(path, os.R_OK) for path in (*files, own) if path is not None):
        raise HandslagError("HS-DOCTOR-BLIND", field="file")


def _fails(read: Callable[[], object]) -> str | None:
    """The code that reading ends with, None when it does not fail."""
    try:
        read()
    except HandslagError as error:
        return error.code
    return None


def _files(loaded: BrokerSettings) -> dict[str, str]:
    secret = {
        "log_key_file": (loaded.log_key_file, lambda: keyfiles.log_key(loaded.log_key_file)),
        "root_key_file": (loaded.root_key_file, lambda: rootkey.load(loaded.root_key_file)),
        "tls.key_file": (loaded.tls.key_file, lambda: keyfiles.read_private(loaded.tls.key_file, "tls.key_file")),
    }
    if loaded.admission is not None:
        path = loaded.admission.ca_key_file
        secret["admission.ca_key_file"] = (path, lambda: keyfiles.read_private(path, "admission.ca_key_file"))
    found = {name: _mode(path) for name, (path, _read) in secret.items()}
    for name, (_path, read) in secret.items():
        if found[name] == "ok" and _fails(read):
            found[name] = "damaged"
    if found["tls.key_file"] == "ok" and _public(loaded.tls.key_file) is None:
        found["tls.key_file"] = "damaged"
    supervisor = _fails(lambda: keyfiles.supervisor_key(loaded.supervisor_key_file))
    return {**found, "supervisor_key_file": "damaged" if supervisor else "ok"}


def _mode(path: Path) -> str:
    try:
        return "open" if path.stat().st_mode & _OTHERS else "ok"
    except OSError:
        return "missing"


def _folder(path: Path) -> str:
    return _mode(path) if path.is_dir() else "missing"


def _certificate(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def _public(path: Path) -> object | None:
    try:
        return serialization.load_pem_private_key(path.read_bytes(), None).public_key()
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _server(loaded: BrokerSettings) -> ServerFacts | None:
    certificate = _certificate(loaded.tls.certificate_file)
    if certificate is None:
        return None
    held = _public(loaded.tls.key_file)
    # Connectors get this authority in their answer and check the gateway by it.
    ours = _certificate(loaded.admission.ca_certificate_file) if loaded.admission is not None else None
    return ServerFacts(
        begins=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
        names_host=_names(certificate, urlsplit(loaded.url).hostname or ""),
        key_fits=None if held is None else held == certificate.public_key(),
        issued_by_ca=None if ours is None else _issued(certificate, ours),
    )


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _names(certificate: x509.Certificate, host: str) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    try:
        return ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        dns = names.get_values_for_type(x509.DNSName)
        return host in dns or any(n.startswith("*.") and host.split(".", 1)[1:] == [n[2:]] for n in dns)


def _trying_out(loaded: BrokerSettings) -> tuple[str, ...]:
    """Settings that still name what `init` makes for trying out."""
    made = {
        "tls.client_ca_file": bool(pki.said_of_itself(loaded.tls.client_ca_file)),
        "supervisor_key_file": "demo" in loaded.supervisor_key_file.name,
    }
    return tuple(setting for setting, still in made.items() if still)


def _anchor(loaded: BrokerSettings) -> tuple[str, int]:
    try:
        return "ok", Anchor(loaded.data_dir / "anchor", loaded.origin).read().size
    except HandslagError as error:
        return "missing" if error.code == "HS-ANCHOR-MISSING" else "damaged", 0


def _inside(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _node(loaded: BrokerSettings) -> NodeFacts:
    if not control.is_running(loaded.data_dir):
        ports = {"listen": loaded.address, "operations.listen": loaded.operations.address}
        return NodeFacts(running=False, taken=tuple(name for name, where in ports.items() if _taken(where)))
    away, holders = _nodes_away(loaded), _key_holders(loaded)
    url = f"http://{loaded.operations.address}/readyz"
    past_proxies = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with past_proxies.open(url, timeout=PROBE_S) as answer:
            answer.read()
        return NodeFacts(running=True, answers=True, others_away=away, key_holders=holders)
    except urllib.error.HTTPError as answer:
        with answer:
            reasons = _reasons(answer.read(4096))
            return NodeFacts(running=True, answers=True, reasons=reasons, others_away=away, key_holders=holders)
    except (OSError, ValueError):
        return NodeFacts(running=True, answers=False)


def _nodes_away(loaded: BrokerSettings) -> int:
    """How many nodes of a shared store were there within a day and are not now, as the running node sees it."""
    if loaded.store.engine != "postgresql":
        return 0
    try:
        return sum(not each["live"] for each in control.call(loaded.data_dir, "nodes", {}, PROBE_S)["nodes"])
    except HandslagError:
        return 0


def _key_holders(loaded: BrokerSettings) -> int:
    """How many nodes an erasure waits for, as the running node sees it."""
    if loaded.store.engine != "postgresql":
        return 0
    try:
        return len(control.call(loaded.data_dir, "erase-status", {}, PROBE_S)["waits_for"])
    except HandslagError:
        return 0


def _reasons(body: bytes) -> tuple[str, ...]:
    """Codes that a broker of this version can give; what else answers on that port is not repeated."""
    try:
        told = [str(reason) for reason in json.loads(body)["reasons"]]
    except (ValueError, KeyError, TypeError):
        told = []
    return tuple(reason for reason in told if reason in registry() or reason in _PHASES) or ("unknown",)


def _taken(where: Address) -> bool:
    """Whether somebody listens there: tried by taking the port for a moment, which a free one allows."""
    if not where.port:
        return False
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trying:
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trying.bind((where.host, where.port))
            trying.listen(1)
        except OSError as fault:
            return fault.errno == errno.EADDRINUSE
    return False


def _writable(folder: Path) -> bool:
    path = folder / f".room-{uuid4().hex}"
    try:
        with path.open("wb") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    finally:
        path.unlink(missing_ok=True)
    return True
