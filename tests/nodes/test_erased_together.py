"""Two nodes that carry out one erasure at once: each step is written once, and it is done."""

import asyncio

import sqlalchemy as sa

from broker.erasing import Eraser
from broker.store.tables import entry
from tests.admin.erasing import GROUND, begun, closed


async def test_two_nodes_that_erase_one_seat_write_each_step_once(tmp_path):
    home = await begun(tmp_path / "home")
    await closed(home)
    site = home.site
    other = Eraser(site.context, home.files, home.keeper, home.sealer.beat)
    await home.eraser.require_free(site.police.seat_id, GROUND)
    await home.signed_for(site.police)
    done = await asyncio.gather(home.eraser.go_on(), other.go_on())
    assert [[row.state for row in rows] for rows in done] == [["DONE"], ["DONE"]]
    count = sa.select(sa.func.count()).select_from(entry).where(entry.c.operation == "ERASURE")
    assert await site.store.read(lambda rows: rows.gate._c.execute(count).scalar_one()) == 2  # begun, and erased
    assert home.verified(tmp_path / "trail.db").whole
    site.close()
