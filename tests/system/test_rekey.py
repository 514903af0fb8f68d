"""A machine burns in mid-case and nobody had backed it up: real processes, by the documented commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click
import pytest

from tests.system.test_lost_and_found import beside, sections, told, until_step


def rekey(play, unit: str, *words: str | Path) -> dict:
    return told(play, unit, "rekey", *words)


def set_up_anew(play, unit: str, agency_key: Path) -> None:
    """As docs/backup.md says it: the agency's key from the safe, all else new."""
    who, home = play.scenario.units[unit], play.config(unit).parent
    play.handslag("connector", "init", "--dir", home, "--unit", who.code, "--agency", who.agency, "--controller",
                  who.agency, "--role", who.role, "--agency-key", agency_key,
                  "--shares", play.folder / "shares" / f"{unit}-new.txt")  # fmt: skip
    with play.config(unit).open("a", encoding="utf-8") as config:
        config.write("poll_s = 0.3\n")
    play.handslag("agency", "admit", "--config", play.broker, home / "request.json")
    play.handslag("connector", "enrol", home / "request.answer.json", "--config", play.config(unit))
    trust = play.folder / "trust.toml"
    fingerprint = "".join(play.handslag("connector", "trust", "fingerprint", trust).split())
    play.handslag("connector", "trust", "install", trust, "--fingerprint", fingerprint, "--config", play.config(unit))


@pytest.mark.long
def test_a_connector_lost_without_a_backup_is_given_its_seat_back(play, until, tmp_path):
    until_step(play, "probation-03-introduce")
    play.stop("probation")
    play._drop("social-09-meeting-with-deadline")
    until(lambda: any(f["kind"] == "receipt" and f["id"] == "social-09-meeting-with-deadline"
                      for f in play.files("social")))  # fmt: skip
    home = play.config("probation").parent
    (tmp_path / "safe").mkdir(mode=0o700)
    shutil.copy2(home / "keys" / "agency.key", tmp_path / "safe" / "agency.key")
    home.rename(tmp_path / "thief")  # all that is left of it is in other hands

    set_up_anew(play, "probation", tmp_path / "safe" / "agency.key")
    play.start("probation")
    until(lambda: rekey(play, "probation", "list")["lost"])
    [lost] = rekey(play, "probation", "list")["lost"]
    assert (lost["state"], lost["may_sign"]) == ("LOST", ["police_coordination", "social_services_lead"])
    aloud = rekey(play, "probation", "ask", lost["seat"], "--officer", "IT-4")["read_aloud"]

    # two agencies hear it on the phone; one of them mishears at first
    back = set()
    for unit in ("social", "police"):
        until(lambda unit=unit: rekey(play, unit, "list")["asked"])
        [asked] = rekey(play, unit, "list")["asked"]
        assert aloud.replace(" ", "") not in json.dumps(asked).replace("-", "").replace(" ", "")
        with pytest.raises(click.ClickException, match="HS-REKEY-COMPARE"):
            rekey(play, unit, "sign", asked["request"], "--heard", "0" * 32, "--officer", "handl-2")
        signed = rekey(play, unit, "sign", asked["request"], "--heard", aloud, "--officer", "handl-2")
        assert signed["done"]
        back.add(signed["read_aloud"])
    assert len(back) == 1
    with pytest.raises(click.ClickException, match="HS-REKEY-COMPARE"):
        rekey(play, "probation", "compare", lost["seat"], "--heard", aloud, "--officer", "IT-4")
    rekey(play, "probation", "compare", lost["seat"], "--heard", back.pop(), "--officer", "IT-4")
    until(lambda: told(play, "probation", "seats", "--unidentified")["seats"][0]["state"] == "ACTIVE")

    # whose it is nobody here knows: nothing is given, nothing goes
    [seat] = told(play, "probation", "seats", "--unidentified")["seats"]
    assert seat["ref"] is None
    assert len(seat["consents_unconfirmed"]) == 1
    assert sections(play, "probation") == []
    told(play, "probation", "identify", lost["seat"], "--ref", "KV-NY-17", "--officer", "frivard-7")
    until(lambda: sections(play, "probation"))
    [given] = [f for f in play.files("probation") if f["kind"] == "delivery"]
    assert (given["ref"], given["event_type"]) == ("KV-NY-17", "coordination_meeting_scheduled")
    until(lambda: any(f.get("code") == "delivery_acknowledged" for f in play.files("social")))
    assert len(sections(play, "probation")) == 1
    # a consent that only the broker remembers counts when somebody has asked the person
    consent = seat["consents_unconfirmed"][0]
    told(play, "probation", "rekey", "consent", "KV-NY-17", consent, "--how", "PERSON_ASKED", "--officer", "frivard-7")
    assert told(play, "probation", "seats")["seats"][0]["consents_unconfirmed"] == []
    # the old machine, wherever it is
    with beside(play, tmp_path / "thief") as log:
        until(lambda: "HS-UNIT-UNKNOWN" in log.read_text())
    alarms = [
        f for unit in ("social", "police", "probation") for f in play.files(unit) if f["kind"] in {"alarm", "rejected"}
    ]
    assert alarms == []
    assert json.loads(
        play.handslag("audit", "verify", play.copy_trail(), "--trust", play.folder / "trust.toml", "--json")
    )
