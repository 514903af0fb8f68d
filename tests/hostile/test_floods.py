"""Floods before anybody is authenticated, against a gateway as a process with few file descriptors.

Everything on loopback, where the flood's addresses are others than the good agency's; every flood has a bound in count
and time and ends with its test. `bare` is the positive control: the same flood without the listener's bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.gateway.support import Pki, usual
from tests.hostile.flooded import DESCRIPTORS

ROOT = Path(__file__).resolve().parents[2]
BOUNDED = {"most": 100, "unproven": 60, "unproven_of_address": 20, "of_unit": 8, "seconds": 3.0}
BARE = {"most": 100_000, "unproven": 100_000, "unproven_of_address": 100_000, "of_unit": 100_000, "seconds": 120.0}


class Target:
    """The gateway under attack, and the good agency's way to it."""

    def __init__(self, folder: Path, bounds: dict[str, float]) -> None:
        self.pki = Pki(folder / "pki")
        self.context, certificate = self.pki.client()
        self.log = folder / "gateway.log"
        words = [
            sys.executable,
            "-m",
            "tests.hostile.flooded",
            str(self.pki.folder),
            certificate.hex(),
            json.dumps(bounds),
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        self.ports = json.loads(self.process.stdout.readline())
        self.held: list[socket.socket] = []

    def close(self) -> None:
        for each in self.held:
            each.close()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    async def good(self, seconds: float = 5.0) -> bool:
        """Whether the good agency's call, on a new connection, is answered in time."""
        url = f"https://127.0.0.1:{self.ports['gateway']}/v1/units"
        try:
            async with (
                asyncio.timeout(seconds),
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.context)) as session,
                session.get(url, headers=usual()) as answer,
            ):
                return answer.status == 200
        except (TimeoutError, aiohttp.ClientError, OSError):
            return False

    def connect(self, source: str, first: bytes = b"") -> bool:
        """One connection of the flood, held open; whether it could be made."""
        plain = socket.socket()
        plain.settimeout(2)
        try:
            plain.bind((source, 0))
            plain.connect(("127.0.0.1", self.ports["gateway"]))
            if first:
                plain.sendall(first)
        except OSError:
            plain.close()
            return False
        self.held.append(plain)
        return True

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def resident(self) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) * 1024

    def counted(self, kind: str) -> float:
        url = f"http://127.0.0.1:{self.ports['operations']}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
        return float(re.search(rf'^handslag_connections_ended_total\{{kind="{kind}"\}} (\S+)$', text, re.MULTILINE)[1])

    def lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def target(tmp_path):
    target = Target(tmp_path, BOUNDED)
    yield target
    target.close()


@pytest.fixture
def bare(tmp_path):
    target = Target(tmp_path, BARE)
    yield target
    target.close()


@pytest.fixture
def patient(tmp_path):
    """A target whose connections do not end while a slow machine still makes the flood."""
    target = Target(tmp_path, {**BOUNDED, "seconds": 60.0})
    yield target
    target.close()


# The first bytes of a ClientHello, and nothing after them.
HALF = bytes.fromhex("16030100f8010000f40303") + bytes(32)


def addresses(count: int) -> list[str]:
    return [f"127.0.{1 + n // 200}.{2 + n % 200}" for n in range(count)]


async def flood(target, sources: list[str], count: int, first: bytes = b"", *, stubborn: bool = False) -> None:
    """`count` held connections, one address after the other; stops by itself, or when no more can be made.

    A stubborn one goes on when it is refused: a reset may come before its connect call has returned.
    """
    for n in range(count):
        made = await asyncio.to_thread(target.connect, sources[n % len(sources)], first)
        if not (made or stubborn):
            break


async def test_a_flood_without_certificates_does_not_keep_a_good_agency_out(target):
    """Many connections of many addresses that never end their handshake; the oldest of them go."""
    assert await target.good()
    before = target.resident()
    await flood(target, addresses(150), 500, HALF)
    assert await target.good()
    assert target.descriptors() < 160 < DESCRIPTORS
    assert target.resident() - before < 64 * 1024 * 1024
    assert await asyncio.to_thread(target.counted, "crowd") > 300
    assert len(target.lines()) <= 3


async def test_without_bounds_the_same_flood_keeps_it_out(bare):
    """Positive control: the flood is real, it takes every descriptor there is."""
    assert await bare.good()
    await flood(bare, addresses(150), 500, HALF)
    assert not await bare.good(3.0)
    assert bare.descriptors() >= DESCRIPTORS - 2


async def test_many_connections_from_one_address_are_refused_and_hinder_nobody(patient):
    await flood(patient, ["127.0.0.9"], 200, stubborn=True)
    assert await patient.good()
    async with asyncio.timeout(20):  # the kernel queues what was not looked at yet
        while await asyncio.to_thread(patient.counted, "address") < 150:
            await asyncio.sleep(0.2)
    assert await asyncio.to_thread(patient.counted, "crowd") == 0  # it pushed nobody else out
    assert patient.descriptors() < 80


async def test_who_proves_nothing_in_time_is_ended(target):
    """Silent ones, half a handshake, and a good certificate that nobody admitted and that sends half a request."""
    context, _fingerprint = target.pki.client("POL/EXEMPEL")
    reader, writer = await asyncio.open_connection("127.0.0.1", target.ports["gateway"], ssl=context)
    writer.write(b"GET /v1/units HTTP/1.1\r\nHost: a\r\nX-Slow: ")
    await flood(target, addresses(10), 10)
    await flood(target, addresses(10), 10, HALF)
    started = time.monotonic()
    async with asyncio.timeout(15):
        with contextlib.suppress(ConnectionError, OSError):
            while await reader.read(1024):
                pass
    assert time.monotonic() - started < 10
    writer.close()
    async with asyncio.timeout(10):
        while await asyncio.to_thread(target.counted, "slow") < 21:
            await asyncio.sleep(0.2)
    assert target.descriptors() < 40
    assert await target.good()


async def test_no_certificate_and_no_tls_are_counted_and_not_logged(target):
    plain = target.pki.trusting()
    for n in range(60):
        with contextlib.suppress(OSError, aiohttp.ClientError, asyncio.IncompleteReadError):
            if n % 2:
                target.connect("127.0.0.1", b"GET / HTTP/1.1\r\nHost: 191212121212\r\n\r\n" * 20)
                target.held.pop().close()
            else:
                reader, writer = await asyncio.open_connection("127.0.0.1", target.ports["gateway"], ssl=plain)
                await asyncio.wait_for(reader.read(1), 5)
                writer.close()
    assert await target.good()
    async with asyncio.timeout(10):
        while await asyncio.to_thread(target.counted, "ended") < 55:
            await asyncio.sleep(0.2)
    assert len(target.lines()) <= 3
    assert not any("1912" in line for line in target.lines())


async def test_bytes_that_are_no_request_are_counted_and_not_logged(target):
    """Huge headers, endless headers, and bytes that are none, of one who holds a certificate."""
    before = target.resident()
    for n in range(30):
        body = [
            b"GET /v1/units HTTP/1.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
            b"GET /v1/units HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % i for i in range(20_000)) + b"\r\n",
            b"\0" * 5000,
        ][n % 3]
        context = target.context
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", target.ports["gateway"], ssl=context)
            writer.write(body)
            async with asyncio.timeout(5):
                first = await reader.readline()
            assert first == b"" or b" 400 " in first or b" 431 " in first, first
            writer.close()
    assert await target.good()
    assert await asyncio.to_thread(target.counted, "request") >= 20  # the third kind ends without a word of the library
    assert target.resident() - before < 48 * 1024 * 1024
    assert len(target.lines()) <= 3


async def test_a_unit_holds_no_more_connections_than_its_share(target):
    """A unit with a good certificate that opens ever more; others would find none."""

    @contextlib.asynccontextmanager
    async def one() -> AsyncIterator[int]:
        connector = aiohttp.TCPConnector(ssl=target.context)
        url = f"https://127.0.0.1:{target.ports['gateway']}/v1/units"
        async with aiohttp.ClientSession(connector=connector) as session:
            try:
                async with session.get(url, headers=usual()) as answer:
                    yield answer.status
            except (aiohttp.ClientError, OSError):
                yield 0

    async with contextlib.AsyncExitStack() as stack:
        found = [await stack.enter_async_context(one()) for _ in range(12)]
        assert found[:8] == [200] * 8
        assert set(found[8:]) <= {429, 0}
        assert await asyncio.to_thread(target.counted, "unit") >= 4
    assert await target.good()  # its own, once it has let go
