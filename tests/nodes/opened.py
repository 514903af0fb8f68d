"""Nodes on one real PostgreSQL database in one process, their loops left out, so that a test says who looks when."""

from __future__ import annotations

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

from broker import initialise, joining, settings
from broker.gateway.waiting import Waiting
from broker.metrics import Metrics
from broker.node import Node, opened
from broker.server_clock import ServerClock
from broker.store.units import UnitRow
from connectors.keys import UnitKeyPair
from deploy.demo.play import _set
from schemas.statements import UnitEntry

ORIGIN = "exempel.invalid/audit"
POLICE = "POL/EXEMPEL/SYD"


def folders(tmp_path, database, count=2):
    """The settings of `count` nodes, made by the commands' own code."""
    plan = initialise.InitPlan("127.0.0.1:0", ("127.0.0.1",), ORIGIN, None, "127.0.0.1:0")
    first = initialise.initialise(tmp_path / "node0", plan, datetime.now(UTC)).config
    pairs = ", ".join(f"{name} = {json.dumps(value)}" for name, value in database.items())
    _set(first, "store", f"{{ {pairs} }}")
    return first, [settings.load(first)]


def further(tmp_path, first, number):
    plan = joining.JoinPlan(f"127.0.0.1:{number}", ("127.0.0.1",), "127.0.0.1:0")
    return settings.load(joining.join(tmp_path / f"node{number}", first, plan, datetime.now(UTC)))


@asynccontextmanager
async def node(loaded):
    """One node with its engines open, among the others of its store."""
    store, vault = await asyncio.to_thread(opened, loaded)
    try:
        clock = ServerClock(store.clock_us)
        await clock.look()
        one = Node(loaded, Metrics(), store, vault, clock)
        one.vault = vault
        one.core = await one.open_log()
        one.others = await one.among_others(one.core, Waiting(0))
        yield one
    finally:
        store.close()
        vault.close()


@asynccontextmanager
async def nodes(tmp_path, database, count=2):
    """Several nodes of one new broker, the first one first."""
    first, made = folders(tmp_path, database)
    threads = ThreadPoolExecutor()
    asyncio.get_running_loop().set_default_executor(threads)
    async with AsyncExitStack() as stack:
        opened_nodes = [await stack.enter_async_context(node(made[0]))]
        for number in range(1, count):
            one = await stack.enter_async_context(node(further(tmp_path, first, number)))
            opened_nodes = [*opened_nodes, one]
        try:
            yield opened_nodes
        finally:  # a cancelled task's thread still has a session of an engine that is closed next
            threads.shutdown()
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())


def unit_row(code=POLICE):
    """A unit as an admission leaves it, with a certificate of its own."""
    keys, agency = UnitKeyPair.generate(), UnitKeyPair.generate()
    entry = UnitEntry(
        unit=code, agency=code.rsplit("/", 1)[0], controller=code.rsplit("/", 1)[0], roles=("police_coordination",),
        signing_key=keys.public.signing, hpke_key=keys.public.hpke, valid_from_us=0, valid_until_us=2**50,
    )  # fmt: skip
    return UnitRow(
        unit=code, agency=entry.agency, controller=entry.controller, certificate=os.urandom(32),
        entry=entry.to_bytes(), agency_signature=agency.sign(entry.to_bytes()), signing_key=keys.public.signing,
        hpke_key=keys.public.hpke, instance=0, admitted_at_us=1, revoked_at_us=None,
    )  # fmt: skip
