"""The chaos proxy against a real TCP server: in order and unchanged, or not at all; the same seed, the same trouble."""

import contextlib
import socket
import socketserver
import threading
import time

import pytest

from tests.chaos.proxy import KINDS, ChaosProxy, drawn


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        with contextlib.suppress(OSError):
            while piece := self.request.recv(65536):
                self.server.seen.append(piece)
                self.request.sendall(piece)


@pytest.fixture
def echo():
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo, bind_and_activate=True)
    server.daemon_threads, server.seen = True, []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@contextlib.contextmanager
def proxy(echo, seed, share):
    made = ChaosProxy(lambda: echo.server_address, seed, share)
    made.calm(on=False)
    try:
        yield made
    finally:
        made.close()


def talk(port, data, piece=5000):
    """What came back before the end, and whether the end was a whole one."""
    got = bytearray()
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as line:
            for at in range(0, len(data), piece):
                line.sendall(data[at : at + piece])
                want = min(len(data), at + piece)
                while len(got) < want:
                    part = line.recv(65536)
                    if not part:
                        return bytes(got), False
                    got += part
    except OSError:
        return bytes(got), False
    return bytes(got), True


DATA = bytes(range(256)) * 200


def test_without_trouble_everything_comes_through(echo):
    with proxy(echo, 1, 0.0) as made:
        assert talk(made.port, DATA) == (DATA, True)
        assert not made.happened


def test_what_arrives_arrives_in_order_and_unchanged_whatever_happens(echo):
    with proxy(echo, 34, 1.0) as made:
        ended = [talk(made.port, DATA) for _ in range(8)]
    assert all(DATA.startswith(got) for got, _whole in ended)
    assert {whole for _got, whole in ended} == {True, False}
    assert set(made.happened) == set(KINDS)


def test_the_same_seed_draws_the_same_trouble_and_another_seed_another():
    row = [drawn(3, n, 0.5) for n in range(50)]
    assert row == [drawn(3, n, 0.5) for n in range(50)]
    assert row != [drawn(4, n, 0.5) for n in range(50)]
    assert {one.kind for one in row if one} == set(KINDS)


def test_calm_leaves_connections_alone_and_a_cut_ends_them_all(echo):
    with proxy(echo, 7, 1.0) as made:
        made.calm()
        assert all(talk(made.port, DATA) == (DATA, True) for _ in range(5))
        with socket.create_connection(("127.0.0.1", made.port), 5) as line:
            line.sendall(b"a")
            assert line.recv(1) == b"a"
            made.cut_all()
            line.settimeout(5)
            with contextlib.suppress(ConnectionError):
                assert line.recv(1) == b""


def test_a_second_connection_repeats_what_was_sent_and_disturbs_nobody(echo):
    seed = next(s for s in range(1000) if (one := drawn(s, 1, 1.0)) and one.kind == "again" and one.after == 3000)
    with proxy(echo, seed, 1.0) as made:
        assert talk(made.port, DATA) == (DATA, True)
    end = time.monotonic() + 5
    while len(b"".join(echo.seen)) <= len(DATA):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_target_that_is_away_is_a_reset():
    made = ChaosProxy(lambda: ("127.0.0.1", 1), 1)
    assert talk(made.port, DATA) == (b"", False)
    made.close()
