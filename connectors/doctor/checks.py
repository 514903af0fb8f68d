"""From facts to findings: pure, one function for each group of the fault table, no order between them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from connectors.doctor.facts import LocalFacts, RemoteFacts
from schemas.faults import Found

CLOCK = timedelta(seconds=90)  # consents and bundles are judged by the minute; HTTP tells whole seconds
SOON = timedelta(days=14)
FULL = 16 * 1024 * 1024  # less than two bundles
LOW = 256 * 1024 * 1024

_REACHED = {
    "unresolved": "F-NAME",
    "refused": "F-PORT",
    "silent": "F-SILENT",
    "not-tls": "F-NOT-TLS",
    "foreign": "F-TLS-INSPECTION",
    "wrong-name": "F-SERVER-NAME",
    "not-valid-today": "F-SERVER-EXPIRED",
    "certificate-refused": "F-CERT-REFUSED",
    "broken": "F-BROKER-FAULT",
}
_AWAY = {"unresolved", "refused", "silent", "not-tls"}
_REFUSED = {
    "HS-UNIT-UNKNOWN": "F-UNIT-UNKNOWN",
    "HS-INSTANCE-OLD": "F-INSTANCE",
    "HS-INSTANCE-NEW": "F-INSTANCE-NEW",
    "HS-BROKER-BEHIND": "F-BROKER-HOLDS",
    "HS-TRAIL-ROLLBACK": "F-BROKER-HOLDS",
}


def findings(local: LocalFacts, remote: RemoteFacts | None) -> list[Found]:
    """Everything that is wrong; `remote` is None where the network was not looked at."""
    at = remote.clock if remote is not None and remote.clock is not None else local.now
    return [
        *certificates(local, at),
        *clocks(local, remote),
        *places(local),
        *trust_list(local),
        *database(local),
        *room(local),
        *notices(local, remote),
        *(network(remote) if remote is not None else ()),
    ]


def certificates(local: LocalFacts, at: datetime) -> Iterator[Found]:
    """This connector's certificate at a moment, which is the broker's where it is known."""
    facts = local.certificate
    if facts is None:
        yield Found("F-CERT-MISSING", "certificate")
        return
    if facts.ca_ends is None:
        yield Found("F-CERT-MISSING", "ca")
    elif facts.ca_ends <= at:
        yield Found("F-AUTHORITY-EXPIRED", "ca")
    if facts.begins > at:
        yield Found("F-CERT-EARLY", "certificate")
    elif facts.ends <= at:
        yield Found("F-CERT-EXPIRED", "certificate")
    elif facts.ends - at < SOON:
        yield Found("F-CERT-SOON", "certificate")
    if not facts.names_unit:
        yield Found("F-CERT-NAME", "certificate")
    if facts.key_fits is False:
        yield Found("F-CERT-KEY", "certificate_key")
    if facts.issued_by_ca is False:
        yield Found("F-CERT-AUTHORITY", "ca")


def clocks(local: LocalFacts, remote: RemoteFacts | None) -> Iterator[Found]:
    """Against the broker's clock; where that is not known, against what this connector itself has written."""
    if remote is not None and remote.clock is not None:
        ahead = local.now - remote.clock
        if ahead > CLOCK:
            yield Found("F-CLOCK-AHEAD")
        elif ahead < -CLOCK:
            yield Found("F-CLOCK-BEHIND")
    elif local.spool.newest is not None and local.spool.newest - local.now > CLOCK:
        yield Found("F-CLOCK-BEHIND")


def places(local: LocalFacts) -> Iterator[Found]:
    """Key files, folders, and which folder is which."""
    for name, state in local.files.items():
        if state == "open":
            yield Found("F-KEY-OPEN", name)
        elif state != "ok":
            yield Found("F-KEY-FILE", name)
    for name, state in local.folders.items():
        if state == "open":
            yield Found("F-FOLDER-OPEN", name)
        elif state != "ok":
            yield Found("F-FOLDER-MISSING", name)
    if local.same:
        yield Found("F-MAPPING-SAME", local.same)
    if local.swapped:
        yield Found("F-MAPPING-SWAPPED", "folder/out")


def trust_list(local: LocalFacts) -> Iterator[Found]:
    """The list, its fingerprint and its signatures: each fault of its own."""
    facts = local.trust
    if facts is None:
        yield Found("F-TRUST-MISSING", "trust_file")
        return
    if not facts.every_signature_holds:
        yield Found("F-TRUST-CHANGED", "trust_file")
    if not facts.fingerprint:
        yield Found("F-TRUST-FINGERPRINT", "trust_fingerprint")
    if facts.signers < 2:
        yield Found("F-TRUST-ONE", "trust_file")
    if not facts.origin:
        yield Found("F-TRUST-ORIGIN", "origin")


def database(local: LocalFacts) -> Iterator[Found]:
    """The database, its key, and whether it went back."""
    spool = local.spool
    state = {"other-key": "F-DATA-KEY", "newer": "F-SPOOL-NEWER", "damaged": "F-SPOOL-DAMAGED"}.get(spool.state)
    if state is not None:
        yield Found(state, "data_dir")
    if spool.halted:
        yield Found("F-HALTED")
    if local.marker is not None and local.marker[0] == local.instance and state is None:
        # A connector that has run has a number; a database without one is new, or from before it ran.
        held = 0 if spool.state == "absent" else spool.high_water
        if held is not None and held < local.marker[1]:
            yield Found("F-SNAPSHOT", "data_dir")
    if local.running_other:
        yield Found("F-ANOTHER-RUNS", "data_dir")


def room(local: LocalFacts) -> Iterator[Found]:
    """Disk and locks."""
    if local.writable is False or (local.free_bytes is not None and local.free_bytes < FULL):
        yield Found("F-DISK-FULL", "data_dir")
    elif local.free_bytes is not None and local.free_bytes < LOW:
        yield Found("F-DISK-LOW", "data_dir")
    if local.locks is False:
        yield Found("F-NO-LOCKS", "data_dir")


def notices(local: LocalFacts, remote: RemoteFacts | None) -> Iterator[Found]:
    """What a person should know and what stops nothing."""
    if not local.spool.backed_up:
        yield Found("N-NO-BACKUP")
    if not local.running:
        yield Found("N-STOPPED")
    if local.certificate is not None and local.certificate.ca_notes:
        yield Found("N-TRYING-OUT", "ca")
    if remote is not None and remote.proxy and remote.reached == "answered":
        yield Found("N-PROXY-SET")
    if remote is not None and remote.nodes_away:
        yield Found("N-NODE-AWAY", "further_urls")
    if not local.weekly:
        yield Found("N-SLOTS", "slot_s")


def network(remote: RemoteFacts) -> Iterator[Found]:
    """How far the way went, and what the broker said at its end."""
    if remote.reached in _REACHED:
        yield Found(_REACHED[remote.reached], "broker_url")
    if remote.proxy and remote.reached in _AWAY:
        yield Found("F-PROXY")
    if remote.refusal is not None:
        yield Found(_REFUSED.get(remote.refusal, "F-BROKER-FAULT"))
    if remote.own_entry in {"other", "unsigned"}:
        yield Found("F-KEY-DIRECTORY", "keys/unit-signing.key")
    elif remote.own_entry == "absent":
        yield Found("F-UNIT-UNKNOWN")
    if remote.rules is False:
        yield Found("F-RULES")
    if remote.schemas is False:
        yield Found("F-SCHEMAS")
