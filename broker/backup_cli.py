"""Commands of the operator for the worst day: backup, restore, hold."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from broker import admitting, control, restoring, settings
from broker import backup as copies
from broker.admin_cli import broker_of, ready
from broker.cli_parts import as_json, config_option, examples, told
from broker.settings import BrokerSettings
from schemas.errors import HandslagError

_LONG_S = 6 * 3600.0  # the largest store on the slowest disk that anybody should run this on
_LOOK_S = 0.5
_LOST_ACTS = (
    "WARNING: a connector says that it was shown {seen} acts of the administrators, and {known} are here. Put the lost"
    " ones back first (`handslag admin carry-out` of their drafts, in order), or no agency can follow."
)
_APART = "Not in it: root key, log key, TLS keys, configuration. Keep those on another medium, in another place."


@click.command(epilog=examples("handslag backup --config broker.toml /backup/2026-11-22",
                               "handslag backup --config broker.toml /backup/now --json"))  # fmt: skip
@config_option
@click.argument("target", type=click.Path(path_type=Path))
@as_json
def backup(config: Path, target: Path, as_json: bool) -> None:
    """Copy a broker, running or not, to the new folder TARGET, and verify the copy.

    The copy holds the store, the wrapped seat keys, the anchors and the admissions, but no key in clear: the root key,
    the log's key, TLS keys and the configuration are kept apart. Progress goes to stderr.
    """
    loaded = settings.load(config)
    target = target.absolute()
    if control.is_running(loaded.data_dir):
        _asked(loaded, target)
        manifest = copies.finish(loaded, target)
    else:
        with control.sole_node(loaded.data_dir):
            manifest = copies.write(loaded, target, _percent)
    data = {name: manifest[name] for name in ("at_us", "origin", "size", "entries", "not_here")}
    size = sum(one["bytes"] for one in manifest["files"].values())
    told(as_json, {"target": str(target), "bytes": size, "verified": True, **data}, [
        f"Written and verified: {target}",
        f"{manifest['entries']} audit entries, log of {manifest['size']} leaves, {size} bytes.",
        _APART,
    ])  # fmt: skip


def _asked(loaded: BrokerSettings, target: Path) -> None:
    """Let the running node make the copy, and tell how far it is."""
    answer: list[dict[str, Any] | HandslagError] = []

    def work() -> None:
        try:
            answer.append(control.call(loaded.data_dir, "backup", {"target": str(target)}, _LONG_S))
        except HandslagError as error:
            answer.append(error)

    waiting = threading.Thread(target=work, daemon=True)
    waiting.start()
    while waiting.is_alive():
        waiting.join(_LOOK_S)
        if waiting.is_alive():
            done = control.call(loaded.data_dir, "backup-progress", {})
            _percent(done["total"] - done["done"], done["total"])
    result = answer[0]
    if isinstance(result, HandslagError):
        raise result


def _percent(left: int, total: int) -> None:
    if total and (left == 0 or total >= 20_000):  # pages; what takes a blink needs no line for each part of it
        click.echo(f"copied {100 * (total - left) // total} %", err=True)


@click.command(epilog=examples("handslag restore --config broker.toml /backup/2026-11-22",
                               "handslag restore --config broker.toml /backup/x --checkpoint kept.note"))  # fmt: skip
@config_option
@click.argument("copy", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--checkpoint", "notes", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A signed checkpoint that an agency kept; repeatable.")  # fmt: skip
@click.option("--anchor", "anchors", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="An anchor file that survived; repeatable.")  # fmt: skip
@click.option("--acts", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="The folder `acts` of the lost broker, where it survived.")  # fmt: skip
@as_json
def restore(
    config: Path, copy: Path, notes: tuple[Path, ...], anchors: tuple[Path, ...], acts: Path | None, as_json: bool
) -> None:
    """Put COPY into the empty data folder of the configuration; the broker then starts in HOLD.

    The configuration and its key files are in place already, from their own medium. Nothing is overwritten. What was
    recorded after the copy is not in it: until the agencies' connectors have given it back, nothing is released.
    """
    loaded = settings.load(config)
    known = restoring.Known(tuple(path.read_bytes() for path in notes), anchors, acts and acts.absolute())
    steps = {
        "files": "copy is whole",
        "copied": "copied",
        "verified": "trail verifies",
        "marked": "marked HOLD",
    }
    began = time.monotonic()

    def progress(step: str) -> None:
        click.echo(f"{time.monotonic() - began:6.1f} s  {steps[step]}", err=True)

    result = restoring.restore(loaded, copy.absolute(), known, progress)
    told(as_json, {"data_dir": str(loaded.data_dir), "hold": True, **result}, [
        f"Restored {result['kept_size']} leaves of the log; {result['lost_leaves']} more are known to be lost.",
        f"{result['acts']} administrative acts, {result['acts_added']} of them beyond the copy.",
        *(f"Admitted by an act, not in the copy: handslag agency admit again for {u}" for u in result["admit_again"]),
        f"Next: handslag serve --config {config}, then handslag hold continue --config {config}",
    ])  # fmt: skip


@click.group()
def hold() -> None:
    """After a restore: what is held back, and how the log goes on."""


@hold.command("status", epilog=examples("handslag hold status --config broker.toml --json"))
@config_option
@as_json
def hold_status(config: Path, as_json: bool) -> None:
    """Say whether the running broker holds anything back, in numbers; names no seat and no case."""
    loaded = settings.load(config)
    state = control.call(loaded.data_dir, "hold-status", {})
    lines = [f"{name}: {value}" for name, value in state.items() if name != "missing"]
    if state["missing"] is not None:
        lines.append(f"Missing: act {state['missing']['kind']} of two administrators. Next: handslag hold continue")
    told(as_json, state, lines)


@hold.command("continue", epilog=examples(
    "handslag hold continue --config broker.toml --reason 'disk lost'",
    "handslag admin sign hold.json --key duty.key --name duty", "handslag admin carry-out hold.json"))  # fmt: skip
@config_option
@click.option("--reason", required=True, help="What happened, in a line; no names of cases or persons.")
@click.option("--draft", type=click.Path(path_type=Path), default=Path("hold.json"), show_default=True)
@as_json
def hold_continue(config: Path, reason: str, draft: Path, as_json: bool) -> None:
    """State under the log's key that the log goes on under its next origin, and what is known to be lost.

    Wait until the connectors have shown what they have seen (`hold status`, seen_size): what is stated is shown to all
    of them, and each agency compares it with its own memory before it follows. Two administrators sign it, as every
    act; exit code 4: drawn up, waits for signatures. When a connector shows more meanwhile, it is drawn up anew.
    """
    broker, now = broker_of(config), datetime.now(UTC)
    data_dir = broker.settings.data_dir
    known, seen = broker.files.chain().count, control.call(data_dir, "hold-status", {})["acts_seen"]
    if seen > known:
        click.echo(_LOST_ACTS.format(seen=seen, known=known), err=True)
    admitting.carried_out(broker, ready(broker, admitting.going_on(broker, reason, now), draft, as_json), now)
    state = control.call(data_dir, "hold-status", {})
    told(as_json, {"origin": state["origin"]}, [
        f"The log goes on as {state['origin']}.",
        "Each agency now runs `handslag connector resume`; its seats are held until it has.",
    ])  # fmt: skip
