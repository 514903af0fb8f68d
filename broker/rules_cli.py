"""`handslag rules propose`, `activate`: the operator's side of a rules change; two administrators sign each step."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from broker import proposing
from broker.admin_cli import broker_of, carry_out, ready
from broker.cli_parts import as_json, config_option, examples
from consent.rules import LIMIT
from consent.rules_diff import changes, sentences
from schemas.errors import HandslagError


@click.command(
    "propose",
    epilog=examples(
        "handslag rules propose 2026-12-01.toml --config broker.toml",
        "",
        "Exit code 4: drawn up, waits for signatures (`handslag admin sign`, `handslag admin carry-out`).",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@config_option
@click.option("--draft", type=click.Path(path_type=Path), default=Path("propose.json"), show_default=True)
@as_json
def propose(file: Path, config: Path, draft: Path, as_json: bool) -> None:
    """Put the rule FILE before every agency. Nothing is decided by it until it is activated.

    It must be fit (`handslag rules check`) and of a version that nobody has proposed before: going back is a new
    version too.
    """
    if file.stat().st_size > LIMIT:
        raise HandslagError("HS-TOO-LARGE", limit=LIMIT)
    broker = broker_of(config)
    pending = proposing.proposal(broker.files, file.read_bytes(), datetime.now(UTC))
    carry_out(broker, ready(broker, pending, draft, as_json), as_json)


@click.command(
    "activate",
    epilog=examples(
        "handslag rules activate 2026-12-01 --config broker.toml",
        "",
        "Exit code 4: drawn up, waits for signatures (`handslag admin sign`, `handslag admin carry-out`).",
    ),
)
@click.argument("version")
@config_option
@click.option("--draft", type=click.Path(path_type=Path), default=Path("activate.json"), show_default=True)
@as_json
@click.pass_context
def activate(ctx: click.Context, version: str, config: Path, draft: Path, as_json: bool) -> None:
    """Put the proposed rule set VERSION in force: what it closes is closed at once, for everybody.

    What it opens is open for a discloser from the moment its own connector has approved it (`handslag rules approve`).
    """
    broker = broker_of(config)
    chosen, before = proposing.chosen(broker.files, version), proposing.newest(broker.files)
    language = str((ctx.obj or {}).get("lang", "en"))
    for line in sentences(changes(before, chosen), language):
        click.echo(line, err=True)
    pending = proposing.activation(broker.files, chosen, datetime.now(UTC))
    carry_out(broker, ready(broker, pending, draft, as_json), as_json)
