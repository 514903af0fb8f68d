"""A closed Store answers at once; whoever waited before it was closed is answered too."""

import asyncio

import pytest

from schemas.errors import HandslagError


async def test_after_close_nobody_waits_for_ever(house):
    waiting = [asyncio.create_task(house.record(1)) for _ in range(5)]
    await asyncio.sleep(0)
    house.store.close()
    assert all(len(hashes) == 1 for hashes in await asyncio.gather(*waiting))
    for call in (house.store.write, house.store.read):
        with pytest.raises(HandslagError) as caught:
            await asyncio.wait_for(call(lambda rows: rows.log.head()), 5)
        assert caught.value.code == "HS-NOT-READY"
