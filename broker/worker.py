"""The worker: takes the buckets that hold something, one batch after the other, and lets no submission block one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from broker.context import Context
from broker.deadlines import sweep
from broker.invitations import lapse
from broker.lookout import look
from broker.pipeline import BATCH, ENGINE, count_next, decide_alone, decide_next
from broker.ruling import recheck
from broker.sharing import Share
from broker.store.gate import GateMoved
from schemas.errors import HandslagError

_WAITS = frozenset({"HS-HOLD"})  # what another node began: nothing is decided here meanwhile
_IDLE_S = 1.0  # also what a submission waits when another node appended it
_SWEEP_S = 1.0  # how late a deadline may be noticed


async def work(
    context: Context, share: Share | None = None, current: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Decide for ever; who works on which bucket is a hint for speed, the gate keeps it right.

    One of several nodes works on its `share`, and on what others leave lying, once its memory is `current`.
    """
    while True:
        try:
            if current is not None:
                await current()
            buckets = await context.stream.waiting()
            if share is not None:
                buckets = await _shared_out(context, share, buckets)
        except HandslagError as error:
            # INVARIANT: test_a_store_that_is_away_ends_no_node
            if error.code not in ENGINE | _WAITS:
                raise
            buckets = []
        for bucket in buckets:
            await drain(context, bucket)
        if not buckets:
            await context.stream.wait(_IDLE_S)


async def _shared_out(context: Context, share: Share, waiting: list[int]) -> list[int]:
    """This node's part of the buckets that wait, and those of other nodes that nobody works on."""
    mine = share.mine(waiting)
    others = set(waiting) - set(mine)
    if not others:
        return mine
    positions = await context.store.read(lambda rows: rows.shared.positions(others))
    return mine + share.stuck(positions, time.monotonic())


async def drain(context: Context, bucket: int) -> int:
    """Decide everything that waits in one bucket; returns how many submissions were decided.

    A batch that fails is halved until the failing submission stands alone and is refused; after it batches grow again.
    """
    total, limit = 0, BATCH
    while True:
        done, limit = await _step(context, bucket, limit)
        if done == 0:
            return total
        total += max(done, 0)


async def _step(context: Context, bucket: int, limit: int) -> tuple[int, int]:
    """One batch: (how many were decided, the next limit); -1 for read again, 0 when nothing waits."""
    try:
        return await _decide(context, bucket, limit)
    except GateMoved:
        return -1, limit
    except HandslagError as error:
        if error.code not in ENGINE:
            raise
        await asyncio.sleep(_IDLE_S)  # the engine failed: whether it was written, the gate will tell
        return -1, limit


async def _decide(context: Context, bucket: int, limit: int) -> tuple[int, int]:
    """As `_step`: a batch that fails for a reason in one of its submissions is looked for in half of them."""
    # INVARIANT: test_a_failing_batch_is_halved
    if limit == 1:
        return await decide_alone(context, bucket), 2
    try:
        return await decide_next(context, bucket, limit), min(2 * limit, BATCH)
    except GateMoved:
        raise
    except Exception as error:
        if isinstance(error, HandslagError) and error.code in ENGINE:
            raise
        return -1, max(1, (await count_next(context, bucket, limit) + 1) // 2)


async def watch_time(context: Context, leads: Callable[[], bool] = lambda: True) -> None:
    """Deadlines, expiry and lapsed invitations, by the node that leads; each node looks at what its own gauges show."""
    while True:
        if context.room is not None:
            await asyncio.to_thread(context.room.look)
        try:
            if leads():
                await sweep(context)
                await lapse(context)
                await recheck(context)
            await look(context)
        except HandslagError as error:
            context.faults(error)  # the engine failed; what is late now is told at the next look
        await asyncio.sleep(_SWEEP_S)
