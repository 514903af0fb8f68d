"""Faults under load on three nodes, PostgreSQL and a three-node Kafka: about four minutes, drawn by a fixed seed."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos import checker
from tests.chaos.engines import started
from tests.chaos.faults import FAULTS, NOT_REACHED
from tests.chaos.launch import BEFORE, INSIDE, PLACES, UNANSWERED
from tests.chaos.page import SHOWN, TROUBLES, page
from tests.chaos.proxy import KINDS
from tests.chaos.run import BUILD, Report, played

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261122
FIRST_TIER_S, SECOND_TIER_S = 200, 3600


def run(folder, seconds, seed, engines):
    with started("postgresql", "kafka", seconds=seconds) as carried:
        engines.update(carried.names)
        report, history = played(folder, seconds, seed, carried, nodes=3)
        return report, history, set(carried.faults)


def judged(report, history, of_engines):
    assert report.found == []
    done = report.by_fault()
    assert set(done) == {*FAULTS, *of_engines}
    assert sum(times for times, _missed in done.values()) >= len(done)
    stopped = [one for one in report.faults if "held_s" in one and "then" in one]
    inside = [one for one in stopped if one["place"] in INSIDE]
    unanswered = [one for one in stopped if one["place"] in UNANSWERED]
    assert inside
    assert unanswered
    assert all(one["open"] is True and one["then"][0] == "continued" for one in inside)
    assert all(one["committed"] for one in unanswered)
    assert sum(one.get("what") == NOT_REACHED for one in report.faults) < len(report.faults) / 2
    # What would make the checker's silence worthless: nothing released, nothing withdrawn, nothing listed.
    assert report.facts["given"] > 50
    assert sum(f["do"] in {"withdraw", "withdraw_case"} for f in history.of("answered")) > 10
    assert any(f["affected"] for f in history.of("answered"))


@pytest.mark.timeout(1500)
def test_faults_on_three_nodes_postgresql_and_kafka_break_no_promise(tmp_path, engines):
    judged(*run(tmp_path / "run", FIRST_TIER_S, SEED, engines))


@pytest.mark.long
@pytest.mark.timeout(0)
def test_an_hour_of_faults(tmp_path, engines):
    report, history, of_engines = run(tmp_path / "run", SECOND_TIER_S, SEED + 1, engines)
    (BUILD / "chaos.md").write_text(page(report, "make test-long"), encoding="utf-8")
    judged(report, history, of_engines)


def test_every_place_is_one_of_three_kinds():
    assert set(PLACES) == BEFORE | INSIDE | UNANSWERED
    assert len(PLACES) == len(BEFORE) + len(INSIDE) + len(UNANSWERED)


def test_the_product_knows_nothing_of_the_launcher():
    files = [p for room in ("broker", "connectors", "audit", "consent", "schemas") for p in (ROOT / room).rglob("*.py")]
    assert files
    assert not [p for p in files if "SIGSTOP" in p.read_text(encoding="utf-8") or "tests.chaos" in p.read_text()]


def test_a_run_that_is_told_to_stop_leaves_no_process_behind(tmp_path):
    words = [sys.executable, "-m", "tests.chaos", "--store", "sqlite", "--stream", "embedded", "--nodes", "1",
             "--seconds", "60", "--dir", str(tmp_path / "run")]  # fmt: skip
    asked = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "CI": ""})
    assert asked.stdout is not None
    for line in asked.stdout:
        if "three agencies" in line:
            break
    asked.send_signal(signal.SIGTERM)
    assert asked.wait(60) == 1
    asked.stdout.close()
    end = time.monotonic() + 30  # a command that was just being started ends by itself
    while left := [p for p in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _read(p)]:
        assert time.monotonic() < end, [_read(p) for p in left]
        time.sleep(0.2)


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_the_page_of_a_run_says_all_that_was_seen():
    faults = [
        {"fault": "stop inside a transaction", "place": "batch.inside", "open": True, "then": ["continued", "COMMIT"]},
        {"fault": "stop inside a transaction", "place": "batch.inside", "what": NOT_REACHED},
        {"fault": "kill at a place", "place": "ack.unanswered", "open": None},
        {"fault": "clock step", "wrong_s": -60.0},
        {"fault": "network bad", "troubles": {"cut": 2, "again": 1}},
        {"fault": "disk full", "free_bytes": 0, "server_ended": True},
    ]
    growth = [(0.0, {"PostgreSQL": 60.0}), (10.0, {"PostgreSQL": 61.5})]
    report = Report(7, 10.0, {"PostgreSQL": "15"}, 3, faults, [f"{checker.TWICE}: once"], {"given": 3}, {"events": 9},
                    growth, 1, "a machine", "abc", "2026-11-22")  # fmt: skip
    said = page(report, "python -m tests.chaos --seconds 10")
    for line in (
        "# Faults under load: 3 nodes on PostgreSQL 15", "| date | 2026-11-22 |", "| commit | `abc` |", "| seed | 7 |",
        "| command | `python -m tests.chaos --seconds 10` |", "| machine | a machine |", "| load | 9 events |",
        "- given twice: once", "| given twice | 1 |", "| out of order | 0 |",
        "| `batch.inside` | 1 | 0 | 1 | 1 COMMIT |", "| `ack.unanswered` | 0 | 1 | 0 | |",
        "Clock steps: 1 x -60 s.", "| 10 s | 61.5 |", "| all | | 5 | 1 |",
        "Connections in a bad network: 1 repeated, 2 cut.",
    ):  # fmt: skip
        assert line in said, line
    assert "Every promise held" not in said
    assert "Every promise held" in page(replace(report, found=[]), "x")


def test_every_fault_is_explained_on_the_page():
    kinds = {name for name in SHOWN if name[0].islower() and name != "disk full"}
    assert kinds == set(FAULTS)
    assert set(TROUBLES) == set(KINDS)
