"""The commands as they are typed: answers, exit codes, what is missing, and that an import records nothing."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import handslag
from connectors import commands, enrolment, settings
from connectors.box import DataKey
from connectors.identity import Identities, Seat
from connectors.keys import SeatKeyPair
from connectors.spool import Spool
from tests.fhir.asking import vectors
from tests.fhir.test_taking import CONSENT, MAP, UNIT

FRONT = str(Path(handslag.__file__))
CASES = {case["expected"]["decision"]: case for case in vectors() if not case.get("known")}
# Runs the command where the library cannot be imported.
WITHOUT = f"""
import sys
sys.path.insert(0, {str(Path(handslag.__file__).parent)!r})
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "fhir":
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import handslag
handslag.main(sys.argv[1:])
"""


def run(*arguments, cwd, program=(FRONT,)):
    argv = [sys.executable, *program, *map(str, arguments)]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


def written(folder, name, value):
    path = folder / name
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def question(folder, case, *more):
    ask = case["ask"]
    actors = [word for actor in ask["actor"] for word in ("--actor", actor)]
    kinds = [word for kind in ask.get("class", ()) for word in ("--class", kind)]
    path = written(folder, "consent.json", case["consent"])
    fixed = ("--purpose", ask["purpose"], "--at", ask["at"])
    return ("consent", "decide", "--fhir", path, *actors, *kinds, *fixed, *more)


@pytest.mark.parametrize(("decision", "code"), [("PERMIT", 0), ("DENY", 3), ("NO_CONSENT", 4)])
def test_the_exit_code_is_the_answer(tmp_path, decision, code):
    case = CASES[decision]
    done = run(*question(tmp_path, case, "--json"), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (code, "")
    told = json.loads(done.stdout)
    assert {name: told[name] for name in ("decision", "obligations")} == {
        name: case["expected"][name] for name in ("decision", "obligations")
    }
    assert told["reasons"][0] == case["expected"]["reason"]


def test_a_person_is_told_in_swedish_and_in_english(tmp_path):
    asked = question(tmp_path, CASES["DENY"])
    assert run("--lang", "sv", *asked, cwd=tmp_path).stdout.startswith("Nekat (DENY): samtycket")
    assert run("--lang", "en", *asked, cwd=tmp_path).stdout.startswith("Denied (DENY): the consent")


@pytest.mark.parametrize("option", ["actor", "purpose", "at"])
def test_a_question_that_leaves_something_open_is_none(tmp_path, option):
    asked = list(question(tmp_path, CASES["PERMIT"]))
    place = asked.index(f"--{option}")
    assert run(*asked[:place], *asked[place + 2 :], cwd=tmp_path).returncode == 2
    wrong = run(*asked[: place + 1], "|", *asked[place + 2 :], "--json", cwd=tmp_path)
    assert wrong.returncode == 1
    assert json.loads(wrong.stderr)["code"] == "HS-INPUT-INVALID"


def test_without_the_extra_the_command_names_it(tmp_path):
    done = run(*question(tmp_path, CASES["PERMIT"], "--json"), cwd=tmp_path, program=("-c", WITHOUT))
    told = json.loads(done.stderr)
    assert (done.returncode, told["code"]) == (1, "HS-FHIR-EXTRA")
    assert told["context"] == {"part": "handslag[fhir]"}
    # The rest of the group is there, the question to the ledger among it.
    assert "--event-type" in run("consent", "decide", "--help", cwd=tmp_path, program=("-c", WITHOUT)).stdout


def test_the_question_to_the_ledger_is_still_its_own(tmp_path):
    assert "--event-type" in run("consent", "decide", "--help", cwd=tmp_path).stdout
    assert "--class" in run("consent", "decide", "--fhir", "x", "--help", cwd=tmp_path).stdout
    assert run("consent", "decide", "--actor", "a", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("asked", [("--fhir", "CONSENT", "--help"), ("--fhir", "--help"), ("-h", "--fhir")])
def test_the_help_that_is_advertised_is_shown(tmp_path, asked):
    done = run("consent", "decide", *asked, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--class" in done.stdout


@pytest.mark.parametrize("option", ["fhir", "purpose", "at", "category", "action"])
def test_an_option_with_one_answer_is_not_given_two(tmp_path, option):
    asked = question(tmp_path, CASES["PERMIT"], "--category", "patient-privacy", "--action", "disclose")
    value = asked[asked.index(f"--{option}") + 1]
    for again in ((f"--{option}", value), (f"--{option}={value}",)):
        done = run(*asked, *again, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"--{option} is given more than once" in done.stderr
    ledger = ("--event-type", "contact_card", "--to", "provider", "--category", "IC01", "--category", "IC02")
    done = run("consent", "decide", *ledger, "--for", "INTAKE", "--for", "FUNDING", cwd=tmp_path)
    assert (done.returncode, "--for is given more than once" in done.stderr) == (2, True)


@pytest.fixture
def agency(tmp_path):
    who = enrolment.Unit(unit=UNIT, agency="REG/EXEMPEL", controller="EX", roles=("health_care",))
    enrolment.initialise(tmp_path / "vc", who, None, {})
    current, keys = settings.load(tmp_path / "vc" / "connector.toml"), SeatKeyPair.generate()
    with contextlib.closing(Spool(current.database, DataKey.load(current.data_key))) as spool:
        Identities(spool.store).add(Seat(
            ref="EX-1", seat_id=b"s" * 16, state="ACTIVE", role="health_care", case_tag=b"c" * 16, member=b"m" * 16,
            private=keys.private_bytes(), pin=b"p" * 32, lead_statement=b"", acceptance=b"", units={},
        ))  # fmt: skip
    return tmp_path / "vc"


def imported(folder, resource, *more, ref="EX-1"):
    files = written(folder, "consent.json", resource), written(folder, "map.json", MAP)
    told = ("--ref", ref, "--text-version", "T1", "--terms-version", "V1", "--method", "WRITTEN")
    return run("consent", "import", files[0], "--format", "fhir", "--map", files[1], *told, *more, cwd=folder)


def test_an_import_writes_a_command_and_records_nothing(agency):
    before = sorted(path for path in agency.rglob("*") if path.is_file())
    far = copied(CONSENT, "2099-05-31")
    done = imported(agency, far, "--out", "command.draft", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["recorded"] is False
    assert len(told["confirm"]) == 3
    out = agency / "command.draft"
    assert commands.read(out.read_bytes()).do == told["command"]["do"] == "grant"
    assert out.stat().st_mode & 0o777 == 0o600
    after = {path for path in agency.rglob("*") if path.is_file()} - set(before)
    assert {path.name for path in after} == {"consent.json", "map.json", "command.draft"}
    assert "Nothing is recorded." in run_text(agency, far)
    again = imported(agency, far, "--out", "command.draft", "--json")
    assert json.loads(again.stderr)["code"] == "HS-FILE-EXISTS"
    nowhere = imported(agency, far, "--out", "no-such-folder/command.draft", "--json")
    assert json.loads(nowhere.stderr)["code"] == "HS-FILE-UNWRITTEN"


def copied(resource, end):
    return {**resource, "provision": {**resource["provision"], "period": {"start": "2026-06-01", "end": end}}}


def run_text(folder, resource):
    path = written(folder, "consent.json", resource)
    told = (
        "--ref",
        "EX-1",
        "--text-version",
        "T1",
        "--terms-version",
        "V1",
        "--method",
        "WRITTEN",
        "--map",
        "map.json",
    )
    return run("--lang", "en", "consent", "import", path, "--format", "fhir", *told, cwd=folder).stdout


def test_an_import_never_prints_who_the_person_is(agency):
    done = imported(agency, copied(CONSENT, "2099-05-31"))
    assert done.returncode == 0, done.stderr
    assert "Patient/" not in done.stdout + done.stderr


def test_an_import_is_for_a_case_that_is_here(agency):
    far = copied(CONSENT, "2099-05-31")
    done = imported(agency, far, "--out", "command.draft", "--json", ref="NOPE")
    assert (done.returncode, json.loads(done.stderr)["code"]) == (1, "HS-REF-UNKNOWN")
    assert not (agency / "command.draft").exists()
    for file in (agency / "data").glob("connector.db*"):
        file.unlink()
    done = imported(agency, far, "--out", "command.draft", "--json")  # a connector that was never started
    assert (done.returncode, json.loads(done.stderr)["code"]) == (1, "HS-REF-UNKNOWN")
    assert not (agency / "data" / "connector.db").exists()


def test_an_import_that_cannot_say_all_writes_nothing(agency):
    done = imported(agency, {**CONSENT, "status": "inactive"}, "--out", "command.draft", "--json")
    assert (done.returncode, json.loads(done.stderr)["code"]) == (1, "HS-FHIR-UNMAPPED")
    assert not (agency / "command.draft").exists()
