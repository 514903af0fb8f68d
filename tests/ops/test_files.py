"""What operations is given as files: rules, dashboard, list of metrics and runbook agree with each other."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

import handslag
from broker.metrics import Metrics
from schemas.event_types import table
from tests.ops.servers import PROMETHEUS, ROOT, binary, metric_names, panels, promtool

RUNBOOK = ROOT / "docs/runbooks/hand-over-late.md"
FORBIDDEN = re.compile(r"unit|municipality|kommun|case|seat|person|event_type|role|agency|myndighet", re.IGNORECASE)


def families():
    """Metric name -> (type, labels, help text) of the registry."""
    found = {}
    for family in text_string_to_metric_families(Metrics().render().decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = (family.type, labels, family.documentation)
    return found


def family_of(name):
    return name if name in families() else re.sub(r"_(bucket|sum|count)$", "", name)


def documented():
    """Metric name -> (type, labels, help text, where used) of docs/metrics.md."""
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "`handslag_" in line]
    return {
        name.strip("`"): (kind, set(re.findall(r"`(\w+)`", labels)), meaning, set(used.split(", ")) - {"–"})
        for name, kind, labels, meaning, used in rows
    }


def used():
    """Metric name -> where the dashboard and the alert use it."""
    places = {}
    for panel in panels()[1]:
        for target in panel["targets"]:
            for name in metric_names(target["expr"]):
                places.setdefault(family_of(name), set()).add(str(panel["id"]))
    for name in metric_names((PROMETHEUS / "alerts.yml").read_text(encoding="utf-8")):
        places.setdefault(family_of(name), set()).add("HandslagHandOverLate")
    return places


def test_a_missing_server_fails_and_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.fail.Exception, match=r"prometheus is not installed: .* Debian package `prometheus`"):
        binary("prometheus")


@pytest.mark.parametrize(
    "words",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
)
def test_promtool_passes_the_files(words):
    code, told = promtool(*words)
    assert code == 0, told
    assert "SUCCESS" in told


@pytest.mark.parametrize(
    ("shipped", "broken"),
    [("> 1800", "> 18000"), ("[30m]) > 0", "[30m]) > 1"), ("[5m]) == 0", "[5m]) == 2"), ("> 1800", "> 900")],
)
def test_the_alert_tests_notice_a_broken_alert(tmp_path, shipped, broken):
    rules = (PROMETHEUS / "alerts.yml").read_text(encoding="utf-8")
    assert shipped in rules
    (tmp_path / "alerts.yml").write_text(rules.replace(shipped, broken), encoding="utf-8")
    cases = (PROMETHEUS / "alerts_test.yml").read_text(encoding="utf-8")
    (tmp_path / "alerts_test.yml").write_text(cases, encoding="utf-8")
    assert promtool("test", "rules", str(tmp_path / "alerts_test.yml"))[0] != 0


def test_the_alert_comes_before_the_shortest_deadline():
    shortest_s = min(kind.deadline_us for kind in table().values() if kind.deadline_us) / 1_000_000
    assert shortest_s > 1800 + 60  # half an hour, and a minute to be noticed
    assert "> 1800" in (PROMETHEUS / "alerts.yml").read_text(encoding="utf-8")


def test_promtool_passes_the_metrics():
    assert promtool("check", "metrics", told=Metrics().render().decode()) == (0, "")
    bad = "# TYPE handslag_bad_total gauge\nhandslag_bad_total 1\n"  # promtool does look
    assert promtool("check", "metrics", told=bad)[0] != 0


def test_every_metric_is_documented_and_every_documented_metric_exists():
    assert {name: row[:3] for name, row in documented().items()} == families()


def test_the_list_says_where_each_metric_is_used_and_nothing_else_is_used():
    known = {name: row[3] for name, row in documented().items() if row[3]}
    places = used()
    places.pop("up")  # Prometheus's own
    assert places == known
    assert len(places) > 10


def test_the_dashboard_is_whole():
    board, all_panels = panels()
    assert 8 <= len(all_panels) <= 10
    ids = [panel["id"] for panel in all_panels]
    assert len(ids) == len(set(ids))
    (variable,) = board["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    source = {"type": "prometheus", "uid": "${" + variable["name"] + "}"}
    for panel in all_panels:
        assert panel["title"]
        assert panel["description"].isascii()  # the English of the Swedish title
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs)) > 0
        assert panel["datasource"] == source
        assert all(target["datasource"] == source and target["expr"] for target in panel["targets"])


def test_panels_do_not_overlap():
    taken = set()
    for panel in panels()[1]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _y in cells) < 24
        assert not cells & taken
        taken |= cells


def test_no_query_splits_by_anything_about_somebody():
    shown = [
        " ".join([target["legendFormat"], *re.findall(r"(?:by|on) \([^)]*\)|\w+=", target["expr"])])
        for panel in panels()[1]
        for target in panel["targets"]
    ]
    names = {name for text in shown for name in re.findall(r"\w+", text)}
    assert names & {"outcome", "state", "code"}  # positive control: labels are found
    assert not {name for name in names if FORBIDDEN.search(name)}


def test_the_runbook_is_short_and_names_commands_that_exist():
    lines = [line for line in RUNBOOK.read_text(encoding="utf-8").splitlines() if line]
    steps = lines[1:]
    assert [line.partition(".")[0] for line in steps] == [str(number) for number in range(1, 11)]
    assert "In danger: 112" in steps[0]
    commands = re.findall(r"`handslag ([a-z]+)(?: ([a-z]+))?", "\n".join(steps))
    assert commands
    for group, name in commands:
        mounted = handslag.loaded(handslag.MOUNTS[group])
        assert not name or name in mounted.commands
    titles = {panel["title"] for panel in panels()[1]}
    quoted = re.findall(r'"([A-ZÅÄÖ][^"]*\?|Äldsta[^"]*)"', "\n".join(steps))
    assert any(any(title.startswith(words) for title in titles) for words in quoted)
