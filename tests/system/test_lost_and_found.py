"""A machine burns, an old copy of it is started, a key is stolen: real processes, by the documented commands."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.demo.play import Play


def until_step(play: Play, last: str) -> None:
    """Play the demonstration up to the step that drops a file."""
    steps = list(play.scenario.steps)
    end = next(n for n, step in enumerate(steps) if step.drop == last) + 1
    for step in steps[:end]:
        play._drop(str(step.drop))
        play._seen(step)


def told(play: Play, unit: str, *words: str | Path) -> dict:
    return json.loads(play.handslag("connector", *words, "--config", play.config(unit), "--json"))


def sections(play: Play, unit: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(f["event_id"], tuple(f["categories"])) for f in play.files(unit) if f["kind"] == "delivery"]


def burn(play: Play, unit: str) -> None:
    """The power goes, and the disk with it."""
    process = play._processes.pop(unit)
    process.kill()
    process.wait()
    shutil.rmtree(play.config(unit).parent)


@contextlib.contextmanager
def beside(play: Play, folder: Path) -> Iterator[Path]:
    """A copy of a connector's folder, started; gives its log."""
    log = folder.with_suffix(".log")
    with log.open("wb") as out:
        argv = play._argv("connector", "run", "--config", folder / "connector.toml")
        process = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def state(play: Play, folder: Path) -> dict:
    answer = play.handslag("connector", "status", "--config", folder / "connector.toml", "--json")
    return json.loads(answer)


def test_a_disk_lost_in_mid_case_is_restored_from_last_night(play, until, tmp_path):
    until_step(play, "social-08-request-assessment")
    before = told(play, "social", "status")
    assert before["backup"]["holds_every_key"]  # by itself, before the seat's key was published
    copy = tmp_path / "last-night"
    assert told(play, "social", "backup", "-o", copy)["file"] == str(copy)
    # what happens between the backup and the loss: content comes, and the person takes everything back
    play._drop("police-04-assessment")
    until(lambda: any(f.get("event_type") == "threat_assessment_completed" for f in play.files("social")))
    play._drop("probation-05-withdraw-case")
    until(
        lambda: any(f["kind"] == "result" and f["id"] == "probation-05-withdraw-case" for f in play.files("probation"))
    )
    until(lambda: any(f["kind"] == "ledger" for f in play.files("social")))
    given = sections(play, "social")
    shutil.copytree(play.config("social").parent, tmp_path / "old-snapshot")
    burn(play, "social")

    home = play.config("social").parent
    answer = json.loads(
        play.handslag("connector", "restore", copy, "--dir", home, "--shares", play.shares("social"), "--json")
    )
    assert answer["config"] == str(play.config("social"))
    play.start("social")
    until(lambda: any(f["kind"] == "restored" for f in play.files("social")))
    status = told(play, "social", "status")
    assert status["instance"] == 2
    assert status["restored"]["lost_seats"] == []
    # the operator sees it too
    units = json.loads(play.handslag("agency", "status", "--config", play.broker, "--json"))["units"]
    assert {row["unit"]: row["instance"] for row in units}[play.scenario.units["social"].code] == 2

    # the old snapshot beside the living one: refused, and it stops itself
    with beside(play, tmp_path / "old-snapshot") as log:
        until(lambda: state(play, tmp_path / "old-snapshot")["stopped_by"] == "HS-INSTANCE-OLD")
        assert "HS-INSTANCE-OLD" in log.read_text()

    # the withdrawal that the backup does not know is in force, and stays so
    play._drop("social-08-request-assessment")
    until(
        lambda: any(f["kind"] == "receipt" and f["id"] == "social-08-request-assessment" for f in play.files("social"))
    )
    receipts = [f for f in play.files("social") if f["kind"] == "receipt" and f["id"] == "social-08-request-assessment"]
    assert receipts[-1]["roles"][0]["outcome"]["code"] == "WITHHELD"
    # messages flow again, under a new consent; and nothing that was given is given twice
    play._drop("police-07-grant-narrower")
    until(lambda: any(f["kind"] == "result" and f["id"] == "police-07-grant-narrower" for f in play.files("police")))
    play._drop("police-05-assessment-first")
    until(lambda: any(f.get("event_type") == "threat_assessment_completed" for f in play.files("social")))
    assert not set(sections(play, "social")) & set(given)


def test_a_stolen_key_is_worth_nothing_within_a_minute(play, until, tmp_path):
    until_step(play, "probation-03-introduce")
    play.stop("police")
    shutil.copytree(play.config("police").parent, tmp_path / "thief")
    play._drop("social-08-request-assessment")
    until(
        lambda: any(f["kind"] == "receipt" and f["id"] == "social-08-request-assessment" for f in play.files("social"))
    )
    started = time.monotonic()
    answer = told(play, "police", "compromised")
    assert time.monotonic() - started < 60
    assert answer["closed"]
    assert answer["held"] == 1  # what waited for the unit stays where it is
    [seat] = answer["seats"]
    assert seat["role"] == "police_coordination"
    assert seat["received"] == 1
    assert "IC12" in answer["categories"]
    with beside(play, tmp_path / "thief") as log:
        until(lambda: "HS-UNIT-UNKNOWN" in log.read_text())
        time.sleep(1.0)
    assert not [p for p in (tmp_path / "thief" / "folder" / "out").glob("*.json") if "assessment" in p.read_text()]
    play.stop("broker")
    play.start("broker")
    with beside(play, tmp_path / "thief") as log:
        # test_a_unit_that_was_shut_out_stays_out_after_a_restart
        until(lambda: "HS-UNIT-UNKNOWN" in log.read_text())
    assert told(play, "police", "status")["stopped_by"] == "HS-UNIT-COMPROMISED"
