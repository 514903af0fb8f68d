"""`handslag audit search`: the trail's entries about one seat, fetched with their keys and opened at the agency.

The broker records the query before it answers, this connector logs it before it asks; every entry's leaf hash is
computed here from the bytes that came, and its proof is fetched like any other.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from audit import search as trail
from audit.cli import group as audit
from audit.merkle import leaf_hash
from connectors import settings as configuration
from connectors.cli import as_json, config_option, examples, told
from connectors.consent_cli import Look, found_seat, logged, look_options
from connectors.context import Context
from connectors.fields import moment
from connectors.identity import Seat
from schemas.calls import AuditFetchRequest, AuditPage, KeyedEntry
from schemas.errors import HandslagError

PAGE = 200


async def fetched(ctx: Context, seat: Seat, look: Look) -> list[KeyedEntry]:
    """Every entry about the seat that this unit owns, oldest first; raises HandslagError of the call.

    Raises `HS-PROOF-INVALID` for an entry whose bytes do not hash to the leaf named beside it.
    """
    entries: list[KeyedEntry] = []
    more, after = True, 0
    while more:
        request = AuditFetchRequest(
            call_id=ctx.random(16), seat_id=seat.sid, query=look.query(), after=after, limit=PAGE
        )
        page = await ctx.link.call("/v1/audit:fetch", request, AuditPage, tries=3)
        ctx.spool.memory.want_proof(page.leaf_hash, "query", ctx.now())
        for each in page.entries:
            if leaf_hash(each.entry) != each.leaf_hash:
                raise HandslagError("HS-PROOF-INVALID", check="leaf")
            ctx.spool.memory.want_proof(each.leaf_hash, "entry", ctx.now())
        entries += page.entries
        # An empty page that promises more would loop for ever.
        more = page.more and bool(page.entries)
        after = page.entries[-1].number if page.entries else after
    return entries


@click.command(
    "search",
    epilog=examples(
        "handslag audit search --ref EX-1 --purpose LAWFULNESS --case-number K-7 --actor auditor-3 --outcome PARTIAL"
    ),
)
@look_options
@click.option("--since", help="Only entries from this moment on, ISO 8601 with zone.")
@click.option("--outcome", help="Only entries with this outcome.")
@click.option("--operation", help="Only entries of this operation.")
@config_option
@as_json
def search(
    seat: str | None,
    ref: str | None,
    purpose: str,
    case_number: str,
    actor: str,
    since: str | None,
    outcome: str | None,
    operation: str | None,
    config: Path,
    as_json: bool,
) -> None:
    """The trail's entries about the case of SEAT (or --ref), opened here; the search is itself an entry."""
    look = Look(seat=seat, ref=ref, purpose=purpose, case_number=case_number, actor=actor)
    first = moment(since, "since") if since else None
    found = asyncio.run(_searched(config, look))
    kept = trail.select(found, since_us=first, outcome=outcome, operation=operation)
    if as_json:
        told(True, {"entries": [trail.as_data(one) for one in kept]}, [])
    else:
        click.echo(trail.render(kept, language=click.get_current_context().find_root().params.get("lang") or "sv"))


async def _searched(config: Path, look: Look) -> list[trail.Found]:
    ctx = Context.load(configuration.load(config))
    seat = found_seat(ctx, look)
    logged(ctx, seat, look, "audit search")
    async with ctx.link:
        entries = await fetched(ctx, seat, look)
    ctx.spool.close()
    return trail.opened(entries)


audit.add_command(search)
