"""HTTPS to the gateway: mutual TLS 1.3, one Avro record each way, problem documents as HandslagError.

Never logs: what goes through here is metadata of people in danger. Nothing here decides what is sent.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar

import aiohttp

from connectors import retry
from connectors.nodes import Nodes
from connectors.settings import Settings
from schemas import version
from schemas.errors import HandslagError, registry
from schemas.records import Record

CONTENT_TYPE = "application/vnd.handslag.avro"
INSTANCE = "Handslag-Instance"
CHECKPOINT = "Handslag-Checkpoint"
VERSION = "Handslag-Version"
CLOCK = "Handslag-Clock"
ANSWER_BYTES = 16 * 1024 * 1024  # 200 inbox items of the largest usual size; a broker must not fill this machine
TIMEOUT_S = 30.0
CONNECT_S = 5.0
PATIENCE_S = 10.0  # beyond what a call was asked to wait: a node that stands still is left while there are others
SILENT_S = 0.4  # a pressing call without an answer for so long is asked of the next node too, beside the first
LAST_S = 5.0  # ... and for so long when there is no further one to ask: it is made again a little later
_AT_A_TIME = 2  # more would make a broker that is busy, not away, busier
_PROBLEM_BYTES = 16 * 1024
RETRY_AFTER_S = 3600  # longest Retry-After that is believed
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
_OF_THE_NODE = frozenset({"HS-NOT-READY", "HS-NOT-RECORDED", "HS-BROKER-BEHIND"})  # another node may be better off
_OF_ANOTHER = _OF_THE_NODE | {"HS-BROKER-UNREACHABLE"}
_RESTORED = frozenset({"HS-HOLD", "HS-HEAD-LOST", "HS-LOG-CONTINUED"})

Answer = TypeVar("Answer", bound=Record)
Newest = Callable[[], bytes | None]
"""Gives the newest signed note that this connector has verified."""


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Client side of mutual TLS 1.3 with the broker's own authority; raises `HS-KEY-FILE`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cafile=settings.ca)
        context.load_cert_chain(settings.certificate, settings.certificate_key)
    except (OSError, ssl.SSLError):
        raise HandslagError("HS-KEY-FILE", field="certificate") from None
    return context


class Link:
    """One connection pool to one broker, whose nodes are asked one after the other; an async context manager."""

    def __init__(self, settings: Settings, newest: Newest) -> None:
        """`newest` is asked before every call. Raises `HS-KEY-FILE`."""
        self._nodes = Nodes(settings.broker_urls)
        self._patience_s = settings.wait_s + PATIENCE_S if len(self._nodes) > 1 else None
        self._instance = str(settings.instance)
        self._only: str | None = None
        self._over = False
        self._newest = newest
        self._tls = tls_context(settings)
        self._session: aiohttp.ClientSession | None = None
        self._away = False
        self._leaving = False
        self._waits: set[asyncio.Timeout] = set()
        self.held = False
        """Set when an answer said that the broker was restored from a copy; who looks into it clears it."""
        self.forgotten = False
        """Set when the broker does not know this connector's number: it was restored from a copy since."""
        self.back = asyncio.Event()
        """Set for a moment when the broker answers again after it was not reached: who waits on it wakes."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=CONNECT_S, sock_read=self._patience_s),
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(
        self, path: str, request: Record, answer: type[Answer], *, tries: int = 1, pressing: bool = False
    ) -> Answer:
        """POST a record to `/v1/...` and read the answer as `answer`.

        Raises HandslagError with the broker's code, `HS-BROKER-UNREACHABLE`, or `HS-ANSWER-INVALID`. With `tries` above
        one a retriable failure is repeated with full jitter, and a `pressing` call goes to the next node when one is
        silent or cannot serve; both only for calls that carry their own idempotence.
        """
        body = request.to_bytes()
        return self._read(await self._repeated("POST", path, body, tries, pressing), answer)

    async def get(self, path: str, answer: type[Answer]) -> Answer:
        """GET a record; raises as `call`."""
        return self._read(await self._repeated("GET", path, None, 1), answer)

    async def raw(self, path: str) -> bytes:
        """GET bytes that are no record (a checkpoint, a tile, the rules); raises as `call`."""
        return await self._repeated("GET", path, None, 1)

    def _read(self, body: bytes, answer: type[Answer]) -> Answer:
        try:
            return answer.from_bytes(body, ANSWER_BYTES)
        except HandslagError:
            raise HandslagError("HS-ANSWER-INVALID") from None

    async def _repeated(self, method: str, path: str, body: bytes | None, tries: int, pressing: bool = False) -> bytes:
        for attempt in range(1, tries + 1):
            try:
                return await self._once(method, path, body, pressing)
            except HandslagError as error:
                if attempt == tries or not retry.again(error):
                    raise
                pause = retry.delay_s(attempt, random.random(), retry.floor_s(error))  # noqa: S311 - spreads load
                await asyncio.sleep(pause)
        raise HandslagError("HS-BROKER-UNREACHABLE")

    async def _once(self, method: str, path: str, body: bytes | None, pressing: bool = False) -> bytes:
        assert self._session is not None, "the link is used inside its context"
        if self._over:
            raise HandslagError("HS-INSTANCE-OLD")  # told once: asking on would only fill the broker's trail
        if self._only is not None and path != self._only:
            raise HandslagError("HS-NOT-READY", field="instance")
        headers = {INSTANCE: self._instance, VERSION: version.current(), CLOCK: str(time.time_ns() // 1000)}
        note = self._newest()
        if note is not None:
            headers[CHECKPOINT] = base64.b64encode(note).decode()
        if body is not None:
            headers["Content-Type"] = CONTENT_TYPE
        if pressing and len(self._nodes) > 1:
            return await self._first(lambda url: self._asked(method, url, path, body, headers))
        for _ in range(len(self._nodes)):
            url = self._nodes.now()
            try:
                return await self._asked(method, url, path, body, headers)
            except aiohttp.ClientConnectorError:  # not a byte was sent: the same call may go to the next node
                self._nodes.away(url)
            except (aiohttp.ClientError, TimeoutError, OSError):
                # What became of the call is unknown: who made it repeats it by its own rules, at the next node.
                # INVARIANT: test_a_call_whose_answer_was_lost_is_not_repeated_by_the_link
                self._nodes.away(url)
                break
        self._away = True
        raise HandslagError("HS-BROKER-UNREACHABLE") from None

    async def _first(self, ask: Callable[[str], Coroutine[object, object, bytes]]) -> bytes:
        """The first answer of any node; the next one is asked too when one failed or stays silent, two at a time.

        The broker answers the same call the same at every node, and records it once, also when two have it at a time.
        """
        # INVARIANT: test_a_withdrawal_at_a_node_that_stands_still_is_answered_by_another_at_once
        left, said = self._nodes.order(), HandslagError("HS-BROKER-UNREACHABLE")
        answer: bytes | HandslagError = said
        asked: dict[asyncio.Task[bytes | HandslagError], str] = {}
        async with asyncio.TaskGroup() as group:
            while (left or asked) and answer is said:
                if left and len(asked) < _AT_A_TIME:
                    url = left.pop(0)
                    asked[group.create_task(self._tried(ask, url))] = url
                more = left and len(asked) < _AT_A_TIME
                silent_s = SILENT_S if more else LAST_S
                done, _ = await asyncio.wait(asked, timeout=silent_s, return_when=asyncio.FIRST_COMPLETED)
                if not done and not more:
                    break
                for task in done:
                    del asked[task]
                    answer = task.result() if answer is said else answer
                    if isinstance(answer, HandslagError) and answer.code in _OF_ANOTHER:
                        said = answer
            for task, url in asked.items():
                task.cancel()
                self._nodes.away(url)
        if isinstance(answer, HandslagError):
            self._away |= answer.code == "HS-BROKER-UNREACHABLE"
            raise answer
        return answer

    async def _tried(self, ask: Callable[[str], Coroutine[object, object, bytes]], url: str) -> bytes | HandslagError:
        """What a node answered; one that is not reached is left."""
        try:
            return await ask(url)
        except HandslagError as error:
            return error
        except (aiohttp.ClientError, TimeoutError, OSError):
            self._nodes.away(url)
            return HandslagError("HS-BROKER-UNREACHABLE")

    async def _asked(self, method: str, url: str, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        """One call to one node; raises what the connection raises, and the broker's refusal."""
        assert self._session is not None, "the link is used inside its context"
        async with self._session.request(
            method, url + path, data=body, headers=headers, allow_redirects=False
        ) as response:
            self._answered()
            data = await _bounded(response, ANSWER_BYTES if response.status < 300 else _PROBLEM_BYTES)
            if response.status < 300:
                return data
            error = problem(data, response.headers.get("Retry-After"), response.status)
            self._over = error.code == "HS-INSTANCE-OLD"
            self.held |= error.code in _RESTORED
            self.forgotten |= error.code == "HS-INSTANCE-NEW"
            if error.code in _OF_THE_NODE:
                self._nodes.away(url)
            raise error

    def _answered(self) -> None:
        if self._away:
            self._away = False
            self.back.set()
            if not self._leaving:
                self.back.clear()

    def numbered(self, instance: int, *, only: str | None = None) -> None:
        """Call under this instance number; with `only`, no other path is called until `open_again`."""
        self._instance = str(instance)
        self._only = only or self._only
        self._over = False

    def open_again(self) -> None:
        """Every call may be made; who waited for that wakes."""
        self._only = None
        self.back.set()
        if not self._leaving:
            self.back.clear()

    def leave(self) -> None:
        """Nobody waits for the broker any more, from now on."""
        self._leaving = True
        self.back.set()
        for call in self._waits:
            call.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def until_leaving(self) -> AsyncIterator[None]:
        """A call that may wait at the broker, ended by `leave`; what it would have brought comes again later."""
        try:
            async with asyncio.timeout(0 if self._leaving else None) as call:
                self._waits.add(call)
                try:
                    yield
                finally:
                    self._waits.discard(call)
        except TimeoutError:
            raise HandslagError("HS-BROKER-UNREACHABLE") from None


async def _bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_chunked(64 * 1024):
        size += len(chunk)
        if size > limit:
            raise HandslagError("HS-ANSWER-INVALID", field="size")
        parts.append(chunk)
    return b"".join(parts)


def problem(data: bytes, retry_after: str | None = None, status: int = 0) -> HandslagError:
    """The error in an `application/problem+json` body; only codes of the registry and their own words are believed.

    `retry_after` is the header's value: whole seconds count, an hour at most, or a broker could put us to sleep.
    """
    try:
        body = json.loads(data)
        code, context = body["code"], body.get("context", {})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return HandslagError("HS-ANSWER-INVALID")
    if not isinstance(code, str) or not isinstance(context, dict):
        return HandslagError("HS-ANSWER-INVALID")
    if code not in registry():
        # A newer broker: its status still tells whether to try again.
        code, context = {429: "HS-BUSY", 503: "HS-NOT-READY"}.get(status, "HS-ANSWER-INVALID"), {}
    told = {str(name): value for name, value in context.items() if isinstance(value, str | int)}
    error = HandslagError(code, **told)
    if retry_after is not None and _SECONDS.fullmatch(retry_after):
        error.after(min(int(retry_after), RETRY_AFTER_S))
    return error
