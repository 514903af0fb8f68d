"""A case on a real store behind a real gateway: what a hostile unit with a good certificate can try."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from broker.core import BrokerCore
from broker.gateway.server import serve_gateway
from broker.metrics import Metrics
from tests.gateway.support import Pki, settings_for, usual
from tests.site import LEAD, Site, to_role


class Door:
    """The site's broker behind TLS, and one session per unit."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.sessions: dict[str, aiohttp.ClientSession] = {}
        self.url = ""
        self.operations = ""
        self.core: Any = None

    async def post(self, unit: str, path: str, body: bytes) -> tuple[int, bytes]:
        headers = usual(Handslag_Checkpoint=None)
        # As a file: the client library warns about a large body in one piece.
        async with self.sessions[unit].post(self.url + path, data=io.BytesIO(body), headers=headers) as answer:
            return answer.status, await answer.read()


class _Sealer:
    behind = False


class _Witnessed:
    """No checkpoint is shown in these tests."""

    reason = None


class _Core(BrokerCore):
    """The broker's core; the certificates of the test stand for the admitted ones."""

    certificates: dict[bytes, str]

    async def unit_of(self, cert_sha256: bytes) -> str | None:
        return self.certificates.get(cert_sha256)


@pytest.fixture
async def site(tmp_path) -> AsyncIterator[Site]:
    site = Site(tmp_path / "broker")
    await site.whole_case()
    await site.take_statements(site.lead)
    await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06"], ["THREAT_ASSESSMENT"])
    yield site
    site.close()


@pytest.fixture
async def door(site, tmp_path) -> AsyncIterator[Door]:
    files = Pki(tmp_path / "pki")
    unused: Any = None
    core = _Core(site.context, _Sealer(), unused, _Witnessed())  # type: ignore[arg-type]
    core.certificates = {}
    door = Door(site)
    async with serve_gateway(core, settings_for(files.folder, tmp_path), Metrics()) as serving:
        door.url = f"https://127.0.0.1:{serving.gateway.port}"
        for unit in site.units.values():
            context, fingerprint = files.client(unit.code)
            core.certificates[fingerprint] = unit.code
            door.sessions[unit.code] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
        yield door
        for session in door.sessions.values():
            await session.close()
