"""A site with a case of three, and the same site restored from a copy of it."""

from __future__ import annotations

import pytest

from tests.hold.restored import Restored
from tests.promises.case import ready
from tests.site import Site


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


@pytest.fixture
def restore(site):
    opened: list[Site] = []

    def on(folder) -> Restored:
        restored = Restored(site, folder)
        opened.append(restored.site)
        return restored

    yield on
    for one in opened:
        one.close()
