"""Every panel shows data, and the alert fires, in a real Prometheus while the demo plays its case."""

from __future__ import annotations

import sqlite3
import time

import pytest

from broker import settings
from tests.ops import servers
from tests.ops.servers import TARGETS

# What a case need not cause: these may stand at nought, and that is data.
MAY_STAND_STILL = (
    "handslag_deliveries_expired_total",
    "handslag_refusals_total",
    "handslag_wal_bytes",
    "handslag_log_contradicted",
    "handslag_stream_",
    "handslag_submissions_total",
)
OVERDUE = 'handslag_deliveries_overdue_total{traffic="real"} > 0'
# The demo has no probe; what the probe feeds is looked at in test_live.
SHOWN = [param for param in TARGETS if "handslag_probe_" not in param.values[0]]
FIRING = 'ALERTS{alertname="HandslagHandOverLate", alertstate="firing"}'
DEMO_S = 480


@pytest.fixture(scope="module")
def seen(tmp_path_factory, engines):
    """Expression -> [(second, value)] from the start of the demo to its end."""
    folder = tmp_path_factory.mktemp("demo")
    config, log = folder / "play/broker/broker.toml", folder / "demo.log"
    started = time.time()
    with servers.process(servers.command("demo", "--dir", folder / "play"), log) as demo:
        servers.until(lambda: config.is_file() or demo.poll() is not None, "the demo makes a broker")
        assert config.is_file(), log.read_text()
        listen = settings.load(config).operations.listen
        # A broker that has not begun is one that does not answer, and that rings.
        servers.until(lambda: servers.read(f"http://{listen}/metrics") or demo.poll() is not None, "the broker answers")
        with servers.prometheus(folder, listen) as prometheus:
            assert demo.wait(DEMO_S) == 0, log.read_text()
            ended = time.time()
            asked = [param.values[0] for param in SHOWN] + [OVERDUE, FIRING]
            values = {expr: prometheus.history(expr, started, ended) for expr in asked}
            engines.update({"SQLite": sqlite3.sqlite_version, "Prometheus": prometheus.version()})
    return values


@pytest.mark.parametrize("expr", SHOWN)
def test_every_panel_shows_data_during_the_demo(seen, expr):
    values = [value for _at, value in seen[expr]]
    assert values
    assert max(values) > 0 or any(name in expr for name in MAY_STAND_STILL)


def test_the_alert_fires_when_the_demo_misses_a_deadline_and_not_before(seen):
    missed, fires = seen[OVERDUE][0][0], seen[FIRING][0][0]
    assert 0 <= fires - missed <= 2 * (1 + 1)  # twice a scrape and an evaluation
