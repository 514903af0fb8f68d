"""A seeded TCP proxy that is as bad as a network may be, and no worse: what arrives, arrives in order and unchanged.

Per connection a seed draws what happens and when: nothing, a request or an answer that comes late (`delay`), both
sides reset in the middle (`cut`), the answer's direction cut only after the request got through (`half`), silence
without an end for a while (`swallow`), or everything sent so far sent once more on a second connection of its own
whose answers nobody reads (`again`). `calm` puts an end to all of it for new connections and lets running ones live.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

KINDS = ("delay", "cut", "half", "swallow", "again")
_PIECE = 16 * 1024
_LINGER = struct.pack("ii", 1, 0)  # close() sends RST


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happens to one connection once `after` bytes went one way (`back`: of the answers); seconds of those that
    last.
    """

    kind: str
    after: int
    seconds: float
    back: bool


def drawn(seed: int, number: int, share: float) -> Trouble | None:
    """The trouble of the `number`th connection of a proxy; the same for the same seed. None for one left alone."""
    draw = random.Random(f"{seed} {number}")
    if draw.random() >= share:
        return None
    kind, after = draw.choice(KINDS), draw.choice((0, 500, 3_000, 8_000, 40_000))
    seconds, back = draw.uniform(0.05, 1.5), draw.random() < 0.5
    return Trouble(kind, after, seconds, kind == "half" or (back and kind != "again"))


class ChaosProxy:
    """Listens on a free port of the loopback address, in a thread of its own, and forwards to `target()`."""

    def __init__(self, target: Callable[[], tuple[str, int]], seed: int, share: float = 0.3) -> None:
        self._target, self._seed, self._share = target, seed, share
        self._number = 0
        self._calm = True
        self._open: set[asyncio.StreamWriter] = set()
        self.happened: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-proxy", daemon=True)
        self._thread.start()

    def calm(self, *, on: bool = True) -> None:
        """Leave new connections alone, or stop leaving them alone."""
        self._calm = on

    def cut_all(self) -> None:
        """Reset every connection that is open now."""
        self._loop.call_soon_threadsafe(lambda: [_reset(writer) for writer in tuple(self._open)])

    def close(self) -> None:
        """Stop listening, reset what is open, end the thread."""

        async def end() -> None:
            self._server.close()
            for writer in tuple(self._open):
                _reset(writer)
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._number += 1
        trouble = None if self._calm else drawn(self._seed, self._number, self._share)
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._target())
        except OSError:
            _reset(writer)
            return
        pair = {writer, up_writer}
        self._open |= pair
        sent = bytearray()
        there = self._pump(reader, up_writer, trouble if trouble and not trouble.back else None, pair, sent)
        back = self._pump(up_reader, writer, trouble if trouble and trouble.back else None, pair, bytearray())
        try:
            with contextlib.suppress(asyncio.CancelledError):  # the proxy closes
                await asyncio.gather(there, back)
        finally:
            self._open -= pair
            for each in pair:
                each.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        trouble: Trouble | None,
        pair: set[asyncio.StreamWriter],
        sent: bytearray,
    ) -> None:
        through = 0
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                if trouble is not None and through + len(piece) > trouble.after:
                    await self._happens(trouble, pair, bytes(sent) + piece)
                    trouble = None
                    if writer not in self._open or writer.is_closing():
                        return
                writer.write(piece)
                await writer.drain()
                through += len(piece)
                sent += piece[: max(0, 64 * 1024 - len(sent))]
            if writer.can_write_eof():
                writer.write_eof()

    async def _happens(self, trouble: Trouble, pair: set[asyncio.StreamWriter], sent: bytes) -> None:
        self.happened[trouble.kind] += 1
        match trouble.kind:
            case "delay":
                await asyncio.sleep(trouble.seconds)
            case "swallow":
                await asyncio.sleep(trouble.seconds * 2)  # the bytes are gone with the connection
                self._reset_all(pair)
            case "again":
                with contextlib.suppress(OSError):
                    _, second = await asyncio.open_connection(*self._target())
                    second.write(sent)
                    await second.drain()
                    await asyncio.sleep(trouble.seconds / 10)
                    second.close()
            case _:
                self._reset_all(pair)

    def _reset_all(self, pair: set[asyncio.StreamWriter]) -> None:
        for writer in pair:
            _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    writer.transport.abort()
