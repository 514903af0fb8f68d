"""The `handslag erase` commands: forgetting what the broker holds about one seat, by an act of two administrators."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from broker import admitting, control, settings
from broker.admin_cli import broker_of, carry_out, ready
from broker.cli_parts import as_json, config_option, examples, told
from broker.store.erasures import ABSENT, DONE, ERASED
from schemas import codes
from schemas.admin import ERASE, LIFT, RESTRICT
from schemas.identifiers import parsed

_SEAT = "0199c3a8-7e51-7b6c-9d2e-0a4b5c6d7e8f"
_seat_option = click.option("--seat-id", required=True, help="The seat, as a UUID; no connector is shown it.")
_draft_option = click.option(
    "--draft", type=click.Path(path_type=Path), default=Path("erase.json"), show_default=True,
    help="Where the act waits for signatures; it names the seat, destroy it afterwards.",
)  # fmt: skip


def _grounds(name: str) -> click.Choice[str]:
    return click.Choice(sorted(codes.table()[name]))


@click.group()
def erase() -> None:
    """Forget what the broker holds about one seat: two administrators sign, every connector is shown that they did.

    The seat must be closed and nothing of it open. Its key is destroyed, and with it the content of every entry; the
    entries themselves stay, so every proof still verifies. What an agency has received is its own, and stays there.
    """


@erase.command(
    "draft",
    epilog=examples(
        f"handslag erase draft --seat-id {_SEAT} --ground RETENTION_OVER --draft e.json",
        "handslag admin sign e.json --key duty.key --name duty",
        "handslag admin carry-out e.json --config broker.toml",
    ),
)
@config_option
@_seat_option
@click.option("--ground", required=True, type=_grounds("erasure_ground"), help="Why; every agency is shown it.")
@_draft_option
@as_json
def erase_draft(config: Path, seat_id: str, ground: str, draft: Path, as_json: bool) -> None:
    """Draw the act up that erases a seat; carried out at once where both administrators' keys are here.

    Needs the running broker. Exit code 4: drawn up, waits for signatures; nothing was changed.
    """
    _act(config, ERASE, (seat_id, ground), draft, as_json)


@erase.command("restrict", epilog=examples(f"handslag erase restrict --seat-id {_SEAT} --ground EVIDENCE"))
@config_option
@_seat_option
@click.option("--ground", required=True, type=_grounds("restriction_ground"), help="Why; every agency is shown it.")
@_draft_option
@as_json
def erase_restrict(config: Path, seat_id: str, ground: str, draft: Path, as_json: bool) -> None:
    """Mark a seat as needed: from then on it cannot be erased. Exit code 4: drawn up, waits for signatures.

    It stops nothing else: what may be read is read as before.
    """
    _act(config, RESTRICT, (seat_id, ground), draft, as_json)


@erase.command("lift", epilog=examples(f"handslag erase lift --seat-id {_SEAT}"))
@config_option
@_seat_option
@_draft_option
@as_json
def erase_lift(config: Path, seat_id: str, draft: Path, as_json: bool) -> None:
    """Lift what `restrict` marked: the seat may be erased again. Exit code 4: drawn up, waits for signatures."""
    _act(config, LIFT, (seat_id, None), draft, as_json)


@erase.command("status", epilog=examples("handslag erase status --config broker.toml --json"))
@config_option
@as_json
@click.pass_context
def erase_status(ctx: click.Context, config: Path, as_json: bool) -> None:
    """Every act that erases: how far it is, and until when a backup could bring back what it erased.

    The days are `[backup] horizon_days` of the configuration: for how long you keep copies of this broker. On a server
    also which nodes are waited for, and how old a copy of the root key must be to open what the server still keeps.
    """
    loaded, root = settings.load(config), ctx.find_root().obj
    days = loaded.backup.horizon_days
    found = control.call(loaded.data_dir, "erase-status", {})
    acts = admitting.acts_of_kind(broker_of(config), ERASE)
    told_rows = [_status(next((row for row in found["acts"] if row["act"] == number), None), number, days)
                 for number in acts]  # fmt: skip
    language = root["lang"] if isinstance(root, dict) else "en"
    lines = [_line(row, language) for row in told_rows] or ["Nothing was erased."]
    held = {name: found[name] for name in ("root_key_epoch", "waits_for")}
    told(as_json, {"horizon_days": days, "acts": told_rows, **held}, [*lines, *_held(held, language)])


@erase.command("retire", epilog=examples("handslag erase retire 0123456789abcdef --destroyed"))
@config_option
@click.argument("node")
@click.option("--destroyed", is_flag=True, required=True, help="You saw to it; nobody can check it for you.")
@as_json
def erase_retire(config: Path, node: str, destroyed: bool, as_json: bool) -> None:
    """Say that NODE's folder and its copy of the root key are destroyed: erasures no longer wait for it.

    Only for a node that is gone for good. One that was merely away lets go by itself when it starts.
    """
    assert destroyed, "it is required"
    control.call(settings.load(config).data_dir, "erase-retire", {"node": node})
    told(as_json, {"retired": node}, [f"Erasures no longer wait for {node}."])


def _status(row: dict[str, Any] | None, number: int, days: int) -> dict[str, Any]:
    if row is None:
        return {"act": number, "state": "REFUSED", "recoverable_until": None}
    until = datetime.fromtimestamp(row["at_us"] / 1e6, UTC) + timedelta(days=days)
    return {**row, "recoverable_until": until.date().isoformat() if row["state"] == DONE else None}


_WORDS = {
    DONE: ("raderat här ({entries} poster), kan återställas ur säkerhetskopior till {recoverable_until}",
           "erased here ({entries} entries), recoverable from backups until {recoverable_until}"),
    ABSENT: ("sätet finns inte här; inget att radera", "the seat is not here; nothing to erase"),
    "REFUSED": ("inte utfört; kör `handslag admin carry-out` igen eller starta om",
                "not carried out; run `handslag admin carry-out` again or restart"),
}  # fmt: skip
_TABLES = ("raderat i tabellerna ({entries} poster); klart när ingen nod kan öppna det mer",
           "erased in the tables ({entries} entries); done when no node can open it any more")  # fmt: skip
_UNDER_WAY = ("påbörjat, inte klart; nästa start fortsätter", "begun, not finished; the next start goes on")


def _line(row: dict[str, Any], language: str) -> str:
    words = (_TABLES if row["state"] == ERASED else _WORDS.get(row["state"], _UNDER_WAY))[0 if language == "sv" else 1]
    return f"{row['act']:>4}  {row.get('ground', '-'):18} {words.format(**row)}"


_HELD = (
    "Väntar på noden {node}, som ännu kan öppna vad servern har kvar. Starta den, eller se `erase retire`.",
    "Waits for node {node}, which can still open what the server keeps. Start it, or see `erase retire`.",
)
_EPOCH = ("Servern behåller raderat i gamla rader, logg och kopior. Nycklar däri öppnas bara av en kopia av rotnyckeln"
          " före epok {epoch}: förnya kopiorna av root_key_file efter nästa säkerhetskopia och förstör de äldre."
          " Raderna i sig: docs/postgresql.md.",
          "The server keeps what was deleted in old rows, logs and copies. Keys in them open only with a copy of the"
          " root key from before epoch {epoch}: after the next backup renew your copies of root_key_file and destroy"
          " the older ones. The rows themselves: docs/postgresql.md.")  # fmt: skip


def _held(held: dict[str, Any], language: str) -> list[str]:
    which = 0 if language == "sv" else 1
    if held["root_key_epoch"] is None:
        return []
    return [*(_HELD[which].format(**each) for each in held["waits_for"]),
            _EPOCH[which].format(epoch=held["root_key_epoch"])]  # fmt: skip


def _act(config: Path, kind: str, about: tuple[str, str | None], draft: Path, json_wanted: bool) -> None:
    broker = broker_of(config)
    pending = admitting.about_seat(broker, kind, parsed(about[0]), about[1], datetime.now(UTC))
    carry_out(broker, ready(broker, pending, draft, json_wanted), json_wanted)
