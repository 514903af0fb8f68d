"""One node put together: engines, keys, verbs, gateway and sealer in one task group."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict
from typing import Any

from audit.administration import Acts
from audit.note import Signer
from broker import admissions, control, keyfiles, logs, resolving
from broker.actfiles import ActFiles
from broker.administration import require_admitted
from broker.anchor import Anchor
from broker.contacts import keep
from broker.context import Context
from broker.core import BrokerCore
from broker.directory import Directory
from broker.disk import DiskRoom
from broker.gateway.server import Serving, serve_gateway
from broker.gateway.waiting import Waiting
from broker.lookout import Surroundings
from broker.metrics import Metrics
from broker.quota import Limits, Quotas
from broker.recorder import Recorder
from broker.sealer import Hooks, Sealer
from broker.settings import BrokerSettings
from broker.store.cipher import ColumnCipher
from broker.store.conversion import convert
from broker.store.keys import KeyVault
from broker.store.migrate import migrate
from broker.store.sqlite import SqliteStore
from broker.stream.embedded import EmbeddedStream
from broker.trail import Trail, Witnessed
from broker.trustdesk import TrustDesk
from broker.views import Views
from broker.worker import watch_time, work
from consent.rules import shipped
from schemas.errors import HandslagError

_log = logging.getLogger("handslag.node")
SEGMENT = 1  # the log's first segment; yearly segments do not exist yet


def now_us() -> int:
    """Microseconds since 1970-01-01T00:00Z; the ledger clock keeps its own floor."""
    return time.time_ns() // 1000


class Node:
    """A broker with its engines open and its log checked, not serving yet."""

    def __init__(self, settings: BrokerSettings, metrics: Metrics, store: SqliteStore, vault: KeyVault) -> None:
        rules_file, rules = shipped()
        key = keyfiles.log_key(settings.log_key_file)
        self.settings = settings
        self.metrics = metrics
        self.store = store
        self.recorder = Recorder(vault, os.urandom, SEGMENT)
        self.context = Context(
            store=store,
            stream=EmbeddedStream(store),
            recorder=self.recorder,
            directory=Directory(),
            views=Views(),
            rules=rules,
            rules_file=rules_file,
            origin=settings.origin,
            supervisor_key=keyfiles.supervisor_key(settings.supervisor_key_file),
            metrics=metrics,
            now_us=now_us,
            random=os.urandom,
            faults=self._fault,
            lease_us=int(settings.lease_seconds * 1_000_000),
            quotas=Quotas(Limits(**settings.quotas.model_dump()), time.monotonic, metrics.over_quota),
            room=DiskRoom(settings.data_dir, settings.disk.reserve_bytes, settings.disk.ballast_bytes, metrics.room),
        )
        self._signer = Signer(settings.origin, key)
        self.files = ActFiles(settings.data_dir, settings.origin)
        self.trail = Trail(store)
        self.witnessed = Witnessed(store, settings.origin, self._signer.verifier)

    async def open_log(self) -> BrokerCore:
        """Compare the store with its anchor and publish what was committed and not signed; then the core is whole."""
        size = (await self.store.read(lambda rows: rows.log.head())).size
        anchor = Anchor.open(self.settings.data_dir / "anchor", self.settings.origin, store_size=size)
        self.sealer = Sealer(
            store=self.store,
            recorder=self.recorder,
            anchor=anchor,
            signer=self._signer,
            origin=self.settings.origin,
            now_us=now_us,
            random=os.urandom,
            hooks=Hooks(
                beat=self.metrics.beat,
                checkpointed=self.metrics.checkpointed,
                wal=self.metrics.wal,
                failed=self._beat_failed,
            ),
        )
        desk = TrustDesk(
            self.settings.data_dir,
            self.settings.origin,
            self._signer.verifier.vkey(),
            self.context.supervisor_key,
        )
        core = BrokerCore(self.context, self.sealer, self.trail, self.witnessed, desk)
        await core.record_acts(self.files.all())
        chain = self.files.chain()
        for admission in admissions.load_all(self.settings.data_dir):
            try:
                await _admit(core, chain, admission)
            except HandslagError as error:
                if error.code != "HS-UNIT-COMPROMISED":  # admitted while no node ran: it stays out, the others come in
                    raise
                logs.event(_log, logging.ERROR, error.code, task="admissions")
        await core.reload_units()
        self.context.contacts.take(await self.store.read(lambda rows: rows.contacts.all()))
        return core

    @property
    def contradicted(self) -> bool:
        """Whether the anchor or a connector has seen another or a longer log than the one that lies here."""
        return self.sealer.behind or self.witnessed.reason is not None

    def _fault(self, error: BaseException) -> None:
        """An unforeseen fault in the worker: its type only, since its text may hold values."""
        self.metrics.refused("HS-DECISION-FAILED")
        logs.event(_log, logging.ERROR, "HS-DECISION-FAILED", exception=type(error).__name__)

    def _beat_failed(self, code: str) -> None:
        self.metrics.refused(code)
        logs.event(_log, logging.ERROR, code, task="beat")


@asynccontextmanager
async def running(settings: BrokerSettings) -> AsyncIterator[Serving]:
    """Run one node while the block runs: worker, deadlines, sealer, gateway and control socket.

    One task group holds the loops: the first that fails ends the node, loudly. Raises `HS-NODE-RUNNING`, and what the
    keys, the anchor and the sealer refuse.
    """
    with control.sole_node(settings.data_dir), ExitStack() as engines:
        store, vault = opened(settings)
        engines.callback(vault.close)
        engines.callback(store.close)
        node = Node(settings, Metrics(), store, vault)
        core = await node.open_log()
        await node.sealer.start()
        waiting = Waiting(settings.wait_seconds, node.metrics.waiting)
        store.on_news = waiting.ring
        async with asyncio.TaskGroup() as group:
            loops = [
                group.create_task(work(node.context)),
                group.create_task(watch_time(node.context)),
                group.create_task(node.sealer.run(settings.beat_seconds)),
                group.create_task(keep(store, node.context.contacts)),
                group.create_task(Surroundings(node.context, settings, lambda: node.contradicted).run()),
            ]
            async with (
                serve_gateway(core, settings, node.metrics, node.context.quotas, waiting) as serving,
                control.serve_control(settings.data_dir, _commands(core, node.context, node.files)),
            ):
                yield serving
            for loop in loops:
                loop.cancel()


def opened(settings: BrokerSettings) -> tuple[SqliteStore, KeyVault]:
    """The store at its newest tables, every row of an earlier version sealed, and the keys; the caller closes both.

    Blocks for as long as there is something to seal, and says so in the log.
    """
    migrate(settings.database)
    vault = KeyVault.open(settings.data_dir / "keys.db", settings.root_key_file)
    try:
        cipher = ColumnCipher(vault.columns())
        convert(settings.database, cipher, _sealing)
    except HandslagError:
        vault.close()
        raise
    return SqliteStore(settings.database, cipher), vault


def _sealing(table: str, rows: int) -> None:
    if rows:
        logs.event(_log, logging.INFO, "COLUMNS-SEALED", table=table, rows=rows)


async def _admit(core: BrokerCore, chain: Acts, admission: admissions.Admission) -> None:
    if admission.revoked_at_us is None:
        require_admitted(chain, admission.unit, admissions.subject(admission))
    await core.admit(admission)


def _commands(core: BrokerCore, context: Context, files: ActFiles) -> Mapping[str, control.Handler]:
    """What the operator's commands may ask of the running node."""

    async def look() -> Acts:
        await core.record_acts(files.all())
        return files.chain()

    async def acts(_arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"acts": (await look()).count}

    async def admit_together(arguments: Mapping[str, Any]) -> dict[str, Any]:
        several = [admissions.Admission.from_json(each) for each in arguments["admissions"]]
        chain = await look()
        for each in several:
            require_admitted(chain, each.unit, admissions.subject(each))
        await core.admit_together(several)
        return {"units": len(several)}

    async def revoke(arguments: Mapping[str, Any]) -> dict[str, Any]:
        if (await look()).admitted.get(str(arguments["unit"])) is not None:
            raise HandslagError("HS-ADMIN-UNSIGNED", check="unit")
        return {"revoked": await core.revoke(str(arguments["unit"]))}

    async def contacts(_arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"contacts": [asdict(row) for row in context.contacts.all()]}

    async def instances(_arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {unit: {"instance": n, "raised_at_us": at_us} for unit, (n, at_us) in (await core.instances()).items()}

    return {
        "acts": acts,
        "admit_together": admit_together,
        "revoke": revoke,
        "contacts": contacts,
        "instances": instances,
        "seat_unit": lambda arguments: resolving.told(context, arguments),
    }


def run(settings: BrokerSettings, started: Callable[[Serving], None] = lambda _serving: None) -> None:
    """Serve until SIGTERM or SIGINT; `started` is called once the node listens. SIGHUP reads the certificate anew.

    Raises what `running` raises, the first of them when several tasks fail.
    """
    try:
        asyncio.run(_serve(settings, started))
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first fault of a task group: its code tells the operator more than the word group does."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def _serve(settings: BrokerSettings, started: Callable[[Serving], None]) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.quiet_loop_handler)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as serving:
        loop.add_signal_handler(signal.SIGHUP, _renew, serving)
        started(serving)
        await stop.wait()


def _renew(serving: Serving) -> None:
    """Take the certificate file's new content; a file that cannot be used is told and the old one stays."""
    try:
        serving.renew_certificate()
    except HandslagError as error:
        logs.event(_log, logging.ERROR, error.code, task="certificate")
