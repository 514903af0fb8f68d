"""`handslag audit search`: the trail's entries about one seat, fetched with their keys and opened at the agency.

The broker records the query before it answers, this connector logs it before it asks; every entry's leaf hash is
computed here from the bytes that came, and its proof is fetched like any other.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from audit.entry import open_payload
from audit.merkle import leaf_hash
from connectors import settings as configuration
from connectors.cli import as_json, config_option, examples, told
from connectors.consent_cli import Look, found_seat, logged, look_options
from connectors.context import Context
from connectors.fields import moment, shown_moment
from connectors.identity import Seat
from schemas.calls import AuditFetchRequest, AuditPage, KeyedEntry
from schemas.errors import HandslagError
from schemas.identifiers import shown
from schemas.trail import AuditEntry, Payload

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


def opened(keyed: KeyedEntry) -> tuple[AuditEntry, Payload]:
    """An entry and its payload; raises `HS-PROOF-INVALID`, `HS-SEAL-INVALID`, PayloadRejected."""
    entry = AuditEntry.from_bytes(keyed.entry)
    return entry, open_payload(entry, keyed.payload, keyed.key)


def row(keyed: KeyedEntry, *, proof_held: bool) -> dict[str, Any]:
    """One entry as JSON values, in codes."""
    entry, payload = opened(keyed)
    return {
        "entry_id": shown(entry.entry_id),
        "at": shown_moment(entry.at_us),
        "operation": entry.operation,
        "outcome": entry.outcome,
        "reason_class": entry.reason_class,
        "event_id": shown(payload.event_id) if payload.event_id else None,
        "event_type": payload.event_type,
        "role": payload.role,
        "counter_role": payload.counter_role,
        "purpose": payload.purpose,
        "code": payload.code,
        "actor_ref": payload.actor_ref,
        "query_purpose": payload.query_purpose,
        "case_number": payload.case_number,
        "sections": [
            {"category": each.category, "released": each.released, "reasons": list(each.reasons)}
            for each in payload.sections
        ],
        "leaf_hash": keyed.leaf_hash.hex(),
        "proof_held": proof_held,
    }


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
    first = moment(since, "since") if since else 0
    rows = asyncio.run(_searched(config, look))
    kept = [
        each
        for each in rows
        if (outcome is None or each["outcome"] == outcome)
        and (operation is None or each["operation"] == operation)
        and moment(each["at"], "at") >= first
    ]
    lines = [
        f"{each['at']}  {each['operation']:14}  {each['outcome'] or '-':10}  {each['event_type'] or '-'}"
        f"  {each['counter_role'] or '-'}"
        for each in kept
    ]
    told(as_json, {"entries": kept}, lines or ["No entry matches."])


async def _searched(config: Path, look: Look) -> list[dict[str, Any]]:
    ctx = Context.load(configuration.load(config))
    seat = found_seat(ctx, look)
    logged(ctx, seat, look, "audit search")
    async with ctx.link:
        entries = await fetched(ctx, seat, look)
    rows = [row(each, proof_held=ctx.spool.memory.proof(each.leaf_hash) is not None) for each in entries]
    ctx.spool.close()
    return rows
