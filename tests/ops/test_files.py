"""What operations is given as files: rules, dashboard, list of metrics and runbook agree with each other."""

from __future__ import annotations

import re
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

import handslag
from broker.metrics import Metrics
from deploy.probe.metrics import ProbeMetrics
from schemas.event_types import table
from tests.ops.servers import PROMETHEUS, ROOT, binary, metric_names, panels, promtool

RUNBOOKS = ROOT / "docs/runbooks"
FORBIDDEN = re.compile(r"unit|municipality|kommun|case|seat|person|event_type|role|agency|myndighet", re.IGNORECASE)


def families(registry):
    """Metric name -> (type, labels, help text) of a registry."""
    found = {}
    for family in text_string_to_metric_families(registry.render().decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = (family.type, labels, family.documentation)
    return found


def all_families():
    return {**families(Metrics()), **families(ProbeMetrics())}


def family_of(name, known):
    return name if name in known else re.sub(r"_(bucket|sum|count)$", "", name)


def documented():
    """Metric name -> (type, labels, help text, where used) of docs/metrics.md."""
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "| `handslag_" in line
    ]
    return {
        name.strip("`"): (kind, set(re.findall(r"`(\w+)`", labels)), meaning, set(used.split(", ")) - {"–"})
        for name, kind, labels, meaning, used in rows
    }


def alerts():
    """Alert name -> {expr, severity, acts, runbook_url, ...} as they stand in the files."""
    texts = [
        (PROMETHEUS / name).read_text(encoding="utf-8")
        for name in ("alerts.yml", "alerts-room.yml", "alerts-stream.yml")
    ]
    found = {}
    for block in [each for text in texts for each in re.split(r"^ {6}- alert: ", text, flags=re.MULTILINE)[1:]]:
        name, _, body = block.partition("\n")
        expr = re.search(r"expr: (.*?)\n {8}(?:for|labels):", body, re.DOTALL)[1]
        fields = dict(re.findall(r"(severity|acts): (\w+)", body))
        keys = re.findall(r"^ {10}(\w+):", body, re.MULTILINE)
        url = re.search(r"runbook_url: (\S+)", body)[1]
        found[name] = {"expr": expr, "keys": set(keys), "runbook_url": url, **fields}
    return found


def used():
    """Metric name -> where the dashboard and the alerts use it."""
    places, known = {}, all_families()
    for panel in panels()[1]:
        for target in panel["targets"]:
            for name in metric_names(target["expr"]):
                places.setdefault(family_of(name, known), set()).add(str(panel["id"]))
    for alert, rule in alerts().items():
        for name in metric_names(rule["expr"]):
            places.setdefault(family_of(name, known), set()).add(alert)
    return places


def test_a_missing_server_fails_and_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.fail.Exception, match=r"prometheus is not installed: .* Debian package `prometheus`"):
        binary("prometheus")
    with pytest.raises(pytest.fail.Exception, match=r"Debian package `prometheus-alertmanager`"):
        binary("prometheus-alertmanager")


def test_amtool_passes_the_routes():
    done = subprocess.run(
        [binary("amtool"), "check-config", "alertmanager.yml"],
        cwd=PROMETHEUS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for severity, receiver in (("critical", "on-call"), ("warning", "working-day")):
        routed = subprocess.run(
            [binary("amtool"), "config", "routes", "test", "--config.file=alertmanager.yml", f"severity={severity}"],
            cwd=PROMETHEUS, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert routed.stdout.strip() == receiver


@pytest.mark.parametrize(
    "words",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
)
def test_promtool_passes_the_files(words):
    code, told = promtool(*words)
    assert code == 0, told
    assert "SUCCESS" in told


# Each is one way an alert can be wrong; at least two for every alert: it would not fire, and it would cry wolf.
BROKEN = [
    ('kind="withheld"}) > 0', 'kind="withheld"}) > 1'),
    ('open{job="handslag-probe", kind="withheld"}', 'open{job="handslag-probe"}'),
    ("> 900", "> 9000"),
    ("> 900\n", "> 600\n"),
    ('kind="withdrawal"}) > 0', 'kind="withdrawal"}) > 1'),
    ('kind="released"}) < 150', 'kind="released"}) < 99999'),
    ('handslag_log_contradicted{job="handslag"}) > 0', 'handslag_log_contradicted{job="handslag"}) > 1'),
    ('log_contradicted{job="handslag-probe"}) > 0', 'log_contradicted{job="handslag-probe"}) > 1'),
    ('log_contradicted{job="handslag"}) > 0', 'log_contradicted{job="handslag"}) >= 0'),
    ("> 150\n", "> 200\n"),
    ("> 150\n", "> 100\n"),
    ('kind=~"released|withheld"}', 'kind="released"}'),
    ("unless on () sum", "or on () sum"),
    ("> 1800", "> 18000"),
    ("> 1800", "> 900"),
    ("[30m])\n          ) > 0", "[30m])\n          ) > 1"),
    (', traffic="real"}[30m]', "}[30m]"),
    ("> 300", "> 3000"),
    ("[5m]) == 0", "[5m]) == 2"),
    ('unsealed_age_seconds{job="handslag"}) > 120', 'unsealed_age_seconds{job="handslag"}) > 1200'),
    ('unsealed_age_seconds{job="handslag"}) > 120', 'unsealed_age_seconds{job="handslag"}) > 60'),
    ('checkpoint_age_seconds{job="handslag"}) > 120', 'checkpoint_age_seconds{job="handslag"}) > 1200'),
    ('watch_age_seconds{job="handslag"}) > 120', 'watch_age_seconds{job="handslag"}) > 1200'),
    ("> 0.9", "> 0.99"),
    ("> 0.9", "> 0.4"),
    ("> 268435456", "> 26843545600"),
    ("345600)) < 0", "345)) < 0"),
    ("[6h]) > 120", "[6h]) > 1"),
    ("> 60\n", "> 600\n"),
    ("> 60\n        for: 5m", "> 60"),
    ("< 1209600\n          or", "< 120960\n          or"),
    ('"handslag"} > 0) - time() < 1209600', '"handslag"}) - time() < 1209600'),
    ('probe"} > 0) - time() < 1209600', 'probe"} > 0) - time() < 120960'),
    ('sum(handslag_probe_broken{job="handslag-probe"}) > 0\n          or max', "vector(0) > 0\n          or max"),
    ("[2m]) == 0", "[2m]) == 2"),
    ('absent(up{job="handslag-probe"})', 'absent(up{job="handslag"})'),
    ("> 600\n", "> 6000\n"),
    ("[15m])) > 3", "[15m])) > 30"),
    ("[15m])) > 3", "[15m])) > 2"),
]


@pytest.mark.parametrize(("shipped", "broken"), BROKEN)
def test_the_alert_tests_notice_a_broken_alert(tmp_path, shipped, broken):
    rules = (PROMETHEUS / "alerts.yml").read_text(encoding="utf-8")
    meant = [block.split("\n")[0] for block in rules.split("      - alert: ")[1:] if shipped in block]
    assert meant
    (tmp_path / "alerts.yml").write_text(rules.replace(shipped, broken), encoding="utf-8")
    # Only the cases of what was broken: all of them take seconds.
    head, *cases = re.split(
        r"^(?=  - name: )", (PROMETHEUS / "alerts_test.yml").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    own = [case for case in cases if any(f"alertname: {name}" in case for name in meant)]
    (tmp_path / "alerts_test.yml").write_text(head + "".join(own), encoding="utf-8")
    assert len(own) >= 2
    code, told = promtool("test", "rules", str(tmp_path / "alerts_test.yml"))
    assert code != 0
    assert "FAILED" in told  # not a file that cannot be read
    assert "error parsing" not in told.lower()


def test_the_alert_comes_before_the_shortest_deadline():
    shortest_s = min(kind.deadline_us for kind in table().values() if kind.deadline_us) / 1_000_000
    assert shortest_s > 1800 + 60  # half an hour, and a minute to be noticed
    assert "> 1800" in (PROMETHEUS / "alerts.yml").read_text(encoding="utf-8")


def test_promtool_passes_the_metrics():
    for registry in (Metrics(), ProbeMetrics()):
        assert promtool("check", "metrics", told=registry.render().decode()) == (0, "")
    bad = "# TYPE handslag_bad_total gauge\nhandslag_bad_total 1\n"  # promtool does look
    assert promtool("check", "metrics", told=bad)[0] != 0


def test_every_metric_is_documented_and_every_documented_metric_exists():
    assert {name: row[:3] for name, row in documented().items()} == all_families()


def test_the_list_says_where_each_metric_is_used_and_nothing_else_is_used():
    known = {name: row[3] for name, row in documented().items() if row[3]}
    places = used()
    places.pop("up")  # Prometheus's own
    assert places == known
    assert len(places) > 10


def test_the_dashboard_is_whole():
    board, all_panels = panels()
    assert 8 <= len(all_panels) <= 20
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
    assert names >= {"outcome", "state", "code", "traffic", "kind"}  # positive control: labels are found
    assert not {name for name in names if FORBIDDEN.search(name)}


def test_what_the_one_on_call_needs_first_is_on_top():
    """Without scrolling: ready, anything moving, anything wrong, evidence, who is late, who is silent."""
    top = [panel for panel in panels()[1] if panel["gridPos"]["y"] < 21]
    asked = " ".join(target["expr"] for panel in top for target in panel["targets"])
    for name in (
        *("ready", "probe_last_success_timestamp_seconds", "probe_wrong_outcomes_open", "log_contradicted"),
        *("trail_oldest_unsealed_age_seconds", "delivery_oldest_pending_age_seconds", "unit_longest_silence_seconds"),
    ):
        assert f"handslag_{name}" in asked, name


def test_every_alert_says_what_it_means_in_two_languages_and_who_acts():
    rules = alerts()
    assert len(rules) == 19
    wanted = {"summary_sv", "summary_en", "description_sv", "description_en", "runbook_url"}
    for name, rule in rules.items():
        assert rule["keys"] == wanted, name
        assert rule["severity"] in {"critical", "warning"}
        assert rule["acts"] in {"on_call", "system_owner", "on_call_and_system_owner"}
        assert not FORBIDDEN.search(" ".join(re.findall(r"by \(([^)]*)\)", rule["expr"])))


TESTED = ("alerts_test.yml", "alerts-room_test.yml", "alerts-stream_test.yml")


def test_every_alert_has_a_firing_and_a_silent_test():
    texts = [(PROMETHEUS / name).read_text(encoding="utf-8") for name in TESTED]
    cases = [case for text in texts for case in text.split("  - name: ")[1:]]
    for name in alerts():
        own = [case for case in cases if f"alertname: {name}" in case]
        assert any(case.startswith('"firing') and "exp_alerts" in case for case in own), name
        assert any(case.startswith('"silent') and "exp_alerts" not in case for case in own), name


def test_every_alert_has_its_runbook_and_every_runbook_its_alert():
    pages = {f"docs/runbooks/{path.name}" for path in RUNBOOKS.glob("*.md")} - {"docs/runbooks/README.md"}
    assert {rule["runbook_url"] for rule in alerts().values()} == pages
    for name, rule in alerts().items():
        text = (ROOT / rule["runbook_url"]).read_text(encoding="utf-8")
        assert text.startswith(f"# {name}: ")
        begun = [
            text.index(part)
            for part in ("**You see**", "**It means**", "**På svenska:**", "## Look", "## Act", "## Check")
        ]
        assert begun == sorted(begun)
        assert len(text.splitlines()) < 80


def test_a_runbook_quotes_panels_that_exist_and_names_commands_that_exist():
    titles = {panel["title"] for panel in panels()[1]}
    quoted = 0
    for page in RUNBOOKS.glob("*.md"):
        text = " ".join(page.read_text(encoding="utf-8").split())
        for words in re.findall(r'and "([A-ZÅÄÖ][^"]*)"|dashboard "([A-ZÅÄÖ][^"]*)"', text):
            quoted += 1
            assert any(title.startswith(words[0] or words[1]) for title in titles), words
        for group, name in re.findall(r"handslag ([a-z]+)(?: ([a-z-]+))?", text):
            if group in handslag.MOUNTS:
                mounted = handslag.loaded(handslag.MOUNTS[group])
                assert not name or not hasattr(mounted, "commands") or name in mounted.commands, (
                    page.name,
                    group,
                    name,
                )
    assert quoted >= 7
