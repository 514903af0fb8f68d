"""Gathering what the network shows: name, port, TLS, then four questions that change nothing at the broker.

Each step has five seconds. The connector's own certificate is shown, its instance number and newest checkpoint are
sent as on every call, so that what would refuse a call refuses here.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from queue import Empty, Queue
from typing import TypeVar, cast
from urllib.parse import urlsplit

from connectors import trust
from connectors.context import load_trust
from connectors.doctor.facts import RemoteFacts
from connectors.identity import load_unit_keys
from connectors.link import CHECKPOINT, INSTANCE, problem, tls_context
from connectors.settings import Settings
from consent import rules as rule_files
from schemas import catalogue
from schemas.calls import UnitsAnswer
from schemas.errors import HandslagError

TIMEOUT_S = 5.0
ANSWER_S = 8.0  # a whole answer, however it drips
_BODY = 16 * 1024 * 1024
# OpenSSL's words for what is wrong with a certificate (openssl-verification-options(1)).
_NOT_VALID_TODAY = {9, 10}
_NAME = {62, 64}
Answer = TypeVar("Answer")
Ask = Callable[[str], tuple[int, str | None, bytes]]


def gather(settings: Settings, note: bytes | None) -> RemoteFacts:
    """Go as far as the network lets one go. `note` is the newest checkpoint that this connector has verified.

    Of several nodes the first that answers is examined, or the first one when none does.
    """
    found = [_of_node(settings, url, note) for url in settings.broker_urls]
    away = sum(facts.reached != "answered" for facts in found)
    best = next((facts for facts in found if facts.reached == "answered"), found[0])
    return replace(best, nodes_away=away if best.reached == "answered" else 0)


def _of_node(settings: Settings, address: str, note: bytes | None) -> RemoteFacts:
    url = urlsplit(address)
    proxy = _proxy(url.hostname or "")
    reached = _reach(settings, url.hostname or "", url.port or 443)
    if reached != "answered":
        return RemoteFacts(reached=reached, proxy=proxy)
    headers = {INSTANCE: str(settings.instance)}
    if note is not None:
        headers[CHECKPOINT] = base64.b64encode(note).decode()
    context = tls_context(settings)

    def ask(path: str) -> tuple[int, str | None, bytes]:
        return bounded(lambda: _get(url.hostname or "", url.port or 443, context, path, headers), ANSWER_S)

    try:
        status, date, body = ask("/v1/schemas")
    except (ssl.SSLError, ConnectionError):
        # In TLS 1.3 the client has finished before the server looks at its certificate: the alert comes here, or the
        # end of the connection without one where it was overtaken.
        return RemoteFacts(reached="certificate-refused", proxy=proxy)
    except (OSError, http.client.HTTPException):
        return RemoteFacts(reached="broken", proxy=proxy)
    try:
        refusal = None if status == 200 else problem(body).code
        return _asked(settings, ask, proxy, _moment(date), refusal, body)
    except (OSError, http.client.HTTPException):
        return RemoteFacts(reached="broken", proxy=proxy)


def _asked(
    settings: Settings, ask: Ask, proxy: bool, clock: datetime | None, refusal: str | None, schemas: bytes
) -> RemoteFacts:
    """The rest of the questions: a broker that refuses one may still answer another."""
    status, _date, units = ask("/v1/units")
    listed = units if status == 200 else None
    status, _date, rules = ask("/v1/rules")
    return RemoteFacts(
        reached="answered",
        proxy=proxy,
        clock=clock,
        refusal=refusal,
        own_entry=None if listed is None else _own_entry(settings, listed),
        rules=hashlib.sha256(rules).digest() == rule_files.shipped()[1].hash32 if status == 200 else None,
        schemas=None if refusal else _same_schemas(schemas),
    )


def _proxy(host: str) -> bool:
    """Whether this machine says that HTTPS to that host goes through a proxy."""
    named = urllib.request.getproxies()
    return bool(named.get("https") or named.get("all")) and not urllib.request.proxy_bypass(host)


def _reach(settings: Settings, host: str, port: int) -> str:
    try:
        bounded(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), TIMEOUT_S)
    except (OSError, UnicodeError):
        return "unresolved"
    try:
        with (
            socket.create_connection((host, port), TIMEOUT_S) as plain,
            tls_context(settings).wrap_socket(plain, server_hostname=host),
        ):
            return "answered"
    except ssl.SSLCertVerificationError as refused:
        if refused.verify_code in _NAME:
            return "wrong-name"
        return "not-valid-today" if refused.verify_code in _NOT_VALID_TODAY else "foreign"
    except ssl.SSLError as fault:
        return "certificate-refused" if "ALERT" in (fault.reason or "") else "not-tls"
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silent"
    except HandslagError:
        return "own-files"
    except OSError as fault:
        return "not-tls" if isinstance(fault, ConnectionResetError) else "silent"


def bounded(call: Callable[[], Answer], seconds: float) -> Answer:
    """What `call` gives, or TimeoutError: a resolver or a peer that drips may keep its thread, and not the person."""
    done: Queue[tuple[Answer | None, BaseException | None]] = Queue()

    def run() -> None:
        try:
            done.put((call(), None))
        except BaseException as fault:  # noqa: BLE001 - raised again where it is waited for
            done.put((None, fault))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, fault = done.get(timeout=seconds)
    except Empty:
        raise TimeoutError from None
    if fault is not None:
        raise fault
    return cast("Answer", value)


def _get(
    host: str, port: int, context: ssl.SSLContext, path: str, headers: dict[str, str]
) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Date"), answer.read(_BODY)
    finally:
        connection.close()


def _moment(date: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(date) if date else None
    except ValueError:
        return None


def _same_schemas(body: bytes) -> bool:
    """Whether every schema both sides know has one hash; names that only one side has are no contradiction."""
    try:
        told = {row["name"]: row["project_hash"] for row in json.loads(body)["schemas"]}
    except (ValueError, KeyError, TypeError):
        return False
    own = {name: entry.project_hash.hex() for name, entry in catalogue.loaded().items()}
    return all(told[name] == own[name] for name in told.keys() & own.keys()) and bool(told)


def _own_entry(settings: Settings, body: bytes) -> str | None:
    """What the directory says of this unit; None when this side's own files do not let it be compared."""
    try:
        answer = UnitsAnswer.from_bytes(body, _BODY)
        own = load_unit_keys(settings.unit_signing_key, settings.unit_hpke_key).public
        listed = trust.directory(answer.units, load_trust(settings))
    except HandslagError as error:
        return "unsigned" if error.code == "HS-KEY-UNTRUSTED" else None
    entries = listed.entries.get(settings.unit, ())
    if not entries:
        return "absent"
    return "same" if any((e.signing_key, e.hpke_key) == (own.signing, own.hpke) for e in entries) else "other"
