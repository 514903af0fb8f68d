"""The probe's loop: a turn every interval, between turns the beat that every connector keeps.

Whatever happens in a turn ends in a metric. A fault of the path (the broker away, late, or wrong) is the path's; a
fault of the probe's own (its disk, its keys, its certificate, its case) is told as such, so that nobody wakes an agency
for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from datetime import UTC, datetime
from typing import Any

from broker import logs
from deploy.probe import evidence
from deploy.probe.metrics import ProbeMetrics
from deploy.probe.pair import Pair, certificate_end_s, disk_bytes, put_aside
from deploy.probe.rounds import Rounds
from deploy.probe.settings import ProbeSettings
from schemas.errors import HandslagError

_log = logging.getLogger("handslag.probe")
RENEW_AT_MOST_S = 600.0  # a case that cannot be kept is opened anew, but not in a storm

# Codes that say that the probe itself is at fault; everything else is the path's.
CAUSES = {
    "HS-SPOOL-FAILED": "disk",
    "HS-SPOOL-UNREADABLE": "disk",
    "HS-SPOOL-NEWER": "setup",
    "HS-CONNECTOR-RUNNING": "setup",
    "HS-KEY-FILE": "keys",
    "HS-FOLDER-UNSAFE": "keys",
    "HS-CONFIG-INVALID": "keys",
    "HS-TRUST-INVALID": "keys",
    "HS-UNIT-UNKNOWN": "certificate",
    "HS-SEAT-UNKNOWN": "setup",
    "HS-REF-UNKNOWN": "setup",
    "HS-STATE-INVALID": "setup",
    "HS-INPUT-INVALID": "setup",
    "HS-INSTANCE-OLD": "setup",
}


class Probe:
    """One running probe."""

    def __init__(self, settings: ProbeSettings, metrics: ProbeMetrics, stop: asyncio.Event) -> None:
        self._settings = settings
        self._metrics = metrics
        self._stop = stop
        self._rounds = Rounds(self._wrong)
        self._prepared = False
        self._renewed_at = float("-inf")
        self._withdrew_at = time.monotonic()
        self._due = False
        self._renew = False
        self._notes: dict[str, bytes] = {}
        self._told = ""

    async def run(self) -> None:
        """Turn until told to stop; one generation of the case after the other."""
        while not self._stop.is_set():
            try:
                async with Pair(self._settings, self._rounds.took) as pair:
                    await self._generation(pair)
            except Exception as fault:  # noqa: BLE001 - whatever it is, the probe must go on and say that it is broken
                self._fault(fault, "released")
                self._metrics.turned()
                await self._pause(self._settings.interval_s)
            if self._renew:
                self._put_aside()

    async def _generation(self, pair: Pair) -> None:
        """Turns of one pair of spools, until they are due to be replaced."""
        pair.adopt(self._notes)
        self._notes = {}
        self._due, self._prepared = False, False
        while not self._stop.is_set():
            started = time.monotonic()
            await self._turn(pair)
            pair.tidy()
            self._metrics.turned()
            await self._between(pair, started + self._settings.interval_s)
            self._metrics.contradicted(pair.contradicted)
            # INVARIANT: test_a_witness_that_saw_a_rollback_is_not_forgotten
            if (pair.age_s >= self._settings.renew_s or self._due) and not pair.contradicted:
                await pair.close()
                self._notes = pair.notes()
                self._renew = True
                return

    async def _turn(self, pair: Pair) -> None:
        """Everything that is due now; what fails ends its own part only."""
        self._look_at_self()
        if not self._prepared:
            self._prepared = await self._try("released", self._prepare(pair))
        if not self._prepared:
            return
        await self._try("released", self._rounds.released(pair))
        await self._try("withheld", self._rounds.withheld(pair))
        if time.monotonic() - self._withdrew_at >= self._settings.withdrawal_every_s:
            self._withdrew_at = time.monotonic()
            await self._try("withdrawal", self._rounds.withdrawal(pair))
        self._metrics.contradicted(pair.contradicted)

    async def _prepare(self, pair: Pair) -> None:
        """The case stands, what an earlier run or a failed turn left is gone, and a consent is in force."""
        await pair.beat()  # first: while the broker is away nothing may pile up in the spools
        if not pair.ready:
            if pair.sender.context.identities.all() or pair.recipient.context.identities.all():
                raise HandslagError("HS-STATE-INVALID", field="case")
            await pair.open()
        await pair.forget_waiting()
        await pair.beat()
        await pair.grant()

    async def _try(self, kind: str, step: Any) -> bool:
        """Await one step; True when it came out as it must."""
        try:
            async with asyncio.timeout(self._settings.patience_s * 4):
                took = await step
        except Exception as fault:  # noqa: BLE001 - as in `run`
            self._fault(fault, kind)
            return False
        self._metrics.broken(None)
        self._told = ""
        if took is not None:
            self._metrics.succeeded(kind, took)
        return True

    def _fault(self, fault: Exception, kind: str) -> None:
        """Say whose fault it is: by code, never by text, which may hold values."""
        self._prepared = False
        code = fault.code if isinstance(fault, HandslagError) else "HS-INTERNAL"
        cause = CAUSES.get(code)
        if isinstance(fault, TimeoutError):
            code = "HS-PROBE-LATE"
        elif isinstance(fault, OSError):
            cause = "disk"
        elif not isinstance(fault, HandslagError):
            cause = "fault"
        self._metrics.failed(kind)
        self._metrics.broken(cause)
        if cause == "setup" and time.monotonic() - self._renewed_at > RENEW_AT_MOST_S:
            self._due = True
        if code != self._told:
            self._told = code
            logs.event(_log, logging.ERROR, code, kind=kind, own=cause or "no", exception=type(fault).__name__)

    def _wrong(self, kind: str, value: dict[str, Any]) -> None:
        """The worst there is: durable first, then told."""
        evidence.keep(self._settings.evidence, kind, value, datetime.now(UTC))
        self._metrics.wrong(kind)
        self._metrics.unacknowledged([row["kind"] for row in evidence.unacknowledged(self._settings.evidence)])
        logs.event(_log, logging.CRITICAL, "HS-PROBE-WRONG", kind=kind)

    def _look_at_self(self) -> None:
        try:
            end_s = certificate_end_s(self._settings)
            self._metrics.own(end_s, disk_bytes(self._settings.folder))
            self._metrics.unacknowledged([row["kind"] for row in evidence.unacknowledged(self._settings.evidence)])
            if end_s < time.time():
                raise HandslagError("HS-UNIT-UNKNOWN")
        except HandslagError as error:
            self._fault(error, "released")

    def _put_aside(self) -> None:
        self._renew, self._renewed_at = False, time.monotonic()
        try:
            put_aside(self._settings)
        except OSError as fault:
            self._fault(fault, "released")

    async def _between(self, pair: Pair, until: float) -> None:
        """The beat of every connector until the next turn is due: what comes late is seen, and the case is no burst."""
        while not self._stop.is_set() and time.monotonic() < until:
            await self._pause(min(self._settings.poll_s, max(0.0, until - time.monotonic())))
            with contextlib.suppress(HandslagError):  # the next turn will say so
                await pair.beat()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), max(0.01, seconds))


async def run(settings: ProbeSettings, stop: asyncio.Event | None = None) -> None:
    """Serve the metrics and turn until SIGTERM, SIGINT or `stop`; raises `HS-ADDRESS-TAKEN`."""
    ended = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.quiet_loop_handler)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    metrics = ProbeMetrics()
    server, thread = metrics.serve(settings.address)
    try:
        await Probe(settings, metrics, ended).run()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
