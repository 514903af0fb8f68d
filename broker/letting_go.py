"""Each node of a server lets go of older root keys after an erasure, and one of them says when all have.

A server keeps dead rows, logs and copies of a key that was destroyed, wrapped under the root key of that day. So an
erasure is done only when no node's folder holds that root key any more; a node that is away is waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from broker import logs
from broker.erasing import Eraser
from broker.store.keyport import Vault
from schemas.errors import HandslagError

_log = logging.getLogger("handslag.erasing")
_EVERY_S = 1.0


async def letting_go(vault: Vault, eraser: Eraser, leads: Callable[[], bool]) -> None:
    """Once a second, for as long as the node runs; a look that fails is told once and made again."""
    # INVARIANT: test_an_erasure_waits_for_a_node_that_is_away
    told = ""
    while True:
        try:
            gone = await asyncio.to_thread(vault.let_go)
            if gone and leads():
                await eraser.settle()
            told = ""
        except HandslagError as error:
            if error.code != told:
                logs.event(_log, logging.ERROR, error.code, task="letting go", part=str(error.context.get("part", "")))
            told = error.code
        await asyncio.sleep(_EVERY_S)
