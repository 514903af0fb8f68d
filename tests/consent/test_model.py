"""Ledger and gate against the reference, in any order of acts and sends (invariants 1, 2 and 7 at the gate)."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.consent.played import BOTH, Played

some = st.sampled_from([frozenset({"IC04"}), frozenset({"IC06"}), BOTH, BOTH])
places = st.integers(0, 9)
ACTS = {"GRANT", "AMEND", "WITHDRAW", "WITHDRAW_ALL", "SUSPEND", "RESUME", "CONFIRM", "BLOCK", "LIFT",
        "UNBLOCK", "EXPIRE", "LAPSE"}  # fmt: skip
EVENTS = ("PLACEMENT_ENDED", "TRANSFER_COMPLETED")


class Model(RuleBasedStateMachine):
    """The machine: each rule is one thing that people do."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.played = Played(self.folder)

    def teardown(self):
        self.played.close()
        shutil.rmtree(self.folder)

    def consent(self, place):
        return self.played.consents[place % len(self.played.consents)]

    granted = precondition(lambda self: self.played.consents)
    few_blocks = precondition(lambda self: len(self.played.blocks) < 2)
    not_yet_all = precondition(lambda self: self.played.done.count("WITHDRAW_ALL") < 2)
    blocked = precondition(lambda self: self.played.blocks)

    @rule(categories=some, days=st.integers(1, 3), event=st.sampled_from((None, *EVENTS)), role=st.booleans())
    def grant(self, categories, days, event, role):
        self.played.grant(categories, days=days, until_event=event, role=role)

    @granted
    @rule(place=places, categories=some)
    def supersede(self, place, categories):
        self.played.grant(categories, supersedes=self.consent(place))

    @granted
    @rule(place=places, categories=some, days=st.integers(1, 3))
    def amend(self, place, categories, days):
        self.played.amend(self.consent(place), categories, days=days)

    @granted
    @rule(place=places)
    def withdraw(self, place):
        self.played.take_back(self.consent(place))

    @granted
    @rule(place=places, category=st.sampled_from(sorted(BOTH)), hours=st.integers(0, 3))
    def withdraw_a_part(self, place, category, hours):
        said = self.played.site.clock.us - hours * 3600 * 1_000_000
        self.played.take_back(self.consent(place), [category], said)

    @granted
    @rule(place=places, act=st.sampled_from(("SUSPEND", "SUSPEND", "RESUME", "RESUME", "CONFIRM", "ANNUL")))
    def change(self, place, act):
        self.played.act(act, self.consent(place))

    @few_blocks
    @rule(categories=some)
    def block(self, categories):
        self.played.block(categories)

    @blocked
    @rule(place=places, hours=st.integers(1, 9), ends=st.booleans())
    def lift(self, place, hours, ends):
        block = self.played.blocks[place % len(self.played.blocks)]
        self.played.act("UNBLOCK", block) if ends else self.played.lift(block, hours)

    @rule(
        categories=some,
        guardians=st.integers(1, 2),
        excluded=st.integers(0, 1),
        band=st.sampled_from(("UNDER_12", "12_TO_14", "15_TO_17")),
        cosigned=st.booleans(),
        days=st.integers(1, 2),
    )
    def grant_for_a_child(self, **how):
        self.played.grant_for_a_child(**how)

    @rule()
    def lapse(self):
        self.played.lapse()

    @rule()
    def restart(self):
        self.played.restart()

    @rule(hours=st.integers(0, 40), known_hours=st.integers(0, 40))
    def look_back(self, hours, known_hours):
        self.played.look_back(hours, known_hours)

    @rule(event=st.sampled_from(EVENTS))
    def expire(self, event):
        self.played.expire(event)

    @not_yet_all
    @rule()
    def withdraw_everything(self):
        self.played.withdraw_everything()

    @rule(categories=some, flags=st.sampled_from((BOTH, BOTH, BOTH, frozenset({"IC04"}))))
    def send(self, categories, flags):
        self.played.send(categories, flags)

    @rule(soon=st.booleans(), role=st.booleans())
    def grant_and_send(self, soon, role):
        """What happens most: it is given, sent, and often fetched before anything else."""
        self.played.grant(BOTH, role=role)
        self.played.send()
        if soon:
            self.played.hand_over()

    @rule(soon=st.booleans(), role=st.booleans())
    def grant_and_send_again(self, soon, role):
        """The same: as often again."""
        self.grant_and_send(soon=soon, role=role)

    @rule()
    def hand_over(self):
        self.played.hand_over()

    @rule()
    def hand_over_soon(self):
        """The same: as often again."""
        self.played.hand_over()

    @rule()
    def acknowledge(self):
        self.played.acknowledge()

    @rule(hours=st.integers(1, 20))
    def wait(self, hours):
        self.played.wait(hours)


def run(examples, steps, machine=Model, **how):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            **how,
        ),
    )


def test_inv_7_ledger_and_gate_do_what_the_reference_says():
    """Twenty cases of up to 30 steps, the same each time; 2,000 others in the long tier.

    And of nearly everything people may do something was recorded, and something was handed over: a positive control.
    """
    done, handed = Counter(), []

    class Counted(Model):
        def teardown(self):
            done.update(self.played.done)
            handed.extend(self.played.handed)
            super().teardown()

    run(20, 30, Counted, derandomize=True)
    assert set(done) >= ACTS
    assert len(handed) > 5


@pytest.mark.long
@pytest.mark.timeout(0)
def test_inv_7_ledger_and_gate_do_what_the_reference_says_for_long():
    run(2000, 50, print_blob=True)


@pytest.fixture
def played(tmp_path):
    played = Played(tmp_path)
    yield played
    played.close()


def test_the_play_reaches_hand_overs(played):
    """Positive control: what is granted goes, what is taken back does not, and both are seen."""
    consent = played.grant(BOTH)
    played.send()
    assert len(played.hand_over()) == 1
    played.send()
    played.take_back(consent, ["IC06"])
    assert len(played.hand_over()) == 1
    played.send()
    played.take_back(consent)
    assert played.hand_over() == []
    played.grant({"IC04"})
    played.send()
    played.acknowledge()
    assert len(played.hand_over()) == 1
