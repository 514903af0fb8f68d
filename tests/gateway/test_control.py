"""The node's local socket and the lock on its data folder."""

import asyncio
import stat
import tempfile
from pathlib import Path

import pytest

from broker import control
from schemas.errors import HandslagError


@pytest.fixture
def data():
    with tempfile.TemporaryDirectory() as folder:  # short: a socket's path holds 108 bytes
        yield Path(folder)


async def called(data, command, **arguments):
    return await asyncio.to_thread(control.call, data, command, arguments)


async def echo(arguments):
    return dict(arguments)


async def refuse(_arguments):
    raise HandslagError("HS-ADMISSION-INVALID", field="unit")


async def fail(_arguments):
    raise RuntimeError("19121212-1212")


async def test_a_command_reaches_the_node_and_its_answer_comes_back(data):
    async with control.serve_control(data, {"echo": echo}):
        assert stat.S_IMODE((data / control.SOCKET).stat().st_mode) == 0o600
        assert await called(data, "echo", unit="EXEMPEL") == {"unit": "EXEMPEL"}
    assert not (data / control.SOCKET).exists()


async def test_refusals_cross_the_socket_with_their_code(data):
    async with control.serve_control(data, {"refuse": refuse, "fail": fail}):
        for command, code in (("refuse", "HS-ADMISSION-INVALID"), ("fail", "HS-INTERNAL"), ("other", "HS-NOT-YET")):
            with pytest.raises(HandslagError) as told:
                await called(data, command)
            assert told.value.code == code


async def test_garbage_does_not_stop_the_node(data):
    async with control.serve_control(data, {"echo": echo}):
        for line in (b"garbage\n", b"[]\n", b'{"command": 1}\n', b"x" * (control.LINE + 10) + b"\n"):
            reader, writer = await asyncio.open_unix_connection(str(data / control.SOCKET))
            writer.write(line)
            try:
                await writer.drain()
                await reader.readline()
            except ConnectionError:
                pass
            writer.close()
        assert await called(data, "echo", n=1) == {"n": 1}


def test_no_node_is_told(data):
    with pytest.raises(HandslagError, match="HS-NODE-ABSENT"):
        control.call(data, "echo", {})


async def test_a_dead_socket_is_replaced(data):
    (data / control.SOCKET).write_text("dead")
    async with control.serve_control(data, {"echo": echo}):
        assert await called(data, "echo") == {}


def test_two_nodes_never_share_a_data_folder(data):
    assert not control.is_running(data)
    with control.sole_node(data):
        assert control.is_running(data)
        with pytest.raises(HandslagError, match="HS-NODE-RUNNING"), control.sole_node(data):
            pass
    assert not control.is_running(data)


async def test_a_path_too_long_for_a_socket_is_told(data):
    deep = data / ("x" * 100)
    deep.mkdir()
    with pytest.raises(HandslagError, match="HS-SETTINGS-INVALID"):
        async with control.serve_control(deep, {}):
            pass
