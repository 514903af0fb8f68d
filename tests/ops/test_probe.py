"""The probe's judgement, its evidence, its settings and what it does not tell."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import click.testing
import pytest

import handslag
from broker import admissions, pki
from broker.status import UnitStatus
from connectors import enrolment
from connectors.client import Message
from deploy.probe import evidence, probe, settings, status
from deploy.probe.metrics import ProbeMetrics
from deploy.probe.pair import GRANTED, NEVER_GRANTED
from deploy.probe.rounds import Rounds
from schemas.errors import HandslagError

EVENT = "01a20170-205b-7c31-a702-151c34905e60"
AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def delivery(purpose, marker="SOND-released-aa", event_id=EVENT):
    value = {
        "event_id": event_id, "delivery_id": "d", "entry_id": "e", "leaf_hash": "00", "purpose": purpose,
        "data": {"meeting_id": marker},
    }  # fmt: skip
    return Message("delivery", value, None)


def judged(*messages):
    found = []
    rounds = Rounds(lambda kind, value: found.append((kind, value["event_id"])))
    for side, message in messages:
        rounds.took(side, message)
    return found


def test_a_withheld_message_that_arrives_is_seen():
    assert judged(("recipient", delivery(NEVER_GRANTED))) == [("withheld", EVENT)]
    assert judged(("recipient", delivery(GRANTED, "SOND-withheld-bb"))) == [("withheld", EVENT)]  # of any run
    assert judged(("recipient", delivery(GRANTED))) == []


def test_what_was_sent_before_a_withdrawal_may_arrive_in_a_later_run():
    """Nobody can say any more whether it was withdrawn: no alarm without ground."""
    assert judged(("recipient", delivery(GRANTED, "SOND-withdrawn-bb"))) == []


def test_what_arrived_wrongly_stays_an_alarm_over_restarts(tmp_path):
    folder = tmp_path / "evidence"
    value = delivery(NEVER_GRANTED).value
    evidence.keep(folder, "withheld", value, AT)
    evidence.keep(folder, "withheld", value, AT)
    (row,) = evidence.unacknowledged(folder)
    assert (row["kind"], row["event_id"], row["at"]) == ("withheld", EVENT, "2026-11-22T03:00:00+00:00")
    assert "SOND" not in json.dumps(row)  # ids and codes only, no content
    metrics = ProbeMetrics()
    metrics.unacknowledged([each["kind"] for each in evidence.unacknowledged(folder)])
    assert b'handslag_probe_wrong_outcomes_open{kind="withheld"} 1.0' in metrics.render()
    assert [each["event_id"] for each in evidence.acknowledged(folder, "A. Exempel")] == [EVENT]
    assert evidence.unacknowledged(folder) == []
    assert json.loads((folder / "acknowledged" / f"{EVENT}.json").read_text())["acknowledged_by"] == "A. Exempel"
    evidence.keep(folder, "withheld", value, AT)  # the same once more is no new alarm
    assert evidence.unacknowledged(folder) == []


def configured(tmp_path, text=""):
    path = tmp_path / "probe.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("interval_s = 0", "interval_s"),
        ("interval_s = true", "interval_s"),
        ('interval_s = "30"', "interval_s"),
        ("renew_s = 1e12", "renew_s"),
        ('listen = "x"', "listen"),
        ("listen = 1", "listen"),
        ("secret = 1", "unknown key"),
        ("[", "toml"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(tmp_path, text, field):
    with pytest.raises(HandslagError) as refused:
        settings.load(configured(tmp_path, text))
    assert (refused.value.code, refused.value.context["field"]) == ("HS-CONFIG-INVALID", field)


def test_the_alert_waits_longer_than_the_probe_is_patient(tmp_path):
    shipped = settings.load(configured(tmp_path))
    assert shipped.interval_s * 3 + shipped.patience_s < 150
    assert shipped.withdrawal_every_s * 4 < 900


def healthy(**changed):
    values = {
        "released_s": 5, "withheld_s": 5, "withdrawal_s": 60, "late": False, "wrong": 0, "broken": None,
        "log_contradicted": False,
    }  # fmt: skip
    return status.ProbeStatus(**{**values, **changed})


@pytest.mark.parametrize("changed", [{"late": True}, {"wrong": 1}, {"broken": "disk"}, {"log_contradicted": True}])
@pytest.mark.parametrize("lang", ["sv", "en"])
def test_status_says_well_only_when_nobody_needs_to_be_woken(changed, lang):
    assert healthy().healthy
    assert status.lines(healthy(), lang)[0] in {"WELL", "BRA"}
    assert not healthy(**changed).healthy
    assert status.lines(healthy(**changed), lang)[0] not in {"WELL", "BRA"}


def test_a_probe_that_does_not_run_says_so(tmp_path):
    config = configured(tmp_path, 'listen = "127.0.0.1:9"')
    done = click.testing.CliRunner().invoke(probe, ["status", "--config", str(config)])
    assert isinstance(done.exception, HandslagError)
    assert done.exception.code == "HS-PROBE-SILENT"


def test_every_command_shows_examples_and_exit_codes():
    for name, command in probe.commands.items():
        shown = click.testing.CliRunner().invoke(probe, [name, "--help"]).output
        assert f"handslag probe {name}" in shown
        assert "Exit codes" in shown
        assert name == "run" or any("--json" in each.opts for each in command.params)
    assert "probe" in handslag.MOUNTS


def test_status_tells_no_depths_and_no_counts():
    assert {each.name for each in fields(UnitStatus)} == {
        *("unit", "agency", "state", "probe", "certificate_until", "last_contact", "silent_s"),
        *("connector_version", "clock_offset_s"),
    }


def request(tmp_path, unit):
    folder = tmp_path / unit.replace("/", "-")
    who = enrolment.Unit(
        unit=unit, agency="/".join(unit.split("/")[:2]), controller="EX", roles=("police_coordination",)
    )
    made = enrolment.initialise(folder, who, None, {})
    return admissions.read_request(Path(made.paths["request"]).read_bytes())


def test_an_agencys_unit_is_never_made_a_probe(tmp_path):
    now = datetime.now(UTC)
    authority, asked = pki.new_authority(now), request(tmp_path, "POL/EXEMPEL/SYD")
    real = admissions.admit(asked, authority, [], now)
    assert not real.probe
    with pytest.raises(HandslagError) as refused:
        admissions.admit(asked, authority, [real], now, probe=True)
    assert refused.value.context["field"] == "probe"
    own = admissions.admit(asked, authority, [], now, probe=True)
    assert admissions.admit(asked, authority, [own], now).probe  # a renewed certificate keeps the mark
    assert admissions.Admission.from_json(own.to_json()) == own
    before = {name: value for name, value in real.to_json().items() if name != "probe"}
    assert not admissions.Admission.from_json(before).probe  # an admission of the first version
