"""A node outlives its database server: not ready while it is away, ready by itself when it is back."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

from deploy.demo.play import _set
from deploy.postgres_local import LocalPostgres
from deploy.processes import free_ports, handslag, started


def ready(port):
    """Whether the node says that it is ready; None when it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as answer:
        answer.close()
        return False
    except OSError:
        return None


def until(met, seconds=60.0):
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, "not seen in time"
        time.sleep(0.2)


def heads(server):
    return int(server.sql("SELECT size FROM head", "away"))


def test_a_store_that_is_away_ends_no_node(tmp_path):
    gateway, operations = free_ports(2)
    with LocalPostgres.temporary(in_memory=True) as server:
        handslag("init", "--dir", tmp_path / "broker", "--host", "127.0.0.1", "--listen", f"127.0.0.1:{gateway}",
                 "--operations", f"127.0.0.1:{operations}")  # fmt: skip
        config = tmp_path / "broker" / "broker.toml"
        pairs = ", ".join(f"{name} = {json.dumps(value)}" for name, value in server.create("away").items())
        _set(config, "store", f"{{ {pairs} }}")
        _set(config, "beat_seconds", "0.5")
        with started(tmp_path / "log", "serve", "--config", config) as node:
            until(lambda: ready(operations))
            before = heads(server)
            for leave in (server.stop, server.kill):
                leave()
                time.sleep(3)
                assert not node.ended
                server.start()
                until(lambda: ready(operations))
                size = heads(server)
                until(lambda size=size: heads(server) > size)  # it seals again: its loops are all there
            assert heads(server) > before
            assert not node.ended
    assert "Traceback" not in (tmp_path / "log").read_text()
