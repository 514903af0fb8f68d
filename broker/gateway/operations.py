"""The operations port: health and metrics, plain HTTP, meant for the loopback address only."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from broker import logs
from broker.gateway.port import Core
from broker.metrics import Metrics
from broker.settings import Address
from schemas.errors import HandslagError

READY_SECONDS = 1.0  # readiness must turn false within two seconds of a fault, and a probe asks every second
_log = logging.getLogger("handslag.operations")


class Operations:
    """/livez, /readyz, /startupz and /metrics. `started` is set while the gateway listens."""

    def __init__(self, core: Core, metrics: Metrics) -> None:
        self._core = core
        self._metrics = metrics
        self.started = False

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one probe or scrape."""
        if request.method != "GET":
            return web.Response(status=405)
        match request.path:
            case "/livez":
                return _told(())
            case "/startupz":
                return _told(() if self.started else ("STARTING",))
            case "/readyz":
                return _told(await self.reasons())
            case "/metrics":
                await self.reasons()
                text = await asyncio.to_thread(self._metrics.render)
                return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})
        return web.Response(status=404)

    async def reasons(self) -> tuple[str, ...]:
        """Codes of what stands in the way of service; empty when ready. A core that does not answer is not ready."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                reasons = await self._core.readiness()
        except TimeoutError:
            reasons = ("CORE-SILENT",)
        except HandslagError as error:
            reasons = (error.code,)
        except Exception as fault:  # noqa: BLE001 - a probe that fails means not ready, whatever failed
            logs.event(_log, logging.ERROR, "HS-INTERNAL", call="readyz", exception=type(fault).__name__)
            reasons = ("HS-INTERNAL",)
        if not self.started:
            reasons = (*reasons, "STARTING")
        self._metrics.ready(not reasons)
        return reasons


def _told(reasons: tuple[str, ...]) -> web.Response:
    body = json.dumps({"ok": not reasons, "reasons": list(reasons)})
    return web.Response(status=503 if reasons else 200, text=body, content_type="application/json")


@asynccontextmanager
async def serve_operations(core: Core, address: Address, metrics: Metrics) -> AsyncIterator[tuple[Operations, Address]]:
    """Serve health and metrics while the block runs; raises `HS-ADDRESS-TAKEN`."""
    health = Operations(core, metrics)
    runner = web.ServerRunner(
        web.Server(health.handle, access_log=None, logger=logs.http_logger()), shutdown_timeout=1.0
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address.host, address.port).start()
        except OSError:
            raise HandslagError("HS-ADDRESS-TAKEN", field="operations.listen") from None
        yield health, Address(address.host, runner.addresses[0][1])
    finally:
        await runner.cleanup()
