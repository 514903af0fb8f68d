"""The `handslag erase` commands: forgetting what the broker holds about one seat, by an act of two administrators."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from broker import admitting, control, settings
from broker.admin_cli import broker_of, carry_out, ready
from broker.cli_parts import as_json, config_option, examples, told
from broker.store.erasures import ABSENT, DONE
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

    The days are `[backup] horizon_days` of the configuration: for how long you keep copies of this broker.
    """
    loaded, root = settings.load(config), ctx.find_root().obj
    days = loaded.backup.horizon_days
    rows = control.call(loaded.data_dir, "erase-status", {})["acts"]
    acts = admitting.acts_of_kind(broker_of(config), ERASE)
    told_rows = [_status(next((row for row in rows if row["act"] == number), None), number, days) for number in acts]
    language = root["lang"] if isinstance(root, dict) else "en"
    lines = [_line(row, language) for row in told_rows] or ["Nothing was erased."]
    told(as_json, {"horizon_days": days, "acts": told_rows}, lines)


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
_UNDER_WAY = ("påbörjat, inte klart; nästa start fortsätter", "begun, not finished; the next start goes on")


def _line(row: dict[str, Any], language: str) -> str:
    words = _WORDS.get(row["state"], _UNDER_WAY)[0 if language == "sv" else 1]
    return f"{row['act']:>4}  {row.get('ground', '-'):18} {words.format(**row)}"


def _act(config: Path, kind: str, about: tuple[str, str | None], draft: Path, json_wanted: bool) -> None:
    broker = broker_of(config)
    pending = admitting.about_seat(broker, kind, parsed(about[0]), about[1], datetime.now(UTC))
    carry_out(broker, ready(broker, pending, draft, json_wanted), json_wanted)
