"""What every command of the operator shares: its options, the end of its help, its answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

EXITS = "Exit codes: 0 done, 1 failed (code on stderr), 2 wrong usage."

as_json = click.option("--json", "as_json", is_flag=True, help="Answer as one JSON object on stdout.")
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("broker.toml"),
    show_default=True,
    help="The broker's configuration.",
)


def language_of() -> str:
    """The language of what a command tells, sv or en: as the front door was asked, else Swedish."""
    return str(click.get_current_context().find_root().params.get("lang") or "sv")


def examples(*lines: str) -> str:
    """The end of a command's help: examples, then the exit codes."""
    return "\b\n" + "\n".join(("Examples:", *(f"  {line}" for line in lines), "", EXITS))


def told(as_json: bool, data: dict[str, Any], lines: list[str]) -> None:
    """Write the answer: `data` as one JSON object, or `lines` for a person."""
    click.echo(json.dumps(data, ensure_ascii=False) if as_json else "\n".join(lines))
