"""The shipped files in a real Prometheus that scrapes a real broker."""

from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.ops import servers
from tests.ops.servers import TARGETS


@pytest.mark.parametrize("expr", TARGETS)
def test_a_quiet_broker_leaves_no_panel_empty(prometheus, expr):
    samples = prometheus.samples(expr)
    assert samples
    assert any(value >= 0 for _labels, value in samples) or "histogram_quantile" in expr
    assert not any(math.isinf(value) for _labels, value in samples)
    # The probe keeps these alive on the quietest of days.
    if "handslag_probe_" in expr and "histogram_quantile" in expr:
        assert any(value > 0 for _labels, value in samples)


def test_a_query_that_does_not_parse_is_seen(prometheus):
    assert prometheus.parses("up")
    assert not prometheus.parses("sum(up")


def test_the_broker_counts_as_ready(prometheus):
    (ready,) = [expr for expr in (param.values[0] for param in TARGETS) if "handslag_ready" in expr]
    assert prometheus.samples(ready) == [({}, 1.0)]
    assert prometheus.samples(ready.replace('"handslag"', '"nobody"')) == []


def test_every_alert_is_loaded_healthy_and_silent(prometheus):
    def evaluated():
        found = prometheus.rules()
        return found if all(rule["health"] != "unknown" for rule in found.values()) else None

    rules = servers.until(evaluated, "every alert was evaluated")
    assert len(rules) >= 10
    assert {(name, rule["health"], rule["state"]) for name, rule in rules.items()} == {
        (name, "ok", "inactive") for name in rules
    }
    for name in ("HandslagHandOverLate", "HandslagNothingMoves"):
        assert "112" in rules[name]["annotations"]["description_sv"]
        assert "112" in rules[name]["annotations"]["description_en"]


def test_what_a_running_broker_serves_passes_promtool(operations):
    text = servers.read(f"http://{operations}/metrics")
    assert servers.promtool("check", "metrics", told=text) == (0, "")
    assert {family.name for family in text_string_to_metric_families(text)} >= {"handslag_ready"}


def test_what_a_running_probe_serves_passes_promtool(probe):
    text = servers.read(f"http://{probe[1]}/metrics")
    assert servers.promtool("check", "metrics", told=text) == (0, "")
    assert {family.name for family in text_string_to_metric_families(text)} >= {"handslag_probe_broken"}


def test_what_the_probe_sends_is_counted_apart(prometheus):
    sent = {labels["traffic"]: value for labels, value in prometheus.samples("handslag_submissions_total")}
    assert sent["probe"] > 0
    assert sent["real"] == 0
    for name in ("hand_overs", "acks", "decisions"):
        assert prometheus.samples(f'sum(handslag_{name}_total{{traffic="real"}})') == [({}, 0.0)]
        assert prometheus.samples(f'sum(handslag_{name}_total{{traffic="probe"}}) > 0')
    assert prometheus.samples("max_over_time(handslag_deliveries_pending[1m])")[0][1] == 0
    assert prometheus.samples("handslag_unit_longest_silence_seconds")[0][1] == 0
