"""The gateway's main path: authenticate, compare memories, bound, decode, ask the core, answer in one shape."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import hdrs, web

from broker.gateway import bounds, calls, faults, tls
from broker.gateway.listener import Bounds, Listener
from broker.gateway.operations import Operations, serve_operations
from broker.gateway.port import Core
from broker.gateway.problems import CORRELATION, internal, problem
from broker.gateway.waiting import Waiting
from broker.metrics import Metrics
from broker.quota import Limits, Quotas
from broker.room import holds_urgent
from broker.settings import Address, BrokerSettings
from schemas import limits
from schemas.calls import FetchRequest
from schemas.errors import HandslagError
from schemas.records import Record

_WAITED = web.RequestKey("waited", float)  # seconds that a call waited because it was asked to; no part of its duration


@dataclass(frozen=True, slots=True)
class Serving:
    """Where a running gateway listens, its health, and how to make it take a renewed server certificate."""

    gateway: Address
    operations: Address
    health: Operations
    renew_certificate: Callable[[], None]


class Gateway:
    """Answers /v1 for the units that `core` knows; one instance serves all connections."""

    def __init__(self, core: Core, metrics: Metrics, quotas: Quotas | None, waiting: Waiting, door: Listener) -> None:
        self._core = core
        self._metrics = metrics
        self._quotas = quotas or Quotas(Limits(), time.monotonic, metrics.over_quota)
        self._waiting = waiting
        self._door = door
        self._under_way = bounds.UnderWay()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One call from first header to answer; every fault becomes one of the registry."""
        started = time.monotonic()
        correlation = secrets.token_hex(16)
        name = calls.name_of(request.method, request.path)
        try:
            response = await self._answer(request, name)
        except HandslagError as error:
            response = self._refusal(error, correlation)
        except Exception as fault:  # noqa: BLE001 - the outermost door: what nobody foresaw is told without its text
            response = self._refusal(internal(fault, name, correlation), correlation)
        response.headers.update({CORRELATION: correlation, hdrs.SERVER: "handslag", hdrs.CACHE_CONTROL: "no-store"})
        self._metrics.called(name, time.monotonic() - started - request.get(_WAITED, 0.0))
        return response

    def _refusal(self, error: HandslagError, correlation: str) -> web.Response:
        self._metrics.refused(error.code)
        return problem(error, correlation)

    async def _answer(self, request: web.BaseRequest, name: str) -> web.Response:
        unit = await tls.authenticated_unit(self._core, request.transport)
        if not self._door.prove(request.transport, unit):
            raise HandslagError("HS-BUSY")
        await self._core.contacted(unit, *bounds.told_about_itself(request))
        try:
            return await self._answer_to(unit, request, name)
        except HandslagError as error:
            # INVARIANT: test_every_refusal_after_authentication_is_an_entry
            if not error.entry.retriable:
                await self._core.refused(unit, error.code)
            raise

    async def _answer_to(self, unit: str, request: web.BaseRequest, name: str) -> web.Response:
        on_reserve = self._quotas.call(unit, name)
        await self._compare(request, unit)
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
            return await self._record(request, unit, call, on_reserve=on_reserve)

    async def _compare(self, request: web.BaseRequest, unit: str) -> None:
        """Whether broker and connector remember the same: the instance and the newest checkpoint."""
        instance, note = bounds.identity_headers(request)
        try:
            await self._core.seen(unit, instance, note)
        except HandslagError as error:
            if not calls.answered_all_the_same(error.code, request.path):
                raise

    async def _list(self, path: str) -> web.Response:
        call, rest = calls.listed(path)
        return web.Response(body=await call.answer(self._core, rest), content_type=call.content_type)

    async def _record(
        self, request: web.BaseRequest, unit: str, call: calls.RecordCall, *, on_reserve: bool
    ) -> web.Response:
        body = await bounds.read_body(request, call.limit)
        asked = await _decoded(call.request, body, call.limit)
        # INVARIANT: test_a_withdrawal_gets_in_when_every_other_call_is_refused
        if on_reserve and not await holds_urgent(asked):
            raise self._quotas.not_urgent(unit)
        if call.check is not None:
            call.check(asked)
        if isinstance(asked, FetchRequest) and asked.wait_ms:
            answer: Record = await self._waited(request, unit, asked)
        else:
            answer = await call.answer(self._core, unit, asked)
        return web.Response(status=call.status, body=answer.to_bytes(), content_type=bounds.AVRO)

    async def _waited(self, request: web.BaseRequest, unit: str, asked: FetchRequest) -> Record:
        """What there is, or what comes in time; who waited passes the whole door again."""
        with self._waiting.place(unit) as place:
            answer = await self._core.fetch(unit, asked)
            if answer.items or place is None:
                return answer
            began = time.monotonic()
            await self._waiting.wait(place, (asked.wait_ms or 0) / 1000)
            request[_WAITED] = time.monotonic() - began
        # INVARIANT: test_who_was_shut_out_while_waiting_is_handed_nothing
        await tls.authenticated_unit(self._core, request.transport)
        await self._compare(request, unit)
        return await self._core.fetch(unit, asked)


async def _decoded(kind: type[Record], body: bytes, limit: int) -> Record:
    """The record in `body`; a large one is decoded beside the event loop, so that nobody waits behind a bundle."""
    if len(body) <= limits.CALL:
        return kind.from_bytes(body, limit)
    return await asyncio.to_thread(kind.from_bytes, body, limit)


@asynccontextmanager
async def serve_gateway(
    core: Core,
    settings: BrokerSettings,
    metrics: Metrics,
    quotas: Quotas | None = None,
    waiting: Waiting | None = None,
) -> AsyncIterator[Serving]:
    """Serve /v1 and the operations port while the block runs; calls under way get five seconds to end.

    Port 0 picks a free port, told by `Serving`. Raises `HS-ADDRESS-TAKEN`, `HS-SETTINGS-INVALID`.
    """
    context = tls.server_context(settings.tls)

    def take_certificate() -> None:
        tls.reload_certificate(context, settings.tls)
        metrics.certificate_ends("server", tls.ends_s(settings.tls.certificate_file))
        metrics.certificate_ends("authority", tls.ends_s(settings.tls.client_ca_file))

    take_certificate()
    waiting = waiting or Waiting(settings.wait_seconds, metrics.waiting)
    async with serve_operations(core, settings.operations.address, metrics) as (health, operations):
        # `logger`: aiohttp's own quotes the request; `auto_decompress`: a small body must not become a large one.
        door = _listener(settings, metrics)
        server = web.Server(
            Gateway(core, metrics, quotas, waiting, door).handle,
            access_log=None,
            auto_decompress=False,
            lingering_time=2.0,
            logger=faults.http_logger(metrics.ended),
        )
        runner = web.ServerRunner(server, shutdown_timeout=5.0)
        await runner.setup()
        try:
            await web.SockSite(runner, door, ssl_context=context).start()
            health.started = True
            listening = Address(settings.address.host, door.getsockname()[1])
            yield Serving(listening, operations, health, take_certificate)
        finally:
            health.started = False
            waiting.close()
            await runner.cleanup()
            door.close()


def _listener(settings: BrokerSettings, metrics: Metrics) -> Listener:
    """The bounded listening socket; raises `HS-ADDRESS-TAKEN`."""
    bounds_of_node = Bounds(**settings.connections.model_dump()).that_fit()
    try:
        door = Listener((settings.address.host, settings.address.port), bounds_of_node, metrics.ended)
    except OSError:
        raise HandslagError("HS-ADDRESS-TAKEN", field="listen") from None
    metrics.connections(lambda: door.open)
    return door
