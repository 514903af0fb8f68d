"""`handslag connector ...`: what an agency's IT does. Answers on stdout (`--json`: one object), all else on stderr."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import click

from connectors import enrolment, runner, sending
from connectors import settings as configuration
from connectors.box import DataKey
from connectors.context import Context
from connectors.identity import Identities
from connectors.spool import Spool
from schemas.errors import HandslagError

EXITS = "Exit codes: 0 done, 1 failed with a code on stderr, 2 wrong usage."
NO_BACKUP = "WARNING: NO BACKUP OF THIS CONNECTOR EXISTS. If this disk dies, its seats and what waits here are lost."

as_json = click.option("--json", "as_json", is_flag=True, help="Answer as one JSON object on stdout.")
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("connector.toml"),
    show_default=True,
    help="The connector's configuration.",
)


def examples(*lines: str) -> str:
    """The end of a command's help: examples, then the exit codes."""
    return "\b\n" + "\n".join(("Examples:", *(f"  {line}" for line in lines), "", EXITS))


def told(as_json: bool, data: dict[str, Any], lines: list[str]) -> None:
    """Write the answer: `data` as one JSON object, or `lines` for a person."""
    click.echo(json.dumps(data, ensure_ascii=False) if as_json else "\n".join(lines))


@click.group(epilog=examples("handslag connector init --help", "handslag connector run --config connector.toml"))
def connector() -> None:
    """Set up and run the connector of one unit."""


@connector.command(
    "init",
    epilog=examples(
        "handslag connector init --dir konsult --unit SOC/EXEMPEL/KONSULT --agency EXEMPEL-KOMMUN"
        " --controller EXEMPEL-SN --role social_services_lead"
    ),
)
@click.option("--dir", "folder", type=click.Path(path_type=Path), required=True, help="Folder to create.")
@click.option("--unit", required=True, help="Unit code.")
@click.option("--agency", required=True, help="Agency code, as it will stand in trust.toml.")
@click.option("--controller", required=True, help="Controller that owns the unit's audit entries.")
@click.option("--role", "roles", multiple=True, required=True, help="Role the unit may hold; repeatable.")
@click.option("--agency-key", type=click.Path(path_type=Path), help="Key file of the agency, if it has one already.")
@click.option("--accept", type=click.Choice(["automatic", "explicit"]), default="explicit", show_default=True)
@click.option("--regime", type=click.Choice(["GDPR", "BDL"]), default="GDPR", show_default=True)
@as_json
def init(
    folder: Path,
    unit: str,
    agency: str,
    controller: str,
    roles: tuple[str, ...],
    agency_key: Path | None,
    accept: str,
    regime: str,
    as_json: bool,
) -> None:
    """Create keys, certificate request, request.json for the operator, and connector.toml."""
    who = enrolment.Unit(unit=unit, agency=agency, controller=controller, roles=roles)
    made = enrolment.initialise(folder, who, agency_key, {"accept": accept, "regime": regime})
    click.echo(NO_BACKUP, err=True)
    told(as_json, {**made, "backup": None}, [
        f"Configuration: {made['config']}",
        f"Give {made['request']} to the operator (`handslag agency admit`), then `handslag connector enrol ANSWER`.",
        f"The agency's key: {made['agency_key']}. Keep it offline once the trust list is signed.",
    ])  # fmt: skip


@connector.command("enrol", epilog=examples("handslag connector enrol answer.json --config konsult/connector.toml"))
@click.argument("answer", type=click.Path(path_type=Path))
@config_option
@as_json
def enrol(answer: Path, config: Path, as_json: bool) -> None:
    """Take the operator's ANSWER: certificate, authority, address and origin."""
    current = enrolment.enrol(config, answer)
    lines = [f"Enrolled with {current.broker_url}. Next: `handslag connector trust install`."]
    told(as_json, {"broker_url": current.broker_url, "origin": current.origin}, lines)


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
    click.echo(NO_BACKUP, err=True)
    told(as_json, {"ok": True, **found}, [f"{name}: {value}" for name, value in found.items()])


@connector.command("run", epilog=examples("handslag connector run --config konsult/connector.toml"))
@config_option
def run(config: Path) -> None:
    """Run until told to stop (SIGTERM, SIGINT)."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    click.echo(NO_BACKUP, err=True)
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
        "backup": None,
    }
    spool.close()
    told(as_json, data, [f"{name}: {json.dumps(value)}" for name, value in data.items()])


@connector.command("waiting", epilog=examples("handslag connector waiting --json"))
@config_option
@as_json
def waiting(config: Path, as_json: bool) -> None:
    """What waits for consent, or for a named person to decide."""
    ctx = Context.load(configuration.load(config))
    rows = sending.waiting_list(ctx)
    ctx.spool.close()
    lines = [
        f"{row['event_id']}  {row['state']:8}  {row['event_type']}  {row['ref']}  until {row['goes_by_itself_until']}"
        for row in rows
    ]
    told(as_json, {"waiting": rows}, lines or ["Nothing waits."])


def _not_yet(name: str) -> click.Command:
    @click.command(name, epilog=examples(f"handslag connector {name}"))
    @as_json
    def command(as_json: bool) -> None:
        del as_json
        raise HandslagError("HS-NOT-YET", field=name)

    command.help = "Not yet; says what to do instead."
    return command


for _name in ("backup", "restore", "doctor"):
    connector.add_command(_not_yet(_name))
