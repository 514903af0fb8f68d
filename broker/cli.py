"""Commands of the operator: init, serve, config, agency, doctor, backup, restore, erase.

Exit codes, the same everywhere: 0 done, 1 failed with a code of the registry on stderr, 2 wrong usage.
"""

from __future__ import annotations

import importlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from audit.note import Verifier
from broker import admissions, control, doctor, initialise, keyfiles, pki, settings
from broker.gateway.server import Serving
from broker.settings import BrokerSettings
from broker.store import rootkey
from schemas.errors import HandslagError

EXITS = "Exit codes: 0 done, 1 failed (code on stderr), 2 wrong usage."

as_json = click.option("--json", "as_json", is_flag=True, help="Answer as one JSON object on stdout.")
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("broker.toml"),
    show_default=True,
    help="The broker's configuration.",
)


def examples(*lines: str) -> str:
    """The end of a command's help: examples, then the exit codes."""
    return "\b\n" + "\n".join(("Examples:", *(f"  {line}" for line in lines), "", EXITS))


def told(as_json: bool, data: dict[str, Any], lines: list[str]) -> None:
    """Write the answer: `data` as one JSON object, or `lines` for a person."""
    click.echo(json.dumps(data, ensure_ascii=False) if as_json else "\n".join(lines))


def _now() -> datetime:
    return datetime.now(UTC)


@click.command(epilog=examples("handslag init --dir demo-broker --host 127.0.0.1 --listen 127.0.0.1:8443"))
@click.option("--dir", "folder", type=click.Path(path_type=Path), required=True, help="Folder to create.")
@click.option("--listen", default="127.0.0.1:8443", show_default=True, help="Address of the gateway.")
@click.option("--operations", default="127.0.0.1:9464", show_default=True, help="Address of health and metrics.")
@click.option("--host", "hosts", multiple=True, help="Name or IP address of this server, repeatable; first: the URL.")
@click.option("--origin", help="Name of the audit log, for ever.  [default: HOST/audit]")
@click.option(
    "--supervisor-key",
    type=click.Path(path_type=Path),
    help="Public HPKE key of the supervisor, 1216 bytes in hexadecimal; without it a demonstration pair is made.",
)
@as_json
def init(
    folder: Path,
    listen: str,
    operations: str,
    hosts: tuple[str, ...],
    origin: str | None,
    supervisor_key: Path | None,
    as_json: bool,
) -> None:
    """Create a broker's folder: configuration, keys and a DEMONSTRATION certificate authority."""
    hosts = hosts or ("localhost", "127.0.0.1")
    plan = initialise.InitPlan(listen, hosts, origin or f"{hosts[0].lower()}/audit", supervisor_key, operations)
    made = initialise.initialise(folder.absolute(), plan, _now())
    data = {
        "config": str(made.config),
        "origin": made.origin,
        "log_key": made.log_key,
        "demonstration_ca": True,
        "demonstration_supervisor": made.demonstration_supervisor,
    }
    lines = [
        f"Created {made.config}",
        f"Origin   {made.origin}",
        f"Log key  {made.log_key}",
        "The certificate authority in tls/ is for DEMONSTRATIONS only.",
    ]
    if made.demonstration_supervisor:
        lines.append("The supervisor's key pair in supervisor-demo/ is for DEMONSTRATIONS only.")
    told(as_json, data, [*lines, f"Next: handslag serve --config {made.config}"])


@click.command(epilog=examples("handslag serve --config demo-broker/broker.toml"))
@config_option
@as_json
def serve(config: Path, as_json: bool) -> None:
    """Run the broker until it is told to stop (SIGTERM, SIGINT)."""
    loaded = settings.load(config)
    node = importlib.import_module("broker.node")  # only here: it brings the store and the engines with it

    def started(serving: Serving) -> None:
        where = {"listen": str(serving.gateway), "operations": str(serving.operations)}
        told(as_json, where, [f"Serving on {serving.gateway}"])
        sys.stdout.flush()

    node.run(loaded, started)


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command("check", epilog=examples("handslag config check --config demo-broker/broker.toml --json"))
@config_option
@as_json
def config_check(config: Path, as_json: bool) -> None:
    """Read the configuration and the key files it names, offline, and change nothing."""
    loaded = settings.load(config)
    vkey = _vkey(loaded)
    rootkey.load(loaded.root_key_file)
    keyfiles.supervisor_key(loaded.supervisor_key_file)
    told(as_json, {"ok": True, "origin": loaded.origin, "log_key": vkey}, [f"{config}: in order", f"Log key  {vkey}"])


@click.group()
def agency() -> None:
    """Admit units of agencies to this broker, and end it."""


@agency.command("admit", epilog=examples("handslag agency admit --config broker.toml request.json -o answer.json"))
@config_option
@click.argument("request_files", metavar="REQUEST...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Answer file, for one REQUEST only.")
@as_json
def agency_admit(config: Path, request_files: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Check each REQUEST that `handslag connector init` made, issue its certificate, register its unit.

    The answer is written next to the request as REQUEST.answer.json. Before it is handed over, compare the agency key's
    fingerprint with the agency by phone.
    """
    if out is not None and len(request_files) != 1:
        raise click.UsageError("--out takes exactly one REQUEST")
    loaded = settings.load(config)
    done = [_admitted(loaded, path, out or path.with_name(path.stem + ".answer.json")) for path in request_files]
    lines = [
        f"{row['unit']}: admitted, agency key {row['agency_key_sha256']}, answer in {row['answer']}" for row in done
    ]
    told(as_json, {"admitted": done}, lines)


def _admitted(loaded: BrokerSettings, path: Path, out: Path) -> dict[str, str]:
    try:
        data = path.read_bytes()
    except OSError:
        raise HandslagError("HS-ADMISSION-INVALID", field="file") from None
    authority = _authority(loaded)
    answer: dict[str, str] = {
        "ca_pem": authority.pem.decode("ascii"),
        "broker_url": loaded.url,
        "origin": loaded.origin,
        "log_key": _vkey(loaded),
    }
    admission = admissions.admit(admissions.read_request(data), authority, admissions.load_all(loaded.data_dir), _now())
    if control.is_running(loaded.data_dir):
        control.call(loaded.data_dir, "admit", admission.to_json())
    admissions.save(loaded.data_dir, admission)
    answer["certificate_pem"] = admission.certificate_pem
    out.write_text(json.dumps(answer, indent=1), encoding="utf-8")
    return {
        "unit": admission.unit,
        "agency_key_sha256": admissions.key_fingerprint(admission),
        "certificate_sha256": admission.certificate_sha256.hex(),
        "answer": str(out),
    }


@agency.command("trust", epilog=examples("handslag agency trust --config broker.toml > trust.toml"))
@config_option
@as_json
def agency_trust(config: Path, as_json: bool) -> None:
    """Print a draft of trust.toml with every admitted agency, unsigned; it is valid once two of them signed it."""
    loaded = settings.load(config)
    supervisor = keyfiles.supervisor_key(loaded.supervisor_key_file)
    admitted = admissions.load_all(loaded.data_dir)
    statement = admissions.trust_statement(loaded.origin, _vkey(loaded), supervisor, admitted)
    text, fingerprint = admissions.trust_draft(statement), admissions.fingerprint(statement)
    told(as_json, {"trust_toml": text, "fingerprint": fingerprint}, [text + f"# fingerprint {fingerprint}"])


@agency.command("revoke", epilog=examples("handslag agency revoke --config broker.toml SOC/EXEMPEL/KONSULT"))
@config_option
@click.argument("unit")
@as_json
def agency_revoke(config: Path, unit: str, as_json: bool) -> None:
    """Shut a unit out: its certificate stops counting at its next call, and stays out after a restart."""
    loaded = settings.load(config)
    kept = next((each for each in admissions.load_all(loaded.data_dir) if each.unit == unit), None)
    if kept is None:
        raise HandslagError("HS-UNIT-UNKNOWN")
    # The file first: should the node fall in between, it reads the revocation when it starts.
    ended = kept if kept.revoked_at_us is not None else admissions.revoked(kept, _now())
    admissions.save(loaded.data_dir, ended)
    running = control.is_running(loaded.data_dir)
    if running:
        control.call(loaded.data_dir, "revoke", {"unit": unit, "revoked_at_us": ended.revoked_at_us})
    told(as_json, {"unit": unit, "in_force": running}, [f"{unit}: revoked" + ("" if running else " at the next start")])


@agency.command("status", epilog=examples("handslag agency status --config broker.toml --json"))
@config_option
@as_json
def agency_status(config: Path, as_json: bool) -> None:
    """List the admitted units with the day their certificate ends."""
    loaded = settings.load(config)
    rows = [doctor.unit_status(admission) for admission in admissions.load_all(loaded.data_dir)]
    lines = [f"{row['unit']}  {row['state']}  certificate until {row['certificate_until']}" for row in rows]
    told(as_json, {"units": rows, "running": control.is_running(loaded.data_dir)}, lines or ["No unit is admitted."])


@click.command("doctor", epilog=examples("handslag doctor --config broker.toml", "handslag doctor --json | jq ."))
@config_option
@as_json
def doctor_command(config: Path, as_json: bool) -> None:
    """Look for what is wrong with this installation and say what to do; exit code 1 when something is."""
    findings = doctor.examine(config, _now())
    failed = any(not each.passed and not each.warning for each in findings)
    rows = [
        {"check": f.check, "passed": f.passed, "warning": f.warning, "advice": "" if f.passed else f.advice}
        for f in findings
    ]
    marks = {True: "ok  ", False: "FAIL"}
    lines = [
        f"{'warn' if f.warning and not f.passed else marks[f.passed]}  {f.check}"
        + ("" if f.passed else f": {f.advice}")
        for f in findings
    ]
    told(as_json, {"ok": not failed, "findings": rows}, lines)
    if failed:
        raise SystemExit(1)


def _not_yet(name: str, text: str, instead: str) -> click.Command:
    """A command that does not exist yet: it says so with what to do instead, and changes nothing."""

    @click.command(name, help=f"{text} Does not exist yet. {instead}", epilog=examples(f"handslag {name}"))
    @config_option
    @as_json
    def command(config: Path, as_json: bool) -> None:  # noqa: ARG001 - the options every command has
        if not as_json:
            click.echo(instead, err=True)
        raise HandslagError("HS-NOT-YET", command=name)

    return command


backup = _not_yet(
    "backup",
    "Copy a running broker.",
    "Instead: stop the broker, copy its whole folder (configuration, keys, data) to an encrypted medium, start it.",
)
restore = _not_yet(
    "restore",
    "Bring a copy back.",
    "Instead: stop the broker and put the copied folder in its place; connectors that saw a newer log make it wait.",
)
erase = _not_yet(
    "erase",
    "Destroy the key of a seat.",
    "Instead: close the seat and keep the decision to erase on file; nothing is erased until this exists.",
)


def _vkey(loaded: BrokerSettings) -> str:
    public = keyfiles.log_key(loaded.log_key_file).public_key()
    return Verifier(loaded.origin, public.public_bytes_raw()).vkey()


def _authority(loaded: BrokerSettings) -> pki.Authority:
    if loaded.admission is None:
        raise HandslagError("HS-SETTINGS-INVALID", field="admission")
    key = keyfiles.read_private(loaded.admission.ca_key_file, "admission.ca_key_file")
    try:
        certificate = loaded.admission.ca_certificate_file.read_bytes()
    except OSError:
        raise HandslagError("HS-SETTINGS-INVALID", field="admission.ca_certificate_file") from None
    return pki.load_authority(certificate, key)
