"""How long a withdrawal takes of a discloser that has handed over much, in process, on SQLite.

    python -m tests.bench.endings [deliveries ...]

Before each measured act the discloser has twenty consents and that many deliveries, acknowledged. `part` withdraws one
category of one consent, which the others still cover: nobody is told. `whole` is the person's withdrawal of everything:
every recipient is told of every delivery, with two entries each. `alike`: all deliveries ask the ledger the same.
`apart`: each has data of a period of its own, so each is a question of its own. Prints JSON lines of name, value, unit.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from connectors import sealing
from schemas.acts import Scope
from tests.bench.figures import tell
from tests.promises.case import BOTH, PURPOSE, grant, ready
from tests.site import DAY, LEAD, Site, assessment

_CONSENTS = 20
_AT_ONCE = 50


async def _given(site: Site, count: int, *, apart: bool) -> None:
    """Hand over `count` deliveries and acknowledge them."""
    for place in range(count):
        since = site.clock() - (place + 2) * DAY
        period = {"IC04": (since, since + DAY)} if apart else {}
        event: sealing.SealedEvent = site.sealed(
            site.police, "threat_assessment_completed", assessment(), (LEAD,), PURPOSE, released=BOTH, periods=period
        )
        await site.submit(site.police, event)
        if place % _AT_ONCE == _AT_ONCE - 1 or place == count - 1:
            await site.decide()
            for item in await site.fetch(site.lead):
                if item.kind == "DELIVERY":
                    await site.ack(site.lead, item.item_id)


async def _one(folder: Path, count: int, *, apart: bool) -> None:
    site = await ready(folder)
    consents = [await grant(site) for _ in range(_CONSENTS)]
    await _given(site, count, apart=apart)
    how = "apart" if apart else "alike"
    begin = time.perf_counter()
    part = Scope(recipients=(), categories=("IC06",), purposes=())
    await site.act(site.police, "WITHDRAW", consents[-1], scope=part)
    tell(f"endings.part.{how}", round((time.perf_counter() - begin) * 1000, 1), "ms", deliveries=count)
    begin = time.perf_counter()
    answer = await site.withdraw_case(site.police)
    spent = (time.perf_counter() - begin) * 1000
    received = sum(one.received for one in answer.counts)
    assert received == count
    tell(f"endings.whole.{how}", round(spent, 1), "ms", deliveries=count)
    site.close()


def main(counts: list[int]) -> None:
    """Measure and print."""
    for count in counts:
        for apart in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                asyncio.run(_one(Path(folder), count, apart=apart))


if __name__ == "__main__":
    main([int(one) for one in sys.argv[1:]] or [100, 400, 1600])
