"""What holds for both doctors whatever is wrong: table, words, causes, exit codes, and that they change nothing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from connectors import highwater
from connectors import settings as connector_settings
from connectors.box import DataKey
from connectors.spool import Spool
from schemas import faults
from schemas.errors import HandslagError
from schemas.faults import Found, diagnosis
from tests.doctor.site import apart, here, set_line
from tests.doctor.site import run as run_front
from tests.house.test_docs import wrong_command

TABLE = faults.faults()


# --- the table


def test_the_table_has_enough_and_says_it_in_both_languages():
    assert len([fault for fault in TABLE.values() if fault.counts]) >= 20
    for fault in TABLE.values():
        assert fault.side in {"connector", "broker", "both"}
        assert fault.grade in {"fault", "notice"}
        assert fault.code.startswith("F-" if fault.counts else "N-")
        for text in (fault.sv, fault.en):
            assert text
            assert not text.endswith(".")
        for text in (fault.next_sv, fault.next_en):
            assert text[-1] in ".?"
        assert fault.sv != fault.en
        assert fault.acts("sv") != fault.acts("en")
        assert fault.commands


@pytest.mark.parametrize("code", TABLE)
def test_what_is_to_be_typed_exists(code):
    for command in TABLE[code].commands:
        if command.startswith("handslag "):
            assert wrong_command(command.replace("{config}", "c.toml").split()) is None


def test_what_explains_another_does_not_go_round():
    for code, fault in TABLE.items():
        assert set(fault.explains) <= set(TABLE) - {code}
        assert not [other for other in fault.explains if code in TABLE[other].explains]


def test_what_follows_from_a_fault_is_not_told_as_one_of_its_own():
    told = diagnosis([Found("F-CERT-REFUSED"), Found("F-CERT-EXPIRED", "certificate"), Found("N-STOPPED")])
    assert [(each.found.code, each.follows) for each in told] == [
        ("F-CERT-EXPIRED", None), ("F-CERT-REFUSED", "F-CERT-EXPIRED"), ("N-STOPPED", None),
    ]  # fmt: skip
    alone = diagnosis([Found("F-CERT-REFUSED"), Found("F-DISK-LOW")])
    assert [each.follows for each in alone] == [None, None]
    assert faults.exit_code(alone) == 1
    assert faults.exit_code(diagnosis([Found("N-STOPPED")])) == 0


@pytest.mark.parametrize(("language", "sound"), [("sv", "I ordning."), ("en", "Sound.")])
def test_a_person_is_told_who_acts_and_what_to_type(language, sound):
    text = faults.lines(diagnosis([Found("F-TRUST-ONE", "trust_file")]), True, "konsult/connector.toml", language)
    assert TABLE["F-TRUST-ONE"].acts(language) in text[1]
    assert any("handslag connector enrol" in line for line in text)
    assert sound not in text
    assert sound in faults.lines([], True, "c", language)


# --- both doctors on real folders


def fingerprint(folder):
    """Every file that is not the database's own book-keeping, with its content and mode."""
    return {
        path.relative_to(folder): (path.stat().st_mode, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


@pytest.mark.parametrize("side", ["connector", "broker"])
def test_a_doctor_changes_nothing_and_is_quick(site, side):
    config = site.connector() if side == "connector" else site.broker()
    words = ("connector", "doctor") if side == "connector" else ("doctor",)
    before = fingerprint(config.parent)
    began = time.monotonic()
    assert here(*words, "--config", config).code == 0
    assert time.monotonic() - began < 10
    assert fingerprint(config.parent) == before


@pytest.mark.parametrize("words", [("connector", "doctor"), ("doctor",)])
def test_a_doctor_that_cannot_look_says_so(tmp_path, words):
    for content in (None, "nonsense = ["):
        config = tmp_path / "any.toml"
        if content:
            config.write_text(content)
        found = here(*words, "--config", config)
        assert found.code == 2
        assert re.search(r"HS-(CONFIG|SETTINGS)-INVALID", found.text)
        assert str(tmp_path) not in found.text


def test_several_faults_are_all_named(site):
    config = site.connector()
    (config.parent / "keys/unit-hpke.key").chmod(0o644)
    (config.parent / "folder/in").chmod(0o777)
    (config.parent / "trust.toml").unlink()
    found = here("connector", "doctor", "--config", config, "--offline")
    assert found.faults == {"F-KEY-OPEN", "F-FOLDER-OPEN", "F-TRUST-MISSING"}


def test_no_network_is_touched_when_none_is_to_be(site):
    config = site.connector()
    set_line(config, "broker_url", '"https://exempel.invalid"')
    assert here("connector", "doctor", "--config", config, "--offline").code == 0
    assert here("connector", "doctor", "--config", config).faults == {"F-NAME"}  # positive control


def test_a_broker_that_answers_nonsense_is_named_and_repeats_nothing(site):
    from tests.doctor.site import endpoint, server_pair

    config = site.connector()
    files = server_pair(config.parent / "fake", site.authority, ("127.0.0.1",))
    for status, body in ((200, b"EXEMPEL-CANARY"), (500, b"EXEMPEL-CANARY"), (301, b""), (200, b"[" * 100_000)):
        with endpoint(files, {"*": (status, body)}) as port:
            set_line(config, "broker_url", f'"https://127.0.0.1:{port}"')
            found = here("connector", "doctor", "--config", config)
        assert found.code == 1
        assert found.faults <= {"F-BROKER-FAULT", "F-RULES", "F-SCHEMAS"}
        assert "EXEMPEL-CANARY" not in found.text


def test_a_broker_that_drips_does_not_keep_the_doctor():
    from connectors.doctor import remote

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        remote.bounded(lambda: time.sleep(2), 0.2)
    assert time.monotonic() - began < 1.5
    assert remote.bounded(lambda: 7, 1) == 7
    with pytest.raises(KeyError):
        remote.bounded(lambda: {}["nothing"], 1)


@pytest.mark.parametrize("side", ["connector", "broker"])
def test_a_doctor_that_may_not_read_does_not_call_it_a_fault(site, side):
    """Run by an account that may enter the folder and read the configuration, and not the keys."""
    config = site.connector() if side == "connector" else site.broker()
    words = ("connector", "doctor", "--offline") if side == "connector" else ("doctor",)
    with tempfile.TemporaryDirectory() as scratch:  # below a folder that every account may enter
        place = Path(scratch) / "open"
        shutil.copytree(config.parent, place)
        for folder in (Path(scratch), place):
            folder.chmod(0o755)
        (place / config.name).chmod(0o644)
        if os.geteuid() == 0:
            found = apart({"SEED_USER": "65534"}, *words, "--config", place / config.name)
        else:
            for path in (place / "keys").iterdir():
                path.chmod(0)
            found = apart({"SEED_CLOCK_S": "0"}, *words, "--config", place / config.name)
    assert found.code == 2, found.text
    assert "HS-DOCTOR-BLIND" in found.text


# --- the mark beside the database


def test_a_database_put_back_stays_visible_after_a_run(tmp_path):
    """A connector that runs on an old database must not wipe out what shows that it is old."""
    run_front("connector", "init", "--dir", tmp_path / "c", "--unit", "SOC/EXEMPEL/KONSULT", "--agency", "SOC/EXEMPEL",
              "--role", "social_services_lead")  # fmt: skip
    config = tmp_path / "c/connector.toml"
    settings = connector_settings.load(config)
    key = DataKey.load(settings.data_key)
    place = settings.folder / highwater.FILE

    def run(times):
        with closing(Spool(settings.database, key)) as spool:
            for _time in range(times):
                highwater.advance(SimpleNamespace(settings=settings, spool=spool))
            return highwater.number(spool.memory.get(highwater.NAME))

    settings.folder.mkdir(mode=0o700)
    run(5)
    assert "F-SNAPSHOT" not in here("connector", "doctor", "--config", config, "--offline").faults
    shutil.copy2(settings.database, config.parent / "old.db")
    reached = run(5)
    assert highwater.marker(place) == (1, reached)
    shutil.copy2(config.parent / "old.db", settings.database)
    assert run(2) < reached
    assert highwater.marker(place) == (1, reached)
    assert here("connector", "doctor", "--config", config, "--offline").faults >= {"F-SNAPSHOT"}
    place.write_text(json.dumps({"instance": 0, "number": 99}))  # positive control: of another instance it may go
    assert highwater.marker(place)[0] == 0
    assert highwater.marker(place)[1] > run(1)
    assert highwater.marker(place)[0] == 1
    for text in ("", "[]", "nonsense", '{"instance": "x"}'):
        place.write_text(text)
        assert highwater.marker(place) is None


def test_a_second_runner_is_told_from_the_first(tmp_path):
    from connectors.spool import alone

    with alone.sole_runner(tmp_path, tmp_path / "a.toml"):
        assert alone.held(tmp_path)
        assert alone.configuration_of(tmp_path) == alone.name_of(tmp_path / "a.toml")
        assert alone.name_of(tmp_path / "a.toml") != alone.name_of(tmp_path / "b.toml")
        with pytest.raises(HandslagError), alone.sole_runner(tmp_path):
            pass
    assert not alone.held(tmp_path)
