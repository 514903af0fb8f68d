"""What the doctor can know of a broker: plain values, no keys, no names. None means that it was not to be seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from broker.store.look import Looked


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """The gateway's certificate beside the configuration. Moments are UTC."""

    begins: datetime
    ends: datetime
    names_host: bool
    key_fits: bool | None
    issued_by_ca: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """The node: `answers` is None where none runs; `reasons` why it is not ready, `taken` settings of ports in use.

    `others_away` counts nodes of the same store that were there today and are not now, `key_holders` those whose root
    key still opens what was erased.
    """

    running: bool
    answers: bool | None = None
    reasons: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    others_away: int = 0
    key_holders: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts:
    """The topic in Kafka as this node sees it. `code` is why nothing could be seen; names are Kafka's own.

    `refusing_writes` and `leaderless` count partitions.
    """

    code: str | None = None
    differs: tuple[str, ...] = ()
    missing_rights: tuple[str, ...] = ()
    refusing_writes: int = 0
    leaderless: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFacts:
    """All that lies on this machine; `stream` is None where it lies in the store.

    `anchor` is ok, missing or damaged, `anchor_size` the leaves that it states.
    """

    now: datetime
    server: ServerFacts | None
    authority_ends: datetime | None
    trying_out: tuple[str, ...]
    files: Mapping[str, str]
    folders: Mapping[str, str]
    keys_belong: bool | None
    store: Looked
    stream: StreamFacts | None
    anchor: str
    anchor_size: int
    admissions: bool
    node: NodeFacts
    operations_inside: bool
    free_bytes: int | None
    writable: bool | None
    locks: bool | None
