"""`handslag connector ...`: what an agency's IT does. Answers on stdout (`--json`: one object), all else on stderr."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

import click

from connectors import backup_cli, enrolment, instance, keeping, rekey_cli, returning, runner, sending
from connectors import settings as configuration
from connectors.box import DataKey
from connectors.context import Context, clock
from connectors.doctor.examine import examine
from connectors.identity import Identities
from connectors.resume_cli import resume_command
from connectors.shared_cli import EXITS, NO_BACKUP, as_json, config_option, examples, language_of, told
from connectors.spool import Spool
from schemas import faults
from schemas.errors import HandslagError
from schemas.languages import Text


@click.group(epilog=examples("handslag connector init --help", "handslag connector run --config connector.toml"))
def connector() -> None:
    """Set up and run the connector of one unit."""


@connector.command(
    "init",
    epilog=examples(
        "handslag connector init --dir konsult --unit SOC/EXEMPEL/KONSULT --agency SOC/EXEMPEL"
        " --controller EXEMPEL-SN --role social_services_lead"
    ),
)
@click.option("--dir", "folder", type=click.Path(path_type=Path), required=True, help="Folder to create.")
@click.option("--unit", required=True, help="Unit code.")
@click.option("--agency", required=True, help="Agency code, with which its units' codes begin.")
@click.option("--controller", help="Controller that owns the unit's audit entries.  [default: the agency]")
@click.option("--role", "roles", multiple=True, required=True, help="Role the unit may hold; repeatable.")
@click.option("--agency-key", type=click.Path(path_type=Path), help="Key file of the agency, if it has one already.")
@click.option(
    "--recovery-key", type=click.Path(path_type=Path), help="keys/recovery.pub of another unit of the agency."
)
@click.option("--shares", type=click.Path(path_type=Path), help="Write the three sheets to this new file, mode 0600.")
@click.option("--accept", type=click.Choice(["automatic", "explicit"]), default="explicit", show_default=True)
@click.option("--regime", type=click.Choice(["GDPR", "BDL"]), default="GDPR", show_default=True)
@as_json
def init(
    folder: Path,
    unit: str,
    agency: str,
    controller: str | None,
    roles: tuple[str, ...],
    agency_key: Path | None,
    recovery_key: Path | None,
    shares: Path | None,
    accept: str,
    regime: str,
    as_json: bool,
) -> None:
    """Create keys, certificate request, request.json for the operator, and connector.toml.

    The agency's recovery key is drawn here too: three paper shares, two of which restore a lost connector. They are
    shown once, or written once to --shares, and kept nowhere.
    """
    who = enrolment.Unit(unit=unit, agency=agency, controller=controller or agency, roles=roles)
    made = enrolment.initialise(folder, who, agency_key, {"accept": accept, "regime": regime}, recovery_key)
    paths, given = made.paths, backup_cli.give_shares(unit, made.recovery_key, made.shares, shares)
    click.echo(NO_BACKUP, err=True)
    told(as_json, {**paths, "backup": None, **given}, [
        f"Configuration: {paths['config']}",
        f"Give {paths['request']} to the operator (`handslag agency admit`), then `handslag connector enrol ANSWER`.",
        f"The agency's key: {paths['agency_key']}. Keep it offline once the trust list is signed.",
        *backup_cli.share_lines(unit, made.recovery_key, made.shares, shares),
    ])  # fmt: skip


@connector.command(
    "enrol",
    epilog=examples(
        "handslag connector enrol answer.json --config konsult/connector.toml",
        "handslag connector enrol answer.json --heard 'ab12 cd34 ...' --config konsult/connector.toml",
    ),
)
@click.argument("answer", type=click.Path(path_type=Path))
@click.option("--heard", help="Fingerprint as another agency read it out; `-` reads it from stdin.  [default: asks]")
@click.option("--agency-key", type=click.Path(path_type=Path), help="Default: keys/agency.key, if it lies there.")
@config_option
@as_json
def enrol(answer: Path, heard: str | None, agency_key: Path | None, config: Path, as_json: bool) -> None:
    """Take the operator's ANSWER, compare the trust list with another agency by phone, and sign it."""
    current = enrolment.enrol(config, answer)
    data = {"broker_url": current.broker_url, "origin": current.origin, "compared": False, "signed": False}
    lines = [f"Enrolled with {current.broker_url}."]
    offered = enrolment.offer(answer)
    if offered is None or not offered.comparable:
        lines.append("The trust list names no other agency yet: ask for a new answer when one is admitted.")
    elif heard is None and offered.known(current):
        data["compared"] = True
        lines.append("The trust list is the one that was compared before.")
    else:
        heard = _heard(offered.spoken, heard)
        data["fingerprint"] = "".join(offered.spoken.split())
        if heard is None:
            lines.append("Not compared: run this again with --heard, or `handslag connector trust install`.")
        else:
            data["signed"] = enrolment.compared(config, offered, heard, agency_key)
            data["compared"] = True
            lines.append(f"Compared. Next: handslag connector run --config {config}")
    told(as_json, data, lines)


READ_ALOUD = "Läs upp / Read aloud: "
HEARD = "Skriv vad den andra läste upp / Type what the other read out"


def _heard(spoken: str, given: str | None) -> str | None:
    """What the other agency read out: given, from stdin, or asked for at a terminal; None where nobody is asked."""
    if given not in {None, "-"}:
        return given
    click.echo(READ_ALOUD + spoken, err=True)
    if given == "-":
        return sys.stdin.readline()
    return str(click.prompt(HEARD, err=True)) if sys.stdin.isatty() else None


@connector.group("trust", epilog=examples("handslag connector trust fingerprint trust.toml"))
def trust_group() -> None:
    """Sign, compare and install the list of agencies and keys that this connector trusts."""


@trust_group.command(
    "sign", epilog=examples("handslag connector trust sign draft.toml --agency-key keys/agency.key -o trust.toml")
)
@click.argument("draft", type=click.Path(path_type=Path))
@click.option("--agency-key", type=click.Path(path_type=Path), help="Default: keys/agency.key of the connector.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Where to write; default: DRAFT itself.")
@config_option
@as_json
def trust_sign(draft: Path, agency_key: Path | None, out: Path | None, config: Path, as_json: bool) -> None:
    """Add this agency's signature to DRAFT, after comparing its fingerprint with the other agencies by phone."""
    current = configuration.load(config)
    text = enrolment.sign_trust(draft, current.agency, agency_key or current.keys_dir / "agency.key")
    target = out or draft
    target.write_text(text, encoding="utf-8")
    spoken = enrolment.fingerprint_of(target)
    fingerprint = "".join(spoken.split())
    told(as_json, {"file": str(target), "fingerprint": fingerprint}, [f"Signed: {target}", "Fingerprint:", spoken])


@trust_group.command("fingerprint", epilog=examples("handslag connector trust fingerprint trust.toml"))
@click.argument("file", type=click.Path(path_type=Path))
@as_json
def trust_fingerprint(file: Path, as_json: bool) -> None:
    """Print the fingerprint of FILE in groups for the phone."""
    spoken = enrolment.fingerprint_of(file)
    told(as_json, {"fingerprint": "".join(spoken.split())}, [spoken])


@trust_group.command(
    "install", epilog=examples("handslag connector trust install trust.toml --fingerprint 'ab12 cd34 ...'")
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--fingerprint", required=True, help="64 hex digits in any grouping, compared by phone.")
@config_option
@as_json
def trust_install(file: Path, fingerprint: str, config: Path, as_json: bool) -> None:
    """Use FILE from now on, if two agencies signed it and its fingerprint is the one given."""
    current = enrolment.install_trust(config, file, fingerprint)
    told(as_json, {"fingerprint": current.trust_fingerprint}, [f"Trusted: {current.trust_file}"])


@connector.command("verify", epilog=examples("handslag connector verify --config konsult/connector.toml --json"))
@config_option
@as_json
def verify(config: Path, as_json: bool) -> None:
    """Check configuration, permissions, keys, certificate and trust list; asks nobody."""
    found = enrolment.verify(config)
    backup_cli.warn(config)
    told(as_json, {"ok": True, **found}, [f"{name}: {value}" for name, value in found.items()])


@connector.command("run", epilog=examples("handslag connector run --config konsult/connector.toml"))
@config_option
def run(config: Path) -> None:
    """Run until told to stop (SIGTERM, SIGINT)."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    backup_cli.warn(config)
    for said in enrolment.authority_says(config):
        click.echo(f"WARNING: the certificate authority says of itself: {said}", err=True)
    asyncio.run(runner.run(config))


def offline(config: Path) -> tuple[Spool, Identities]:
    """The spool and map of a connector, also while it runs; nothing is sent."""
    current = configuration.load(config)
    spool = Spool(current.database, DataKey.load(current.data_key))
    return spool, Identities(spool.store)


@connector.command("status", epilog=examples("handslag connector status --json"))
@config_option
@as_json
def status(config: Path, as_json: bool) -> None:
    """Counts of what is here, and whether anything stopped this connector; names no case."""
    spool, identities = offline(config)
    held, wanted = spool.memory.proof_counts()
    seats: dict[str, int] = {}
    for seat in identities.all():
        seats[seat.state] = seats.get(seat.state, 0) + 1
    halt = spool.memory.get("halt")
    data = {
        "seats": seats,
        "outgoing": spool.outgoing.counts(),
        "incoming": spool.incoming.counts(),
        "commands": spool.commands.counts(),
        "proofs": {"held": held, "wanted": wanted},
        "stopped_by": halt.decode() if halt else None,
        "instance": instance.number_of(configuration.load(config), spool),
        "backup": keeping.told(spool, clock()),
        "restored": returning.summary(restored) if (restored := instance.restored(spool)) else None,
    }
    spool.close()
    told(as_json, data, [f"{name}: {json.dumps(value)}" for name, value in data.items()])


@connector.command(
    "waiting",
    epilog=examples(
        "handslag connector waiting", "handslag --lang en connector waiting", "handslag connector waiting --json"
    ),
)
@config_option
@as_json
def waiting(config: Path, as_json: bool) -> None:
    """What waits for consent, or for a named person to decide."""
    ctx = Context.load(configuration.load(config))
    rows = sending.waiting_list(ctx)
    ctx.spool.close()
    language = language_of()
    lines = [
        _WAITS[row["state"]].told(language, row["event_id"], row["event_type"], row["ref"], row["goes_by_itself_until"])
        for row in rows
    ]
    told(as_json, {"waiting": rows}, lines or [_NOTHING.told(language)])


_WAITS = {
    "WAITING": Text(
        "{}  WAITING   {}  {}  väntar, går av sig självt till {}",
        "{}  WAITING   {}  {}  waits, goes by itself until {}",
    ),
    "EXPIRED": Text(
        "{}  EXPIRED   {}  {}  en person måste avgöra, går inte av sig självt mer (hållbart till {})",
        "{}  EXPIRED   {}  {}  a person has to decide, goes by itself no more (shelf life until {})",
    ),
}
_NOTHING = Text("Ingenting väntar.", "Nothing waits.")


@connector.command(
    "doctor",
    epilog=examples(
        "handslag connector doctor --config konsult/connector.toml",
        "handslag connector doctor --offline --json | jq .faults",
    ).replace(EXITS, faults.EXITS),
)
@config_option
@click.option("--offline", is_flag=True, help="Look at this machine only; touch no network.")
@as_json
@click.pass_context
def doctor(ctx: click.Context, config: Path, offline: bool, as_json: bool) -> None:
    """Find what is wrong, say whose it is and what to type; changes nothing, also while the connector runs."""
    root = ctx.find_root().obj
    language = root["lang"] if isinstance(root, dict) else "en"
    try:
        found, looked = examine(config, network=not offline)
    except HandslagError as error:
        click.echo(error.diagnostics(language), err=True)
        ctx.exit(2)
    told(as_json, faults.as_json(found, looked, str(config)), faults.lines(found, looked, str(config), language))
    ctx.exit(faults.exit_code(found))


for _command in (*backup_cli.COMMANDS, *rekey_cli.COMMANDS, resume_command):
    connector.add_command(_command)

__all__ = ["EXITS", "NO_BACKUP", "as_json", "config_option", "connector", "examples", "offline", "told"]
