"""What another node changed takes effect here at the next call: units, hold, continuations, acts, files, erasures.

One number in the Store is raised in the transaction of every such change. Before a call is answered it is compared
with the one read last; when it moved, everything that this node holds in memory is read anew, and only then does the
call go on. A Store that does not answer refuses the call: nothing is served from memory alone. A Store whose log is
shorter than this node has seen it, after a failover to a copy that lagged behind, begins a hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path

from audit.checkpoint import Checkpoint
from broker import logs
from broker.actfiles import ActFiles
from broker.administration import require_rules
from broker.anchor import Anchor
from broker.context import Context
from broker.continuing import LogKey
from broker.core import BrokerCore
from broker.hold import ANCHOR, Seen
from broker.sealer import Sealer
from broker.sharedfiles import SharedFiles
from broker.store.hold import ContinuationRow
from broker.store.port import Rows
from broker.store.shared import State
from broker.store.units import UnitRow
from broker.trail import Witnessed
from schemas.errors import HandslagError
from schemas.hold import Continuation

_log = logging.getLogger("handslag.nodes")
LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What of a node follows."""

    core: BrokerCore
    context: Context
    sealer: Sealer
    witnessed: Witnessed
    log: LogKey
    files: ActFiles
    shared: SharedFiles


@dataclass(frozen=True, slots=True)
class _Read:
    """One snapshot of what nodes hold in memory."""

    state: State
    units: list[UnitRow]
    erasures: dict[int, str]


class Following:
    """Keeps one node's memory on what the Store says; used from one event loop."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._turn = asyncio.Lock()
        self._begun = 0
        self._ended: tuple[int, str | None] = (0, None)
        self._number = -1
        self._told = ""
        self._erasures: dict[int, str] = {}

    async def current(self) -> None:
        """Return when this node's memory is what the Store says; one small read when nothing changed.

        Raises HS-HOLD when the Store's log is shorter than this node has seen it, and HS-NOT-READY for all else, other
        rules in force than this node has among it: whoever called may call again, or call another node.
        """
        # Calls that come while a look is under way share the next one: none of them is answered by a look that began
        # before it came.
        # INVARIANT: test_calls_that_come_together_share_a_look_that_began_after_they_came
        came_after = self._begun
        async with self._turn:
            number, failed = self._ended
            if number > came_after:
                if failed is not None:
                    raise HandslagError(failed)
                return
            self._begun += 1
            own = self._begun
            self._ended = (own, await self._failure())
            if self._ended[1] is not None:
                raise HandslagError(self._ended[1])

    async def _failure(self) -> str | None:
        """Look once; None, or the code that callers are told."""
        try:
            await self._look()
        except HandslagError as error:
            if error.code == "HS-HOLD":
                return error.code
            if error.code != self._told:
                self._told = error.code
                logs.event(_log, logging.ERROR, error.code, task="following")
            return "HS-NOT-READY"
        self._told = ""
        return None

    async def _look(self) -> None:
        # INVARIANT: test_what_another_node_revoked_is_refused_here_at_the_next_call
        # Before the question: a beat that commits while it is under way is no contradiction.
        # INVARIANT: test_a_log_that_grows_while_a_node_looks_is_no_contradiction
        number, known = self._memory()
        state = await self._parts.context.store.read(lambda rows: rows.shared.state())
        if known is not None and state.log_size < known.size:
            await self._shorter(number, known)
        if state.number != self._number:
            await self._read_anew()

    def _memory(self) -> tuple[int, Checkpoint | None]:
        """Part and head of the log that the Store must have; no head while a hold waits for the operator's word."""
        keeper = self._parts.core.keeper
        return keeper.number, None if keeper.silent else self._parts.sealer.known

    async def run(self) -> None:
        """Look once a second, also when nobody calls: an erased key is forgotten, files of the folder are carried."""
        while True:
            try:
                await self._parts.shared.look()
                with contextlib.suppress(HandslagError):  # it was told
                    await self.current()
                await self._contradicted()
            except HandslagError as error:
                logs.event(_log, logging.WARNING, error.code, task="following")
            except OSError as fault:  # a full disk, say: the store's files stay the newer ones
                logs.event(_log, logging.WARNING, "HS-INTERNAL", task="following", exception=type(fault).__name__)
            await asyncio.sleep(LOOK_S)

    async def _contradicted(self) -> None:
        """A sealer that found the Store behind its anchor begins the hold. Raises HS-HOLD."""
        async with self._parts.core.keeper.turn:  # or a log that just goes on would look like one that does not
            number, known = self._memory()
            found = self._parts.sealer.behind
        if found and known is not None:
            await self._shorter(number, known)

    async def _shorter(self, number: int, known: Checkpoint) -> None:
        """The Store lost what this node has seen: hold everything back. Raises HS-HOLD."""
        # INVARIANT: test_a_store_behind_the_anchor_of_any_node_begins_a_hold
        await self._parts.core.begin_hold(ANCHOR, Seen(number, known))
        logs.event(_log, logging.ERROR, "HS-HOLD", cause=ANCHOR)
        raise HandslagError("HS-HOLD")

    async def _read_anew(self) -> None:
        """Everything from one snapshot or later; the number counts only when all of it is in place."""
        parts = self._parts
        found = await parts.context.store.read(_found)
        try:
            await parts.shared.sync()
        except HandslagError as error:
            if error.code != "HS-ADMIN-ACT-INVALID":  # an act of this folder lost: who signed it is told, not who calls
                raise
        self._take_units(found.units)
        if found.erasures != self._erasures:
            parts.context.views.clear()
            parts.context.recorder.vault.forget()
            self._erasures = found.erasures
        await self._follow_hold()
        require_rules(parts.files.chain(), parts.context.rules.hash32)
        self._number = found.state.number

    def _take_units(self, units: list[UnitRow]) -> None:
        directory = self._parts.context.directory
        before = {row.unit: row for row in directory.all()}
        directory.replace(units)
        for row in units:
            known = before.get(row.unit)
            if known is None or (known.instance, known.admitted_at_us) != (row.instance, row.admitted_at_us):
                self._parts.core.forget_shown(row.unit)

    async def _follow_hold(self) -> None:
        """A hold that another node began stops the sealer; a log that goes on elsewhere goes on here."""
        parts, keeper = self._parts, self._parts.core.keeper
        async with keeper.turn:
            await keeper.load()
            if keeper.silent:
                await parts.sealer.freeze()
                return
            if parts.sealer.origin != parts.log.origin(keeper.number):
                part = max(keeper.continuations, key=lambda one: one.number)
                anchor = await asyncio.to_thread(anchor_of, parts.log.anchor_path(part.number), part)
                parts.witnessed.go_on(part.number)
                await parts.sealer.go_on(anchor, parts.log.signer(part.number))


def _found(rows: Rows) -> _Read:
    erasures = {number: row.state for number, row in rows.erasures.all().items()}
    return _Read(rows.shared.state(), rows.units.all(), erasures)


def anchor_of(path: Path, part: ContinuationRow) -> Anchor:
    """This node's anchor of a part of the log that another node let go on; made from the statement when there is none.

    Blocks on the disk; raises `HS-ANCHOR-INVALID`.
    """
    said = Continuation.from_bytes(part.statement)
    if path.exists():
        return Anchor.open(path, said.new_origin, store_size=said.kept_size)
    return Anchor.begin(path, Checkpoint(said.new_origin, said.kept_size, said.kept_root))
