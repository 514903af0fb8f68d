"""The drill of the late hand-over: a real agency's connector stands still while something waits for it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import deploy.demo
from broker import settings
from deploy.demo.play import Play
from deploy.demo.scenario import load
from tests.ops import servers
from tests.ops.duty import Duty, Watch, blocks

ALERT = "HandslagHandOverLate"
SOONER = (("> 1800", "> 6"), ("[5m]) == 0", "[20s]) == 0"))
# A case, a consent, and an invitation that waits for the police.
STEPS = ("social-01-open-case", "social-03-grant-intake", "social-04-invite-police")


def test_a_late_hand_over_rings_and_the_runbook_finds_the_silent_unit(tmp_path, engines):
    steps = blocks("hand-over-late")
    whole = load(Path(deploy.demo.__file__).parent)
    scenario = replace(whole, steps=[step for step in whole.steps if step.drop in STEPS])
    with Play(tmp_path / "site", scenario, lambda _line: None) as play:
        play.set_up()
        operations = settings.load(play.broker).operations.listen
        duty = Duty(tmp_path, {"CONFIG": str(play.broker), "OPERATIONS": operations})
        with (
            servers.alertmanager(tmp_path) as alerts,
            servers.prometheus(tmp_path, operations, alerts=alerts, sooner=SOONER) as prometheus,
        ):
            engines["Prometheus"] = prometheus.version()
            watch = Watch(prometheus, alerts)
            police, list_units = scenario.units["police"].code, 'handslag agency status --config "$CONFIG"'
            servers.until(lambda: "never" not in duty.does(list_units), "every connector is heard")
            play.stop("police")
            watch.silent(ALERT)
            play.run_steps()
            watch.rings(ALERT)
            assert '"ok": true' in duty.does(steps["look"])
            # The longest silent stands on top.
            servers.until(lambda: units(duty.does(steps["look"]))[0] == police, "the list names the silent unit first")
            unit = play.config("police").parent
            with servers.process(["sh", "-c", steps["act"]], tmp_path / "police.log", cwd=unit, env=duty.env):
                watch.silent(ALERT)
                said = duty.does(steps["check"])
                assert "handslag_delivery_oldest_pending_age_seconds 0.0" in said
                assert set(units(said)) == {unit.code for unit in scenario.units.values()}


def units(said):
    """Unit codes of `agency status`, in the order of its lines."""
    return re.findall(r"^(\S+/\S+)  (?:ADMITTED|ansluten)", said, re.MULTILINE)
