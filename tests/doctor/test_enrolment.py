"""Five commands from an empty folder to a message, and what stands in the way of a false one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.regions import checked, load, region_of, save
from broker.trustdesk import TrustDesk
from connectors import settings as connector_settings
from connectors import trust, trusting
from connectors.cli import connector
from deploy.processes import free_ports, started
from schemas.errors import HandslagError
from schemas.trust_calls import AgencySignature, TrustAnswer
from tests.gateway.test_cli import request as request_file
from tests.gateway.test_cli import run as front

UNITS = {"konsult": ("SOC/EXEMPEL/KONSULT", "SOC/EXEMPEL", "social_services_lead"),
         "syd": ("POL/EXEMPEL/SYD", "POL/EXEMPEL", "police_coordination")}  # fmt: skip


def run(*words) -> str:
    """One command through the front door, to its end."""
    code, out, err = front(*words)
    assert not code, err
    return out


def test_five_commands_lead_from_an_empty_folder_to_a_message(site):
    """The script that is timed, run for real by the site's making; how long it took is told and not asserted."""
    report = site.report
    assert list(report["seconds"]) == [
        "handslag init", "handslag connector init", "handslag agency admit", "handslag connector enrol",
        "handslag connector run", "first consent-checked message",
    ]  # fmt: skip
    assert (report["without consent"], report["with consent"]) == ("WITHHELD", "RELEASED")
    print(f"five commands: {report['total']} s {report['seconds']}")


def test_an_authority_for_trying_out_says_so_at_every_start(tmp_path):
    gateway, operations = free_ports(2)
    listen = ("--listen", f"127.0.0.1:{gateway}", "--operations", f"127.0.0.1:{operations}")
    run("init", "--dir", tmp_path / "b", "--host", "127.0.0.1", *listen)
    for _start in range(2):
        with started(None, "serve", "--config", tmp_path / "b/broker.toml") as broker:
            assert "NOT FOR PERSONAL DATA" in broker.line_with("WARNING")
    config = set_up(tmp_path, "konsult")
    run("agency", "admit", "--config", tmp_path / "b/broker.toml", config.parent / "request.json")
    run("connector", "enrol", config.parent / "request.answer.json", "--config", config)
    with started(None, "connector", "run", "--config", config) as running:
        assert "NOT FOR PERSONAL DATA" in running.line_with("says of itself")


# --- the list by phone


def set_up(folder: Path, name: str) -> Path:
    unit, agency, role = UNITS[name]
    run("connector", "init", "--dir", folder / name, "--unit", unit, "--agency", agency, "--role", role)
    return folder / name / "connector.toml"


@pytest.fixture(scope="module")
def admitted(tmp_path_factory):
    """A broker that does not run, two agencies admitted, nothing enrolled."""
    folder = tmp_path_factory.mktemp("admitted")
    run("init", "--dir", folder / "b", "--host", "127.0.0.1")
    configs = {name: set_up(folder, name) for name in UNITS}
    requests = [config.parent / "request.json" for config in configs.values()]
    told = run("agency", "admit", "--config", folder / "b/broker.toml", "--whole-region", "POL/EXEMPEL", *requests,
               "--json")  # fmt: skip
    return configs, json.loads(told)["trust_fingerprint"]


def enrol(config: Path, *more: str, typed: str | None = None):
    answer = str(config.parent / "request.answer.json")
    words = ["enrol", answer, "--config", str(config), *more]
    return CliRunner().invoke(connector, words, input=typed, standalone_mode=False)


def test_the_fingerprint_is_one_line_in_groups_and_both_languages(admitted):
    configs, fingerprint = admitted
    (line,) = [row for row in enrol(configs["konsult"]).stderr.splitlines() if "Read aloud" in row]
    assert line.startswith("Läs upp / Read aloud: ")
    groups = line.removeprefix("Läs upp / Read aloud: ").split(" ")
    assert [len(group) for group in groups] == [4] * 16
    assert "".join(groups) == fingerprint


def test_a_list_that_sounds_otherwise_is_not_taken(admitted):
    configs, fingerprint = admitted
    other = ("0" if fingerprint[0] != "0" else "1") + fingerprint[1:]
    before = configs["konsult"].read_text()
    for heard in (other, fingerprint[:-1], "", "abcd"):
        refused = enrol(configs["konsult"], "--heard", heard)
        assert isinstance(refused.exception, HandslagError)
        assert refused.exception.code == "HS-TRUST-COMPARE"
    assert not connector_settings.load(configs["konsult"]).trust_file.exists()
    assert connector_settings.load(configs["konsult"]).trust_fingerprint == ""
    assert "broker_url" in before
    # positive control: read out slowly and in capitals, it is the same list
    slowly = " - ".join(fingerprint[at : at + 2].upper() for at in range(0, 64, 2))
    assert enrol(configs["konsult"], "--heard", "-", "--json", typed=slowly + "\n").exit_code == 0
    assert connector_settings.load(configs["konsult"]).trust_fingerprint == fingerprint


def test_a_renewed_certificate_needs_no_new_call_and_loses_no_signature(admitted):
    configs, fingerprint = admitted
    config = configs["syd"]
    assert enrol(config, "--heard", fingerprint).exit_code == 0
    trust_file = connector_settings.load(config).trust_file
    complete = trusting.merged(
        trust.parse(trust_file.read_text()),
        TrustAnswer(statement=b"", signatures=(signed(configs["konsult"], trust_file, "SOC/EXEMPEL"),)),
    )
    trust_file.write_text(trust.rendered(complete))
    again = enrol(config, "--json")
    assert json.loads(again.stdout)["compared"] is True
    assert "Read aloud" not in again.stderr
    for _time in range(2):
        assert len(trust.parse(trust_file.read_text()).signatures) == 2
        assert enrol(config, "--heard", fingerprint).exit_code == 0


def signed(config: Path, trust_file: Path, agency: str) -> AgencySignature:
    """An agency's own signature over the list."""
    key = Ed25519PrivateKey.from_private_bytes((config.parent / "keys/agency.key").read_bytes()[:32])
    data = trust.parse(trust_file.read_text()).statement.to_bytes()
    return AgencySignature(agency=agency, signature=key.sign(data))


def test_a_signature_that_the_broker_made_up_is_not_counted(admitted):
    configs, fingerprint = admitted
    assert enrol(configs["konsult"], "--heard", fingerprint).exit_code == 0
    listed = trusting.waiting_list(connector_settings.load(configs["konsult"]))
    assert listed is not None
    data = listed.statement.to_bytes()
    forged = (
        AgencySignature(agency="POL/EXEMPEL", signature=Ed25519PrivateKey.generate().sign(data)),
        AgencySignature(agency="KV", signature=listed.signatures["SOC/EXEMPEL"]),
        AgencySignature(agency="POL/EXEMPEL", signature=listed.signatures["SOC/EXEMPEL"]),
    )
    for one in forged:
        answer = TrustAnswer(statement=data, signatures=(one,))
        assert dict(trusting.merged(listed, answer).signatures) == dict(listed.signatures)
    # positive control: the other agency's own
    key = configs["syd"].parent / "keys/agency.key"
    own = Ed25519PrivateKey.from_private_bytes(key.read_bytes()[:32]).sign(data)
    answer = TrustAnswer(statement=b"", signatures=(AgencySignature(agency="POL/EXEMPEL", signature=own),))
    assert set(trusting.merged(listed, answer).signatures) == {"SOC/EXEMPEL", "POL/EXEMPEL"}


def test_the_desk_takes_no_signature_of_another_agency(admitted):
    configs, _fingerprint = admitted
    home = configs["konsult"].parents[1] / "b"
    supervisor = bytes.fromhex((home / "supervisor-demo/supervisor-demo.public.hex").read_text())
    log_key = json.loads(run("config", "check", "--config", home / "broker.toml", "--json"))["log_key"]
    desk = TrustDesk(home / "data", "127.0.0.1/audit", log_key, supervisor)
    data = desk.take("SOC/EXEMPEL/KONSULT", None).statement
    police = Ed25519PrivateKey.from_private_bytes((configs["syd"].parent / "keys/agency.key").read_bytes()[:32])
    for unit, signature in (
        ("SOC/EXEMPEL/KONSULT", police.sign(data)),
        ("POL/EXEMPEL/SYD", police.sign(data + b"x")),
        ("KV/EXEMPEL", police.sign(data)),
        ("POL/EXEMPEL/SYD", b""),
    ):
        with pytest.raises(HandslagError) as refused:
            desk.take(unit, signature)
        assert refused.value.code == "HS-TRUST-INVALID"
    assert desk.take("SOC/EXEMPEL/KONSULT", None).signatures == ()
    kept = desk.take("POL/EXEMPEL/SYD", police.sign(data)).signatures
    assert [each.agency for each in kept] == ["POL/EXEMPEL"]
    again = TrustDesk(home / "data", "127.0.0.1/audit", log_key, supervisor)
    assert again.take("SOC/EXEMPEL/KONSULT", None).signatures == kept
    (home / "data/trust-signatures.json").write_text("[nonsense")
    assert again.take("SOC/EXEMPEL/KONSULT", None).signatures == ()


# --- a region comes together


@pytest.mark.parametrize(("unit", "region"), [("POL/EXEMPEL/SYD", "POL/EXEMPEL"), ("POL/EXEMPEL", "POL/EXEMPEL"),
                                              ("SOC/POL/SYD", None), ("POL", None)])  # fmt: skip
def test_only_police_units_have_a_region(unit, region):
    assert region_of(unit) == region


def test_a_police_unit_alone_is_refused(tmp_path):
    run("init", "--dir", tmp_path / "b", "--host", "127.0.0.1")
    config = tmp_path / "b/broker.toml"
    key = Ed25519PrivateKey.generate()
    asked = {
        name: request_file(tmp_path, key, of=f"POL/EXEMPEL/{name}", agency="POL/EXEMPEL")
        for name in ("SYD", "NORD", "VAST", "OST", "MITT")
    }

    def admit(*names: str, more: tuple[str, ...] = ()) -> str:
        code, _out, err = front("agency", "admit", "--config", config, *more, *(asked[name] for name in names))
        return err.split(":", 1)[0] if code else "admitted"

    whole = ("--whole-region", "POL/EXEMPEL")
    assert admit("SYD") == "HS-REGION-INCOMPLETE"
    assert admit("SYD", "NORD") == "HS-REGION-INCOMPLETE"
    assert admit("SYD", more=("--whole-region", "POL/ANNAT")) == "HS-REGION-INCOMPLETE"
    assert list((tmp_path / "b/data").glob("admissions/*")) == []
    assert list(tmp_path.glob("*.answer.json")) == []
    assert admit("SYD", "NORD", more=whole) == "admitted"
    assert admit("SYD") == "admitted"  # renewed: everybody knows it already
    assert admit("VAST") == "HS-REGION-INCOMPLETE"
    assert admit("VAST", more=whole) == "HS-REGION-LONE"
    assert admit("VAST", "OST", more=whole) == "admitted"
    assert admit("MITT", more=(*whole, "--lone")) == "admitted"
    assert load(tmp_path / "b/data") == {"POL/EXEMPEL": frozenset(f"POL/EXEMPEL/{name}" for name in asked)}
    run("agency", "revoke", "--config", config, "POL/EXEMPEL/OST")
    assert admit("OST") == "HS-REGION-INCOMPLETE"  # it would come back alone, for everybody to see
    assert admit("OST", "SYD", more=whole) == "HS-REGION-LONE"


def test_a_wrong_request_admits_none_of_the_others(tmp_path):
    run("init", "--dir", tmp_path / "b", "--host", "127.0.0.1")
    good = request_file(tmp_path, Ed25519PrivateKey.generate())
    bad = request_file(tmp_path, Ed25519PrivateKey.generate(), of="SOC/EXEMPEL/ANNAN")  # another key, same agency
    code, _out, err = front("agency", "admit", "--config", tmp_path / "b/broker.toml", good, bad)
    assert code == 1
    assert "HS-ADMISSION-INVALID" in err
    assert list((tmp_path / "b/data").glob("admissions/*")) == []
    assert list(tmp_path.glob("*.answer.json")) == []


def test_what_was_said_of_regions_is_kept_and_a_broken_file_is_refused(tmp_path):
    grown = checked(["POL/EXEMPEL/Å", "SOC/EXEMPEL/B"], {}, ["POL/EXEMPEL"], lone=False)
    save(tmp_path, grown)
    assert load(tmp_path) == grown == {"POL/EXEMPEL": frozenset({"POL/EXEMPEL/Å"})}
    for text in ("[nonsense", "region = 3", "[[region]]\ncode = 'x'"):
        (tmp_path / "admissions/regions.toml").write_text(text)
        with pytest.raises(HandslagError):
            load(tmp_path)
