"""What the broker tells Prometheus: one typed verb per fact, and no label that could lead to a person.

Names and units follow the Prometheus naming conventions. A label comes from one of the closed lists in `LABELS`;
units, municipalities, cases, seats and event types are not among them, because a count of one in a small place tells
who is in the programme.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import generate_latest

from schemas.codes import DeliveryState, Outcome
from schemas.errors import registry as errors

CALLS = (
    "submit",
    "fetch",
    "ack",
    "consents",
    "open",
    "invite",
    "accept",
    "state",
    "close",
    "ledger",
    "audit",
    "proofs",
    "explain",
    "cosign",
    "units",
    "rules",
    "schemas",
    "checkpoint",
    "tile",
    "unknown",
)

# INVARIANT: test_labels_come_from_closed_lists
LABELS: Mapping[str, frozenset[str]] = {
    "outcome": frozenset(Outcome),
    "state": frozenset({DeliveryState.ACKED, DeliveryState.REJECTED}),
    "call": frozenset(CALLS),
    "code": frozenset(errors()),
}

# A withdrawal is promised within 100 ms on one node and one second on three; a batch should stay under 50 ms.
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

Clock = Callable[[], float]
_Labelled = TypeVar("_Labelled", Counter, Histogram)


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

    def _count_facts(self) -> None:
        self._submissions = self._counter("submissions", "Submissions taken into the stream.")
        self._decisions = self._counter("decisions", "Decisions per recipient role, by outcome.", "outcome")
        self._hand_overs = self._counter("hand_overs", "Deliveries handed over, repeats after a lease included.")
        self._acks = self._counter("acks", "Deliveries that a recipient acknowledged or rejected.", "state")
        self._overdue = self._counter("deliveries_overdue", "Deliveries that passed their deadline unacknowledged.")
        self._expired = self._counter("deliveries_expired", "Deliveries that ended because their validity ended.")
        self._refusals = self._counter("refusals", "Calls and submissions refused, by error code.", "code")

    def _measure_durations(self) -> None:
        self._withdrawal = self._histogram(
            "withdrawal_duration_seconds", "Time from a withdrawal's arrival to its answer after commit."
        )
        self._batch = self._histogram("batch_duration_seconds", "Time to decide and commit one batch of one bucket.")
        self._call = self._histogram("call_duration_seconds", "Time to answer a call of the gateway.", "call")

    def _gauge_state(self) -> None:
        start = self._clock()
        self._beat_at = self._checkpoint_at = start
        self._pending = self._gauge("deliveries_pending", "Deliveries that wait to be fetched.")
        self._oldest = self._gauge("delivery_oldest_pending_age_seconds", "Age of the oldest waiting delivery.")
        self._log = self._gauge("log_entries", "Leaves of the audit log, fillers included.")
        self._wal = self._gauge("wal_bytes", "Size of the store's write-ahead log.")
        self._ready = self._gauge("ready", "1 while the broker is ready to serve, else 0.")
        beat = self._gauge("beat_age_seconds", "Time since the last beat of the sealer, or since the start.")
        beat.set_function(lambda: self._clock() - self._beat_at)
        checkpoint = self._gauge("checkpoint_age_seconds", "Time since the last signed checkpoint, or since the start.")
        checkpoint.set_function(lambda: self._clock() - self._checkpoint_at)

    def _counter(self, name: str, text: str, label: str | None = None) -> Counter:
        return _begun(Counter(f"handslag_{name}", text, _names(label), registry=self._registry), label)

    def _histogram(self, name: str, text: str, label: str | None = None) -> Histogram:
        made = Histogram(f"handslag_{name}", text, _names(label), registry=self._registry, buckets=_FAST)
        return _begun(made, label)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"handslag_{name}", text, registry=self._registry)

    def submitted(self, count: int) -> None:
        """`count` submissions were taken into the stream."""
        self._submissions.inc(count)

    def decided(self, outcome: Outcome) -> None:
        """One decision for one recipient role."""
        self._decisions.labels(outcome).inc()

    def handed_over(self, count: int) -> None:
        """`count` deliveries were handed over."""
        self._hand_overs.inc(count)

    def acknowledged(self, *, rejected: bool = False) -> None:
        """A recipient took a delivery, or rejected it with a code."""
        self._acks.labels(DeliveryState.REJECTED if rejected else DeliveryState.ACKED).inc()

    def overdue(self, count: int) -> None:
        """`count` deliveries passed their deadline."""
        self._overdue.inc(count)

    def expired(self, count: int) -> None:
        """`count` deliveries ended with their validity."""
        self._expired.inc(count)

    def refused(self, code: str) -> None:
        """A call or a submission was refused; a code outside the registry counts as `HS-INTERNAL`."""
        self._refusals.labels(code if code in LABELS["code"] else "HS-INTERNAL").inc()

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

    def ready(self, ready: bool) -> None:
        """Whether the broker is ready to serve."""
        self._ready.set(1 if ready else 0)

    def render(self) -> bytes:
        """The exposition text; takes milliseconds, so call it off the event loop."""
        return generate_latest(self._registry)


def _names(label: str | None) -> tuple[str, ...]:
    return (label,) if label else ()


def _begun(metric: _Labelled, label: str | None) -> _Labelled:
    """Every series is there from the start: an increase from nothing is no increase."""
    # INVARIANT: test_a_quiet_broker_leaves_no_panel_empty
    for value in sorted(LABELS[label]) if label else ():
        metric.labels(value)
    return metric
