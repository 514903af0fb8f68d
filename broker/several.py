"""One of several nodes on one Store, put together: who leads, what others changed, the bell between them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from broker import control
from broker.actfiles import ActFiles
from broker.context import Context
from broker.continuing import LogKey
from broker.core import BrokerCore
from broker.following import Following, Parts
from broker.leading import Leading, node_id
from broker.sealer import Sealer
from broker.settings import BrokerSettings
from broker.sharedfiles import SharedFiles
from broker.sharing import Share
from broker.store.bell import Bell
from broker.trail import Witnessed
from schemas.errors import HandslagError


@dataclass(frozen=True, slots=True)
class Several:
    """What a node has beside what a node alone has."""

    leading: Leading
    following: Following
    share: Share
    bell: Bell

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What runs as long as the node."""
        return [self.leading.run(), self.following.run(), self.bell.run()]

    def handlers(self, handlers: Mapping[str, control.Handler], shared: SharedFiles) -> dict[str, control.Handler]:
        """The operator's commands, each on the files and the memory that all nodes have, and its own `nodes`."""

        def on_all(handler: control.Handler) -> control.Handler:
            async def handled(arguments: control.Arguments) -> dict[str, Any]:
                await shared.sync()
                try:
                    await self.following.current()
                except HandslagError as error:
                    if error.code != "HS-NOT-READY":  # other rules are in force, say: that ends no command
                        raise
                try:
                    return await handler(arguments)
                finally:
                    await shared.look()

            return handled

        async def nodes(_arguments: control.Arguments) -> dict[str, Any]:
            return await self.leading.status()

        return {**{name: on_all(handler) for name, handler in handlers.items()}, "nodes": nodes}


@dataclass(frozen=True, slots=True)
class Made:
    """The parts of an opened node that several nodes need."""

    settings: BrokerSettings
    context: Context
    core: BrokerCore
    sealer: Sealer
    witnessed: Witnessed
    log: LogKey
    files: ActFiles
    shared: SharedFiles


def several(made: Made, rung: Callable[[], None], appended: Callable[[], None]) -> Several:
    """This node among the others, before it serves.

    `rung` is called when another node put something into an inbox, `appended` when it put something into the stream.
    """
    name = node_id(made.settings.data_dir)
    share = Share(name)
    following = Following(
        Parts(made.core, made.context, made.sealer, made.witnessed, made.log, made.files, made.shared)
    )
    made.core.current, made.core.carry = following.current, made.shared.sync
    leading = Leading(made.context.store, share, name, made.context.now_us, made.context.metrics.nodes)
    return Several(leading, following, share, Bell(made.settings.store, {"news": rung, "stream": appended}))
