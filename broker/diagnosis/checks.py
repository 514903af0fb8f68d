"""From facts to findings: pure, one function for each group of the fault table, no order between them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from broker.diagnosis.facts import BrokerFacts, NodeFacts, StreamFacts
from schemas.faults import Found

CLOCK = timedelta(seconds=90)
SOON = timedelta(days=14)
FULL = 64 * 1024 * 1024  # what is under way at one moment: bundles of several units
LOW = 1024 * 1024 * 1024


def findings(facts: BrokerFacts) -> list[Found]:
    """Everything that is wrong."""
    of_engines = [*store(facts), *stream(facts.stream)]
    return [*certificate(facts), *files(facts), *of_engines, *room(facts), *node(facts.node), *notices(facts)]


def certificate(facts: BrokerFacts) -> Iterator[Found]:
    """The gateway's certificate, and the authority of the units'."""
    if facts.authority_ends is None:
        yield Found("F-CERT-MISSING", "tls.client_ca_file")
    elif facts.authority_ends <= facts.now:
        yield Found("F-AUTHORITY-EXPIRED", "tls.client_ca_file")
    server = facts.server
    if server is None:
        yield Found("F-CERT-MISSING", "tls.certificate_file")
        return
    if server.begins > facts.now:
        yield Found("F-CERT-EARLY", "tls.certificate_file")
    elif server.ends <= facts.now:
        yield Found("F-CERT-EXPIRED", "tls.certificate_file")
    elif server.ends - facts.now < SOON:
        yield Found("F-CERT-SOON", "tls.certificate_file")
    if not server.names_host:
        yield Found("F-CERT-NAME", "tls.certificate_file")
    if server.key_fits is False:
        yield Found("F-CERT-KEY", "tls.key_file")
    if server.issued_by_ca is False:
        yield Found("F-CERT-AUTHORITY", "tls.certificate_file")


def files(facts: BrokerFacts) -> Iterator[Found]:
    """Key files and folders."""
    for name, state in facts.files.items():
        if state == "open":
            yield Found("F-KEY-OPEN", name)
        elif state != "ok":
            yield Found("F-KEY-FILE", name)
    for name, state in facts.folders.items():
        if state != "ok":
            yield Found("F-FOLDER-OPEN" if state == "open" else "F-FOLDER-MISSING", name)


def store(facts: BrokerFacts) -> Iterator[Found]:
    """Database, keys, anchor, admissions, and a clock that runs behind what was written."""
    if facts.keys_belong is False:
        yield Found("F-BROKER-KEYS", "root_key_file")
    seen = facts.store.state in {"ok", "absent"}
    if facts.store.state == "damaged":
        yield Found("F-STORE-DAMAGED", "data_dir")
    elif not seen:
        yield Found("F-STORE-AWAY", "store")
    if facts.anchor == "damaged" or (facts.anchor == "missing" and facts.store.size):
        yield Found("F-ANCHOR", "data_dir")
    elif seen and facts.anchor_size > facts.store.size:
        yield Found("F-STORE-OLD", "data_dir")
    if not facts.admissions:
        yield Found("F-ADMISSIONS", "data_dir")
    newest = facts.store.newest_us
    if newest is not None and datetime.fromtimestamp(newest / 1e6, UTC) - facts.now > CLOCK:
        yield Found("F-CLOCK-BEHIND")


def stream(facts: StreamFacts | None) -> Iterator[Found]:
    """The topic in Kafka: reached, permitted, as it must be, with copies enough."""
    if facts is None:
        return
    if facts.code == "HS-STREAM-FORBIDDEN" or facts.missing_rights:
        yield Found("F-STREAM-RIGHTS", ", ".join(facts.missing_rights) or "stream.certificate_file")
    elif facts.code == "HS-SETTINGS-INVALID":
        yield Found("F-STREAM-FILE", "stream")
    elif facts.code == "HS-STREAM-AWAY":
        yield Found("F-STREAM-AWAY", "stream.bootstrap")
    if facts.differs:
        yield Found("F-STREAM-TOPIC", ", ".join(facts.differs))
    if facts.refusing_writes or facts.leaderless:
        yield Found("F-STREAM-COPIES")


def room(facts: BrokerFacts) -> Iterator[Found]:
    """Disk and locks."""
    if facts.writable is False or (facts.free_bytes is not None and facts.free_bytes < FULL):
        yield Found("F-DISK-FULL", "data_dir")
    elif facts.free_bytes is not None and facts.free_bytes < LOW:
        yield Found("F-DISK-LOW", "data_dir")
    if facts.locks is False:
        yield Found("F-NO-LOCKS", "data_dir")


def node(facts: NodeFacts) -> Iterator[Found]:
    """The process: ready, silent, or kept out by somebody else's."""
    for setting in facts.taken:
        yield Found("F-PORT-TAKEN", setting)
    if facts.answers is False:
        yield Found("F-NODE-SILENT", "operations.listen")
    if facts.reasons:
        yield Found("F-NOT-READY", ", ".join(facts.reasons))


def notices(facts: BrokerFacts) -> Iterator[Found]:
    """What a person should know and what stops nothing."""
    if not facts.node.running:
        yield Found("N-BROKER-STOPPED")
    if facts.node.others_away:
        yield Found("N-NODES-AWAY")
    if facts.node.key_holders:
        yield Found("N-ERASURE-WAITS")
    if not facts.operations_inside:
        yield Found("N-OPERATIONS-OPEN", "operations.listen")
    for setting in facts.trying_out:
        yield Found("N-TRYING-OUT", setting)
