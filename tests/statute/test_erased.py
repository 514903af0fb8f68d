"""When a seat is erased, what it disclosed without consent is forgotten with it."""

from __future__ import annotations

import sqlalchemy as sa

from broker.store.statute_tables import acute
from broker.store.tables import call
from schemas.checks import sha256
from tests.admin.erasing import begun, closed
from tests.promises.case import deliveries
from tests.statute.making import Desk


async def test_a_statutory_disclosure_is_forgotten_with_its_seat(tmp_path, engine):
    home = await begun(tmp_path / "home")
    site = home.site
    desk = Desk(site, site.police)
    await desk.approve()
    sealed = desk.sealed()
    request = desk.request(sealed, desk.statement(sealed))
    await desk.send(request)
    _answer, night = await desk.disclose(second=False, acute=True)
    await desk.confirm(night)
    for item in await deliveries(site):
        await site.ack(site.lead, item.item_id)
    await closed(home)

    def left(rows):
        waits = rows.gate._c.execute(sa.select(acute.c.disclosure_id, acute.c.decider_key))
        calls = rows.gate._c.execute(sa.select(call.c.call_id)).scalars()
        return list(waits), set(calls)

    waits, calls = await site.store.read(left)
    ((waiting, decider),) = waits
    assert waiting == night.disclosure_id
    assert request.call_id in calls
    marks = [night.disclosure_id, sha256(night.to_bytes()), decider]
    # What a server keeps of deleted rows is its own affair: docs/postgresql.md says for how long.
    on_files = engine == "sqlite"
    assert all(any(mark in data for data in home.bytes_on_disk().values()) for mark in marks) is on_files
    await home.erased(site.police)
    waits, calls = await site.store.read(left)
    assert waits == []
    assert request.call_id not in calls
    assert not [mark for mark in marks for data in home.bytes_on_disk().values() if mark in data]
    site.close()
