"""A command given on the command line: durable in the spool first, then carried out by whoever runs this connector."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from connectors import commands, executor
from connectors import settings as configuration
from connectors.context import Context
from connectors.spool.alone import sole_runner
from connectors.spool.commands import Waiting
from schemas.errors import HandslagError

WAIT_S = 10.0  # for the running connector, or for a broker that is away; the command goes on by itself
_LOOK_S = 0.1


async def carried_out(config: Path, values: dict[str, Any], wait_s: float = WAIT_S) -> Waiting:
    """Accept one command of docs/folder-adapter.md and wait for its answer, at most `wait_s` seconds.

    Returns the command as it stands: state ACCEPTED when it still waits (it is durable and goes on by itself). Raises
    HandslagError of the command's own check, or the code with which it was refused.
    """
    command = commands.read(json.dumps(values).encode())
    ctx = Context.load(configuration.load(config))
    try:
        return await awaited(ctx, executor.submit(ctx, command), wait_s)
    finally:
        ctx.spool.close()


async def awaited(ctx: Context, command_id: bytes, wait_s: float = WAIT_S) -> Waiting:
    """Wait for the answer of a command that was accepted; returns and raises as `carried_out`."""
    tries = 0 if await _tried(ctx, command_id) else int(wait_s / _LOOK_S)
    for _ in range(tries):
        if ctx.spool.commands.get(command_id).state != "ACCEPTED":
            break
        await asyncio.sleep(_LOOK_S)
    waiting = ctx.spool.commands.get(command_id)
    if "error" in waiting.value:
        raise HandslagError(waiting.value["error"])
    return waiting


async def _tried(ctx: Context, command_id: bytes) -> bool:
    """Carry it out here; False when the connector runs and does it itself."""
    command = ctx.spool.commands.get(command_id)
    try:
        with sole_runner(ctx.settings.data_dir):
            if command.kind not in commands.NARROWING:
                ctx.witness.check_running()  # stopping is never the wrong direction, all else is when the log lied
            async with ctx.link:
                await executor.run(ctx, command)
    except HandslagError as error:
        if error.code != "HS-CONNECTOR-RUNNING":
            raise
        return False
    return True
