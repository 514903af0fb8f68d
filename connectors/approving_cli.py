"""`handslag rules list`, `approve`: what the operator proposed, and this unit's own word on it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from connectors import operators, rulesets
from connectors import settings as configuration
from connectors.context import Context
from connectors.shared_cli import as_json, config_option, examples, language_of, told
from consent.rules import Rules
from consent.rules_diff import changes, sentences
from schemas.errors import HandslagError


async def _followed(config: Path, ctx: Context | None = None) -> tuple[Context, int]:
    """This connector with the newest acts and rule sets, and how many acts there were at least when it read them."""
    found = ctx or Context.load(configuration.load(config))
    async with found.link:
        await operators.follow(found)
        seen = operators.remembered(found).count
        await rulesets.follow(found)
    return found, seen


@click.command("list", epilog=examples("handslag rules list --config connector.toml --json"))
@config_option
@as_json
def list_command(config: Path, as_json: bool) -> None:
    """Every rule set that was proposed: whether it is in force, and whether this unit has approved it."""
    ctx, _ = asyncio.run(_followed(config))
    rows = [_row(ctx, each) for each in rulesets.proposed(ctx)]
    words = _WORDS[language_of()]
    lines = [
        f"{row['version']:14} {words['in_force'] if row['in_force'] else words['proposed']:10}"
        f"{words['again'] if row['again'] else words['approved'] if row['approved'] else words['not_approved']}"
        for row in rows
    ]
    effective = {"version": ctx.rules.version, "hash": ctx.rules.hash32.hex()}
    last = f"{words['decided_by']}: {effective['version']} {effective['hash'][:16]}"
    told(as_json, {"rule_sets": rows, "effective": effective}, [*lines, last])


_WORDS = {
    "sv": {
        "in_force": "gäller",
        "proposed": "föreslagen",
        "approved": "godkänd här",
        "not_approved": "inte godkänd här",
        "again": "måste godkännas på nytt: andra regler har trätt i kraft sedan den godkändes",
        "waits": "godkänd här, registreras när den träder i kraft",
        "decided_by": "Beslut fattas efter",
        "recorded": "godkänd, registrerad",
    },
    "en": {
        "in_force": "in force",
        "proposed": "proposed",
        "approved": "approved",
        "not_approved": "not approved",
        "again": "must be approved anew: other rules took force since it was approved",
        "waits": "approved, recorded when it is put in force",
        "decided_by": "Decided by",
        "recorded": "approved, recorded",
    },
}


@click.command(
    "approve",
    epilog=examples(
        "handslag rules approve 2026-12-01 --actor jurist-3 --config connector.toml",
        "handslag rules approve 2026-12-01 --actor jurist-3 --yes --json",
    ),
)
@click.argument("version")
@click.option("--actor", required=True, help="Reference of whoever approves, at this agency.")
@click.option("--yes", is_flag=True, help="Do not ask again after showing what it opens.")
@config_option
@as_json
def approve_command(version: str, actor: str, yes: bool, config: Path, as_json: bool) -> None:
    """Let the rule set VERSION open what it opens for this unit's own releases; signed with the unit's key.

    It cannot be taken back: whoever has changed their mind asks the operator for a new version that closes it.
    """
    found, seen = asyncio.run(_followed(config))
    rules = next((each for each in rulesets.proposed(found) if each.version == version), None)
    if rules is None:
        raise HandslagError("HS-RULES-UNKNOWN")
    for line in sentences(changes(found.rules, rules), language_of()):
        click.echo(line, err=True)
    if not yes:
        click.confirm("Godkänna? / Approve?", abort=True, err=True)
    # The connector may be shown more acts while a person reads: what counts is what was shown here.
    rulesets.approve(found, rules, actor, seen)
    after, _ = asyncio.run(_followed(config))
    row = _row(after, rules)
    said = "again" if row["again"] else "recorded" if row["in_force"] else "waits"
    told(as_json, {**row, "effective": after.rules.hash32.hex()}, [f"{version}: {_WORDS[language_of()][said]}."])


def _row(ctx: Context, rules: Rules) -> dict[str, Any]:
    approved = rulesets.approved(ctx, rules.hash32)
    return {
        "version": rules.version,
        "hash": rules.hash32.hex(),
        "in_force_from": rules.in_force_from.isoformat(),
        "in_force": rules.hash32 in {each.hash32 for each in ctx.in_force},
        "approved": bool(approved),
        "again": approved is None,
    }
