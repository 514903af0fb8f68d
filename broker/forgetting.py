"""Letting the keys of past days go: first everything open is sealed under today's, then a day's key is destroyed.

What was deleted or changed before lies on in the database's pages, logs and copies, and nobody can read it any more.
"""

from __future__ import annotations

import asyncio
import logging

from broker import logs, rotation, transit
from broker.context import Context
from broker.store.port import Rows
from broker.transit import Days
from schemas.errors import HandslagError

_log = logging.getLogger("handslag.forgetting")
_PIECE = 50  # deliveries in one transaction, which holds their rows
_EVERY_S = 60.0


class Forgetting:
    """The passes of one node over what the store keeps under keys of days. Several nodes may run them at once."""

    def __init__(self, context: Context, days: Days | None, *, strict: bool) -> None:
        """Without `days` only what a restored copy left unreadable is given back; `strict`: other keys are refused."""
        self._context = context
        self._days = days
        self._strict = strict

    async def start(self) -> None:
        """Raise `HS-TRANSIT-OTHER` when keys that are not here sealed what is open, and this chain is no stand-in."""
        # INVARIANT: test_a_node_with_other_keys_gives_nothing_back
        if not self._strict or (self._days is not None and self._days.keys.instead):
            return
        if await self._context.store.read(lambda rows: rows.content.of_another_chain()):
            raise HandslagError("HS-TRANSIT-OTHER")

    async def renewed(self, day: int) -> bool:
        """Seal what is open and older than `day` under today's key; whether nothing needs an older key now.

        Raises what the store raises.
        """
        # INVARIANT: test_content_is_sealed_anew_before_its_key_goes
        store = self._context.store
        while found := await store.read(lambda rows: rows.content.older(day, _PIECE)):
            await store.write(lambda rows, found=found: rows.content.renew(found))  # type: ignore[misc]
            if set(found) & set(await store.read(lambda rows: rows.content.older(day, _PIECE))):
                return False  # held by somebody at this moment, or damaged
        return not await store.read(lambda rows: rows.content.waiting_before(day))

    async def give_back(self) -> int:
        """Ask the senders to seal anew what nobody can open here, as after a restore; returns how many deliveries."""
        # INVARIANT: test_what_nobody_can_open_goes_back_to_its_sender
        total = 0
        while found := await self._context.store.read(lambda rows: rows.content.lost(_PIECE)):
            total += await self._context.store.write(lambda rows, found=found: self._reseal(rows, found))  # type: ignore[misc]
        if total:
            logs.event(_log, logging.ERROR, "HS-TRANSIT-GONE", deliveries=total)
        return total

    def _reseal(self, rows: Rows, found: list[tuple[int, bytes]]) -> int:
        bumps = {at: rows.gate.bump(at, 1, self._context.now_us()) for at in sorted({bucket for bucket, _id in found})}
        seen = rows.deliveries.get([delivery_id for _bucket, delivery_id in found])
        for bucket, bump in bumps.items():
            own = [row for row in seen.values() if row.bucket == bucket and row.body is None and row.state in _OPEN]
            rotation.reseal(self._context, rows, own, bump)
        return len(found)

    async def run(self, *, alone: bool) -> None:
        """Once a minute, for as long as the node runs; the keys go here if no stream outside the store needs them."""
        while True:
            try:
                await self.give_back()
                if alone and self._days is not None:
                    await self.let_go(self._days)
            except HandslagError as error:
                logs.event(_log, logging.WARNING, error.code, task="forgetting")
            await asyncio.sleep(_EVERY_S)

    async def let_go(self, days: Days) -> None:
        """Destroy the keys of days that are over, as soon as nothing needs them."""
        oldest = transit.oldest_needed(days.today(), None)
        if days.first() < oldest and await self.renewed(oldest):
            await asyncio.to_thread(days.keys.destroy_before, oldest)


_OPEN = frozenset({"PENDING", "HANDED"})
