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
from connectors import upkeep
from connectors.consent_cli import Look, found_seat, logged, look_options
from connectors.context import Context
from connectors.fields import moment
from connectors.identity import Seat
from connectors.shared_cli import as_json, config_option, examples, language_of, told
from schemas import codes
from schemas.calls import AuditFetchRequest, AuditPage, KeyedEntry
from schemas.errors import HandslagError

PAGE = 200


async def fetched(ctx: Context, seat: Seat, look: Look) -> tuple[list[KeyedEntry], bytes]:
    """Every entry about the seat that this unit owns, oldest first, and the id of the entry of this query.

    Each page is a query of its own and an entry of its own; the first is named. Raises HandslagError of the call and
    `HS-PROOF-INVALID` for an entry whose bytes do not hash to the leaf named beside it.
    """
    entries: list[KeyedEntry] = []
    queries: list[bytes] = []
    more, after = True, 0
    while more:
        request = AuditFetchRequest(
            call_id=ctx.random(16), seat_id=seat.sid, query=look.query(), after=after, limit=PAGE
        )
        page = await ctx.link.call("/v1/audit:fetch", request, AuditPage, tries=3)
        queries.append(page.entry_id)
        ctx.spool.memory.want_proof(page.leaf_hash, "query", ctx.now(), seat.sid)
        for each in page.entries:
            if leaf_hash(each.entry) != each.leaf_hash:
                raise HandslagError("HS-PROOF-INVALID", check="leaf")
            ctx.spool.memory.want_proof(each.leaf_hash, "entry", ctx.now(), seat.sid)
        entries += page.entries
        # An empty page that promises more would loop for ever.
        more = page.more and bool(page.entries)
        after = page.entries[-1].number if page.entries else after
    return entries, queries[0]


@click.command(
    "search",
    epilog=examples(
        "handslag audit search --ref EX-1 --purpose LAWFULNESS --case-number K-7 --actor auditor-3 --outcome PARTIAL"
    ),
)
@look_options
@click.option("--since", help="Only entries from this moment on, ISO 8601 with zone.")
@click.option("--outcome", help="Only entries with this outcome, such as WITHHELD.")
@click.option("--operation", help="Only entries of this operation, such as DISCLOSURE.")
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
    if outcome is not None:
        codes.known("outcome", outcome, "outcome")
    if operation is not None:
        codes.known("operation", operation, "operation")
    found = asyncio.run(_searched(config, look))
    kept = trail.select(found, since_us=first, outcome=outcome, operation=operation)
    if as_json:
        told(True, {"entries": [trail.as_data(one) for one in kept]}, [])
    else:
        click.echo(trail.render(kept, language=language_of()))


async def _searched(config: Path, look: Look) -> list[trail.Found]:
    ctx = Context.load(configuration.load(config))
    seat = found_seat(ctx, look)
    logged(ctx, seat, look, "audit search")
    async with ctx.link:
        entries, _query = await fetched(ctx, seat, look)
        await upkeep.proofs(ctx)
    found = trail.opened(entries, lambda leaf: ctx.spool.memory.proof(leaf) is not None)
    ctx.spool.close()
    return found


audit.add_command(search)

__all__ = ["audit", "fetched", "search"]
