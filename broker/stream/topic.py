"""What the topic of submissions must be, and in what an existing one differs. Pure: names and values as Kafka has them.

Nothing here is a matter of taste: each setting keeps a submission from being lost, or a decided one from staying.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from broker.engine_settings import StreamSettings
from broker.store.tables import BUCKETS
from broker.stream.kafka_clients import REQUEST

_MINUTE_MS = 60_000
_DAY_MS = 24 * 60 * _MINUTE_MS

# Settings of the topic that are the same at every operator, with the reason.
FIXED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "cleanup.policy": ("delete", "records have no key; compaction would delete undecided ones"),
        "compression.type": ("producer", "ciphertext does not shrink"),
        "file.delete.delay.ms": ("1000", "a deleted file is gone at once"),
        "max.message.bytes": (str(REQUEST), "what a node may send as one batch"),
        "message.timestamp.type": ("LogAppendTime", "retention follows the servers' clock, not a node's"),
        "remote.storage.enable": ("false", "no copy lies elsewhere"),
        "retention.bytes": ("-1", "a flood deletes nothing that waits"),
        "retention.ms": (str(3 * _DAY_MS), "a day longer than the key under which a record can be read"),
        "segment.bytes": (str(4 * 1024 * 1024), "only whole segments are deleted"),
        "segment.index.bytes": (str(64 * 1024), "as much as such a segment needs"),
        "segment.ms": (str(5 * _MINUTE_MS), "only segments that are written no more are deleted"),
        "unclean.leader.election.enable": ("false", "a copy that was behind never leads"),
    }
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The topic as it must be; `configs` by name."""

    name: str
    partitions: int
    replication_factor: int
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """The topic as the servers describe it: per partition the number of copies and of those in sync."""

    topic_id: bytes
    copies: tuple[int, ...]
    in_sync: tuple[int, ...]
    leaderless: int
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it must be, and why it must."""

    name: str
    wanted: str
    found: str
    why: str


def wanted(settings: StreamSettings) -> Wanted:
    """What the configuration asks for."""
    configs = {name: value for name, (value, _why) in FIXED.items()}
    configs["min.insync.replicas"] = str(settings.min_insync_replicas)
    return Wanted(settings.topic, BUCKETS, settings.replication_factor, MappingProxyType(configs))


def differences(must: Wanted, found: Found) -> list[Difference]:
    """In what an existing topic is not what it must be; a partition being moved may have more copies for a while."""
    # INVARIANT: test_a_topic_that_differs_is_refused
    differ = []
    if len(found.copies) != must.partitions:
        differ.append(Difference("partitions", str(must.partitions), str(len(found.copies)), "a bucket is a partition"))
    fewest = min(found.copies, default=0)
    if fewest < must.replication_factor:
        copies = str(must.replication_factor)
        differ.append(Difference("replication.factor", copies, str(fewest), "what is acknowledged survives a server"))
    for name, value in sorted(must.configs.items()):
        has = found.configs.get(name, "")
        if has != value:
            why = FIXED[name][1] if name in FIXED else "acknowledged means on so many servers"
            differ.append(Difference(name, value, has, why))
    return differ


def creating(must: Wanted, bootstrap: str, command_config: str) -> str:
    """The line of `kafka-topics.sh` that makes the topic."""
    given = [f"{name}={value}" for name, value in sorted(must.configs.items())]
    fixed = ["kafka-topics.sh", "--bootstrap-server", bootstrap, "--command-config", command_config, "--create"]
    fixed += ["--topic", must.name, "--partitions", str(must.partitions)]
    fixed += ["--replication-factor", str(must.replication_factor)]
    return shlex.join([*fixed, *(word for each in given for word in ("--config", each))])


def mending(must: Wanted, differ: list[Difference], bootstrap: str, command_config: str) -> str | None:
    """The line of `kafka-configs.sh` that mends what can be mended in place; None when nothing can."""
    given = ",".join(f"{each.name}={each.wanted}" for each in differ if each.name in must.configs)
    if not given:
        return None
    fixed = ["kafka-configs.sh", "--bootstrap-server", bootstrap, "--command-config", command_config, "--alter"]
    return shlex.join([*fixed, "--entity-type", "topics", "--entity-name", must.name, "--add-config", given])
