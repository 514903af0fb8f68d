"""`handslag connector backup`, `restore`, `held`, `compromised`, `recovery-key`: a machine burns, a key is stolen.

Answers on stdout, all else on stderr; shares of a recovery key are written once and kept nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from connectors import enrolment, exposure, fields, files, keeping, recovery, restoring, returning
from connectors import settings as configuration
from connectors.box import DataKey
from connectors.context import Context, clock
from connectors.identity import Identities
from connectors.keys import PublicKeys, UnitKeyPair
from connectors.shared_cli import NO_BACKUP, as_json, config_option, examples, told
from connectors.spool import Spool
from schemas.errors import HandslagError
from schemas.identifiers import parsed, shown

_CLOSE_S = 60.0


def say(line: str) -> None:
    """A line for the person at the terminal."""
    click.echo(line, err=True)


def give_shares(unit: str, public: PublicKeys, shares: Sequence[str], target: Path | None) -> dict[str, Any]:
    """Write the sheets to `target`, mode 0600, which must not exist; returns what the answer says of them."""
    key = {"recovery_key": public.key_id.hex()[:16]}
    if not shares:
        return {**key, "shares": [], "shares_file": None}
    if target is None:
        return {**key, "shares": list(shares), "shares_file": None}
    files.write_secret(target, recovery.sheet(unit, public, shares).encode())
    return {**key, "shares": [], "shares_file": str(target)}


def share_lines(unit: str, public: PublicKeys, shares: Sequence[str], target: Path | None) -> list[str]:
    """The same for a person: the sheets themselves, or where they lie."""
    if not shares:
        return []
    if target is None:
        return ["", recovery.sheet(unit, public, shares)]
    return [
        f"Bladen: {target}. Skriv ut, ge åt tre håll, radera filen.",
        f"Shares: {target}. Print, give them three ways, delete the file.",
    ]


@click.command(
    "backup",
    epilog=examples(
        "handslag connector backup --config konsult/connector.toml",
        "handslag connector backup -o usb/konsult.handslag --json",
    ),
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="The file to write; default: a name in `backup_dir`."
)
@config_option
@as_json
def backup(out: Path | None, config: Path, as_json: bool) -> None:
    """Back this connector up into one file sealed to the recovery key, also while it runs."""
    current = configuration.load(config)
    spool = Spool(current.database, DataKey.load(current.data_key))
    try:
        if out is not None and out.exists():
            raise HandslagError("HS-BACKUP-FAILED", check="file exists")
        keys = keeping.key_state(Identities(spool.store))
        plan = keeping.planned(current, spool, out)
        made = keeping.write(current, plan, keys, keeping.shown_progress(say))
        keeping.remember(spool, made)
        removed = keeping.prune(current) if out is None else 0
    finally:
        spool.close()
    data = {"file": made.file, "bytes": made.size, "made_at": fields.shown_moment(made.at_us), "removed": removed}
    told(as_json, data, [f"Säkerhetskopia / backup: {made.file} ({made.size} bytes)"])


@click.command(
    "restore",
    epilog=examples(
        "handslag connector restore 8c1f...-000012.handslag --dir konsult",
        "handslag connector restore copy.handslag --dir konsult --shares two-shares.txt --json",
    ),
)
@click.argument("backup", type=click.Path(path_type=Path))
@click.option("--dir", "folder", type=click.Path(path_type=Path), required=True, help="Folder to create.")
@click.option("--shares", type=click.Path(path_type=Path), help="File with two shares; without it they are asked for.")
@as_json
def restore(backup: Path, folder: Path, shares: Path | None, as_json: bool) -> None:
    """Rebuild a lost connector from BACKUP and two shares; it takes a new instance number when it runs."""
    if not backup.is_file():
        raise HandslagError("HS-BACKUP-INVALID", check="file")
    keys = recovery.opened(_shares(shares))
    say("Läser och prövar kopian / reading and checking the backup ...")
    counts: dict[str, Any] = {}
    unpacked = restoring.unpack(backup, keys, folder.absolute(), lambda made: counts.update(_prepared(made, keys)))
    data = {
        "config": str(unpacked.config),
        "unit": unpacked.unit,
        "backup_made_at": fields.shown_moment(unpacked.backup_at_us),
        **counts,
    }
    told(as_json, data, _restored_lines(data))


def _prepared(unpacked: restoring.Unpacked, keys: UnitKeyPair) -> dict[str, Any]:
    ctx = Context.load(configuration.load(unpacked.config))
    try:
        return returning.prepare(ctx, keys, backup_at_us=unpacked.backup_at_us, number=unpacked.instance)
    finally:
        ctx.spool.close()


def _shares(file: Path | None) -> list[str]:
    if file is not None:
        try:
            return recovery.from_sheet(file.read_text(encoding="utf-8"))[: recovery.NEEDED]
        except (OSError, UnicodeDecodeError):
            raise HandslagError("HS-SHARES-INVALID", check="file") from None
    return [
        click.prompt(f"Blad / share {number} ({recovery.WORDS} ord / words)", hide_input=True, err=True)
        for number in range(1, recovery.NEEDED + 1)
    ]


def _restored_lines(data: dict[str, Any]) -> list[str]:
    since = data["backup_made_at"]
    return [
        f"Återställd / restored: {data['config']}  ({data['unit']}, kopia av / backup of {since})",
        "",
        f"SV  Borta: allt som noterats sedan {since} och inte hann till mäklaren. Gå igenom egna anteckningar,",
        "    återkallelser först. Mäklarens samtycken, intyg, kvitton och väntande leveranser hämtas när den startar.",
        f"EN  Gone: all that was noted since {since} and did not reach the broker. Go through your own notes,",
        "    withdrawals first. The broker's consents, statements, receipts, waiting deliveries are fetched at start.",
        "",
        f"{data['held']:6d}  leveranser kan redan ha lämnats till ert system / may have been given to your system:"
        " `handslag connector held`",
        f"{data['given_before']:6d}  filer fanns kvar i mappen `out` / files were still in `out`",
        f"{data['not_carried_out']:6d}  begäranden utförs inte av sig själva / requests not carried out by themselves",
        f"{data['waits_for_a_person']:6d}  meddelanden väntar på en människa / messages wait for a person:"
        " `handslag connector waiting`",
        f"{data['sent_again']:6d}  meddelanden prövas på nytt / messages are decided anew",
        f"{data['acknowledgement_unknown']:6d}  meddelanden vars kvittens kan vara borta / whose acknowledgement may be"
        " lost",
        "",
        f"Nästa / next: handslag connector run --config {data['config']}",
    ]


@click.command(
    "held",
    epilog=examples(
        "handslag connector held --config konsult/connector.toml",
        "handslag connector held --given 0199... # it is in our system",
        "handslag connector held --not-given 0199... # it is not: give it",
    ),
)
@click.option("--given", "given", multiple=True, help="A delivery that your system has already; repeatable.")
@click.option("--not-given", "missing", multiple=True, help="A delivery that your system lacks; repeatable.")
@config_option
@as_json
def held(given: tuple[str, ...], missing: tuple[str, ...], config: Path, as_json: bool) -> None:
    """After a restore: deliveries that your system may have been given; a person says which."""
    current = configuration.load(config)
    spool = Spool(current.database, DataKey.load(current.data_key))
    try:
        with spool.transaction():
            for text in given:
                item = next((each for each in spool.incoming.held() if each.delivery_id == parsed(text)), None)
                if item is None:
                    raise HandslagError("HS-EVENT-UNKNOWN", field="delivery")
                spool.incoming.written(item)
            for text in missing:
                if not spool.incoming.let_go(parsed(text)):
                    raise HandslagError("HS-EVENT-UNKNOWN", field="delivery")
        rows = [
            {"delivery_id": shown(item.delivery_id or b""), **{name: item.value.get(name) for name in _SHOWN}}
            for item in spool.incoming.held()
        ]
    finally:
        spool.close()
    lines = [f"{row['delivery_id']}  {row['event_type']}  {row['ref']}  {row['sent_at']}" for row in rows]
    told(as_json, {"held": rows}, lines or ["Nothing is held."])


_SHOWN = ("ref", "event_id", "event_type", "from_role", "sent_at", "categories")


@click.command(
    "compromised",
    epilog=examples(
        "handslag connector compromised --config konsult/connector.toml",
        "handslag connector compromised --since 2026-11-20T00:00:00Z --json > exposed.json",
    ),
)
@click.option(
    "--since", help="When the keys may first have been in other hands, ISO 8601; default: from the first seat."
)
@click.option("--list-only", is_flag=True, help="Close nothing; only list.")
@config_option
@as_json
def compromised(since: str | None, list_only: bool, config: Path, as_json: bool) -> None:
    """The keys of this unit are in other hands: close it at the broker NOW, then list what was exposed.

    It cannot be undone: the unit comes back with new keys, admitted anew.
    """
    ctx = Context.load(configuration.load(config))
    since_us = fields.moment(since, "since") if since else exposure.opened_at_us(ctx)
    error: HandslagError | None = None
    data: dict[str, Any] = {"unit": ctx.settings.unit, "closed": False, "held": None}
    try:
        if not list_only:
            try:
                data = {**data, **asyncio.run(_closed(ctx))}
            except HandslagError as fault:
                error = fault
        data.update(exposure.exposed(ctx, since_us))
    finally:
        ctx.spool.close()
    told(as_json, data, _exposed_lines(data))
    if error is not None:
        say(f"RING OPERATÖREN / PHONE THE OPERATOR: handslag agency revoke {ctx.settings.unit}")
        raise error


async def _closed(ctx: Context) -> dict[str, Any]:
    async with ctx.link:
        answer = await exposure.close_unit(ctx, _CLOSE_S)
    return {"closed": True, "held": answer.held if answer else None}


def _exposed_lines(data: dict[str, Any]) -> list[str]:
    closed = "STÄNGD / CLOSED" if data["closed"] else "INTE STÄNGD / NOT CLOSED"
    lines = [f"{data['unit']}: {closed}, sedan / since {data['since']}"]
    lines += [
        f"{row['ref']}  {row['role']}  {row['state']}  nycklar sedan / keys since {row['keys_since']}"
        f"  mottaget/received {row['received']}  skickat/sent {row['sent']}  {', '.join(row['categories'])}"
        for row in data["seats"]
    ]
    lines.append(
        "Personerna först: den vars IC10-IC12 står här kan behöva skydd i dag. /"
        " The persons first: whose IC10-IC12 stand here may need protection today."
    )
    return lines


@click.command(
    "recovery-key",
    epilog=examples("handslag connector recovery-key --shares sheets.txt --config konsult/connector.toml"),
)
@click.option(
    "--shares", type=click.Path(path_type=Path), help="Write the sheets to this new file, not to the terminal."
)
@click.option("--agency-key", type=click.Path(path_type=Path), help="Default: keys/agency.key of the connector.")
@config_option
@as_json
def recovery_key(shares: Path | None, agency_key: Path | None, config: Path, as_json: bool) -> None:
    """Draw another recovery key and print its shares: for lost shares, or a connector of an earlier version.

    Earlier backups open with their own shares only. Give request.json to the operator to be admitted anew.
    """
    current = configuration.load(config)
    made = enrolment.new_recovery_key(config, agency_key or current.keys_dir / "agency.key")
    lines = [f"Give {made.paths['request']} to the operator (`handslag agency admit`), then enrol its answer."]
    lines += share_lines(current.unit, made.recovery_key, made.shares, shares)
    told(as_json, {**made.paths, **give_shares(current.unit, made.recovery_key, made.shares, shares)}, lines)


def warn(config: Path) -> None:
    """Say it when no backup of this connector exists, or the newest is not where it was put."""
    current = configuration.load(config)
    spool = Spool(current.database, DataKey.load(current.data_key))
    known = keeping.told(spool, clock())
    spool.close()
    if known is None or not known["there"]:
        say(NO_BACKUP)


COMMANDS = (backup, restore, held, compromised, recovery_key)
__all__ = ["COMMANDS", "give_shares", "share_lines", "warn"]
