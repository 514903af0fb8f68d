"""What the broker tells Prometheus: one typed verb per fact, and no label that could lead to a person.

Names and units follow the Prometheus naming conventions. A label comes from one of the closed lists in `LABELS`;
units, municipalities, cases, seats and event types are not among them, because a count of one in a small place tells
who is in the programme.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import product
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import generate_latest

from broker.quota import KINDS
from broker.store.undone import OTHER, REASONS
from schemas.codes import DeliveryState, Outcome
from schemas.errors import registry as errors

CALLS = (
    "submit",
    "fetch",
    "ack",
    "consents",
    "said",
    "simulate",
    "statute",
    "statute_confirm",
    "approve",
    "annulments",
    "annul_answer",
    "open",
    "join",
    "separate",
    "invite",
    "accept",
    "state",
    "close",
    "instance",
    "compromised",
    "destroyed",
    "lost",
    "rekey",
    "pass",
    "recipient",
    "correct",
    "look",
    "ledger",
    "audit",
    "proofs",
    "trust",
    "explain",
    "cosign",
    "replay",
    "confirm",
    "hold_acts",
    "hold",
    "units",
    "acts",
    "rules",
    "rules_state",
    "schemas",
    "checkpoint",
    "tile",
    "unknown",
)

# What became of connections that never proved themselves, and of bytes that were no request.
ENDED = ("address", "full", "crowd", "slow", "ended", "unit", "request")

# INVARIANT: test_labels_come_from_closed_lists
LABELS: Mapping[str, frozenset[str]] = {
    "traffic": frozenset({"real", "probe"}),
    "certificate": frozenset({"server", "authority", "unit", "stream"}),
    "outcome": frozenset(Outcome),
    "state": frozenset({DeliveryState.ACKED, DeliveryState.REJECTED}),
    "call": frozenset(CALLS),
    "code": frozenset(errors()),
    "quota": frozenset(KINDS),
    "kind": frozenset(ENDED),
    "sqlstate": REASONS,
}

# A withdrawal is promised within 100 ms on one node and one second on three; a batch should stay under 50 ms.
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

Clock = Callable[[], float]
_Labelled = TypeVar("_Labelled", Counter, Gauge, Histogram)


class Metrics:
    """The broker's metrics in a registry of their own. `clock` gives seconds that never run back."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the series for a time that nobody reads
        self._clock = clock
        self._registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(namespace="handslag", registry=self._registry)
        self._count_facts()
        self._measure_durations()
        self._gauge_state()
        self._gauge_surroundings()
        self._gauge_stream()

    def _count_facts(self) -> None:
        self._submissions = self._counter("submissions", "Submissions taken into the stream.", "traffic")
        self._decisions = self._counter("decisions", "Decisions per recipient role, by outcome.", "outcome", "traffic")
        self._hand_overs = self._counter(
            "hand_overs", "Deliveries handed over, repeats after a lease included.", "traffic"
        )
        self._acks = self._counter("acks", "Deliveries that a recipient acknowledged or rejected.", "state", "traffic")
        self._overdue = self._counter(
            "deliveries_overdue", "Deliveries that passed their deadline unacknowledged.", "traffic"
        )
        self._expired = self._counter(
            "deliveries_expired", "Deliveries that ended because their validity ended.", "traffic"
        )
        self._instances = self._counter("instances_raised", "Restored connectors that took a new instance number.")
        self._refusals = self._counter("refusals", "Calls and submissions refused, by error code.", "code")
        self._over = self._counter("over_quota", "Calls and bundles over a quota of their unit, by quota.", "quota")
        self._undone = self._counter(
            "transactions_undone", "Transactions that the server or another one undid, by reason.", "sqlstate"
        )
        self._ended = self._counter(
            "connections_ended",
            "Connections ended before a call was authenticated, and bytes that are no request.",
            "kind",
        )

    def _measure_durations(self) -> None:
        self._withdrawal = self._histogram(
            "withdrawal_duration_seconds", "Time from a withdrawal's arrival to its answer after commit."
        )
        self._batch = self._histogram("batch_duration_seconds", "Time to decide and commit one batch of one bucket.")
        self._call = self._histogram("call_duration_seconds", "Time to answer a call of the gateway.", "call")

    def _gauge_state(self) -> None:
        start = self._clock()
        self._beat_at = self._checkpoint_at = start
        self._pending = self._gauge("deliveries_pending", "Deliveries that wait to be fetched, the probe's left out.")
        self._oldest = self._gauge(
            "delivery_oldest_pending_age_seconds", "Age of the oldest waiting delivery, the probe's left out."
        )
        self._stream = self._gauge("stream_submissions", "Submissions taken and not decided yet.")
        self._stream_age = self._gauge("stream_oldest_age_seconds", "Age of the oldest submission not decided yet.")
        self._unsealed = self._gauge("trail_unsealed_entries", "Audit entries that are not in the signed log yet.")
        self._unsealed_age = self._gauge(
            "trail_oldest_unsealed_age_seconds", "Age of the oldest audit entry that is not in the signed log yet."
        )
        self._looked_at = start
        looked = self._gauge("watch_age_seconds", "Time since the broker last looked at its own state, or the start.")
        looked.set_function(lambda: self._clock() - self._looked_at)
        self._log = self._gauge("log_entries", "Leaves of the audit log, fillers included.")
        self._wal = self._gauge("wal_bytes", "Size of the store's write-ahead log.")
        self._disk_room = self._gauge("disk_room_bytes", "Bytes that the broker may still write on the data disk.")
        self._disk_low = self._gauge("disk_low", "1 while the disk has room for reserved kinds only, else 0.")
        self._connections = self._gauge("connections", "Connections of the gateway, not yet proven ones included.")
        self._waiting = self._gauge("waiting_calls", "Fetches that wait for something to hand over.")
        self._leader = self._gauge("node_leader", "1 while this node leads the nodes of its store, else 0.")
        self._nodes = self._gauge("nodes", "Nodes of this store that were there within three seconds.")
        self.nodes(True, 1)
        self._ready = self._gauge("ready", "1 while the broker is ready to serve, else 0.")
        beat = self._gauge("beat_age_seconds", "Time since the last beat of the sealer, or since the start.")
        beat.set_function(lambda: self._clock() - self._beat_at)
        checkpoint = self._gauge("checkpoint_age_seconds", "Time since the last signed checkpoint, or since the start.")
        checkpoint.set_function(lambda: self._clock() - self._checkpoint_at)

    def _gauge_surroundings(self) -> None:
        """What lies around the broker: disk, certificates, clocks, connectors, what witnesses saw."""
        self._store = self._gauge("store_bytes", "Size of the store's file, without its write-ahead log.")
        self._disk_free = self._gauge("disk_free_bytes", "Free space on the disk of the data folder.")
        self._disk = self._gauge("disk_size_bytes", "Size of the disk of the data folder.")
        self._rollback = self._gauge(
            "log_contradicted", "1 after a connector or the anchor has seen another or a longer log than this, else 0."
        )
        self._held = self._gauge("held_seats", "Seats that nothing is released for after a restore.")
        self._certificate_end = self._gauge(
            "certificate_end_timestamp_seconds",
            "When a certificate ends, since unix epoch; of the units' the one that ends first. 0 when there is none.",
            "certificate",
        )
        self._silence = self._gauge(
            "unit_longest_silence_seconds", "Time since the last call of the most silent admitted unit, no probe."
        )
        self._clock_largest = self._gauge(
            "clock_offset_largest_seconds", "Largest difference between a connector's clock and this one, without sign."
        )
        self._clock_middle = self._gauge(
            "clock_offset_middle_seconds", "Middle difference of the connectors' clocks to this one; far off: this one."
        )

    def _gauge_stream(self) -> None:
        """The stream, where it lies outside the Store; all of it still elsewhere."""
        self._generation = self._gauge("stream_generation", "Generation of the stream; more than before: it was lost.")
        self._stalled = self._gauge(
            "stream_stalled", "1 while submissions wait and none is decided, or the servers are silent, else 0."
        )
        self._renewed = self._counter("stream_renewed", "Consumers replaced because they brought nothing.")
        self._trim_age = self._gauge(
            "stream_trim_age_seconds", "Time since what is decided was last deleted from the stream."
        )
        self._thin = self._gauge("stream_thin_partitions", "Partitions of which not every copy is in sync.")
        self._key_age = self._gauge("transit_key_age_seconds", "Age of the oldest transit key that is not destroyed.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return _begun(Counter(f"handslag_{name}", text, labels, registry=self._registry), labels)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        made = Histogram(f"handslag_{name}", text, labels, registry=self._registry, buckets=_FAST)
        return _begun(made, labels)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return _begun(Gauge(f"handslag_{name}", text, labels, registry=self._registry), labels)

    def submitted(self, count: int, *, probe: bool = False) -> None:
        """`count` submissions were taken into the stream."""
        self._submissions.labels(_traffic(probe)).inc(count)

    def decided(self, outcome: Outcome, *, probe: bool = False) -> None:
        """One decision for one recipient role."""
        self._decisions.labels(outcome, _traffic(probe)).inc()

    def handed_over(self, count: int, *, probe: bool = False) -> None:
        """`count` deliveries were handed over."""
        self._hand_overs.labels(_traffic(probe)).inc(count)

    def acknowledged(self, *, rejected: bool = False, probe: bool = False) -> None:
        """A recipient took a delivery, or rejected it with a code."""
        self._acks.labels(DeliveryState.REJECTED if rejected else DeliveryState.ACKED, _traffic(probe)).inc()

    def overdue(self, count: int, *, probe: bool = False) -> None:
        """`count` deliveries passed their deadline."""
        self._overdue.labels(_traffic(probe)).inc(count)

    def expired(self, count: int, *, probe: bool = False) -> None:
        """`count` deliveries ended with their validity."""
        self._expired.labels(_traffic(probe)).inc(count)

    def refused(self, code: str) -> None:
        """A call or a submission was refused; a code outside the registry counts as `HS-INTERNAL`."""
        self._refusals.labels(code if code in LABELS["code"] else "HS-INTERNAL").inc()

    def undone(self, reason: str) -> None:
        """A transaction was undone, for one of `broker.store.undone.REASONS`; any other counts as `other`."""
        self._undone.labels(reason if reason in REASONS else OTHER).inc()

    def instance_raised(self) -> None:
        """A restored connector took a number."""
        self._instances.inc()

    def withdrew(self, seconds: float) -> None:
        """A withdrawal was answered after `seconds`."""
        self._withdrawal.observe(seconds)

    def batched(self, seconds: float) -> None:
        """A batch was decided and committed in `seconds`."""
        self._batch.observe(seconds)

    def called(self, call: str, seconds: float) -> None:
        """A call of `CALLS` was answered after `seconds`; any other name counts as `unknown`."""
        self._call.labels(call if call in LABELS["call"] else "unknown").observe(seconds)

    def pending(self, count: int, oldest_age_s: float) -> None:
        """`count` deliveries wait, the oldest for `oldest_age_s` seconds (0 when none waits)."""
        self._pending.set(count)
        self._oldest.set(oldest_age_s)

    def beat(self, log_entries: int) -> None:
        """The sealer finished a beat; the log has `log_entries` leaves."""
        self._beat_at = self._clock()
        self._log.set(log_entries)

    def checkpointed(self) -> None:
        """A checkpoint was signed."""
        self._checkpoint_at = self._clock()

    def wal(self, size: int) -> None:
        """The store's write-ahead log holds `size` bytes."""
        self._wal.set(size)

    def looked(self) -> None:
        """The broker looked at its own state: the gauges that wait for it are of now."""
        self._looked_at = self._clock()

    def undecided(self, count: int, oldest_age_s: float) -> None:
        """`count` submissions wait for their decision, the oldest for `oldest_age_s` seconds (0 when none waits)."""
        self._stream.set(count)
        self._stream_age.set(oldest_age_s)

    def unsealed(self, count: int, oldest_age_s: float) -> None:
        """`count` entries are not in the signed log, the oldest for `oldest_age_s` seconds (0 when none waits)."""
        self._unsealed.set(count)
        self._unsealed_age.set(oldest_age_s)

    def disk(self, store_bytes: int, free_bytes: int, size_bytes: int) -> None:
        """Size of the store's file, free space and size of its disk."""
        self._store.set(store_bytes)
        self._disk_free.set(free_bytes)
        self._disk.set(size_bytes)

    def contradicted(self, contradicted: bool) -> None:
        """Whether somebody has seen another or a longer log than this one."""
        self._rollback.set(1 if contradicted else 0)

    def held(self, seats: int) -> None:
        """How many seats are held after a restore."""
        self._held.set(seats)

    def certificate_ends(self, certificate: str, at_s: float) -> None:
        """When a certificate of the closed list ends, in seconds since 1970."""
        self._certificate_end.labels(certificate).set(at_s)

    def contacts(self, longest_silence_s: float, clock_largest_s: float, clock_middle_s: float) -> None:
        """How long the most silent unit has been silent, and how far the connectors' clocks are off."""
        self._silence.set(longest_silence_s)
        self._clock_largest.set(clock_largest_s)
        self._clock_middle.set(clock_middle_s)

    def ended(self, kind: str) -> None:
        """A connection ended unproven, or sent what is no request; `kind` is one of `ENDED`."""
        self._ended.labels(kind).inc()

    def connections(self, count: Callable[[], int]) -> None:
        """`count` gives the number of open connections."""
        self._connections.set_function(count)

    def over_quota(self, quota: str) -> None:
        """A call or bundle was over a quota, one of `broker.quota.KINDS`."""
        self._over.labels(quota).inc()

    def room(self, free: int, low: bool) -> None:
        """`free` bytes may still be written on the data disk; `low`: they are kept for what has reserved room."""
        self._disk_room.set(free)
        self._disk_low.set(1 if low else 0)

    def nodes(self, leads: bool, count: int) -> None:
        """Whether this node leads, and how many nodes of this store are there."""
        self._leader.set(1 if leads else 0)
        self._nodes.set(count)

    def waiting(self, count: int) -> None:
        """`count` fetches wait for something to hand over."""
        self._waiting.set(count)

    def stream_generation(self, number: int) -> None:
        """The stream is in its generation `number`, from 1 on."""
        self._generation.set(number)

    def stream_stalled(self, stalled: bool) -> None:
        """Whether the stream stands still."""
        self._stalled.set(1 if stalled else 0)

    def stream_renewed(self) -> None:
        """A consumer that brought nothing was replaced."""
        self._renewed.inc()

    def stream_thin(self, partitions: int) -> None:
        """Of how many partitions of the stream not every copy is in sync."""
        self._thin.set(partitions)

    def stream_kept(self, trim_age_s: float, key_age_s: float) -> None:
        """How long ago what is decided was deleted from the stream, and how old the oldest transit key is."""
        self._trim_age.set(trim_age_s)
        self._key_age.set(key_age_s)

    def ready(self, ready: bool) -> None:
        """Whether the broker is ready to serve."""
        self._ready.set(1 if ready else 0)

    def render(self) -> bytes:
        """The exposition text; takes milliseconds, so call it off the event loop."""
        return generate_latest(self._registry)


def _traffic(probe: bool) -> str:
    return "probe" if probe else "real"


def _begun(metric: _Labelled, labels: tuple[str, ...]) -> _Labelled:
    """Every series is there from the start: an increase from nothing is no increase."""
    # INVARIANT: test_a_quiet_broker_leaves_no_panel_empty
    for values in product(*(sorted(LABELS[label]) for label in labels)) if labels else ():
        metric.labels(*values)
    return metric
