"""One process per unit: the folder adapter and the connector's tasks, until it is told to stop.

Every task is a short step on its own beat. A step that fails says so by a code and is tried again with full jitter; no
failure of one task ends another. Logs hold codes and names of steps, never a value.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from connectors import (
    executor,
    highwater,
    hold,
    inbox,
    incidents,
    keeping,
    rekeying,
    retry,
    returning,
    reviews,
    rotation,
    sending,
    succession,
    transfers,
    trusting,
    upkeep,
)
from connectors.adapters.folder import Folder
from connectors.client import Connector
from connectors.context import Context
from connectors.link import Link
from schemas import limits
from schemas.errors import HandslagError

LOCAL_BEAT_S = 0.2  # how long a dropped file waits to be looked at
LATE_S = 5.0  # how late this connector may itself notice that a deadline passed
TIDY_S = 60.0  # deleted content leaves the write-ahead log at least this often
_log = logging.getLogger("handslag.connector")

Step = Callable[[], Awaitable[object]]


async def run(config: Path, stop: asyncio.Event | None = None) -> None:
    """Run until SIGTERM, SIGINT or `stop`; raises HandslagError when the configuration cannot be used."""
    ended = stop or asyncio.Event()
    _listen(ended)
    await trusting.complete(config, ended)
    if ended.is_set():
        return
    async with Connector(config) as connector:
        ctx = connector.context
        folder = Folder(ctx.settings.folder, ctx)
        async with asyncio.TaskGroup() as group:
            group.create_task(_end(ctx.link, ended), name="end")
            group.create_task(_wake(ctx, ended), name="wake")
            for name, seconds, step in _steps(ctx, folder):
                group.create_task(_every(ctx.link, name, seconds, step, ended), name=name)


def _listen(ended: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows has no signal handlers on its loop; there the service manager ends the process.
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.add_signal_handler(number, ended.set)


def _steps(ctx: Context, folder: Folder) -> list[tuple[str, float, Step]]:
    beat = ctx.settings.poll_s

    async def local() -> None:
        folder.take_in()
        folder.give_out()

    async def out() -> None:
        sending.review_waiting(ctx)
        while await sending.out(ctx):
            pass

    async def poll() -> None:
        # A full answer means that more waits: the pause is for an empty inbox.
        full = True
        while full:
            full = await inbox.poll(ctx) == limits.INBOX_ITEMS
            folder.give_out()
            while await inbox.send_acks(ctx) == limits.INBOX_ITEMS:
                pass

    async def prove() -> None:
        upkeep.alarm_late(ctx)
        await upkeep.proofs(ctx)

    async def tidy() -> None:
        highwater.advance(ctx)
        ctx.spool.store.tidy()

    return [
        *_lost_and_found(ctx),
        ("folder", LOCAL_BEAT_S, local),
        ("commands", LOCAL_BEAT_S, lambda: executor.run_due(ctx)),
        ("send", LOCAL_BEAT_S, out),
        ("inbox", LOCAL_BEAT_S if ctx.settings.wait_s else beat, poll),
        ("directory", ctx.settings.directory_s, lambda: upkeep.directory(ctx)),
        ("operator", ctx.settings.directory_s, lambda: upkeep.operator(ctx)),
        ("hold", beat, lambda: hold.step(ctx)),
        ("checkpoint", beat, lambda: upkeep.checkpoint(ctx)),
        ("proofs", beat, prove),
        ("keys", beat, lambda: _keys(ctx)),
        ("deadlines", LATE_S, lambda: upkeep.warn_overdue(ctx)),
        ("reminders", beat, lambda: _remind(ctx)),
        ("tidy", TIDY_S, tidy),
    ]


async def _keys(ctx: Context) -> None:
    """Rotations that are due, and what a seat that takes a role over still has to do."""
    await rotation.step(ctx)
    succession.step(ctx)
    await transfers.finish(ctx)


async def _remind(ctx: Context) -> None:
    """What this connector's own clock brings: consents that end, incidents whose time runs."""
    await reviews.tell_due(ctx)
    await incidents.follow(ctx)


def _lost_and_found(ctx: Context) -> list[tuple[str, float, Step]]:
    return [
        ("announce", LATE_S, lambda: returning.announce(ctx)),
        ("backup", TIDY_S, lambda: keeping.due(ctx)),
        ("rekey", LOCAL_BEAT_S * 5, lambda: rekeying.step(ctx)),
    ]


async def _wake(ctx: Context, ended: asyncio.Event) -> None:
    """What waited longer and longer for a broker that was away goes at once when any call reaches it again."""
    # INVARIANT: test_what_waited_for_the_broker_goes_when_it_is_back
    while not ended.is_set():
        await ctx.link.back.wait()
        # A full disk, say: the tasks tell it themselves, and what waits then waits its own time.
        with contextlib.suppress(HandslagError), ctx.spool.transaction():
            ctx.spool.commands.soon()
            ctx.spool.outgoing.soon()


async def _end(link: Link, ended: asyncio.Event) -> None:
    """At the end nobody waits any more."""
    await ended.wait()
    link.leave()


async def _every(link: Link, name: str, seconds: float, step: Step, ended: asyncio.Event) -> None:
    failures = 0
    told = ""
    while not ended.is_set():
        pause = seconds
        try:
            await step()
            if failures:
                _log.info("%s works again", name)
            failures, told = 0, ""
        except HandslagError as error:
            failures += 1
            asked = retry.floor_s(error)
            if asked and name == "send":
                # Each event holds its own pause; one that has room of its own must not wait out another's.
                pause = max(seconds, retry.REFUSED_S)
            else:
                pause = retry.pause_s(seconds, failures, random.random(), asked)  # noqa: S311 - spreads load
            if error.code != told:
                # Once per kind of trouble: a broker that is away for a night is one line.
                _log.warning("%s: %s", name, error.code)
                told = error.code
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(link.back.wait(), pause)
