"""`handslag audit recipient`: which unit received what was disclosed; refused in a protected relocation."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from connectors import settings as configuration
from connectors.cli import as_json, config_option, examples, told
from connectors.consent_cli import Look, found_seat, logged, look_options
from connectors.context import Context
from connectors.export_cli import audit
from schemas import codes
from schemas.calls import RecipientAnswer, RecipientRequest
from schemas.errors import HandslagError
from schemas.identifiers import parsed, shown


@audit.command(
    "recipient",
    epilog=examples(
        "handslag audit recipient --ref EX-1 --event 01a2016d-eb13-7b39-819c-a99e16436ddb --role police_coordination"
        " --purpose LAWFULNESS --case-number K-7 --actor auditor-3",
    ),
)
@look_options
@click.option("--event", required=True, help="The event, as its receipt named it.")
@click.option("--role", required=True, help="The role that received it.")
@config_option
@as_json
def recipient(
    seat: str | None,
    ref: str | None,
    purpose: str,
    case_number: str,
    actor: str,
    event: str,
    role: str,
    config: Path,
    as_json: bool,
) -> None:
    """Name the unit that received an event of this unit; the request is an entry of the trail, whatever the answer."""
    codes.known("role", role, "role")
    look = Look(seat=seat, ref=ref, purpose=purpose, case_number=case_number, actor=actor)
    answer = asyncio.run(_asked(config, look, parsed(event), role))
    if answer.refused is not None:
        raise HandslagError(answer.refused)
    told(as_json, {"unit": answer.unit, "entry_id": shown(answer.entry_id)}, [str(answer.unit)])


async def _asked(config: Path, look: Look, event_id: bytes, role: str) -> RecipientAnswer:
    ctx = Context.load(configuration.load(config))
    try:
        seat = found_seat(ctx, look)
        logged(ctx, seat, look, "audit recipient")
        request = RecipientRequest(
            call_id=ctx.random(16), seat_id=seat.sid, event_id=event_id, role=role, query=look.query()
        )
        async with ctx.link:
            answer = await ctx.link.call("/v1/recipients:name", request, RecipientAnswer, tries=3)
        ctx.spool.memory.want_proof(answer.leaf_hash, "query", ctx.now(), seat.sid)
        return answer
    finally:
        ctx.spool.close()


__all__ = ["audit", "recipient"]
