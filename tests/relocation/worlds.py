"""Two worlds out of one: a case is set up once and laid aside, and each world goes on from the same bytes.

What differs between two worlds is the unit that the person moves to. Clock, ids, salts and seat keys come from sources
of one seed; each party has a source of its own, and the receiving unit has the same one whoever it is. What cannot be
seeded (HPKE draws inside its library) is named by `canonical`.
"""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from broker import node as nodes
from broker import settings
from broker.gateway.server import serve_gateway
from broker.gateway.waiting import Waiting
from broker.metrics import Metrics
from broker.node import Node, opened
from broker.quota import Limits, Quotas
from broker.store import keys as vaults
from broker.worker import drain
from connectors import runner
from connectors.client import Connector
from connectors.keys import SeatKeyPair
from connectors.nodes import Nodes
from schemas.errors import HandslagError
from tests.evil.house import LEAD, Agency, House, Liar
from tests.relocation import play
from tests.relocation.observer import Observer
from tests.relocation.play import Move, moving

OLD = "social"
GAMMA = "SOC/EXEMPELG/AVHOPP"
WATCHED = (OLD, "police", "probation", "gamma")
_BEAT_US = 2_000_000
_TICK_S = 0.02
# Small, so that a unit that asks on and on meets its bound: what it is told then is a part of what it sees.
LIMITS = Limits(queries_per_minute=12)


@dataclasses.dataclass(frozen=True)
class Fork:
    """A case in the middle of its slot, at rest in files; `base_us` is the time at which every world goes on."""

    folder: Path
    kept: Path
    base_us: int
    names: tuple[str, ...]


class Lots:
    """Random bytes from one seed, a stream for each party; `who` is the party whose turn it is."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._streams: dict[str, random.Random] = {}
        self.who = "broker"

    def draw(self, count: int) -> bytes:
        """Bytes of the party whose turn it is."""
        return self.of(self.who)(count)

    def of(self, party: str) -> Callable[[int], bytes]:
        """The source of a party."""
        return self._streams.setdefault(party, random.Random(f"{self._seed}-{party}")).randbytes


class World(Move):
    """One world: the steps of a move with the old unit's view written down."""

    def __init__(self, home: House, to: str, base_us: int, lots: Lots, views: dict[str, Observer]) -> None:
        self._base_us = base_us
        super().__init__(home, to)
        self.lots = lots
        self.views = views
        self.seen = views[OLD]
        self.inviter = "police"
        self.alike: list[list[str]] = []
        self._done: dict[tuple[str, str], int] = {}
        for agency in home.agencies.values():
            agency.ctx.now = self.now
            agency.ctx.started_us = self.now()

    def skew(self, **by_us: int) -> None:
        """Clocks that run wrong, by agency and microseconds."""
        for name, us in by_us.items():
            self.home.agencies[name].ctx.now = partial(self._wrong, us)

    def _wrong(self, us: int) -> int:
        return self.now() + us

    def now(self) -> int:
        """The world's time; it moves when the test says so."""
        return self._base_us + self.ahead_us

    async def settle(self, rounds: int = 3) -> None:
        """Let everything that can happen happen, a beat of time for each round."""
        for _ in range(rounds):
            await self.turn(*(name for name in self.home.agencies if name not in self.off))

    async def turn(self, *names: str) -> None:
        """One beat in which only these agencies do anything."""
        self.move(_BEAT_US)
        for name in names:
            self.lots.who = self.party(name)
            await self._steps(name, self.home.agencies[name])
            self.lots.who = "broker"
            for bucket in await self.home.node.context.stream.waiting():
                await drain(self.home.node.context, bucket)
        await self.home.node.sealer.beat()

    async def _steps(self, name: str, agency: Agency) -> None:
        """The steps of a runner that are due by the world's clock; one that fails keeps no other from its turn."""
        for what, seconds, step in runner._steps(agency.ctx, agency.folder):
            if self.now() - self._done.get((name, what), 0) >= seconds * 1_000_000:
                self._done[name, what] = self.now()
                with suppress(HandslagError):
                    await step()

    async def new_accepts(self) -> None:
        """The new social services takes the invitation of `inviter`, whoever else may have invited it."""
        new, inviter = self.agency(self.new), self.agency(self.inviter).ctx.settings.unit
        [*_, invited] = new.files("out", kind="invitation", from_unit=inviter)
        new.command(do="accept", ref=self.refs[self.new], invitation=invited["invitation"])
        await self.settle(9)

    def party(self, name: str) -> str:
        """Which part an agency plays: `new` is the receiving one, whoever that is."""
        return "new" if name == self.new else "idle" if name in play.NAMES.values() else name

    def grant(self, ref: str, *terms: Any, **more: Any) -> dict[str, Any]:
        """A consent as `play` makes it, with an end by the world's clock."""
        until = datetime.fromtimestamp(self._base_us / 1e6, UTC) + timedelta(days=60)
        return {**_GRANT(ref, *terms), "valid_until": until.isoformat(), **more}


_GRANT = play.grant


async def fork(folder: Path, *, third: bool = False) -> Fork:
    """Set a case of three up, with two more social services admitted, or three, and lay it aside."""
    lived, kept = folder / "world", folder / "kept"
    if third:
        play.UNITS["gamma"], play.NAMES[GAMMA], play.REFS["gamma"] = play._unit(GAMMA, LEAD), "gamma", "GA-1"
    try:
        async with moving(lived) as made:
            await made.settle(2)
            base_us, names = made.now() + _BEAT_US, tuple(made.home.agencies)
    finally:
        play.UNITS.pop("gamma", None)
    shutil.copytree(lived, kept)
    return Fork(lived, kept, base_us, names)


@asynccontextmanager
async def world(made: Fork, to: str, seed: int = 1) -> AsyncIterator[World]:
    """Go on from the fork, with the person moving to `to`; the world before it is gone."""
    shutil.rmtree(made.folder)
    shutil.copytree(made.kept, made.folder)
    lots = Lots(seed)
    with _seeded(lots, lambda: made.base_us):
        async with AsyncExitStack() as stack:
            home, views = await _opened(stack, made)
            lived = World(home, to, made.base_us, lots, views)
            for name, agency in home.agencies.items():
                agency.ctx.random = lots.of(lived.party(name))
            _follow(home, lived.now)
            play.grant = lived.grant
            stack.callback(setattr, play, "grant", _GRANT)
            yield lived


def _follow(home: House, clock: Callable[[], int]) -> None:
    """Every part of the broker that has a clock reads the world's."""
    home.node.sealer._now_us = clock
    home.node.context.quotas._clock = lambda: clock() / 1e6
    home.liar._core._shown._clock = lambda: clock() / 1e6


@contextmanager
def _seeded(lots: Lots, clock: Callable[[], int]) -> Iterator[None]:
    """Random bytes and seat keys by lot of one seed, while the block runs."""
    honest = nodes.now_us, nodes.os, vaults.os
    drawn = type("Os", (), {"urandom": staticmethod(lots.of("broker")), "__getattr__": lambda _s, n: getattr(os, n)})()
    SeatKeyPair.generate = classmethod(lambda cls: cls.from_private_bytes(lots.draw(128)))  # type: ignore[method-assign]
    nodes.now_us, nodes.os, vaults.os = clock, drawn, drawn  # type: ignore[assignment]
    try:
        yield
    finally:
        del SeatKeyPair.generate  # its parent's is there again
        nodes.now_us, nodes.os, vaults.os = honest


async def _opened(stack: AsyncExitStack, made: Fork) -> tuple[House, dict[str, Observer]]:
    """Broker and connectors from what lies in the folder, behind a gateway on a port of its own."""
    loaded = settings.load(made.folder / "broker" / "broker.toml")
    store, vault = opened(loaded)
    stack.callback(vault.close)
    stack.callback(store.close)
    node = Node(loaded, Metrics(), store, vault, nodes.now_us)
    object.__setattr__(node.context, "quotas", Quotas(LIMITS, lambda: 0.0))
    liar = Liar(await node.open_log())
    await node.sealer.start()
    await node.sealer.beat()
    waiting = Waiting(20.0, tick_s=_TICK_S)
    store.on_news = waiting.ring
    serving = await stack.enter_async_context(serve_gateway(liar, loaded, node.metrics, node.context.quotas, waiting))
    agencies, views = {}, {}
    for name in made.names:
        connector = await stack.enter_async_context(Connector(made.folder / name / "connector.toml"))
        connector.context.link._nodes = Nodes([f"https://127.0.0.1:{serving.gateway.port}"])
        agencies[name] = Agency(connector)
        if name in WATCHED:
            views[name] = Observer(agencies[name], [store._engine, vault._engine])
            stack.callback(views[name].close)
    return House(node, liar, agencies), views
