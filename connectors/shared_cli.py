"""What every command of a connector has in common: options, the end of its help, how it answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])
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


def about_options(command: _Command) -> _Command:
    """Whom the data concern and when they are from, as a command that sends states them."""
    for option in (
        click.option("--data-until", help="The first moment after the data, ISO 8601.  [default: not stated]"),
        click.option("--data-since", help="When the data are from, ISO 8601.  [default: not stated]"),
        click.option(
            "--person",
            "persons",
            multiple=True,
            type=click.IntRange(0, 63),
            help="Number of a person it concerns, as in `about`; repeatable.  [default: 0, of the case]",
        ),
    ):
        command = option(command)
    return command


def language_of(given: str | None = None) -> str:
    """The language of what a command tells, sv or en: as it was asked, else as the front door was, else Swedish."""
    return given or str(click.get_current_context().find_root().params.get("lang") or "sv")


def examples(*lines: str) -> str:
    """The end of a command's help: examples, then the exit codes."""
    return "\b\n" + "\n".join(("Examples:", *(f"  {line}" for line in lines), "", EXITS))


def told(as_json: bool, data: dict[str, Any], lines: list[str]) -> None:
    """Write the answer: `data` as one JSON object, or `lines` for a person."""
    click.echo(json.dumps(data, ensure_ascii=False) if as_json else "\n".join(lines))
