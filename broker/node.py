"""One node put together: engines, keys, verbs, gateway and sealer in one task group."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Any

from audit.checkpoint import Checkpoint
from broker import acts_back, admissions, control, keyfiles, logs
from broker.actfiles import ActFiles
from broker.administration import require_rules
from broker.anchor import Anchor
from broker.contacts import keep, kept
from broker.context import Context
from broker.continuing import Continuing, LogKey
from broker.core import BrokerCore
from broker.directory import Directory
from broker.disk import DiskRoom
from broker.erasing import Eraser
from broker.following import anchor_of
from broker.gateway.server import Serving, serve_gateway
from broker.gateway.waiting import Waiting
from broker.handlers import Served, admit, handlers
from broker.hold import ANCHOR, Seen
from broker.leading import node_id
from broker.letting_go import letting_go
from broker.lookout import Surroundings
from broker.metrics import Metrics
from broker.moved import require_here
from broker.quota import Limits, Quotas
from broker.recorder import Recorder
from broker.sealer import Hooks, Sealer
from broker.server_clock import ServerClock
from broker.settings import BrokerSettings
from broker.several import Made, Several, several
from broker.sharedfiles import SharedFiles
from broker.store.cipher import ColumnCipher
from broker.store.keyport import Vault
from broker.store.keys import KeyVault
from broker.store.keys_server import ServerVault
from broker.store.opening import open_server, open_sqlite
from broker.store.port import Store
from broker.streams import Carrier, days_of
from broker.trail import Trail, Witnessed
from broker.transit import Days
from broker.trustdesk import TrustDesk
from broker.views import Views
from broker.worker import watch_time, work
from consent.rules import shipped
from consent.texts import with_index
from schemas.errors import HandslagError

_log = logging.getLogger("handslag.node")
SEGMENT = 1  # the log's first segment; yearly segments do not exist yet


def now_us() -> int:
    """Microseconds since 1970-01-01T00:00Z; the ledger clock keeps its own floor."""
    return time.time_ns() // 1000


class Node:
    """A broker with its engines open and its log checked, not serving yet."""

    def __init__(
        self,
        settings: BrokerSettings,
        metrics: Metrics,
        store: Store,
        vault: Vault,
        now_us: Callable[[], int] = now_us,
        days: Days | None = None,
    ) -> None:
        """Take open engines; `now_us` is the ledger's clock, which a server brings with it, `days` the store's keys."""
        rules_file, rules = shipped()
        self.settings, self.metrics = settings, metrics
        self.store, self.now_us = store, now_us
        self.recorder = Recorder(vault, os.urandom, SEGMENT)
        self.carrier = Carrier(settings, store, self.recorder, metrics, now_us, days)
        self.context = Context(
            store=store,
            stream=self.carrier.stream,
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
            slot_us=round(settings.slot_seconds * 1_000_000),
            slot_offset_us=round(settings.slot_offset_seconds * 1_000_000),
            texts=None if settings.texts_index is None else with_index(settings.texts_index),
            quotas=Quotas(Limits(**settings.quotas.model_dump()), time.monotonic, metrics.over_quota),
            room=DiskRoom(settings.data_dir, settings.disk.reserve_bytes, settings.disk.ballast_bytes, metrics.room),
        )
        self.log = LogKey(settings.origin, keyfiles.log_key(settings.log_key_file), settings.data_dir)
        self.files = ActFiles(settings.data_dir, settings.origin)
        self.shared = SharedFiles(settings.data_dir, store) if settings.store.engine == "postgresql" else None
        self.trail = Trail(store)
        self.witnessed = Witnessed(store, settings.origin, self.log.signer(1).verifier)

    async def open_log(self) -> BrokerCore:
        """Compare the store with its anchor and publish what was committed and not signed; then the core is whole.

        A store behind its anchor, or restored, begins or stays in HOLD, and then nothing is signed.
        """
        if self.shared is not None:
            await self.shared.sync()
        self.carrier.forgets(self.context, several=self.shared is not None)
        size, parts, held = await self.store.read(
            lambda rows: (rows.log.head().size, rows.hold.continuations(), rows.hold.active())
        )
        number = max((one.number for one in parts), default=1)
        frozen = held is not None and all(one.hold_id != held.hold_id for one in parts)
        path, origin = self.log.anchor_path(number), self.log.origin(number)
        if self.shared is not None and parts and not path.exists():
            anchor = anchor_of(path, parts[-1])  # another node was told how the log goes on while this one was away
        else:
            anchor = Anchor(path, origin) if frozen else Anchor.open(path, origin, store_size=size)
        self.sealer = self._sealer(anchor, number)
        core = BrokerCore(self.context, self.sealer, self.trail, self.witnessed, self._desk())
        await core.keeper.load()
        self.witnessed.go_on(number)
        continuing = Continuing(self.context, self.log, self.sealer, self.witnessed, core.keeper, self.files)
        eraser = Eraser(self.context, self.files, core.keeper, self.sealer.beat)
        continuing.eraser = eraser
        self.served = Served(self.settings, self.context, self.files, continuing, eraser)
        core.acts_back = partial(acts_back.take, core, self.files, eraser)
        if self.shared is not None:
            core.carry = continuing.carry = self.shared.sync
        await core.reload_units()  # an act may recall what was handed over, and that is told to the units
        await core.record_acts(self.files.all())
        require_rules(self.files.chain(), self.context.rules.hash32)
        await self._take_in(core)
        self.context.contacts.take(await self.store.read(lambda rows: rows.contacts.all()))
        if frozen:
            await self.sealer.freeze()
        else:
            await self._start_sealing(core, anchor, number)
        await self._erase(eraser)
        return core

    async def _erase(self, eraser: Eraser) -> None:
        """Finish every erasure that was cut off, and do again what a restored copy lacks."""
        try:
            await eraser.go_on(wait=self.shared is None)  # of several nodes `letting_go` waits for the others
        except HandslagError as error:  # it stays to be done, and stops nobody else
            logs.event(_log, logging.ERROR, error.code, task="erase")

    def _sealer(self, anchor: Anchor, number: int) -> Sealer:
        return Sealer(
            store=self.store,
            recorder=self.recorder,
            anchor=anchor,
            signer=self.log.signer(number),
            origin=self.log.origin(number),
            now_us=self.now_us,
            random=os.urandom,
            hooks=Hooks(
                beat=self.metrics.beat,
                checkpointed=self.metrics.checkpointed,
                wal=self.metrics.wal,
                failed=self._beat_failed,
            ),
        )

    def _desk(self) -> TrustDesk:
        return TrustDesk(
            self.settings.data_dir,
            self.settings.origin,
            self.log.signer(1).verifier.vkey(),
            self.context.supervisor_key,
        )

    async def _take_in(self, core: BrokerCore) -> None:
        """Every admission and revocation that lies here as a file and is not in the store yet."""
        await core.reload_units()
        await acts_back.shut_out(core, self.files)
        chain = self.files.chain()
        for admission in admissions.load_all(self.settings.data_dir):
            try:
                await admit(core, chain, admission)
            except HandslagError as error:
                if error.code != "HS-UNIT-COMPROMISED":  # admitted while no node ran: it stays out, the others come in
                    raise
                logs.event(_log, logging.ERROR, error.code, task="admissions")
        await core.reload_units()

    async def _start_sealing(self, core: BrokerCore, anchor: Anchor, number: int) -> None:
        """Publish what is committed; a store that its anchor contradicts begins a hold instead."""
        try:
            await self.sealer.start()
        except HandslagError as error:
            if error.code != "HS-TRAIL-ROLLBACK":
                raise
            logs.event(_log, logging.ERROR, "HS-HOLD", cause=ANCHOR)
            seen: Checkpoint = anchor.read()
            await core.begin_hold(ANCHOR, Seen(number, seen))

    async def among_others(self, core: BrokerCore, waiting: Waiting) -> Several | None:
        """This node among the others of its store, None where it has the store alone; raises what the store raises."""
        if self.shared is None:
            return None
        made = Made(self.settings, self.context, core, self.sealer, self.witnessed, self.log, self.files, self.shared)
        others = several(made, waiting.ring, self.carrier.rung)

        def news() -> None:
            waiting.ring()
            others.bell.ring("news")

        self.store.on_news = news
        self.carrier.on_append(lambda: others.bell.ring("stream"))
        await others.following.current()
        await others.leading.look()
        return others

    def loops(self, others: Several | None) -> list[Coroutine[Any, Any, None]]:
        """What runs as long as the node."""
        context, alone = self.context, lambda: True
        leads = alone if others is None else others.leading.leads
        return [
            self.carrier.run(),
            self.carrier.forget(),
            work(context) if others is None else work(context, others.share, others.following.current),
            watch_time(context, leads),
            self.sealer.run(self.settings.beat_seconds, leads),
            keep(self.store, context.contacts),
            Surroundings(context, self.settings, lambda: self.contradicted).run(),
            *([] if others is None else others.loops()),
            *([] if others is None else [letting_go(self.recorder.vault, self.served.eraser, leads)]),
        ]

    def commands(self, core: BrokerCore, others: Several | None) -> Mapping[str, control.Handler]:
        """What the operator's commands may ask of this node."""
        own = handlers(core, self.served)
        return own if others is None or self.shared is None else others.handlers(own, self.shared)

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
        days = days_of(settings)
        metrics = Metrics()
        store, vault = opened(settings, days, metrics.undone)
        engines.callback(vault.close)
        engines.callback(store.close)
        clock = ServerClock(store.clock_us)
        own = await clock.look()
        if own and days is not None:
            days.now_us = clock
        node = Node(settings, metrics, store, vault, clock if own else now_us, days)
        core = await node.open_log()
        waiting = Waiting(settings.wait_seconds, node.metrics.waiting)
        store.on_news = waiting.ring
        others = await node.among_others(core, waiting)
        async with node.carrier.open(), asyncio.TaskGroup() as group:
            loops = [
                *(group.create_task(loop) for loop in node.loops(others)),
                *([group.create_task(clock.run())] if own else []),
            ]
            async with (
                serve_gateway(core, settings, node.metrics, node.context.quotas, waiting) as serving,
                control.serve_control(settings.data_dir, node.commands(core, others)),
            ):
                try:
                    yield serving
                finally:
                    if others is not None:  # before the last answers: another node leads at once
                        await others.leading.leave()
                    await kept(store, node.context.contacts)
            for loop in loops:
                loop.cancel()


def opened(
    settings: BrokerSettings, days: Days | None = None, undone: Callable[[str], None] = lambda _reason: None
) -> tuple[Store, Vault]:
    """The store at its newest tables, every row of an earlier version sealed, and the keys; the caller closes both.

    Blocks for as long as there is something to seal, and says so in the log. `days` seal content on a server, and
    `undone` is told why a transaction there was undone.
    """
    if settings.store.engine == "postgresql":
        return _opened_server(settings, days, undone)
    require_here(settings.data_dir)
    vault = KeyVault.open(settings.data_dir / "keys.db", settings.root_key_file)
    try:
        return open_sqlite(settings.database, lambda: ColumnCipher(vault.columns()), _sealing), vault
    except HandslagError:
        vault.close()
        raise


def _opened_server(settings: BrokerSettings, days: Days | None, undone: Callable[[str], None]) -> tuple[Store, Vault]:
    """The keys lie in the database: they are opened once its tables are there."""
    vaults: list[ServerVault] = []

    def cipher() -> ColumnCipher:
        own = node_id(settings.data_dir)
        vaults.append(ServerVault.open(settings.store, settings.root_key_file, node=own))
        return ColumnCipher(vaults[0].columns(), days)

    try:
        return open_server(settings.store, cipher, undone), vaults[0]
    except HandslagError:
        for vault in vaults:
            vault.close()
        raise


def _sealing(table: str, rows: int) -> None:
    if rows:
        logs.event(_log, logging.INFO, "COLUMNS-SEALED", table=table, rows=rows)


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
