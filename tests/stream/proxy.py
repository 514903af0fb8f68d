"""Between client and server: passes bytes on, or swallows what the server says while both think that all is well."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Proxy:
    """Listens on a port of its own; `swallows` drops what the server answers, connections stay open."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.swallows = False
        self.swallowed = 0

    async def start(self, listen: int = 0) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", listen)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs = await asyncio.open_connection(*self._to)
        for source, sink, answers in ((reader, theirs[1], False), (theirs[0], writer, True)):
            task = asyncio.create_task(self._pass(source, sink, answers))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool) -> None:
        with suppress(OSError):
            while part := await source.read(65536):
                if answers and self.swallows:
                    self.swallowed += len(part)
                    continue
                sink.write(part)
                await sink.drain()
        sink.close()
