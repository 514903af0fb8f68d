"""SIGKILL under load at named places: what the connectors hold afterwards keeps every promise.

`make test` kills 50 times, `make test-long` 300 times. The checker is shown to reject: every planted fault in the
recorded history of the very run must be found.
"""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kills.checker import check
from tests.kills.launch import INSTALL
from tests.kills.places import GROUPS, PLACES, fair
from tests.kills.run import played

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261122
FIRST_TIER, SECOND_TIER = 50, 300
LEAST = 5  # kills in each of the spots


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return played(tmp_path_factory.mktemp("kills") / "run", FIRST_TIER, SEED)


@pytest.mark.timeout(600)
def test_kills_at_named_places_break_no_promise(run):
    report, _history = run
    assert report.found == []
    assert len(report.kills) == FIRST_TIER
    assert all(count >= LEAST for count in report.by_group().values()), report.by_group()
    assert all(report.by_place().values()), report.by_place()
    # What would make the checker's silence worthless: nothing released, nothing stopped, nothing recalled.
    assert report.delivered > 30
    assert report.withdrawals > 5


@pytest.mark.long
@pytest.mark.timeout(0)
def test_three_hundred_kills(tmp_path):
    report, _history = played(tmp_path / "run", SECOND_TIER, SEED + 1)
    evidence = ROOT / "build" / "kills" / "kills.md"
    evidence.write_text(report.evidence("make test-long"), encoding="utf-8")
    assert report.found == []
    assert len(report.kills) == SECOND_TIER
    assert all(count >= LEAST for count in report.by_group().values()), report.by_group()


# --- the checker rejects what must be rejected


def deliveries(history):
    return [(unit, f) for unit in history.roles for f in history.files[unit] if f["kind"] == "delivery"]


def acknowledged(history):
    """A delivery whose sender was told that this very recipient acknowledged it."""
    told = {
        (f["role"], f["event_id"], category)
        for unit in history.roles
        for f in history.files[unit]
        if f["kind"] == "notice" and f["code"] == "delivery_acknowledged" and f["event_type"] is not None
        for category in f["categories"]
    }
    return next(
        (unit, f)
        for unit, f in deliveries(history)
        if all((history.roles[unit][0], f["event_id"], category) in told for category in f["categories"])
    )


def an_output_file_lost(history):
    unit, lost = acknowledged(history)
    history.files[unit].remove(lost)


def a_section_of_a_file_lost(history):
    _unit, cut = next((u, f) for u, f in deliveries(history) if len(f["categories"]) > 1)
    cut["categories"].pop()


def a_file_given_twice(history):
    unit, twice = acknowledged(history)
    history.files[unit].append({**twice, "file": "again.json", "delivery_id": "another"})


def the_same_delivery_written_again(history):
    unit, twice = deliveries(history)[0]
    history.files[unit].append({**twice, "file": "again.json"})


def content_of_another_event(history):
    first, other = (f for _u, f in deliveries(history) if f["event_type"] == "seat_introduced"), None
    one, other = next(first), next(first)
    one["data"] = other["data"]


def withdrawn_acts(history):
    """(unit, entry) of the withdrawals in the disclosers' trails that took something away."""
    for unit in history.roles:
        results = [f for f in history.files[unit] if f["kind"] == "ledger"]
        for entry in history.trail[unit]:
            if entry["operation"] == "CONSENT_EVENT" and entry["ledger_seq"] in {f["ledger_seq"] for f in results}:
                yield unit, entry


def a_hand_over_moved_after_a_withdrawal(history):
    # Which withdrawal has a hand-over before it depends on where the kills fell.
    trail, entry, moved = next(
        (history.trail[unit], entry, before)
        for unit, entry in withdrawn_acts(history)
        for before in history.trail[unit][: history.trail[unit].index(entry)]
        if before["operation"] == "DISCLOSURE" and before["event_type"] != "seat_invited"
    )
    trail.remove(moved)
    trail.insert(trail.index(entry) + 1, moved)


def a_file_written_after_a_withdrawal(history):
    unit, at_us, late = next(
        (unit, act["recorded_at_us"], given)
        for unit, entry in withdrawn_acts(history)
        for act in history.ledger[unit]
        if act["seq"] == entry["ledger_seq"]
        for _recipient, given in deliveries(history)
        if given["from_role"] == history.roles[unit][0] and given["at_us"] < act["recorded_at_us"]
    )
    late["at_us"] = at_us + 1
    history.files[unit] = [
        f for f in history.files[unit] if f.get("code") != "delivery_cancelled" or f["event_id"] != late["event_id"]
    ]


def a_ledger_act_lost(history):
    del history.ledger["social"][2]


def the_last_ledger_act_lost(history):
    history.ledger["social"].pop()


def a_ledger_act_changed(history):
    history.ledger["police"][1]["recorded_at_us"] += 1


def a_consent_entry_lost(history):
    entry = next(e for e in history.trail["social"] if e["operation"] == "CONSENT_EVENT")
    history.trail["social"].remove(entry)


def a_release_without_its_entry(history):
    unit, given = deliveries(history)[0]
    history.trail[unit] = [e for e in history.trail[unit] if e.get("delivery_id") != given["delivery_id"]]


def a_command_executed_twice(history):
    result = next(f for f in history.files["social"] if f["kind"] == "result" and f["do"] == "grant")
    history.files["social"].append({**result, "file": "again.json"})


def a_command_without_an_answer(history):
    result = next(f for f in history.files["police"] if f["kind"] == "result" and f["do"] == "grant")
    history.files["police"].remove(result)


def a_message_sent_as_two_events(history):
    receipt = next(f for f in history.files["police"] if f["kind"] == "receipt")
    history.files["police"].append({**receipt, "event_id": "another", "file": "again.json"})


def an_input_file_left(history):
    history.left["social"].append("00001-social.json")


def an_event_that_hangs(history):
    history.events["police"][0][2] = "SENT"


def a_proof_that_never_came(history):
    held, _wanted = history.proofs["social"]
    history.proofs["social"] = (held - 1, 1)


def a_trail_that_is_broken(history):
    history.verify = {"code": 1, "text": "BROKEN"}


FAULTS = {
    an_output_file_lost: "acknowledged and not there",
    a_section_of_a_file_lost: "other content",
    a_file_given_twice: "given twice",
    the_same_delivery_written_again: "given twice",
    content_of_another_event: "other content",
    a_hand_over_moved_after_a_withdrawal: "handed over after a withdrawal",
    a_file_written_after_a_withdrawal: "arrived after a withdrawal",
    a_ledger_act_lost: "gap in a ledger",
    the_last_ledger_act_lost: "gap in a ledger",
    a_ledger_act_changed: "gap in a ledger",
    a_consent_entry_lost: "gap in the trail",
    a_release_without_its_entry: "no record of a release",
    a_command_executed_twice: "not one answer",
    a_command_without_an_answer: "not one answer",
    a_message_sent_as_two_events: "not one answer",
    an_input_file_left: "not one answer",
    an_event_that_hangs: "not at rest",
    a_proof_that_never_came: "gap in the trail",
    a_trail_that_is_broken: "gap in the trail",
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_checker_rejects(run, fault):
    _report, whole = run
    history = copy.deepcopy(whole)
    fault(history)
    assert any(found.startswith(FAULTS[fault]) for found in check(history)), check(history)


# --- the harness itself


def test_the_checker_imports_nothing_of_the_broker():
    code = (
        "import sys, tests.kills.checker, tests.kills.records;"
        "print(sorted(n for n in sys.modules if n.split('.')[0] in {'broker', 'sqlalchemy'}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for more, seen in (("", "[]"), ("import broker.core;", "broker.core")):  # the second shows that the look is real
        done = subprocess.run([sys.executable, "-c", more + code], cwd=ROOT, env=environment, capture_output=True,
                              text=True, check=True)  # fmt: skip
        assert seen in done.stdout


def test_every_place_is_armed_by_the_launcher_and_the_spread_reaches_each():
    assert set(INSTALL) == set(PLACES)
    for kills in (FIRST_TIER, SECOND_TIER):
        drawn = [name for names in fair(kills).values() for name in names]
        assert len(drawn) == kills
        assert set(drawn) == set(PLACES)
        for group in GROUPS:
            assert sum(PLACES[name].group == group for name in drawn) >= LEAST


def test_the_product_knows_nothing_of_the_places():
    files = [p for room in ("broker", "connectors", "audit", "consent", "schemas") for p in (ROOT / room).rglob("*.py")]
    assert files
    assert not [p for p in files if "SIGKILL" in p.read_text(encoding="utf-8") or "tests.kills" in p.read_text()]
