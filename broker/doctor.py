"""`handslag doctor`: what is wrong with this installation, each with what to do, before a connector finds out."""

from __future__ import annotations

import json
import ssl
import stat
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from broker import admissions, control, keyfiles, pki, settings
from broker.gateway import tls
from broker.settings import BrokerSettings
from broker.store import rootkey
from schemas.errors import HandslagError

SOON = timedelta(days=30)
PROBE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its name, whether it passed, and for one that did not what to do. A warning does not fail."""

    check: str
    passed: bool
    advice: str = ""
    warning: bool = False


def examine(config: Path, now: datetime) -> list[Finding]:
    """Every check in order; when the configuration itself cannot be read, that is the only finding."""
    try:
        loaded = settings.load(config)
    except HandslagError as error:
        return [Finding("configuration", False, error.diagnostics())]
    return [Finding("configuration", True), *_checks(loaded, now)]


def _checks(loaded: BrokerSettings, now: datetime) -> Iterator[Finding]:
    yield _tried("log key", lambda: keyfiles.log_key(loaded.log_key_file))
    yield _tried("root key", lambda: rootkey.load(loaded.root_key_file))
    yield _tried("supervisor key", lambda: keyfiles.supervisor_key(loaded.supervisor_key_file))
    yield _tried("tls key", lambda: keyfiles.read_private(loaded.tls.key_file, "tls.key_file"))
    yield _tried("tls files", lambda: tls.server_context(loaded.tls))
    yield from _certificate("server certificate", loaded.tls.certificate_file, now, urlsplit(loaded.url).hostname)
    yield from _certificate("client authority", loaded.tls.client_ca_file, now, None)
    yield _data_dir(loaded.data_dir)
    yield _tried("admissions", lambda: admissions.load_all(loaded.data_dir))
    yield _loopback(loaded)
    yield _demonstration(loaded)
    yield _node(loaded)


def _tried(check: str, look: Callable[[], object]) -> Finding:
    try:
        look()
    except HandslagError as error:
        return Finding(check, False, error.diagnostics())
    except OSError:
        return Finding(check, False, "The file cannot be read: check that it exists and who owns it.")
    return Finding(check, True)


def _certificate(check: str, path: Path, now: datetime, host: str | None) -> Iterator[Finding]:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        yield Finding(check, False, "The file is missing or holds no certificate in PEM.")
        return
    left = certificate.not_valid_after_utc - now
    if left <= timedelta(0) or certificate.not_valid_before_utc > now:
        yield Finding(f"{check} validity", False, "It is not valid today: renew it, or set the clock.")
    elif left < SOON:
        yield Finding(f"{check} validity", False, "It ends within 30 days: renew it.", warning=True)
    else:
        yield Finding(f"{check} validity", True)
    if host is not None:
        advice = "Connectors will refuse it: it does not name the host of `url`. Issue one that does."
        yield Finding(f"{check} name", _names(certificate, host), advice)


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


def _data_dir(folder: Path) -> Finding:
    if not folder.is_dir():
        return Finding("data folder", False, "It does not exist: create it with mode 0700.")
    closed = not folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return Finding("data folder", closed, "Others may enter it: set its mode to 0700.")


def _loopback(loaded: BrokerSettings) -> Finding:
    host = loaded.operations.address.host
    try:
        inside = ip_address(host).is_loopback
    except ValueError:
        inside = host == "localhost"
    advice = "`operations.listen` is open to the network and has no login: put it on 127.0.0.1."
    return Finding("operations port", inside, advice, warning=True)


def _demonstration(loaded: BrokerSettings) -> Finding:
    try:
        certificate = x509.load_pem_x509_certificate(loaded.tls.client_ca_file.read_bytes())
        demonstration = pki.WARNING in certificate.subject.rfc4514_string()
    except (OSError, ValueError):
        demonstration = False
    demonstration = demonstration or "demo" in loaded.supervisor_key_file.name
    advice = "Certificate authority or supervisor key are for demonstrations: replace them before real use."
    return Finding("no demonstration keys", not demonstration, advice, warning=True)


def _node(loaded: BrokerSettings) -> Finding:
    if not control.is_running(loaded.data_dir):
        return Finding("broker running", False, "No broker runs on this data folder: `handslag serve`.", warning=True)
    url = f"http://{loaded.operations.address}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=PROBE_SECONDS) as answer:
            answer.read()
        return Finding("broker ready", True)
    except urllib.error.HTTPError as answer:
        with answer:
            reasons = ", ".join(json.loads(answer.read()).get("reasons", []))
        return Finding("broker ready", False, f"It runs and is not ready: {reasons}.")
    except (OSError, ValueError, ssl.SSLError):
        return Finding("broker ready", False, "It runs and its operations port does not answer.")


def unit_status(admission: admissions.Admission) -> dict[str, str]:
    """What the operator sees of an admitted unit: code, state, and the last day of its certificate (ISO date)."""
    certificate = x509.load_pem_x509_certificate(admission.certificate_pem.encode())
    return {
        "unit": admission.unit,
        "agency": admission.agency,
        "state": "ADMITTED" if admission.revoked_at_us is None else "REVOKED",
        "certificate_until": certificate.not_valid_after_utc.date().isoformat(),
    }
