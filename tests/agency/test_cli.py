"""The commands of an agency's IT, run as they are typed; set-up on real files."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from connectors import enrolment, settings, trust
from connectors.audit_cli import search
from connectors.cli import connector
from connectors.consent_cli import consent
from schemas.errors import HandslagError

UNITS = {
    "soc": ("SOC/EXEMPEL/KONSULT", "EXEMPELKOMMUN", "social_services_lead"),
    "pol": ("POL/EXEMPEL/SYD", "EXEMPELPOLIS", "police_coordination"),
}


def run(*arguments: str) -> dict:
    result = CliRunner().invoke(connector, [*arguments, "--json"], catch_exceptions=False, standalone_mode=False)
    return json.loads(result.stdout)


def initialised(folder: Path, name: str) -> Path:
    unit, agency, role = UNITS[name]
    run("init", "--dir", str(folder / name), "--unit", unit, "--agency", agency, "--controller", "EX", "--role", role)
    return folder / name / "connector.toml"


def commands_of(group: click.Group, path: str) -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += commands_of(command, f"{path} {name}")
        else:
            found.append((f"{path} {name}", command))
    return found


@pytest.mark.parametrize(
    ("path", "command"),
    [*commands_of(connector, "connector"), *commands_of(consent, "consent"), ("audit search", search)],
)
def test_every_command_explains_itself(path: str, command: click.Command) -> None:
    text = CliRunner().invoke(command, ["--help"]).output
    assert "Examples:" in text
    assert "Exit codes:" in text
    if path != "connector run":
        assert "--json" in text


def test_init_warns_of_the_missing_backup_and_makes_private_files(tmp_path: Path) -> None:
    unit, agency, role = UNITS["soc"]
    arguments = ["init", "--dir", str(tmp_path / "c"), "--unit", unit, "--agency", agency, "--controller", "EX"]
    result = CliRunner().invoke(connector, [*arguments, "--role", role], catch_exceptions=False)
    assert "NO BACKUP" in result.stderr
    for path in (tmp_path / "c").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
    request = json.loads((tmp_path / "c" / "request.json").read_text())
    assert set(request) == {"unit", "agency", "agency_key_hex", "csr_pem", "signed_unit", "recovery"}
    with pytest.raises(HandslagError) as caught:
        CliRunner().invoke(connector, [*arguments, "--role", role], catch_exceptions=False, standalone_mode=False)
    assert caught.value.code == "HS-KEY-FILE"


def test_an_agency_key_is_used_again(tmp_path: Path) -> None:
    first = initialised(tmp_path, "soc").parent
    run(
        "init", "--dir", str(tmp_path / "two"), "--unit", "SOC/EXEMPEL/TVA", "--agency", "EXEMPELKOMMUN",
        "--controller", "EX", "--role", "social_services_lead", "--agency-key", str(first / "keys" / "agency.key"),
    )  # fmt: skip
    keys = [json.loads((tmp_path / n / "request.json").read_text())["agency_key_hex"] for n in ("soc", "two")]
    assert keys[0] == keys[1]
    assert not (tmp_path / "two" / "keys" / "agency.key").exists()


def test_a_trust_list_needs_two_agencies_and_its_fingerprint(tmp_path: Path) -> None:
    configs = {name: initialised(tmp_path, name) for name in UNITS}
    agencies = "\n".join(
        f'[[agency]]\ncode = "{UNITS[name][1]}"\nsigning_key = "'
        + json.loads((tmp_path / name / "request.json").read_text())["agency_key_hex"]
        + '"'
        for name in UNITS
    )
    draft = tmp_path / "trust.toml"
    draft.write_text(f'origin = "x/audit"\nlog_key = "k"\nsupervisor_key = "{"00" * 1216}"\n{agencies}\n')
    enrolment.update_config(configs["soc"], {"origin": "x/audit"})
    first = run("trust", "sign", str(draft), "--config", str(configs["soc"]))["fingerprint"]
    install = ["trust", "install", str(draft), "--config", str(configs["soc"]), "--fingerprint"]
    with pytest.raises(HandslagError) as alone:
        run(*install, first)
    assert (alone.value.code, alone.value.context["check"]) == ("HS-TRUST-INVALID", "signers")
    assert run("trust", "sign", str(draft), "--config", str(configs["pol"]))["fingerprint"] == first
    with pytest.raises(HandslagError) as other:
        run(*install, "00" * 32)
    assert other.value.context["check"] == "fingerprint"
    assert run(*install, trust.spoken(bytes.fromhex(first)))["fingerprint"] == first
    assert settings.load(configs["soc"]).trust_fingerprint == first


def test_an_unknown_key_of_the_configuration_is_refused(tmp_path: Path) -> None:
    config = initialised(tmp_path, "soc")
    before = config.read_text()
    for line, field in (('colour = "secret-value"', "unknown key"), ("poll_s = -1", "poll_s")):
        config.write_text(f"{before}{line}\n")
        with pytest.raises(HandslagError) as caught:
            settings.load(config)
        assert (caught.value.code, caught.value.context["field"]) == ("HS-CONFIG-INVALID", field)
        assert "secret-value" not in str(caught.value)
    config.write_text(before)
    assert settings.load(config).unit == UNITS["soc"][0]


def test_status_names_no_case(tmp_path: Path) -> None:
    config = initialised(tmp_path, "soc")
    assert run("status", "--config", str(config))["stopped_by"] is None
