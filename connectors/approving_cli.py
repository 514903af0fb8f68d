"""`handslag rules list`, `approve`: what the operator proposed, and this unit's own word on it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from connectors import operators, rulesets
from connectors import settings as configuration
from connectors.context import Context
from connectors.rules_cli import language_of
from connectors.shared_cli import as_json, config_option, examples, told
from consent.rules import Rules
from consent.rules_diff import changes, sentences
from schemas.errors import HandslagError


async def _followed(config: Path, ctx: Context | None = None) -> Context:
    """This connector with the newest acts and rule sets."""
    found = ctx or Context.load(configuration.load(config))
    async with found.link:
        await operators.follow(found)
        await rulesets.follow(found)
    return found


@click.command("list", epilog=examples("handslag rules list --config connector.toml --json"))
@config_option
@as_json
def list_command(config: Path, as_json: bool) -> None:
    """Every rule set that was proposed: whether it is in force, and whether this unit has approved it."""
    ctx = asyncio.run(_followed(config))
    rows = [_row(ctx, each) for each in rulesets.proposed(ctx)]
    lines = [
        f"{row['version']:14} {'in force' if row['in_force'] else 'proposed':10}"
        f"{'approved' if row['approved'] else 'not approved'}"
        for row in rows
    ]
    effective = {"version": ctx.rules.version, "hash": ctx.rules.hash32.hex()}
    told(as_json, {"rule_sets": rows, "effective": effective}, [*lines, f"Decided by: {effective['hash'][:16]}"])


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
@click.pass_context
def approve_command(ctx: click.Context, version: str, actor: str, yes: bool, config: Path, as_json: bool) -> None:
    """Let the rule set VERSION open what it opens for this unit's own releases; signed with the unit's key.

    It cannot be taken back: whoever has changed their mind asks the operator for a new version that closes it.
    """
    found = asyncio.run(_followed(config))
    rules = next((each for each in rulesets.proposed(found) if each.version == version), None)
    if rules is None:
        raise HandslagError("HS-RULES-UNKNOWN")
    for line in sentences(changes(found.rules, rules), language_of(ctx)):
        click.echo(line, err=True)
    if not yes:
        click.confirm("Godkänna? / Approve?", abort=True, err=True)
    rulesets.approve(found, rules, actor)
    after = asyncio.run(_followed(config))
    row = _row(after, rules)
    told(as_json, {**row, "effective": after.rules.hash32.hex()}, [f"{version}: approved, recorded."])


def _row(ctx: Context, rules: Rules) -> dict[str, Any]:
    return {
        "version": rules.version,
        "hash": rules.hash32.hex(),
        "in_force_from": rules.in_force_from.isoformat(),
        "in_force": rules.hash32 in {each.hash32 for each in ctx.in_force},
        "approved": rules.hash32 in rulesets.approvals(ctx),
    }
