"""The gateway's main path: authenticate, compare memories, bound, decode, ask the core, answer in one shape."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import hdrs, web

from broker import logs
from broker.gateway import bounds, calls, tls
from broker.gateway.operations import Operations, serve_operations
from broker.gateway.port import Core
from broker.gateway.problems import CORRELATION, internal, problem
from broker.metrics import Metrics
from broker.settings import Address, BrokerSettings
from schemas import limits
from schemas.errors import HandslagError
from schemas.records import Record


@dataclass(frozen=True, slots=True)
class Serving:
    """Where a running gateway listens, its health, and how to make it take a renewed server certificate."""

    gateway: Address
    operations: Address
    health: Operations
    renew_certificate: Callable[[], None]


class Gateway:
    """Answers /v1 for the units that `core` knows; one instance serves all connections."""

    def __init__(self, core: Core, metrics: Metrics) -> None:
        self._core = core
        self._metrics = metrics
        self._under_way = bounds.UnderWay()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One call from first header to answer; every fault becomes one of the registry."""
        started = time.monotonic()
        correlation = secrets.token_hex(16)
        name = calls.name_of(request.method, request.path)
        try:
            response = await self._answer(request)
        except HandslagError as error:
            response = self._refusal(error, correlation)
        except Exception as fault:  # noqa: BLE001 - the outermost door: what nobody foresaw is told without its text
            response = self._refusal(internal(fault, name, correlation), correlation)
        response.headers.update({CORRELATION: correlation, hdrs.SERVER: "handslag", hdrs.CACHE_CONTROL: "no-store"})
        self._metrics.called(name, time.monotonic() - started)
        return response

    def _refusal(self, error: HandslagError, correlation: str) -> web.Response:
        self._metrics.refused(error.code)
        return problem(error, correlation)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        unit = await tls.authenticated_unit(self._core, request.transport)
        try:
            return await self._answer_to(unit, request)
        except HandslagError as error:
            # INVARIANT: test_every_refusal_after_authentication_is_an_entry
            if not error.entry.retriable:
                await self._core.refused(unit, error.code)
            raise

    async def _answer_to(self, unit: str, request: web.BaseRequest) -> web.Response:
        instance, note = bounds.identity_headers(request)
        try:
            await self._core.seen(unit, instance, note)
        except HandslagError as error:
            if error.code != "HS-BROKER-BEHIND" or not calls.answered_behind(request.path):
                raise
        if request.method == hdrs.METH_GET:
            return await self._list(request.path)
        if request.method != hdrs.METH_POST:
            raise HandslagError("HS-CALL-UNKNOWN")
        if request.path in calls.NOT_YET:
            raise HandslagError("HS-NOT-YET")
        call = calls.POSTS.get(request.path)
        if call is None:
            raise HandslagError("HS-CALL-UNKNOWN")
        with self._under_way.room(unit, call.lane):
            return await self._record(request, unit, call)

    async def _list(self, path: str) -> web.Response:
        call, rest = calls.listed(path)
        return web.Response(body=await call.answer(self._core, rest), content_type=call.content_type)

    async def _record(self, request: web.BaseRequest, unit: str, call: calls.RecordCall) -> web.Response:
        body = await bounds.read_body(request, call.limit)
        asked = await _decoded(call.request, body, call.limit)
        if call.check is not None:
            call.check(asked)
        answer = await call.answer(self._core, unit, asked)
        return web.Response(status=call.status, body=answer.to_bytes(), content_type=bounds.AVRO)


async def _decoded(kind: type[Record], body: bytes, limit: int) -> Record:
    """The record in `body`; a large one is decoded beside the event loop, so that nobody waits behind a bundle."""
    if len(body) <= limits.CALL:
        return kind.from_bytes(body, limit)
    return await asyncio.to_thread(kind.from_bytes, body, limit)


@asynccontextmanager
async def serve_gateway(core: Core, settings: BrokerSettings, metrics: Metrics) -> AsyncIterator[Serving]:
    """Serve /v1 and the operations port while the block runs; calls under way get five seconds to end.

    Port 0 picks a free port, told by `Serving`. Raises `HS-ADDRESS-TAKEN`, `HS-SETTINGS-INVALID`.
    """
    context = tls.server_context(settings.tls)
    async with serve_operations(core, settings.operations.address, metrics) as (health, operations):
        # `logger`: aiohttp's own quotes the request; `auto_decompress`: a small body must not become a large one.
        server = web.Server(
            Gateway(core, metrics).handle,
            access_log=None,
            auto_decompress=False,
            lingering_time=2.0,
            logger=logs.http_logger(),
        )
        runner = web.ServerRunner(server, shutdown_timeout=5.0)
        await runner.setup()
        try:
            address = settings.address
            site = web.TCPSite(runner, address.host, address.port, ssl_context=context, reuse_address=True)
            try:
                await site.start()
            except OSError:
                raise HandslagError("HS-ADDRESS-TAKEN", field="listen") from None
            health.started = True
            listening = Address(address.host, runner.addresses[0][1])
            yield Serving(listening, operations, health, lambda: tls.reload_certificate(context, settings.tls))
        finally:
            health.started = False
            await runner.cleanup()
