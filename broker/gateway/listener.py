"""The door before the door: how many connections there may be, counted before a byte of TLS is spent on them.

A connection is *unproven* until a call on it was authenticated. Unproven ones are few, few for each address, and for a
few seconds only; when a new one comes and there is no room, the oldest unproven one goes: so a flood pushes itself out,
and a connector, which proves itself within a fraction of a second, gets through. Nothing is logged one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import struct
import time
from asyncio import sslproto
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_AT_ONCE = 64  # refusals in one turn of the event loop
_OTHER_FILES = 200  # descriptors for everything but connections
# asyncio gives each TLS connection a buffer of this size at once, 256 KiB by itself: two hundred that never say a word
# would hold 50 MiB, and as much again until the garbage collector comes by.
sslproto.SSLProtocol.max_size = 32 * 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a refused connection leaves no state behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds of one node; seconds from accept to the first authenticated call."""

    most: int = 800  # below the 1,024 descriptors that a process usually has
    unproven: int = 256
    unproven_of_address: int = 64  # a region behind one address: twenty connectors that come back at once
    of_unit: int = 64
    seconds: float = 15.0

    def that_fit(self) -> Bounds:
        """The same, with no more connections than this process has descriptors for."""
        room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _OTHER_FILES
        most = max(8, min(self.most, room))
        return Bounds(
            most=most,
            unproven=min(self.unproven, max(4, most // 2)),
            unproven_of_address=self.unproven_of_address,
            of_unit=self.of_unit,
            seconds=self.seconds,
        )


class _Connection(socket.socket):
    """An accepted connection that tells its listener when it is closed."""

    listener: Listener | None = None
    address = ""
    since_s = 0.0
    unit: str | None = None
    cause: str | None = None

    def close(self) -> None:
        """Close, and be counted once."""
        key = self.fileno()
        super().close()
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.closed(self, key)


class Listener(socket.socket):
    """A listening socket that accepts within `Bounds`; asyncio and aiohttp use it as any other socket."""

    def __init__(self, address: tuple[str, int], bounds: Bounds, told: Callable[[str], None]) -> None:
        """Bind and listen; `told` gets one of `metrics.ENDED` per refusal. Raises OSError."""
        super().__init__(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
        self.bounds = bounds
        self._told = told
        self._unproven: dict[int, _Connection] = {}  # oldest first
        self._proven: dict[int, _Connection] = {}
        self._addresses: Counter[str] = Counter()
        self._units: Counter[str] = Counter()
        self._ending = 0
        self._timer: asyncio.TimerHandle | None = None
        try:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.bind(address)
            self.listen(128)
            self.setblocking(False)
        except OSError:
            self.close()
            raise

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._unproven) + len(self._proven) + self._ending

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection that finds room; raises BlockingIOError when there is none."""
        # INVARIANT: test_a_flood_without_certificates_does_not_keep_a_good_agency_out
        for _ in range(_AT_ONCE):
            if self._ending and self.open >= self.bounds.most:
                break  # ended ones hold their descriptors until the loop has had its turn
            plain, address = super().accept()
            cause = self._refusal(str(address[0]))
            if cause is None:
                return self._admitted(plain, str(address[0])), address
            self._told(cause)
            with contextlib.suppress(OSError):
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            plain.close()
        raise BlockingIOError  # the others wait for the loop's next turn

    def _refusal(self, address: str) -> str | None:
        if self._addresses[address] >= self.bounds.unproven_of_address:
            return "address"
        if self.open >= self.bounds.most and not self._unproven:
            return "full"
        if len(self._unproven) >= self.bounds.unproven or self.open >= self.bounds.most:
            self._end(next(iter(self._unproven.values())), "crowd")
        return None

    def _admitted(self, plain: socket.socket, address: str) -> _Connection:
        found = _Connection(plain.family, plain.type, plain.proto, fileno=plain.detach())
        found.listener, found.address, found.since_s = self, address, time.monotonic()
        self._unproven[found.fileno()] = found
        self._addresses[address] += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(1.0, self._look)
        return found

    def prove(self, transport: asyncio.BaseTransport | None, unit: str) -> bool:
        """A call of `unit` on this connection was authenticated; False when the unit has too many already.

        Such a connection stays unproven, and ends when its time is over.
        """
        plain = None if transport is None else transport.get_extra_info("socket")
        found = None if plain is None else self._unproven.get(plain.fileno())
        if found is None:
            return True  # proven before, or none of ours
        if self._units[unit] >= self.bounds.of_unit:
            self._told("unit")
            return False
        self._forget(found, found.fileno())
        found.unit = unit
        self._proven[found.fileno()] = found
        self._units[unit] += 1
        return True

    def closed(self, found: _Connection, key: int) -> None:
        """A connection is closed, by whomever."""
        if found.unit is not None:
            if self._proven.get(key) is found:
                del self._proven[key]
            self._units[found.unit] -= 1
            if not self._units[found.unit]:
                del self._units[found.unit]
        elif found.cause is None:
            self._forget(found, key)
            self._told("ended")
        else:
            self._ending -= 1

    def _forget(self, found: _Connection, key: int) -> None:
        if self._unproven.get(key) is found:
            del self._unproven[key]
            self._addresses[found.address] -= 1
            if not self._addresses[found.address]:
                del self._addresses[found.address]

    def _end(self, found: _Connection, cause: str) -> None:
        """End an unproven connection; its transport sees the end of the stream and closes."""
        found.cause = cause
        self._ending += 1
        self._told(cause)
        self._forget(found, found.fileno())
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            found.shutdown(socket.SHUT_RDWR)

    def _look(self) -> None:
        """End what did not prove itself in time; looks again as long as something is unproven."""
        before = time.monotonic() - self.bounds.seconds
        for found in [each for each in self._unproven.values() if each.since_s < before]:
            self._end(found, "slow")
        self._timer = asyncio.get_running_loop().call_later(1.0, self._look) if self._unproven else None

    def close(self) -> None:
        """Stop listening; connections end by themselves."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().close()
