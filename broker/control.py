"""The node's local socket: commands of the operator reach the running broker, one JSON object a line.

A Unix socket `control.sock` in the data folder, mode 0600 in a folder of mode 0700: who may use it is who may read
the store anyway. Beside it lies `node.lock`, held as long as a broker runs, so that nothing else opens the store for
writing.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from broker import logs
from schemas.errors import HandslagError, registry

SOCKET = "control.sock"
LOCK = "node.lock"
LINE = 256 * 1024  # one admission with its certificate is 8 KiB
_PATH_BYTES = 100  # sun_path holds 108 (unix(7))
CLIENT_SECONDS = 30.0

Arguments = Mapping[str, Any]
Handler = Callable[[Arguments], Awaitable[dict[str, Any]]]

_log = logging.getLogger("handslag.control")


@contextmanager
def sole_node(data_dir: Path) -> Iterator[None]:
    """Hold the data folder for this process; raises `HS-NODE-RUNNING` when another has it."""
    # INVARIANT: test_two_nodes_never_share_a_data_folder
    handle = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HandslagError("HS-NODE-RUNNING") from None
        yield
    finally:
        os.close(handle)


def is_running(data_dir: Path) -> bool:
    """Whether a broker holds this data folder now."""
    try:
        with sole_node(data_dir):
            return False
    except HandslagError:
        return True
    except OSError:
        return False


@asynccontextmanager
async def serve_control(data_dir: Path, handlers: Mapping[str, Handler]) -> AsyncIterator[None]:
    """Answer commands while the block runs; a command without a handler is answered `HS-NOT-YET`.

    The caller holds `sole_node`, so a socket that lies there is a dead one. Raises `HS-SETTINGS-INVALID` for a data
    folder whose path is too long for a socket.
    """
    path = data_dir / SOCKET
    if len(os.fsencode(path)) > _PATH_BYTES:
        raise HandslagError("HS-SETTINGS-INVALID", field="data_dir", rule="path length")
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.fchmod(listening.fileno(), 0o600)  # before bind, so that the file never stands open to others
    listening.bind(os.fspath(path))
    path.chmod(0o600)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _converse(reader, writer, handlers)

    server = await asyncio.start_unix_server(answer, sock=listening, limit=LINE)
    try:
        async with server:
            yield
    finally:
        path.unlink(missing_ok=True)


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handlers: Mapping[str, Handler]
) -> None:
    try:
        while line := await reader.readline():
            writer.write(json.dumps(await _answered(line, handlers)).encode() + b"\n")
            await writer.drain()
    except (ConnectionError, ValueError):
        pass  # gone, or a line over the limit: nobody to answer
    finally:
        writer.close()


async def _answered(line: bytes, handlers: Mapping[str, Handler]) -> dict[str, Any]:
    try:
        asked = json.loads(line)
        handler = handlers.get(asked["command"])
        if handler is None:
            raise HandslagError("HS-NOT-YET")
        return {"ok": True, "result": await handler(asked["arguments"])}
    except HandslagError as error:
        return {"ok": False, "code": error.code, "context": error.context}
    except Exception as fault:  # noqa: BLE001 - the outermost door: what nobody foresaw is told without its text
        logs.event(_log, logging.ERROR, "HS-INTERNAL", call="control", exception=type(fault).__name__)
        return {"ok": False, "code": "HS-INTERNAL", "context": {}}


def call(data_dir: Path, command: str, arguments: Arguments, seconds: float = CLIENT_SECONDS) -> dict[str, Any]:
    """Ask the running broker; raises `HS-NODE-ABSENT`, or the error that the broker answers with."""
    line = json.dumps({"command": command, "arguments": dict(arguments)}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            connection.connect(os.fspath(data_dir / SOCKET))
            connection.sendall(line)
            with connection.makefile("rb") as answers:
                answer = json.loads(answers.readline(LINE))
    except (OSError, ValueError):
        raise HandslagError("HS-NODE-ABSENT") from None
    if answer["ok"]:
        result = answer["result"]
        assert isinstance(result, dict)
        return result
    code = answer["code"]
    raise HandslagError(code if code in registry() else "HS-INTERNAL", **answer["context"])
