"""The checker of histories: the recorded good one passes, every kept one with a planted fault is rejected by its rule.

The files under histories/ are kept; `python -m tests.chaos.plant` writes them anew from the recorded good one.
"""

import ast
import copy
import json
import random
from pathlib import Path

import pytest

from tests.chaos import checker, plant
from tests.chaos.checker import check
from tests.chaos.coverage import Ledgers
from tests.chaos.history import FACTS, read

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def good():
    return [read(path) for path in plant.GOOD]


def test_the_recorded_histories_pass_and_hold_what_could_have_gone_wrong(good):
    assert [check(each) for each in good] == [[]] * len(good)
    assert {f["what"] for each in good for f in each.facts} == set(FACTS)
    for each in good:
        assert sum(f["do"] in {"withdraw", "withdraw_case"} for f in each.of("answered")) > 5
        assert len(list(each.of("given"))) > 15
    assert any(row[4] == "HANDED" for each in good for f in each.of("answered") for row in f["affected"])


def test_a_delivery_that_was_in_flight_and_listed_is_no_fault(good):
    assert check(plant.planted(good, plant.in_flight_and_listed)) == []


def test_twenty_and_more_faults_are_kept_and_each_file_is_what_the_script_plants(good):
    assert len(plant.FAULTS) >= 20
    assert {path.name for path in plant.FOLDER.glob("*.jsonl")} == {
        *(path.name for path in plant.GOOD), *(plant.kept(fault).name for fault in plant.FAULTS)
    }  # fmt: skip
    for fault in plant.FAULTS:
        assert read(plant.kept(fault)) == plant.planted(good, fault), fault.__name__


@pytest.mark.parametrize("fault", plant.FAULTS, ids=lambda fault: fault.__name__)
def test_a_history_with_this_fault_is_rejected_by_its_rule(fault):
    found = check(read(plant.kept(fault)))
    assert any(each.startswith(f"{plant.FAULTS[fault]}: ") for each in found), found


def test_every_rule_has_a_history_that_it_rejects():
    rules = {value for name, value in vars(checker).items() if name.isupper() and isinstance(value, str)}
    assert set(plant.FAULTS.values()) == rules


def test_a_withdrawal_counts_from_its_answer_and_a_grant_from_its_asking(good):
    """The checker errs against the product only where the product has answered."""
    history = next(each for each in good if any(f["do"] == "withdraw_case" for f in each.of("answered")))
    answer = next(f for f in history.of("answered") if f["do"] == "withdraw_case")
    acts = Ledgers.read(history).acts[answer["unit"]]
    act = next(act for act in acts if act.seq == answer["seq"])
    assert act.answered == answer["at"]
    assert act.asked <= act.answered
    assert not act.covered


def test_the_checker_knows_nothing_of_the_product():
    for name in ("checker.py", "coverage.py", "history.py", "plant.py"):
        tree = ast.parse((HERE / name).read_text(encoding="utf-8"))
        named = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        named |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert {each.split(".")[0] for each in named} & {"broker", "connectors", "audit", "consent", "schemas"} == set()
        assert all(each.startswith("tests.chaos") for each in named if each.startswith("tests")), named


def test_a_history_holds_no_content_and_no_name(good):
    text = json.dumps([each.facts for each in good], ensure_ascii=False)
    assert "Tolvan" not in text
    assert "threat_level" not in text


def test_order_is_judged_as_by_looking_at_every_pair(good):
    """The checker goes through a history once, or an hour of it would take another one."""
    draw, found = random.Random(20261122), 0
    for _ in range(30):
        history = copy.deepcopy(draw.choice(good))
        for what, name in (("decided", "decided_at"), ("received", "n")):
            some = draw.sample(list(history.of(what)), 6)
            values = draw.sample([f[name] for f in some], 6)
            for f, value in zip(some, values, strict=True):
                f[name] = value
        said = {each.split(" ")[0] for each in checker._order(history)}
        assert said == later_ones(history)
        found += bool(said)
    assert found > 20


def later_ones(history):
    """Events that went past another one, from the definition."""
    first, said = {}, set()
    for f in history.of("received"):
        first.setdefault((f["unit"], f["event"]), f)
    for unit in history.units:
        decided = {(f["event"], f["attempt"]): f for f in history.of("decided", unit=unit)}
        once = checker._released_once(decided.values())
        for earlier, later in plant._pairs(history, unit):
            if earlier[0] == later[0] or not {earlier, later} <= set(decided):
                continue
            late = decided[earlier]["decided_at"] > decided[later]["decided_at"]
            for role in once[earlier] & once[later]:
                came = [first.get((history.holder(role), event)) for event, _ in (earlier, later)]
                late |= all(came) and came[1]["n"] < came[0]["n"] and came[0]["hand"] == 1
            if late:
                said.add(later[0])
    return said
