"""Promise 2 at the store's door: whichever commit is the last one, an effect and its entry are both there or neither.

A store that stops taking work after the k-th commit, for every k, is every place where a process can die between two
transactions; what a kill leaves inside one of them is for SQLite, and the kills try it.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from broker import handover
from schemas.calls import FetchRequest
from schemas.errors import HandslagError
from tests.promises.schedule import stepped
from tests.promises.trail import trail
from tests.site import LEAD, Site, assessment, to_role

BOTH = frozenset({"IC04", "IC06"})


class Stops:
    """A store whose process dies after `commits` commits: nothing more is written and nobody is answered."""

    def __init__(self, inner: Any, commits: int) -> None:
        self.inner, self.left = inner, commits
        self.sealing = inner.sealing

    async def read(self, query: Any) -> Any:
        return await self.inner.read(query)

    async def write(self, work: Any, *, shared: bool = False) -> Any:
        if not self.left:
            raise HandslagError("HS-NOT-READY")
        self.left -= 1
        return await self.inner.write(work, shared=shared)


@pytest.fixture
async def site(tmp_path):
    site = Site(tmp_path / "broker")
    await site.whole_case()
    await site.take_statements(site.lead)
    await site.grant(site.police, [to_role(LEAD)], sorted(BOTH), ["THREAT_ASSESSMENT"])
    sealed = site.sealed(
        site.police, "threat_assessment_completed", assessment(), (LEAD,), "THREAT_ASSESSMENT", released=BOTH
    )
    await site.submit(site.police, sealed)
    await site.decide()
    yield site
    site.close()


async def recorded(site: Site) -> tuple[int, int, int]:
    """Hand-overs by the rows, by the discloser's entries and by the recipient's."""
    rows = await site.store.read(lambda rows: rows.deliveries.open_of_senders([site.police.seat_id]))
    theirs = [one.operation for one in await trail(site, site.police.seat_id)]
    ours = [one.operation for one in await trail(site, site.lead.seat_id)]
    since = ours.count("HAND_OVER")
    return sum(row.hand_number for row in rows), theirs.count("DISCLOSURE"), since


@pytest.mark.parametrize("commits", [0, 1, 2])
async def test_a_hand_over_and_its_entries_are_one(site, commits):
    before = await recorded(site)
    assert before == (0, 0, before[2])
    context = stepped(site.context, Stops(site.store, commits))
    with contextlib.suppress(HandslagError):
        await handover.fetch(context, site.lead.code, FetchRequest(limit=10))
    rows, disclosures, hand_overs = await recorded(site)
    assert rows == disclosures == hand_overs - before[2] == min(commits, 1)
