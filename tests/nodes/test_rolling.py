"""Nodes that are killed or restarted one after the other while three agencies send: nothing fails, nothing comes twice,
nothing is overtaken. What is looked at is what the agencies' own systems were given.
"""

import threading
import time
from collections import Counter

from deploy.demo.scenario import Scenario, UnitPlan
from tests.kills.load import REFS, ROLES, Dropped, sections
from tests.kills.world import UNITS, World
from tests.nodes.conftest import SeveralNodes

EACH_S = 0.5
_BAD = {"refused", "alarm", "rejected", "not_recorded_yet", "?"}


class Busy(World):
    """Three agencies of one case on several nodes, each sending to one other as long as `sending`."""

    def __init__(self, folder, store, count):
        super().__init__(folder, lambda _line: None)
        units = {name: UnitPlan(name, code, agency, ROLES[name]) for name, (code, agency) in UNITS.items()}
        self.play = SeveralNodes(folder, Scenario(units, [], [], folder), store, count)
        self.sent = {"social": [], "police": [], "probation": []}
        self._stop = threading.Event()

    @property
    def nodes(self):
        return self.play.nodes

    def set_up(self):
        self.play.set_up()
        self.open_case()

    def sending(self):
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def quiet(self):
        self._stop.set()
        self._thread.join()
        self.settle()

    def _send(self):
        number = 0
        while not self._stop.wait(EACH_S):
            for unit, to in (("social", "police"), ("police", "social"), ("probation", "social")):
                name = f"{number:05d}-{unit}"
                parts = sections("seat_introduced", f"{unit}-{number}")
                value = {"id": name, "ref": REFS[unit], "do": "introduce", "to": [ROLES[to]], **parts["IC12"]}
                self.drop(Dropped(unit, name, value, parts))
                self.sent[unit].append(parts["IC12"]["function"])
            number += 1

    def judged(self):
        """(what came twice, what did not come, who was overtaken, what an agency was told that it should not be)."""
        came, told = {unit: [] for unit in self.sent}, []
        roles = {role: unit for unit, role in ROLES.items()}
        for unit in self.sent:
            for value in self.play.files(unit):
                if value["kind"] == "delivery" and value["event_type"] == "seat_introduced":
                    came[roles[value["from_role"]]].append(value["data"]["function"])
                elif value["kind"] in _BAD:
                    told.append((unit, value["kind"], value.get("code")))
        twice = [one for each in came.values() for one, count in Counter(each).items() if count > 1]
        lost = [one for unit, each in self.sent.items() for one in each if one not in came[unit]]
        overtaken = [unit for unit, each in came.items() if each != [one for one in self.sent[unit] if one in each]]
        errors = [path.name for unit in self.sent for path in (self.root(unit) / "in").glob("*.error.json")]
        return twice, lost, overtaken, told + errors


def test_nodes_killed_and_restarted_under_load_lose_repeat_and_reorder_nothing(tmp_path, database, record_property):
    with Busy(tmp_path / "site", database, 2) as busy:
        busy.set_up()
        nodes = busy.nodes
        busy.sending()
        time.sleep(1)
        for number in (1, 0):  # a rolling restart, as a service manager makes it
            assert nodes.stop(number) == 0
            time.sleep(1)
            nodes.start(number)
        leader = nodes.until(lambda: nodes.leader([0, 1]) is not None and {nodes.leader([0, 1])}, "a leader").pop()
        nodes.kill(leader)
        since = time.monotonic()
        nodes.until(lambda: nodes.leader([1 - leader]) is not None, "the other one leads")
        took_s = time.monotonic() - since
        record_property("takeover under load", round(took_s, 2))
        time.sleep(1)
        nodes.start(leader)
        time.sleep(1)
        busy.quiet()
        assert min(len(each) for each in busy.sent.values()) > 10
        assert busy.judged() == ([], [], [], [])
        print(f"{sum(map(len, busy.sent.values()))} events, takeover {took_s:.1f} s after the kill")
