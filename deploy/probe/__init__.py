"""`handslag probe`: a standing test case between two connectors of the operator, through the whole real path."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import click

from broker import logs
from deploy.probe import evidence, run, setup, status
from deploy.probe.settings import load

__all__ = ["probe"]

EXITS = "Exit codes: 0 done and well, 1 failed or not well (code on stderr), 2 wrong usage."

as_json = click.option("--json", "as_json", is_flag=True, help="Answer as one JSON object on stdout.")
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("probe.toml"),
    show_default=True,
    help="The probe's configuration.",
)


def _examples(*lines: str) -> str:
    return "\b\n" + "\n".join(("Examples:", *(f"  {line}" for line in lines), "", EXITS))


@click.group(epilog=_examples("handslag probe init --config broker/broker.toml --dir probe"))
def probe() -> None:
    """Run the operator's standing test case: is anything moving, is what must be withheld withheld."""


@probe.command("init", epilog=_examples("handslag probe init --config broker/broker.toml --dir probe"))
@click.option("--config", type=click.Path(path_type=Path), default=Path("broker.toml"), show_default=True,
              help="The broker's configuration.")  # fmt: skip
@click.option("--dir", "folder", type=click.Path(path_type=Path), required=True, help="Folder to create.")
@click.option("--unit", default="DRIFT", show_default=True, help="Name in the codes SOC/.../SOND, POL/.../SOND.")
@click.option("--listen", default="127.0.0.1:9465", show_default=True, help="Address of the probe's metrics.")
@as_json
def init(config: Path, folder: Path, unit: str, listen: str, as_json: bool) -> None:
    """Make two units of the operator, admit them as a probe, and let them trust each other and nobody else."""
    made = setup.initialise(config.absolute(), folder.absolute(), unit, listen)
    if as_json:
        click.echo(json.dumps(made))
    else:
        click.echo(f"Created {made['config']}\nNext: handslag probe run --config {made['config']}")


@probe.command("run", epilog=_examples("handslag probe run --config probe/probe.toml"))
@config_option
def run_command(config: Path) -> None:
    """Send, look and tell until told to stop (SIGTERM, SIGINT); Prometheus metrics at `listen`."""
    logs.configure()
    asyncio.run(run.run(load(config)))


@probe.command(
    "status",
    epilog=_examples("handslag probe status --config probe/probe.toml", "handslag probe status --json | jq .healthy"),
)
@config_option
@as_json
@click.pass_context
def status_command(ctx: click.Context, config: Path, as_json: bool) -> None:
    """Say in three lines whether anything moves; exit code 1 when it does not, or when the probe itself is broken."""
    seen = status.asked(load(config))
    lang = (ctx.find_root().obj or {}).get("lang", "en")
    click.echo(json.dumps(seen.as_json()) if as_json else "\n".join(status.lines(seen, lang)))
    if not seen.healthy:
        sys.exit(1)


@probe.command(
    "wrong",
    epilog=_examples(
        "handslag probe wrong --config probe/probe.toml --json",
        "handslag probe wrong --acknowledge 'A. Exempel, incident 12'",
    ),
)
@config_option
@click.option("--acknowledge", metavar="WHO", help="Take note of all of them, by name; the alarm falls silent.")
@as_json
def wrong(config: Path, acknowledge: str | None, as_json: bool) -> None:
    """List test messages that arrived and must not have; they stay an alarm until somebody takes note by name."""
    folder = load(config).evidence
    rows = evidence.acknowledged(folder, acknowledge) if acknowledge else evidence.unacknowledged(folder)
    if as_json:
        click.echo(json.dumps({"wrong": rows, "acknowledged_by": acknowledge}, ensure_ascii=False))
    else:
        click.echo("\n".join(f"{row['at']}  {row['kind']}  event {row['event_id']}" for row in rows) or "None.")
