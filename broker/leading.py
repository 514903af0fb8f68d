"""Whether this node is there, and whether it leads: one of the nodes seals, watches deadlines and lapses invitations.

A lease on the Store's clock: three seconds, renewed each second, so that a leader that is killed or stands still is
followed by another within five. It makes nothing right: two leaders for a moment waste work, because the log's head,
the anchor and every row that time moves are compared before they are set. A leader that cannot renew stops leading by
its own clock before the lease is over.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from broker import logs
from broker.keyfiles import write_new
from broker.sharing import Share, live
from broker.store.port import Rows, Store
from broker.store.shared import LeaseRow, NodeRow
from schemas import version
from schemas.errors import HandslagError

_log = logging.getLogger("handslag.nodes")
LEASE = "leader"
LEASE_S = 3.0
LOOK_S = 1.0
FORGOTTEN_US = 24 * 3600 * 1_000_000  # a node that was away for a day is not listed any more
ID_FILE = "node.id"


def node_id(data_dir: Path) -> str:
    """The id of the node whose folder this is, 16 hexadecimal digits, drawn at its first start and kept."""
    path = data_dir / ID_FILE
    try:
        known = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        known = ""
    if len(known) == 16 and set(known) <= set("0123456789abcdef"):
        return known
    path.unlink(missing_ok=True)
    made = os.urandom(8).hex()
    write_new(path, made.encode(), private=True)
    return made


class Leading:
    """This node among the others; used from one event loop. `now_us` is the Store's clock."""

    def __init__(
        self,
        store: Store,
        share: Share,
        name: str,
        now_us: Callable[[], int],
        told: Callable[[bool, int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`told` gets, at each look, whether this node leads and how many nodes are there."""
        self.name = name
        self._store = store
        self._share = share
        self._now_us = now_us
        self._told = told
        self._clock = clock
        self._started_us = 0
        self._until_s = float("-inf")
        self._takes = True

    def leads(self) -> bool:
        """Whether this node may do what only the leader does, now."""
        # INVARIANT: test_a_leader_that_stood_still_leads_no_more
        return self._clock() < self._until_s

    async def look(self) -> bool:
        """Say that this node is there, take or renew the lease, see who else is there; returns whether it leads.

        Raises what the Store raises; the lease then runs out by itself.
        """
        if not self._takes:
            return False
        # Before the question: what the answer took is lost for us, not for the one who waits for the lease.
        asked_s, now_us = self._clock(), self._now_us()
        self._started_us = self._started_us or now_us
        row = NodeRow(self.name, self._started_us, now_us, version.current(), self._takes)
        until_us = now_us + round(LEASE_S * 1_000_000)

        def work(rows: Rows) -> tuple[bool, list[NodeRow]]:
            rows.shared.here(row)
            rows.shared.gone(now_us - FORGOTTEN_US)
            taken = rows.shared.take(LEASE, self.name, now_us, until_us)
            return taken, rows.shared.nodes()

        taken, nodes = await self._store.write(work, shared=True)  # rows of its own, no other lock
        if not taken:
            self._until_s = float("-inf")
        elif self._takes:
            self._until_s = asked_s + LEASE_S
        there = live(nodes, now_us)
        self._share.among(there)
        self._told(self.leads(), len(there | {self.name}))
        return self.leads()

    async def run(self) -> None:
        """Look for ever; a look that fails is made again."""
        while True:
            try:
                await self.look()
            except HandslagError as error:
                logs.event(_log, logging.WARNING, error.code, task="nodes")
            await asyncio.sleep(LOOK_S)

    async def leave(self) -> None:
        """Take nothing any more and let another lead at once; a Store that is away keeps no node from ending."""
        # INVARIANT: test_a_node_that_ends_hands_its_lease_on
        self._takes, self._until_s = False, float("-inf")

        def work(rows: Rows) -> None:
            rows.shared.give_back(LEASE, self.name)
            rows.shared.gone_node(self.name)

        try:
            await self._store.write(work, shared=True)
        except HandslagError as error:
            logs.event(_log, logging.WARNING, error.code, task="nodes")

    async def status(self) -> dict[str, object]:
        """Every node, for the operator: id, since when, when last seen, version, whether it leads."""
        now_us = self._now_us()
        nodes, lease = await self._store.read(lambda rows: (rows.shared.nodes(), rows.shared.lease(LEASE)))
        return {"node": self.name, "nodes": [described(row, lease, now_us) for row in nodes]}


def described(row: NodeRow, lease: LeaseRow | None, now_us: int) -> dict[str, object]:
    """One node as the operator is shown it."""
    return {
        "node": row.node_id,
        "started_at_us": row.started_at_us,
        "seen_at_us": row.seen_at_us,
        "version": row.version,
        "live": bool(live([row], now_us)),
        "leads": lease is not None and lease.holder == row.node_id and lease.until_us > now_us,
    }
