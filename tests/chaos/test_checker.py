"""The checker of histories: the recorded good one passes, every kept one with a planted fault is rejected by its rule.

The files under histories/ are kept; `python -m tests.chaos.plant` writes them anew from the recorded good one.
"""

import ast
import json
from pathlib import Path

import pytest

from tests.chaos import checker, plant
from tests.chaos.checker import check
from tests.chaos.coverage import Ledgers
from tests.chaos.history import FACTS, read

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def good():
    return read(plant.GOOD)


def test_the_recorded_history_passes_and_holds_what_could_have_gone_wrong(good):
    assert check(good) == []
    kinds = {f["what"] for f in good.facts}
    assert set(FACTS) - {"ended"} <= kinds
    assert sum(f["do"] in {"withdraw", "withdraw_case"} for f in good.of("answered")) > 5
    assert any(row[4] == "HANDED" for f in good.of("answered") for row in f["affected"])
    assert len(list(good.of("given"))) > 20


def test_twenty_and_more_faults_are_kept_and_each_file_is_what_the_script_plants(good):
    assert len(plant.FAULTS) >= 20
    assert {path.name for path in plant.FOLDER.glob("*.jsonl")} == {
        plant.GOOD.name, *(plant.kept(fault).name for fault in plant.FAULTS)
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
    answer = next(f for f in good.of("answered") if f["do"] == "withdraw_case")
    acts = Ledgers.read(good).acts[answer["unit"]]
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
    text = json.dumps(good.facts, ensure_ascii=False)
    assert "Tolvan" not in text
    assert "threat_level" not in text
