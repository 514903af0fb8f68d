"""`handslag demo`: one whole case between real connectors and a real broker, with the commands everybody has."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from deploy.demo.play import Play
from deploy.demo.readback import read_back
from deploy.demo.relocation import play_moving
from deploy.demo.scenario import load
from deploy.demo.table import differences, rendered

__all__ = ["demo"]

HELP = """\b
Examples:
  handslag demo --dir build/demo
  handslag demo --dir build/demo --json | jq .outcomes

Exit codes: 0 everything came as the scenario says, 1 something else came or a process failed, 2 wrong usage."""


@click.command(epilog=HELP)
@click.option("--dir", "folder", type=click.Path(path_type=Path), required=True, help="Folder to make; stays behind.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object on stdout.")
def demo(folder: Path, as_json: bool) -> None:
    """Play one whole case, and then a move: brokers and connectors as processes of their own, over mutual TLS."""
    scenario = load(Path(__file__).parent)
    play = Play(folder.absolute(), scenario, lambda line: click.echo(line, err=True))
    with play:
        play.set_up()
        play.run_steps()
        outcomes = read_back(play)
    moved = play_moving(folder.absolute() / "moving", lambda line: click.echo(line, err=True))
    trust = play.config("social").parent / "trust.toml"
    verified = play.handslag("audit", "verify", play.copy_trail(), "--trust", trust, "--lang", "en")
    wrong = differences(scenario.outcomes, outcomes) + moved["found"]
    report = {
        "outcomes": [row.as_json() for row in outcomes],
        "moving": moved,
        "differences": wrong,
        "verify": verified.splitlines(),
    }
    (folder / "report.json").write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        click.echo(rendered(outcomes))
        click.echo(
            "\nThe person moved twice; the lead's seat is "
            + ", ".join(f"{state} at {name}" for name, state in moved["leads"].items())
            + ". Those who were left know of no next one.\n"
        )
        click.echo(verified)
        click.echo(play.next_commands())
    for line in wrong:
        click.echo(f"NOT AS EXPECTED: {line}", err=True)
    sys.exit(1 if wrong else 0)
