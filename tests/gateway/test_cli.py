"""The operator's commands through the front door, each in a process of its own or by click's own runner."""

import asyncio
import base64
import contextlib
import io
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import handslag
from audit.note import Verifier
from broker import admissions, cli, cli_parts, control, keyfiles, pki, settings
from broker.store import rootkey
from schemas import faults
from schemas.errors import HandslagError, registry
from schemas.statements import UnitEntry
from tests.gateway.support import UNIT, csr

ROOT = Path(handslag.__file__).parent
BROKER = {name: mount for name, mount in handslag.MOUNTS.items() if mount.target.startswith("broker.")}
DAY_US = 24 * 3600 * 1_000_000


def commands():
    """Every command of the operator as (words, command)."""
    found = []

    def walk(words, command):
        if isinstance(command, click.Group):
            for name, child in command.commands.items():
                walk([*words, name], child)
        else:
            found.append((words, command))

    for name, mount in BROKER.items():
        walk([name], handslag.loaded(mount))
    return found


def run(*words):
    """Exit code, stdout, stderr of the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            handslag.main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def home():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "broker"


@pytest.fixture
def config(home):
    assert run("init", "--dir", home, "--host", "localhost", "--host", "127.0.0.1")[0] == 0
    return home / "broker.toml"


@pytest.mark.parametrize(
    ("words", "command"), commands(), ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_every_command_has_help_an_example_json_and_exit_codes(words, command):
    code, out, _err = run(*words, "--help")
    assert code == 0
    assert command.help
    assert "Examples:" in out
    assert f"handslag {' '.join(words)}" in out
    assert "--json" in out
    if words == ["doctor"]:
        assert faults.EXITS in out
    else:
        assert "Exit codes: 0 done, 1 failed (code on stderr), 2 wrong usage." in out
    assert "\x1b" not in out


def test_the_front_door_lists_every_group():
    code, out, _err = run("--help")
    assert code == 0
    for name in handslag.MOUNTS:
        assert f"  {name} " in out
    assert run("--version")[1].startswith("handslag, version ")


@pytest.mark.parametrize("words", [["nothing"], ["init"], ["serve", "--nothing"], ["--lang", "de", "doctor"]])
def test_wrong_usage_exits_with_2(words):
    assert run(*words)[0] == 2


def test_a_failure_exits_with_1_and_a_code_in_the_language_asked_for(tmp_path):
    missing = tmp_path / "none.toml"
    code, out, err = run("--lang", "sv", "config", "check", "--config", missing)
    assert (code, out) == (1, "")
    assert err.startswith("HS-SETTINGS-INVALID: " + registry()["HS-SETTINGS-INVALID"].sv)
    code, out, err = run("--lang=en", "config", "check", "--config", missing, "--json")
    assert (code, out) == (1, "")
    assert json.loads(err)["error"] == registry()["HS-SETTINGS-INVALID"].en


def test_erasing_needs_the_running_broker(home):
    run("init", "--dir", home, "--host", "localhost")
    seat = "0199c3a8-7e51-7b6c-9d2e-0a4b5c6d7e8f"
    code, _out, err = run("erase", "draft", "--config", home / "broker.toml", "--seat-id", seat, "--ground", "UNLAWFUL")
    assert code == 1
    assert "HS-NODE-ABSENT" in err
    code, _out, _err = run("erase", "draft", "--seat-id", seat, "--ground", "BECAUSE")
    assert code == 2  # the list is closed


def test_init_makes_a_broker_that_says_what_is_for_demonstrations(home):
    code, out, _err = run("init", "--dir", home, "--host", "localhost", "--json")
    made = json.loads(out)
    assert (code, made["origin"], made["demonstration_ca"], made["demonstration_supervisor"]) == (
        0,
        "localhost/audit",
        True,
        True,
    )
    loaded = settings.load(home / "broker.toml")
    public = keyfiles.log_key(loaded.log_key_file).public_key().public_bytes_raw()
    assert Verifier.from_vkey(made["log_key"]) == Verifier("localhost/audit", public)
    assert len(rootkey.load(loaded.root_key_file).keks[1]) == 32
    assert len(keyfiles.supervisor_key(loaded.supervisor_key_file)) == 1216
    for path in home.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert path.is_dir() <= (mode == 0o700)
        if path.suffix == ".key" or "private" in path.name:
            assert mode == 0o600
    authority = x509.load_pem_x509_certificate((home / "tls/demo-ca.pem").read_bytes())
    assert pki.WARNING in authority.subject.rfc4514_string()
    assert not list(home.parent.glob(".*"))


def test_init_never_overwrites(config):
    before = {path: path.read_bytes() for path in config.parent.rglob("*") if path.is_file()}
    code, _out, err = run("init", "--dir", config.parent)
    assert code == 1
    assert "HS-INIT-EXISTS" in err
    assert before == {path: path.read_bytes() for path in config.parent.rglob("*") if path.is_file()}


def test_init_takes_a_supervisor_key_or_leaves_nothing(home, tmp_path):
    (tmp_path / "short.hex").write_text("ab" * 100)
    assert "HS-SECRET-FILE" in run("init", "--dir", home, "--supervisor-key", tmp_path / "short.hex")[2]
    assert "HS-SETTINGS-INVALID" in run("init", "--dir", home, "--listen", "nowhere")[2]
    assert not home.exists()
    assert not list(home.parent.glob(".*"))
    (tmp_path / "key.hex").write_text("ab" * 1216)
    assert run("init", "--dir", home, "--supervisor-key", tmp_path / "key.hex")[0] == 0
    assert keyfiles.supervisor_key(settings.load(home / "broker.toml").supervisor_key_file) == b"\xab" * 1216
    assert not (home / "supervisor-demo").exists()


def test_config_check_reads_the_keys_too(config):
    code, out, _err = run("config", "check", "--config", config, "--json")
    assert code == 0
    assert json.loads(out)["log_key"].startswith("localhost/audit+")
    (config.parent / "keys/root.key").chmod(0o644)
    assert "HS-KEYS-EXPOSED" in run("config", "check", "--config", config)[2]


def request(folder, agency_key, of=UNIT, agency="SOC/EXEMPEL", **changed):
    """A request file as `handslag connector init` makes it, fields changed afterwards."""
    now = int(datetime.now(UTC).timestamp() * 1_000_000)
    entry = UnitEntry(
        unit=of,
        agency=agency,
        controller=agency,
        roles=("social_services_lead",),
        signing_key=bytes(32),
        hpke_key=bytes(1216),
        valid_from_us=now,
        valid_until_us=now + 300 * DAY_US,
    ).to_bytes()
    data = {
        "unit": of,
        "csr_pem": csr(pki.new_key(), of).decode(),
        "signed_unit": {
            "entry_b64": base64.b64encode(entry).decode(),
            "signature_b64": base64.b64encode(agency_key.sign(entry)).decode(),
        },
        "agency": agency,
        "agency_key_hex": agency_key.public_key().public_bytes_raw().hex(),
    }
    path = folder / f"{len(list(folder.glob('*.json')))}.json"
    path.write_text(json.dumps({**data, **changed}))
    return path


def test_a_unit_is_admitted_listed_and_revoked(config, tmp_path):
    key = Ed25519PrivateKey.generate()
    asked = request(tmp_path, key)
    code, out, _err = run("agency", "admit", "--config", config, asked, "--json")
    assert code == 0
    (row,) = json.loads(out)["admitted"]
    answer = json.loads(Path(row["answer"]).read_text())
    assert sorted(answer) == ["broker_url", "ca_pem", "certificate_pem", "log_key", "origin", "trust_toml"]
    certificate = x509.load_pem_x509_certificate(answer["certificate_pem"].encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(answer["ca_pem"].encode()))
    (kept,) = admissions.load_all(config.parent / "data")
    assert (kept.unit, kept.agency_key) == (UNIT, key.public_key().public_bytes_raw())

    draft = json.loads(run("agency", "trust", "--config", config, "--json")[1])
    assert key.public_key().public_bytes_raw().hex() in draft["trust_toml"]
    assert len(draft["fingerprint"]) == 64

    status = json.loads(run("agency", "status", "--config", config, "--json")[1])
    assert [each["state"] for each in status["units"]] == ["ADMITTED"]
    assert run("agency", "revoke", "--config", config, UNIT)[0] == 0
    status = json.loads(run("agency", "status", "--config", config, "--json")[1])
    assert [each["state"] for each in status["units"]] == ["REVOKED"]
    assert "HS-UNIT-UNKNOWN" in run("agency", "revoke", "--config", config, "POL/EXEMPEL")[2]


def test_the_list_of_units_is_swedish_unless_english_is_asked_for(config, tmp_path):
    def listed(*front, json_too=False):
        return run(*front, "agency", "status", "--config", config, *(["--json"] if json_too else []))[1].splitlines()

    assert listed() == ["Ingen enhet är ansluten."]
    assert listed("--lang", "en") == ["No unit is admitted."]
    assert run("agency", "admit", "--config", config, request(tmp_path, Ed25519PrivateKey.generate()))[0] == 0
    told = {"sv": ["inte i gång", "ansluten", "senaste kontakt aldrig", "certifikat till"],
            "en": ["does not run", "ADMITTED", "last contact never", "certificate until"]}  # fmt: skip
    for language, words in told.items():
        lines = listed("--lang", language)
        assert [words[0] in lines[0], *(word in lines[1] for word in (UNIT, *words[1:]))] == [True] * 5
    assert listed() == listed("--lang", "sv")
    assert listed(json_too=True) == listed("--lang", "en", json_too=True)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"unit": "POL/EXEMPEL"}, "HS-ADMISSION-INVALID"),
        ({"unit": "nonsense"}, "HS-ADMISSION-INVALID"),
        ({"agency": "POL/EXEMPEL"}, "HS-ADMISSION-INVALID"),
        ({"agency_key_hex": "00" * 32}, "HS-ADMISSION-INVALID"),
        ({"agency_key_hex": "00"}, "HS-ADMISSION-INVALID"),
        ({"signed_unit": {"entry_b64": "AAAA", "signature_b64": "AAAA"}}, "HS-ADMISSION-INVALID"),
        ({"signed_unit": None}, "HS-ADMISSION-INVALID"),
        ({"csr_pem": "nonsense"}, "HS-CERTIFICATE-INVALID"),
    ],
)
def test_an_inconsistent_request_is_refused(config, tmp_path, changed, code):
    asked = request(tmp_path, Ed25519PrivateKey.generate(), **changed)
    status, _out, err = run("agency", "admit", "--config", config, asked)
    assert status == 1
    assert code in err
    assert admissions.load_all(config.parent / "data") == []
    assert list(tmp_path.glob("*.answer.json")) == []


def test_an_agency_has_one_key(config, tmp_path):
    assert run("agency", "admit", "--config", config, request(tmp_path, Ed25519PrivateKey.generate()))[0] == 0
    other = request(tmp_path, Ed25519PrivateKey.generate(), of="SOC/EXEMPEL/ANNAN")
    assert "HS-ADMISSION-INVALID" in run("agency", "admit", "--config", config, other)[2]


@pytest.mark.parametrize("agency", ["EXEMPEL", "SOC/EXEMPEL/K", "SOC-EXEMPEL"])
def test_a_unit_that_is_not_under_its_agencys_code_is_refused(config, tmp_path, agency):
    """Such an agency would speak for whatever no listed code begins, and so would the next one."""
    key = Ed25519PrivateKey.generate()
    code, _out, err = run("agency", "admit", "--config", config, request(tmp_path, key, agency=agency))
    assert (code, "HS-ADMISSION-INVALID" in err) == (1, True)
    assert admissions.load_all(config.parent / "data") == []
    assert run("agency", "admit", "--config", config, request(tmp_path, key))[0] == 0  # the control


async def test_a_running_node_is_told(config, tmp_path):
    data = config.parent / "data"
    heard = []

    async def hear(arguments):
        heard.append(arguments)
        return {}

    async def look(_arguments):
        return {}

    asked = request(tmp_path, Ed25519PrivateKey.generate())
    with control.sole_node(data):
        async with control.serve_control(data, {"acts": look, "admit_together": hear, "revoke": hear}):
            assert (await asyncio.to_thread(run, "agency", "admit", "--config", config, asked))[0] == 0
            told = json.loads((await asyncio.to_thread(run, "agency", "revoke", "--config", config, UNIT, "--json"))[1])
    assert admissions.Admission.from_json(heard[0]["admissions"][0]).unit == heard[1]["unit"] == UNIT
    assert told["in_force"] is True


async def test_a_node_that_refuses_leaves_nothing(config, tmp_path):
    data = config.parent / "data"

    async def refuse(_arguments):
        raise HandslagError("HS-ADMISSION-INVALID", field="unit")

    asked = request(tmp_path, Ed25519PrivateKey.generate())
    with control.sole_node(data):
        async with control.serve_control(data, {"acts": refuse, "admit_together": refuse}):
            assert (await asyncio.to_thread(run, "agency", "admit", "--config", config, asked))[0] == 1
    assert admissions.load_all(data) == []


def found(config):
    code, out, _err = run("doctor", "--config", config, "--json")
    report = json.loads(out)
    return code, {(row["code"], row["field"]) for row in report["faults"]}, {row["code"] for row in report["notices"]}


def test_doctor_passes_a_fresh_broker_with_notices(config):
    assert found(config) == (0, set(), {"N-BROKER-STOPPED", "N-TRYING-OUT"})


def _other_host(home):
    toml = home / "broker.toml"
    toml.write_text(toml.read_text().replace("https://localhost", "https://exempel.invalid"))


def _expired(home):
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = pki.new_authority(long_ago).certificate
    (home / "tls/demo-ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


FAULTS = {
    ("F-KEY-FILE", "log_key_file"): lambda home: (home / "keys/log.key").write_text("nonsense"),
    ("F-KEY-FILE", "root_key_file"): lambda home: (home / "keys/root.key").unlink(),
    ("F-KEY-FILE", "supervisor_key_file"): lambda home: (
        home / "supervisor-demo/supervisor-demo.public.hex"
    ).write_text("ab"),
    ("F-KEY-OPEN", "tls.key_file"): lambda home: (home / "tls/demo-server.key").chmod(0o644),
    ("F-CERT-KEY", "tls.key_file"): lambda home: (home / "tls/demo-server.key").write_bytes(
        (home / "tls/demo-ca.key").read_bytes()
    ),
    ("F-CERT-MISSING", "tls.certificate_file"): lambda home: (home / "tls/demo-server.pem").write_text("nonsense"),
    ("F-CERT-NAME", "tls.certificate_file"): _other_host,
    ("F-AUTHORITY-EXPIRED", "tls.client_ca_file"): _expired,
    ("F-FOLDER-OPEN", "data_dir"): lambda home: (home / "data").chmod(0o755),
}


@pytest.mark.parametrize("fault", FAULTS, ids=" ".join)
def test_doctor_names_the_fault(config, fault):
    FAULTS[fault](config.parent)
    code, faults_found, _notices = found(config)
    assert code == 1
    assert fault in faults_found


def test_doctor_that_cannot_look_says_so_with_another_exit_code(config):
    config.write_text("nonsense")
    code, out, err = run("doctor", "--config", config, "--json")
    assert (code, out) == (2, "")
    assert err.startswith("HS-SETTINGS-INVALID")


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in {names}:
            raise {fault}
sys.meta_path.insert(0, Blocker())
import handslag
handslag.main({arguments})
"""


def without(names, *arguments, fault="ModuleNotFoundError(name, name=name)"):
    """The command line in a process that cannot import `names`."""
    code = BLOCKED.format(names=list(names), arguments=list(arguments), fault=fault)
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    return done.returncode, done.stdout, done.stderr


def test_a_connector_only_installation_still_starts():
    parts = ("sqlalchemy", "alembic", "prometheus_client")
    code, out, err = without(parts, "--help")
    assert (code, err) == (0, "")
    assert "connector" in out
    for words in (["serve"], ["init", "--dir", "x"], ["agency", "status"]):
        code, out, err = without(parts, *words)
        assert (code, out, len(err.splitlines())) == (1, "", 1)
        assert err.startswith("HS-PARTS-MISSING")
    # positive control: the same words get further with the parts in place
    assert "HS-SETTINGS-INVALID" in without([], "agency", "status")[2]


def test_the_front_door_loads_no_library_of_the_broker():
    code = "import sys, handslag\ntry: handslag.main(['--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted(n for n in ('sqlalchemy', 'prometheus_client', 'aiohttp', 'broker') if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_foreign_package_of_the_same_name_is_refused(tmp_path):
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/__init__.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import handslag; sys.path.insert(0, {str(tmp_path)!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "handslag.main(['doctor'])"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "HS-PARTS-FOREIGN" in done.stderr
    assert str(tmp_path) not in done.stderr


def test_an_unforeseen_fault_is_told_without_its_text():
    code, out, err = without(["broker.cli"], "config", "check", fault='RuntimeError("19121212-1212")')
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith("HS-FAULT")
    assert "exception: RuntimeError" in err
    assert "1912" not in err


def test_help_is_quick():
    started = time.monotonic()
    assert without([], "--help")[0] == 0
    assert time.monotonic() - started < 5  # a process of its own on a busy machine; 0.3 s alone


def test_exit_codes_are_told_once():
    assert cli_parts.EXITS in (cli.init.epilog or "")
