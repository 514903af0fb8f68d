"""Looking through a unit's inbox for what is about one seat, in pieces, and outside every transaction that writes.

The items are sealed, so each has to be opened, and there can be more of them than a server waits for.
"""

from __future__ import annotations

import asyncio

from broker.context import Context
from broker.store.erasures import LOOKED_AT_ONCE, InboxLook, is_about
from broker.store.inbox import Leased


async def looked(context: Context, seat_id: bytes) -> InboxLook:
    """What waits for the seat's unit at this moment, and what of it is about the seat; raises what the store raises."""
    seen: set[int] = set()
    found: set[int] = set()
    names = await context.store.read(lambda rows: rows.erasures.names(seat_id))

    def about(piece: list[tuple[int, Leased]]) -> set[int]:
        return {number for number, one in piece if is_about(context.store.sealing.opened(one), names)}

    after = 0
    while piece := await context.store.read(
        lambda rows, after=after: rows.erasures.waiting(seat_id, after, LOOKED_AT_ONCE)  # type: ignore[misc]
    ):
        found |= await asyncio.to_thread(about, piece)
        seen |= {number for number, _one in piece}
        after = piece[-1][0]
    return InboxLook(frozenset(seen), frozenset(found))


async def swept(context: Context, seat_id: bytes) -> InboxLook:
    """As `looked`, and what is about the seat is deleted, some of it at a time; only once its erasure is recorded."""
    look = await looked(context, seat_id)
    numbers = sorted(look.found)
    for at in range(0, len(numbers), LOOKED_AT_ONCE):
        piece = numbers[at : at + LOOKED_AT_ONCE]
        await context.store.write(lambda rows, piece=piece: rows.erasures.drop(piece))  # type: ignore[misc]
    return look
