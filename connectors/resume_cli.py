"""The command `connector resume`: read what a restored broker lost, and follow its log on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click

from connectors import resume
from connectors import settings as configuration
from connectors.context import Context
from schemas.errors import HandslagError

EPILOG = """\b
Examples:
  handslag connector resume --config konsult/connector.toml
  handslag connector resume --config konsult/connector.toml --confirm 0123456789ab

Exit codes: 0 followed, or shown and nothing in doubt; 1 failed (code on stderr); 2 wrong usage.
"""


@click.command("resume", epilog=EPILOG)
@click.option("--config", type=click.Path(path_type=Path), default=Path("connector.toml"), show_default=True,
              help="The connector's configuration.")  # fmt: skip
@click.option("--confirm", "code", help="The code that this command showed; without it nothing is changed.")
@click.option("--json", "as_json", is_flag=True, help="Answer as one JSON object on stdout.")
def resume_command(config: Path, code: str | None, as_json: bool) -> None:
    """Follow the broker's log after it was restored from a copy, once a person here has read what was lost.

    Shows the operator's signed statement, both checkpoints and what this connector holds proofs of that is gone.
    Compare it with the operator by phone. Withdrawals noted here are given back to the broker without this command;
    everything else waits for it. Works while the connector runs.
    """
    loss = asyncio.run(_resumed(config, code))
    data = loss.as_json()
    if code is not None:
        _told(as_json, {**data, "followed": True}, [f"Följer / following: {loss.said.new_origin}"])
        return
    _told(as_json, {**data, "followed": False}, _lines(data))


def _told(as_json: bool, data: dict[str, Any], lines: list[str]) -> None:
    click.echo(json.dumps(data, ensure_ascii=False) if as_json else "\n".join(lines))


async def _resumed(config: Path, code: str | None) -> resume.Loss:
    ctx = Context.load(configuration.load(config))
    try:
        async with ctx.link:
            loss = await resume.found(ctx)
        if code is not None:
            if code.lower() != loss.code:
                raise HandslagError("HS-RESUME-REFUSED", check="code")
            resume.confirm(ctx, loss)
        return loss
    finally:
        ctx.spool.close()


def _lines(data: dict[str, Any]) -> list[str]:
    """The same in sentences, Swedish first."""
    old, new, ours = data["old"], data["new"], data["ours"]
    lines = [
        f"Lämnad / left:   {old['origin']}  {old['size']}  {old['root']}",
        f"Fortsatt / on as: {new['origin']}  {new['size']}  {new['root']}",
    ]
    if ours is not None:
        lines.append(f"Vår egen / ours: {ours['origin']}  {ours['size']}  {ours['root']}")
    lines += [
        f"Förlorade löv / lost leaves: {data['lost_leaves']}",
        f"Bevis här för förlorade poster / proofs here of lost entries: {data['our_proofs_lost']}"
        f" (+ {data['our_proofs_never_came']})",
        f"Uppgift av / stated by: {data['administrator']}, {data['at']}: {data['reason']}",
    ]
    if data["more_than_stated"]:
        lines.append("VARNING: mer är förlorat än operatören uppger. / WARNING: more is lost than the operator states.")
    lines.append(f"Ring operatören och jämför; sedan / phone the operator, compare, then: --confirm {data['confirm']}")
    return lines
