"""The commands `handslag seat` and `handslag trail`: what lies sealed in the store, shown to a human."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from broker import control, settings
from broker.cli_parts import as_json, config_option, examples, told
from broker.queries import PURPOSES
from broker.store import trailcopy
from broker.store.cipher import ColumnCipher
from broker.store.keys import columns_key
from broker.store.transfer import to_files
from schemas.identifiers import parsed


@click.group()
def seat() -> None:
    """Which unit sits in a seat: never to be seen in the store, and told only on record."""


@seat.command(
    "unit",
    epilog=examples(
        "handslag seat unit --seat-id 0199c3a8-7e51-7b6c-9d2e-0a4b5c6d7e8f --actor duty \\",
        "    --purpose INTEGRITY --case-number DR-2026-17 --config broker.toml",
    ),
)
@config_option
@click.option("--seat-id", required=True, help="The seat, as a UUID.")
@click.option("--actor", required=True, help="Your function (`duty`), never a name; it is shown to the agency.")
@click.option("--purpose", required=True, type=click.Choice(sorted(PURPOSES)), help="Why; it is shown to the agency.")
@click.option("--case-number", required=True, help="The number under which this look is on file.")
@as_json
def seat_unit(config: Path, seat_id: str, actor: str, purpose: str, case_number: str, as_json: bool) -> None:
    """Tell which unit sits in a seat, after the look was recorded and the seat's agency was told.

    Needs the running broker: nothing else can put it on record. The agency's connector writes a notice
    (`seat_resolved`) within a minute, and `audit search` there shows who asked and why.
    """
    loaded = settings.load(config)
    asked = {"seat_id": parsed(seat_id).hex(), "actor": actor, "purpose": purpose, "case_number": case_number}
    found = control.call(loaded.data_dir, "seat_unit", asked)
    lines = [str(found["unit"]), f"On record as entry {found['entry_id']}; the agency is told now."]
    told(as_json, found, lines)


@click.group()
def trail() -> None:
    """The audit trail by itself, for whoever verifies it."""


@trail.command("copy", epilog=examples("handslag trail copy trail.db --config broker.toml"))
@config_option
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@as_json
def trail_copy(config: Path, out: Path, as_json: bool) -> None:
    """Write the trail to OUT for `handslag audit verify`: log and entries, no seat, no delivery, nothing to decrypt.

    The broker's own file is sealed where it names units, and cannot be verified as it lies. OUT names in the clear
    which agency each entry belongs to, as auditors must see: keep it as you keep the trail.
    """
    loaded = settings.load(config)

    def progress(table: str, rows: int) -> None:
        click.echo(f"{table}: {rows}", err=True)

    if loaded.store.engine == "postgresql":
        # Beside `out`, closed to others and gone afterwards: sealed rows and wrapped keys as they lie on the server.
        with tempfile.TemporaryDirectory(prefix=".trail-", dir=out.absolute().parent) as folder:
            database, keys = Path(folder) / "trail.db", Path(folder) / "keys.db"
            to_files(loaded.store, database, keys, progress, only=trailcopy.TRAIL)
            count = trailcopy.copy(database, ColumnCipher(columns_key(keys, loaded.root_key_file)), out, progress)
    else:
        cipher = ColumnCipher(columns_key(loaded.data_dir / "keys.db", loaded.root_key_file))
        count = trailcopy.copy(loaded.database, cipher, out, progress)
    told(as_json, {"trail": str(out), "entries": count}, [f"{out}: {count} entries"])
