"""The shipped files in a real Prometheus that scrapes a real broker."""

from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.ops import servers
from tests.ops.servers import ROOT, TARGETS


@pytest.mark.parametrize("expr", TARGETS)
def test_a_quiet_broker_leaves_no_panel_empty(prometheus, expr):
    samples = prometheus.samples(expr)
    assert samples
    assert any(value >= 0 for _labels, value in samples) or "histogram_quantile" in expr
    assert not any(math.isinf(value) for _labels, value in samples)


def test_a_query_that_does_not_parse_is_seen(prometheus):
    assert prometheus.parses("up")
    assert not prometheus.parses("sum(up")


def test_the_broker_counts_as_ready(prometheus):
    (ready,) = [expr for expr in (param.values[0] for param in TARGETS) if "handslag_ready" in expr]
    assert prometheus.samples(ready) == [({}, 1.0)]
    assert prometheus.samples(ready.replace('"handslag"', '"nobody"')) == []


def test_the_alert_is_loaded_healthy_and_silent(prometheus):
    rule = servers.until(
        lambda: (found := prometheus.rule())["health"] != "unknown" and found, "the alert was evaluated"
    )
    assert (rule["name"], rule["health"], rule["state"]) == ("HandslagHandOverLate", "ok", "inactive")
    assert rule["labels"] == {"severity": "critical"}
    told = rule["annotations"]
    assert set(told) == {"summary_sv", "summary_en", "description_sv", "description_en", "runbook_url"}
    assert (ROOT / told["runbook_url"]).is_file()
    assert "112" in told["description_sv"]
    assert "112" in told["description_en"]


def test_what_a_running_broker_serves_passes_promtool(operations):
    text = servers.read(f"http://{operations}/metrics")
    assert servers.promtool("check", "metrics", told=text) == (0, "")
    assert {family.name for family in text_string_to_metric_families(text)} >= {"handslag_ready"}
