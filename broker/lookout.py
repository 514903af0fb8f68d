"""Looking at the broker's own state for whoever is on call: what waits, how late the evidence is, what is about to end.

Everything here ends in a gauge. Nothing here decides, and a look that fails changes nothing but its own age.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from datetime import UTC, datetime

from cryptography import x509

from broker import admissions, logs
from broker.context import Context
from broker.settings import BrokerSettings
from broker.store.port import Rows

_log = logging.getLogger("handslag.lookout")
LOOK_S = 5.0
ADMISSIONS_S = 60.0  # one file a unit; certificates end by the day
COUNTED = 10_000  # unsealed entries counted at most: the age is what alarms


async def look(context: Context) -> None:
    """What waits to be fetched and what waits to be decided; raises what the store raises."""
    probes = context.directory.probes()
    pending, oldest_us = await context.store.read(lambda rows: rows.deliveries.pending_summary(probes))
    waiting, first_us = await context.stream.lag()
    context.metrics.pending(pending, _age_s(context, oldest_us))
    context.metrics.undecided(waiting, _age_s(context, first_us))
    context.metrics.looked()


def _age_s(context: Context, since_us: int | None) -> float:
    return 0.0 if since_us is None else max(0.0, (context.now_us() - since_us) / 1e6)


class Surroundings:
    """The slower look: unsealed entries, disk, certificates of units, contacts and clocks."""

    def __init__(self, context: Context, settings: BrokerSettings, contradicted: Callable[[], bool]) -> None:
        self._context = context
        self._settings = settings
        self._contradicted = contradicted
        self._floor = 0
        self._certificates_at = float("-inf")

    async def run(self) -> None:
        """Look for ever; a look that fails is told and made again."""
        while True:
            try:
                await self.look()
            except Exception as fault:  # noqa: BLE001 - an admission file that cannot be read must not end the broker
                logs.event(_log, logging.ERROR, "HS-INTERNAL", task="lookout", exception=type(fault).__name__)
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Set every gauge once; raises what the store raises."""
        metrics, now_us = self._context.metrics, self._context.now_us()
        # First: a store that fails must not keep this from being seen.
        metrics.contradicted(self._contradicted())
        metrics.held(await self._context.store.read(lambda rows: rows.hold.held_seats()))
        metrics.disk(*await asyncio.to_thread(self._disk))
        settled = await self._context.store.settled()
        count, oldest_us = await self._context.store.read(lambda rows: self._unsealed(rows, settled))
        metrics.unsealed(count, _age_s(self._context, oldest_us))
        units = [row for row in self._context.directory.all() if not row.probe]
        contacts = self._context.contacts
        metrics.contacts(
            contacts.longest_silence_s(((row.unit, row.admitted_at_us) for row in units), now_us),
            *contacts.clock_offsets_s((row.unit for row in units), now_us),
        )
        await self._certificates()

    def _unsealed(self, rows: Rows, settled: int) -> tuple[int, int | None]:
        self._floor = rows.log.sealed_floor(self._floor, settled)
        return rows.entries.unsealed_summary(self._floor, COUNTED)

    def _disk(self) -> tuple[int, int, int]:
        """(store, free, size) in bytes; blocks on the disk."""
        disk = shutil.disk_usage(self._settings.data_dir)
        return self._context.store.size(), disk.free, disk.total

    async def _certificates(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._certificates_at < ADMISSIONS_S:
            return
        self._certificates_at = now_s
        self._context.metrics.certificate_ends("unit", await asyncio.to_thread(first_end, self._settings))


def first_end(settings: BrokerSettings) -> float:
    """When the first certificate of an admitted unit ends, seconds since 1970; 0 when none is admitted.

    Raises `HS-ADMISSION-INVALID`; blocks on the disk.
    """
    admitted = [each for each in admissions.load_all(settings.data_dir) if each.revoked_at_us is None]
    return min((unit_end(each).timestamp() for each in admitted), default=0.0)


def unit_end(admission: admissions.Admission) -> datetime:
    """When a unit's certificate ends, UTC."""
    return x509.load_pem_x509_certificate(admission.certificate_pem.encode()).not_valid_after_utc.astimezone(UTC)
