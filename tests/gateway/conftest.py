"""The running gateway as a fixture."""

import pytest

from tests.gateway.support import gateway


@pytest.fixture
async def line(tmp_path):
    async with gateway(tmp_path) as served:
        yield served
