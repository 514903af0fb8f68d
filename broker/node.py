"""One node put together: engines, keys, verbs, gateway and sealer in one task group."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from audit.note import Signer
from broker import admissions, control, keyfiles, logs
from broker.anchor import Anchor
from broker.context import Context
from broker.core import BrokerCore
from broker.directory import Directory
from broker.gateway.server import Serving, serve_gateway
from broker.metrics import Metrics
from broker.recorder import Recorder
from broker.sealer import Hooks, Sealer
from broker.settings import BrokerSettings
from broker.store.keys import KeyVault
from broker.store.migrate import migrate
from broker.store.sqlite import SqliteStore
from broker.stream.embedded import EmbeddedStream
from broker.trail import Trail, Witnessed
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
        )
        self._signer = Signer(settings.origin, key)
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
        core = BrokerCore(self.context, self.sealer, self.trail, self.witnessed)
        for admission in admissions.load_all(self.settings.data_dir):
            await core.admit(admission)
        await core.reload_units()
        return core

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
        migrate(settings.database)
        store = SqliteStore(settings.database)
        engines.callback(store.close)
        vault = KeyVault.open(settings.data_dir / "keys.db", settings.root_key_file)
        engines.callback(vault.close)
        node = Node(settings, Metrics(), store, vault)
        core = await node.open_log()
        await node.sealer.start()
        async with asyncio.TaskGroup() as group:
            loops = [
                group.create_task(work(node.context)),
                group.create_task(watch_time(node.context)),
                group.create_task(node.sealer.run(settings.beat_seconds)),
            ]
            async with (
                serve_gateway(core, settings, node.metrics) as serving,
                control.serve_control(settings.data_dir, _commands(core)),
            ):
                yield serving
            for loop in loops:
                loop.cancel()


def _commands(core: BrokerCore) -> Mapping[str, control.Handler]:
    """What the operator's commands may ask of the running node."""

    async def admit(arguments: Mapping[str, Any]) -> dict[str, Any]:
        admission = admissions.Admission.from_json(arguments)
        await core.admit(admission)
        return {"unit": admission.unit}

    async def revoke(arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"revoked": await core.revoke(str(arguments["unit"]))}

    return {"admit": admit, "revoke": revoke}


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
