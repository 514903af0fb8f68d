"""Commands of the operator: init, serve, config, agency, doctor; copies are in `backup_cli.py`.

Exit codes, the same everywhere: 0 done, 1 failed with a code of the registry on stderr, 2 wrong usage.
"""

from __future__ import annotations

import importlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from audit.note import Verifier
from broker import admissions, admitting, control, doctor, initialise, joining, keyfiles, pki, settings, status
from broker.admin_cli import broker_of, ready
from broker.cli_parts import EXITS, as_json, config_option, examples, language_of, told
from broker.gateway.server import Serving
from broker.settings import BrokerSettings
from broker.store import rootkey
from schemas import faults
from schemas.errors import HandslagError


def _now() -> datetime:
    return datetime.now(UTC)


@click.command(
    epilog=examples(
        "handslag init --dir demo-broker --host 127.0.0.1 --listen 127.0.0.1:8443",
        "handslag init --dir second --join first/broker.toml --host node2.example --listen 0.0.0.0:8443",
    )
)
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
@click.option(
    "--join",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Configuration of a node there is: the folder becomes a further node on its store.",
)
@click.option("--serve", "at_once", is_flag=True, help="Run the new broker at once, as `handslag serve` does.")
@as_json
def init(
    folder: Path,
    listen: str,
    operations: str,
    hosts: tuple[str, ...],
    origin: str | None,
    supervisor_key: Path | None,
    join: Path | None,
    at_once: bool,
    as_json: bool,
) -> None:
    """Create a broker's folder: configuration, keys and a DEMONSTRATION certificate authority.

    With `--join` a further node of a broker whose store is PostgreSQL: keys and anchors are copied from the node named.
    """
    hosts = hosts or ("localhost", "127.0.0.1")
    if join is not None:
        _join(folder, join, joining.JoinPlan(listen, hosts, operations), at_once=at_once, as_json=as_json)
        return
    named = next((host for host in hosts if ":" not in host), "broker")  # an origin has no room for an IPv6 address
    plan = initialise.InitPlan(listen, hosts, origin or f"{named.lower()}/audit", supervisor_key, operations)
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
    told(as_json, data, lines if at_once else [*lines, f"Next: handslag serve --config {made.config}"])
    if at_once:
        _serve(made.config, as_json)


def _join(folder: Path, other: Path, plan: joining.JoinPlan, *, at_once: bool, as_json: bool) -> None:
    made = joining.join(folder.absolute(), other, plan, _now())
    loaded = settings.load(made)
    lines = [
        f"Created {made}",
        f"It knows the others as further_urls; tell them and the agencies of {loaded.url}",
    ]
    data = {"config": str(made), "url": loaded.url, "further_urls": list(loaded.further_urls)}
    told(as_json, data, lines if at_once else [*lines, f"Next: handslag serve --config {made}"])
    if at_once:
        _serve(made, as_json)


@click.command(epilog=examples("handslag serve --config demo-broker/broker.toml"))
@config_option
@as_json
def serve(config: Path, as_json: bool) -> None:
    """Run the broker until it is told to stop (SIGTERM, SIGINT)."""
    _serve(config, as_json)


def _serve(config: Path, as_json: bool) -> None:
    loaded = settings.load(config)
    # INVARIANT: test_an_authority_for_trying_out_says_so_at_every_start
    for said in pki.said_of_itself(loaded.tls.client_ca_file):
        click.echo(f"WARNING: the certificate authority says of itself: {said}", err=True)
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


@config.command(
    "renew-certificate",
    epilog=examples("handslag config renew-certificate --config broker.toml", "systemctl reload handslag"),
)
@config_option
@as_json
def config_renew(config: Path, as_json: bool) -> None:
    """Issue the server a new certificate for the same names and key, from the authority of `[admission]`.

    The running broker takes it when it is told to reload (SIGHUP). Where an authority of your own issues certificates,
    put its certificate in place of `tls.certificate_file` instead.
    """
    loaded = settings.load(config)
    authority = _authority(loaded)
    key = keyfiles.read_private(loaded.tls.key_file, "tls.key_file")
    try:
        before = loaded.tls.certificate_file.read_bytes()
    except OSError:
        raise HandslagError("HS-SETTINGS-INVALID", field="tls.certificate_file") from None
    keyfiles.write_atomic(loaded.tls.certificate_file, pki.renewed_server_certificate(authority, before, key, _now()))
    told(as_json, {"renewed": str(loaded.tls.certificate_file)}, ["Renewed. Next: tell the broker to reload (SIGHUP)."])


@click.group()
def agency() -> None:
    """Admit units of agencies to this broker, and end it."""


@agency.command("admit", epilog=examples("handslag agency admit --config broker.toml request.json -o answer.json"))
@config_option
@click.argument("request_files", metavar="REQUEST...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Answer file, for one REQUEST only.")
@click.option("--whole-region", "whole", multiple=True, help="Police region whose every unit is in; repeatable.")
@click.option("--lone", is_flag=True, help="One more unit of a region on file, though everybody sees it appear.")
@click.option("--probe", is_flag=True, help="A unit of the operator's own standing test case.")
@as_json
def agency_admit(
    config: Path,
    request_files: tuple[Path, ...],
    out: Path | None,
    whole: tuple[str, ...],
    lone: bool,
    probe: bool,
    as_json: bool,
) -> None:
    """Check each REQUEST that `handslag connector init` made, issue its certificate, register its unit.

    All or none, at one moment. The answer is written next to the request as REQUEST.answer.json. Police units come
    region by region: give all requests of POL/EXEMPEL at once, with `--whole-region POL/EXEMPEL`.
    """
    if out is not None and len(request_files) != 1:
        raise click.UsageError("--out takes exactly one REQUEST")
    broker, now = broker_of(config), _now()
    pairs = [(path, out or path.with_name(path.stem + ".answer.json")) for path in request_files]
    plan = admitting.Plan(requests=pairs, whole_regions=whole, lone=lone, probe=probe)
    pending = admitting.admission_of(broker, _authority(broker.settings), plan, now)
    pending = ready(broker, pending, pairs[0][0].with_suffix(".admit.json"), as_json)
    done = admitting.carried_out(broker, pending, now)
    rows = [_admitted_row(admission, answer) for admission, answer in done.units]
    lines = [
        f"{row['unit']}: admitted, agency key {row['agency_key_sha256']}, answer in {row['answer']}" for row in rows
    ]
    told(as_json, {"admitted": rows, "trust_fingerprint": done.fingerprint}, lines)


def _admitted_row(admission: admissions.Admission, answer: Path) -> dict[str, str]:
    return {
        "unit": admission.unit,
        "agency_key_sha256": admissions.key_fingerprint(admission),
        "certificate_sha256": admission.certificate_sha256.hex(),
        "answer": str(answer),
    }


@agency.command("trust", epilog=examples("handslag agency trust --config broker.toml > trust.toml"))
@config_option
@click.option("--probe", is_flag=True, help="The list of the operator's standing test case, which has its own.")
@as_json
def agency_trust(config: Path, probe: bool, as_json: bool) -> None:
    """Print a draft of trust.toml with every admitted agency, unsigned; it is valid once two of them signed it.

    The standing test case trusts its own two keys and nobody else, and no agency is asked to trust it.
    """
    loaded = settings.load(config)
    supervisor = keyfiles.supervisor_key(loaded.supervisor_key_file)
    # INVARIANT: test_no_agency_is_asked_to_trust_the_probe
    admitted = [each for each in admissions.load_all(loaded.data_dir) if each.probe == probe]
    statement = admissions.trust_statement(loaded.origin, _vkey(loaded), supervisor, admitted)
    text, fingerprint = admissions.trust_draft(statement), admissions.fingerprint(statement)
    told(as_json, {"trust_toml": text, "fingerprint": fingerprint}, [text + f"# fingerprint {fingerprint}"])


@agency.command("revoke", epilog=examples("handslag agency revoke --config broker.toml SOC/EXEMPEL/KONSULT"))
@config_option
@click.argument("unit")
@click.option("--reason", help="A word for why; every connector is shown it.")
@click.option("--draft", type=click.Path(path_type=Path), default=Path("revoke.json"), show_default=True)
@as_json
def agency_revoke(config: Path, unit: str, reason: str | None, draft: Path, as_json: bool) -> None:
    """Shut a unit out: its certificate stops counting at its next call, and stays out after a restart.

    Signed by two administrators like every act. A stolen key cannot wait for two: see `handslag connector compromised`.
    """
    broker, now = broker_of(config), _now()
    pending = ready(broker, admitting.revocation(broker, unit, reason, now), draft, as_json)
    admitting.carried_out(broker, pending, now)
    running = control.is_running(broker.settings.data_dir)
    told(as_json, {"unit": unit, "in_force": running}, [f"{unit}: revoked" + ("" if running else " at the next start")])


@agency.command(
    "status",
    epilog=examples(
        "handslag agency status --config broker.toml",
        "handslag --lang en agency status --config broker.toml",
        "handslag agency status --config broker.toml --json | jq '.units[] | select(.state == \"ADMITTED\")'",
    ),
)
@config_option
@as_json
def agency_status(config: Path, as_json: bool) -> None:
    """List the units: last contact, connector version, end of the certificate, clock. Never what waits for whom.

    Works also while the broker is down: the last contact is then the one it kept, at most a minute old when it stopped.
    """
    loaded = settings.load(config)
    running = control.is_running(loaded.data_dir)
    raised = control.call(loaded.data_dir, "instances", {}) if running else {}
    units = status.units(loaded, running=running, now=_now())
    rows = [{**row.as_json(), **_restored(raised.get(row.unit))} for row in units]
    language = language_of()
    lines = status.lines(units, running, language)
    lines += [
        status.restored(row["unit"], row["instance"], row["restored_at"], language)
        for row in rows
        if row["restored_at"]
    ]
    told(as_json, {"units": rows, "running": running}, lines)


def _restored(raised: dict[str, int] | None) -> dict[str, Any]:
    """What `agency status` says of a unit's restores: the number in service and when it was taken."""
    if raised is None:
        return {"instance": None, "restored_at": None}
    at = datetime.fromtimestamp(raised["raised_at_us"] / 1e6, UTC).isoformat(timespec="seconds")
    return {"instance": raised["instance"], "restored_at": at}


@click.command(
    "doctor",
    epilog=examples("handslag doctor --config broker.toml", "handslag doctor --json | jq .faults").replace(
        EXITS, faults.EXITS
    ),
)
@config_option
@as_json
@click.pass_context
def doctor_command(ctx: click.Context, config: Path, as_json: bool) -> None:
    """Find what is wrong, say whose it is and what to type; changes nothing, whether the broker runs or not."""
    root = ctx.find_root().obj
    language = root["lang"] if isinstance(root, dict) else "en"
    try:
        found = doctor.examine(config)
    except HandslagError as error:
        click.echo(error.diagnostics(language), err=True)
        ctx.exit(2)
    told(as_json, faults.as_json(found, True, str(config)), faults.lines(found, True, str(config), language))
    ctx.exit(faults.exit_code(found))


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
