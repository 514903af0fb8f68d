"""A broker restored from a copy that is older than a withdrawal: real processes, the documented commands."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from deploy.demo.play import Play
from tests.system.test_rolled_back import ready, status


def tell(play: Play, at: str, name: str, /, **command) -> None:
    """Drop a command into a connector's folder, as the agency's system does."""
    folder = play.config(at).parent / "folder" / "in"
    for _ in range(900):
        if folder.is_dir():
            break
        time.sleep(0.1)
    part = folder / f".{name}.part"
    part.write_text(json.dumps({"id": name, **command}))
    part.rename(folder / f"{name}.json")


def answer(play: Play, unit: str, name: str) -> dict | None:
    found = [f for f in play.files(unit) if f.get("id") == name and f["kind"] in {"result", "refused"}]
    assert all(f["kind"] == "result" for f in found), found
    return found[-1] if found else None


def looked(path: Path, sql: str) -> int:
    """One number of a store in use: a command for each look would take seconds."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
        return db.execute(sql).fetchone()[0]


TERMS = {
    "do": "grant", "valid_until": "2099-01-01T00:00:00Z", "method": "WRITTEN", "text_version": "EXEMPEL-sv-1",
    "terms_version": "EXEMPEL-1", "processing_acknowledged": True,
}  # fmt: skip
LOAD = 24
PERSON = {"name": "Tolvan Tolvansson", "personal_identity_number": "191212121212"}
ASKED = {
    "do": "send", "event_type": "threat_assessment_requested", "to": ["police_coordination"],
    "purpose": "THREAT_ASSESSMENT", "confirmed": True,
    "data": {"reason_code": "EXIT_WISH", "urgency": "SOON", "known_facts": []},
}  # fmt: skip


class World:
    """Cases of the lead's, made and spoken of by files dropped as an agency's system drops them."""

    def __init__(self, play: Play, until) -> None:
        self.play, self.until = play, until

    def done(self, at: str, name: str, /, **command) -> dict:
        tell(self.play, at, name, **command)
        self.until(lambda: answer(self.play, at, name) is not None)
        return answer(self.play, at, name)

    def case(self, ref: str, units: tuple[str, ...]) -> None:
        """A case in which the units have a seat and the lead may ask the police for a threat assessment."""
        play = self.play
        self.done("social", f"open-{ref}", do="open_case", ref=ref, role="social_services_lead")
        for unit in units:
            told, name = play.scenario.units[unit], f"{ref}-{unit}"
            before = self.invitations(unit)
            intake = {"recipients": [{"unit": told.code}], "categories": ["IC01", "IC12"], "purposes": ["INTAKE"]}
            self.done("social", f"intake-{name}", ref=ref, **TERMS, **intake)
            invite = {"do": "invite", "unit": told.code, "role": told.role, "contact": "EXEMPEL", "person": PERSON}
            self.done("social", f"invite-{name}", ref=ref, **invite)
            self.until(lambda unit=unit, before=before: self.invitations(unit) - before)
            (invitation,) = self.invitations(unit) - before
            self.done(unit, f"accept-{name}", do="accept", ref=ref, invitation=invitation)
            self.until(lambda unit=unit: any(f["kind"] == "seat" and f["ref"] == ref for f in play.files(unit)))
        terms = {"recipients": [{"role": "police_coordination"}], "categories": ["IC01", "IC04", "IC12"]}
        self.done("social", f"grant-{ref}", ref=ref, **TERMS, **terms, purposes=["THREAT_ASSESSMENT"])

    def invitations(self, unit: str) -> set[str]:
        return {f["invitation"] for f in self.play.files(unit) if f["kind"] == "invitation"}

    def ask(self, ref: str, name: str) -> None:
        tell(self.play, "social", name, ref=ref, **ASKED)

    def given(self, ref: str) -> int:
        """Messages of a case that the police system was given."""
        return sum(1 for f in self.play.files("police") if f["kind"] == "delivery" and f["ref"] == ref)

    def handed(self) -> int:
        """Hand-overs that the broker recorded."""
        return looked(self.play.trail / "broker.db", "SELECT count(*) FROM entry WHERE operation='DISCLOSURE'")

    def seen(self) -> int:
        """The newest size that a connector showed the held broker."""
        return looked(self.play.trail / "broker.db", "SELECT max(seen_size) FROM hold")

    def held(self) -> int:
        """Seats that have given nothing back yet."""
        return looked(self.play.trail / "broker.db", "SELECT count(*) FROM hold_seat WHERE state='HELD'")

    def stopped(self, unit: str, code: str) -> bool:
        """Whether a connector told its agency that it stopped."""
        return any(f["kind"] == "alarm" and f["code"] == code for f in self.play.files(unit))

    def hold(self) -> dict:
        return json.loads(self.play.handslag("hold", "status", "--config", self.play.broker, "--json"))

    def resume(self, unit: str) -> dict:
        """The agency reads what was lost and follows."""
        argv = ("connector", "resume", "--config", self.play.config(unit), "--json")
        shown = json.loads(self.play.handslag(*argv))
        assert not shown["followed"]
        return json.loads(self.play.handslag(*argv, "--confirm", shown["confirm"]))

    def lose_and_restore(self, copy: Path) -> dict:
        """The broker's data folder is gone; the copy takes its place by the documented commands."""
        self.play.stop("broker")
        shutil.rmtree(self.play.trail)
        told = json.loads(self.play.handslag("restore", "--config", self.play.broker, copy, "--json"))
        self.play.start("broker")
        self.until(lambda: ready(self.play)[1] == ["HS-HOLD"])
        return told

    def go_on(self) -> None:
        argv = ("--reason", "disk lost", "--json")
        self.play.handslag("hold", "continue", "--config", self.play.broker, *argv)

    def kill(self, unit: str) -> None:
        process = self.play._processes.pop(unit)
        process.kill()
        process.wait()


@pytest.fixture
def world(play, until):
    return World(play, until)


def test_a_withdrawal_that_the_copy_lacks_releases_nothing_until_its_connector_is_back(world, play, until, tmp_path):
    world.case("EX-1", ("police", "probation"))
    world.case("EX-2", ("police",))
    world.ask("EX-1", "before")
    until(lambda: world.given("EX-1") == 1)
    play.handslag("backup", "--config", play.broker, tmp_path / "copy")
    play.stop("social")  # it is not told of the withdrawal: probation alone knows
    world.done("probation", "all", do="withdraw_case", ref="EX-1", method="ORAL_DOCUMENTED")
    until(lambda: status(play, "probation")["proofs"]["wanted"] == 0)
    world.kill("probation")
    told = world.lose_and_restore(tmp_path / "copy")
    assert told["hold"]
    for unit in ("social",):
        play.start(unit)
    world.ask("EX-1", "held-1")
    world.ask("EX-2", "held-2")
    until(lambda: world.seen() > told["kept_size"])
    before = world.handed()
    world.go_on()
    for unit in ("social", "police"):
        until(lambda unit=unit: world.stopped(unit, "HS-LOG-CONTINUED"))
        assert world.resume(unit)["new"]["origin"].endswith("/audit/2")
    until(lambda: world.given("EX-2") == 1)  # the control: a case whose seats have all confirmed releases
    time.sleep(3)
    assert (world.given("EX-1"), world.handed()) == (1, before + 1)
    assert world.hold()["cases_held"] == 1
    play.start("probation")
    until(lambda: world.held() == 0)  # it gives back without anybody's word ...
    until(lambda: world.stopped("probation", "HS-LOG-CONTINUED"))
    assert world.resume("probation")["our_proofs_lost"] > 0  # ... and confirms after its people's
    until(lambda: ready(play)[0])
    world.ask("EX-1", "after")
    until(lambda: waiting(play) >= 1)
    assert (world.given("EX-1"), world.handed()) == (1, before + 1)
    play.stop("broker")
    report = json.loads(
        play.handslag("audit", "verify", play.copy_trail(), "--trust", play.folder / "trust.toml", "--json")
    )
    assert report["result"] == "ok"
    assert [one["to"].rsplit("/", 1)[1] for one in report["continuations"]] == ["2"]


def waiting(play: Play) -> int:
    """Messages of social services that wait for a consent."""
    path = play.config("social").parent / "data" / "connector.db"
    return looked(path, "SELECT count(*) FROM outgoing WHERE state='WAITING'")


@pytest.mark.long
def test_a_copy_taken_under_load_restores_to_a_store_that_verifies(world, play, until, tmp_path):
    world.case("EX-2", ("police",))
    for number in range(LOAD):
        world.ask("EX-2", f"load-{number}")
        if number == LOAD // 3:
            play.handslag("backup", "--config", play.broker, tmp_path / "copy", "--json")
    until(lambda: world.given("EX-2") == LOAD)
    world.lose_and_restore(tmp_path / "copy")
    until(lambda: world.stopped("police", "HS-TRAIL-ROLLBACK"))
    world.go_on()
    for unit in ("social", "police", "probation"):
        until(lambda unit=unit: world.stopped(unit, "HS-LOG-CONTINUED"))
        world.resume(unit)
    until(lambda: ready(play)[0])
    world.ask("EX-2", "after")
    until(lambda: world.given("EX-2") == LOAD + 1)  # and none of them twice
    time.sleep(1)
    assert world.given("EX-2") == LOAD + 1
