"""What the probe tells Prometheus, at a port of its own: it must speak when the broker does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import generate_latest, start_http_server

from broker.settings import Address
from deploy.probe.evidence import KINDS as WRONG
from schemas.errors import HandslagError

KINDS = ("released", "withheld", "withdrawal")
CAUSES = ("certificate", "disk", "fault", "keys", "setup")
_FAST = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class ProbeMetrics:
    """The probe's metrics in a registry of their own; every series is there from the start."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the series for a time that nobody reads
        self._now_s = now_s
        self._registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(namespace="handslag_probe", registry=self._registry)
        made = self._registry
        self._success = Gauge(
            "handslag_probe_last_success_timestamp_seconds",
            "When a test message last came out as it must, since unix epoch; before the first: the start.",
            ("kind",), registry=made,
        )  # fmt: skip
        self._failures = Counter(
            "handslag_probe_failures", "Test messages that did not come out as they must in time.", ("kind",),
            registry=made,
        )  # fmt: skip
        self._wrong = Counter(
            "handslag_probe_wrong_outcomes", "Test messages that arrived and must not have, since the start.",
            ("kind",), registry=made,
        )  # fmt: skip
        self._open = Gauge(
            "handslag_probe_wrong_outcomes_open", "Those of them, of any time, that no person has taken note of.",
            ("kind",), registry=made,
        )  # fmt: skip
        self._duration = Histogram(
            "handslag_probe_duration_seconds",
            "Time until a test message came out as it must: acknowledged, withheld, or the withdrawal in effect.",
            ("kind",), registry=made, buckets=_FAST,
        )  # fmt: skip
        self._broken = Gauge(
            "handslag_probe_broken", "1 while the probe itself is at fault and says nothing about the path, by cause.",
            ("cause",), registry=made,
        )  # fmt: skip
        self._contradicted = Gauge(
            "handslag_probe_log_contradicted", "1 after the probe's own witnesses saw the log shrink or fork, else 0.",
            registry=made,
        )  # fmt: skip
        self._certificate = Gauge(
            "handslag_probe_certificate_end_timestamp_seconds",
            "When the first of the probe's own certificates ends, since unix epoch.", registry=made,
        )  # fmt: skip
        self._disk = Gauge("handslag_probe_disk_bytes", "Size of the probe's own folder.", registry=made)
        self._turned = Gauge(
            "handslag_probe_last_turn_timestamp_seconds",
            "When the probe last finished a turn of its loop, well or not, since unix epoch.", registry=made,
        )  # fmt: skip
        self._begin()

    def _begin(self) -> None:
        start = self._now_s()
        for kind in KINDS:
            self._success.labels(kind).set(start)
            self._failures.labels(kind)
            self._duration.labels(kind)
        for kind in WRONG:
            self._wrong.labels(kind)
            self._open.labels(kind)
        for cause in CAUSES:
            self._broken.labels(cause)
        self._turned.set(start)

    def succeeded(self, kind: str, seconds: float) -> None:
        """A message of `KINDS` came out as it must after `seconds`."""
        self._success.labels(kind).set(self._now_s())
        self._duration.labels(kind).observe(seconds)

    def failed(self, kind: str) -> None:
        """It did not come out in time, or the path answered with an error."""
        self._failures.labels(kind).inc()

    def wrong(self, kind: str) -> None:
        """A message arrived that must not have."""
        self._wrong.labels(kind).inc()

    def unacknowledged(self, kinds: Sequence[str]) -> None:
        """Such messages wait for somebody to take note: the kind of each."""
        for kind in WRONG:
            self._open.labels(kind).set(kinds.count(kind))

    def broken(self, cause: str | None) -> None:
        """The probe itself is at fault for a cause of `CAUSES`, or, with None, it is not."""
        for each in CAUSES:
            self._broken.labels(each).set(1 if each == cause else 0)

    def contradicted(self, contradicted: bool) -> None:
        """Whether the probe's witnesses saw the log go back."""
        self._contradicted.set(1 if contradicted else 0)

    def own(self, certificate_end_s: float, disk_bytes: int) -> None:
        """When the first own certificate ends, and the size of the folder."""
        self._certificate.set(certificate_end_s)
        self._disk.set(disk_bytes)

    def turned(self) -> None:
        """One turn of the loop is over."""
        self._turned.set(self._now_s())

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self._registry)

    def serve(self, address: Address) -> tuple[WSGIServer, Thread]:
        """Serve them from a thread of their own, so that a loop that hangs is seen; raises `HS-ADDRESS-TAKEN`."""
        try:
            return start_http_server(address.port, address.host, self._registry)
        except OSError:
            raise HandslagError("HS-ADDRESS-TAKEN", field="listen") from None
