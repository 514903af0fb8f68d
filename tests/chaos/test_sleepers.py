"""A node that sleeps through a withdrawal which another node answers: real nodes, real PostgreSQL, a judged history.

One node is stopped at a place, the police withdraw by the other, and the first goes on with what it had decided,
prepared or committed.
"""

from __future__ import annotations

import signal

import pytest

from tests.chaos.checker import check
from tests.chaos.engines import started
from tests.chaos.faults import stopped_in
from tests.chaos.nodes import awaited
from tests.chaos.site import Site
from tests.kills.load import CATEGORIES, PURPOSES, REFS, ROLES, Dropped, sections, terms

_PATIENCE_S = 120.0
PATIENT_US = 20_000_000
pytestmark = [pytest.mark.timeout(900), pytest.mark.long]  # real processes are started for each of them


@pytest.fixture
def site(tmp_path, engines):
    with started("postgresql", full_disk=False) as carried:
        engines.update(carried.names)
        with Site(tmp_path / "run", 1, carried, 2, lambda _line: None) as site:
            site.set_up()
            for node in site.nodes:
                assert awaited(node.serves, _PATIENCE_S)
            granted(site, "first")
            yield site


def command(site, name, value):
    site.world.drop(Dropped("police", name, {"id": name, "ref": REFS["police"], **value}))


def seen(site, unit, what, **values):
    """The first line of a unit's connector with these values, waited for."""

    def found():
        facts = (f for f in site.facts(unit) if f["what"] == what)
        return next((f for f in facts if all(f[name] == value for name, value in values.items())), None)

    line = awaited(found, _PATIENCE_S)
    assert line is not None, (unit, what, values)
    return line


def granted(site, name):
    to = [{"role": ROLES["social"]}]
    command(site, f"grant-{name}", terms(to, CATEGORIES["police"], PURPOSES))
    seen(site, "police", "answered", id=f"grant-{name}")


def send(site, name):
    parts = sections("threat_assessment_completed", name)
    data = {field: value for part in parts.values() for field, value in part.items()}
    value = {"do": "send", "event_type": "threat_assessment_completed", "to": [ROLES["social"]],
             "purpose": "THREAT_ASSESSMENT", "confirmed": True, "public_interest_released": ["IC04", "IC06"],
             "data": data}  # fmt: skip
    command(site, name, value)


def asleep_at(site, place, name):
    """Send an event; whichever node passes the place with it first stands still there. That node, and its trace's line.

    The other is let through: a connector may talk to either, and leaves one that is slow.
    """
    before = {node.name: len(node.trace()) for node in site.nodes}
    for node in site.nodes:
        node.arm(place, "stop")
    send(site, name)

    def passed():
        return next((node for node in site.nodes if len(node.trace()) > before[node.name]), None)

    sleeper = awaited(passed, _PATIENCE_S)
    assert sleeper is not None, f"no node passed {place}"
    (other,) = (node for node in site.nodes if node is not sleeper)
    if not other.disarm():
        assert awaited(other.stopped, _PATIENCE_S)
        other.signal(signal.SIGCONT)
    line = stopped_in(sleeper, place, before[sleeper.name], _PATIENCE_S)
    assert line is not None
    return sleeper, line


def withdrawn(site, name, **scope):
    """The police withdraw what covers social services, by the node that does not sleep."""
    grants = [f for f in site.facts("police") if f["what"] == "accepted" and f["do"] == "grant"]
    for number, grant in enumerate(grants):
        consent = next(f for f in site.world.files("police", "result") if f["id"] == grant["id"])["consent"]
        command(site, f"{name}-{number}", {"do": "withdraw", "consent": consent, **scope})
    return [seen(site, "police", "answered", id=f"{name}-{number}") for number in range(len(grants))]


def judged(site):
    site.quiet()
    history = site.history({})
    assert check(history) == []
    return history


def test_a_batch_that_slept_past_a_withdrawal_releases_nothing(site):
    sleeper, _line = asleep_at(site, "batch.decided", "slept")
    (other,) = (node for node in site.nodes if node is not sleeper)
    unit = "police" if other is site.nodes[1] else "social"
    site.world.drop(Dropped(unit, "stop", {"id": "stop", "ref": REFS[unit], "do": "withdraw_case",
                                           "method": "ORAL_DOCUMENTED"}))  # fmt: skip
    answer = seen(site, unit, "answered", id="stop")
    assert sleeper.stopped()
    sleeper.signal(signal.SIGCONT)
    history = judged(site)
    decided = [f for f in history.of("decided", unit="police") if f["at"] > answer["at"]]
    assert decided
    assert not any(released for f in decided for parts in f["roles"].values() for released, _ in parts.values())
    assert not list(history.of("received", unit="social"))


def test_a_hand_over_that_slept_past_a_narrowing_hands_out_what_is_left_only(site):
    node, _line = asleep_at(site, "hand-over.prepared", "narrowed")
    answers = withdrawn(site, "narrow", scope={"recipients": [], "categories": ["IC06"], "purposes": []})
    assert node.stopped()
    node.signal(signal.SIGCONT)
    history = judged(site)
    received = [f for f in history.of("received", unit="social") if f["at"] > answers[-1]["at"]]
    assert received
    assert all(f["categories"] == ["IC04"] for f in received)


def test_what_was_in_flight_when_a_withdrawal_was_answered_is_listed(site):
    node, line = asleep_at(site, "hand-over.unanswered", "in-flight")
    assert line["committed"] == ["PostgresStore.write"]
    command(site, "stop", {"do": "withdraw_case", "method": "ORAL_DOCUMENTED"})
    answer = seen(site, "police", "answered", id="stop")
    assert node.stopped()
    node.signal(signal.SIGCONT)
    history = judged(site)
    (event,) = (f["event"] for f in history.of("accepted", unit="police") if f["id"] == "in-flight")
    listed = [row[4] for row in answer["affected"] if row[1] == event]
    # Social services' connector may leave the sleeper and be handed it once more by the other node: what it had
    # acknowledged before the answer is no longer in flight, and nothing else may be missing from the list.
    before = [f for f in history.of("received", unit="social") if f["event"] == event and f["at"] < answer["at"]]
    acked = {f["delivery"] for f in history.of("acked", unit="social") if f["at"] < answer["at"]}
    done = acked & {f["delivery"] for f in before}
    assert listed == ["HANDED"] or (listed == [] and done)
    late = [f for f in history.of("received", unit="social") if f["event"] == event and f["at"] > answer["at"]]
    # A connector that waited too long for its answer has left that node, and the answer reaches nobody.
    assert late or done or answer["at"] - line["at"] > PATIENT_US
