"""A broker restored from an older copy of its whole folder, seen by connectors that remember more: real processes."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.request

from deploy.demo.play import Play


def ready(play: Play) -> tuple[bool, list[str]]:
    listen = next(
        line.split('"')[1] for line in reversed(play.broker.read_text().splitlines()) if line.startswith("listen")
    )
    try:
        with urllib.request.urlopen(f"http://{listen}/readyz", timeout=5) as answer:
            told = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        told = json.loads(error.read())
    except OSError:
        return False, ["no answer"]
    return told["ok"], told["reasons"]


def status(play: Play, unit: str = "social") -> dict:
    return json.loads(play.handslag("connector", "status", "--config", play.config(unit), "--json"))


def test_a_broker_behind_what_connectors_saw_is_not_ready_and_hands_over_nothing(play, until, tmp_path):
    until(lambda: ready(play)[0])
    play.stop("broker")
    shutil.copytree(play.trail, tmp_path / "old")
    play.start("broker")
    play._drop("social-01-open-case")  # the file door of the connector, as the demonstration uses it
    until(lambda: any(f["kind"] == "result" for f in play.files("social")))
    until(lambda: status(play)["proofs"]["wanted"] == 0)
    play.stop("broker")
    shutil.rmtree(play.trail)
    shutil.copytree(tmp_path / "old", play.trail)
    play.start("broker")
    until(lambda: ready(play) == (False, ["HS-HOLD"]))
    until(lambda: status(play)["stopped_by"] is not None)
    assert status(play)["stopped_by"] == "HS-TRAIL-ROLLBACK"


def test_a_store_behind_its_own_anchor_starts_in_hold(play, until, tmp_path):
    until(lambda: ready(play)[0])
    play.stop("broker")
    shutil.copy(play.trail / "broker.db", tmp_path / "old.db")
    play.start("broker")
    until(lambda: ready(play)[0])
    time.sleep(3)  # two beats, so that the anchor moves
    play.stop("broker")
    shutil.copy(tmp_path / "old.db", play.trail / "broker.db")
    play.start("broker")
    until(lambda: ready(play) == (False, ["HS-HOLD"]))
    play.stop("broker")
    play.start("broker")
    until(lambda: ready(play) == (False, ["HS-HOLD"]))  # and a restart changes nothing
    told = json.loads(play.handslag("hold", "status", "--config", play.broker, "--json"))
    assert (told["cause"], told["continued"]) == ("ANCHOR", False)
