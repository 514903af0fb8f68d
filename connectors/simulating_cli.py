"""`handslag rules simulate`: what another rule file would have made of this unit's decisions of the last days."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import click

from audit import search as trail
from connectors import settings as configuration
from connectors import simulating
from connectors.audit_cli import fetched
from connectors.consent_cli import PURPOSES, Look, logged
from connectors.context import Context
from connectors.rules_cli import read
from connectors.shared_cli import as_json, config_option, examples, language_of, told
from connectors.simulating import Flip
from consent.rules import Rules, parse
from schemas import codes
from schemas.errors import HandslagError
from schemas.languages import Text

_DAY_US = 24 * 3600 * 1_000_000
_WORDS = {
    "closes": Text("stängs genast", "closed at once"),
    "opens": Text("öppnas när enheten har godkänt", "opened once the unit approves"),
    "none": Text("Inget beslut hade blivit ett annat", "No decision would have come out differently"),
    "looked": Text("beslut prövade", "decisions looked at"),
}


@click.command(
    "simulate",
    epilog=examples(
        "handslag rules simulate 2026-12-01.toml --days 30 --purpose SELF_MONITORING --case-number K-7"
        " --actor jurist-3 --config connector.toml",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--days", type=click.IntRange(1, 3660), default=30, show_default=True, help="How far back.")
@click.option("--actor", required=True, help="Reference of the officer who looks, at this agency.")
@click.option("--case-number", required=True, help="The control's own case number.")
@click.option("--purpose", required=True, type=click.Choice(PURPOSES), help="Why.")
@click.option("--operator", is_flag=True, help="Over every unit: refused, a count tells who is in the programme.")
@config_option
@as_json
def simulate_command(
    file: Path,
    days: int,
    actor: str,
    case_number: str,
    purpose: str,
    operator: bool,
    config: Path,
    as_json: bool,
) -> None:
    """Decide this unit's recorded decisions of the last days again by the rule FILE, and list what comes out otherwise.

    Nothing is changed or sent. It looks at every case of the unit: each look is an entry of the trail and a line in
    this connector's own log, like any other.
    """
    if operator:
        raise HandslagError("HS-NOT-YET", field="operator")
    rules, language = parse(read(file)), language_of()
    look = Look(seat=None, ref=None, purpose=purpose, case_number=case_number, actor=actor)
    looked, found = asyncio.run(_simulated(config, rules, days, look))
    data = {"version": rules.version, "days": days, "decisions": looked, "flips": [each._asdict() for each in found]}
    told(as_json, data, _lines(looked, found, language))


async def _simulated(config: Path, rules: Rules, days: int, look: Look) -> tuple[int, list[Flip]]:
    ctx = Context.load(configuration.load(config))
    rated = simulating.rated(ctx.rules, rules)
    seats, looked = ctx.identities.all(), 0
    found: list[Flip] = []
    async with ctx.link:
        for place, seat in enumerate(seats, start=1):
            logged(ctx, seat, look, "rules simulate")
            entries, _query = await fetched(ctx, seat, look)
            opened = [(one.entry, one.payload) for one in trail.opened(entries) if one.payload is not None]
            since_us = ctx.now() - days * _DAY_US
            for each in simulating.flips(opened, ctx.spool.memory.ledger(seat.sid), rated, since_us):
                looked += each is None
                if each is not None:
                    found.append(each)
            click.echo(f"{place}/{len(seats)}: {looked}, {len(found)}", err=True)
    ctx.spool.close()
    return looked, found


def _lines(looked: int, found: list[Flip], language: str) -> list[str]:
    lines = [f"{looked} {_WORDS['looked'].told(language)}."]
    for effect in ("closes", "opens"):
        changed = [each for each in found if (each.now and not each.at_once) == (effect == "closes")]
        counted = Counter((each.event_type, each.role, each.category) for each in changed)
        for (event_type, role, category), count in sorted(counted.items()):
            where = f"{event_type} -> {codes.words('role', role, language)}: {category}"
            lines.append(
                f"{_WORDS[effect].told(language):32}{count:>6}  {where} {codes.words('category', category, language)}"
            )
    return lines if found else [*lines, f"{_WORDS['none'].told(language)}."]
