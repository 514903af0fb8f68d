"""`handslag audit export`: one seat's entries as a folder of plain files that proves itself offline.

The query is an entry before anything is read. Proofs are fetched anew, all under one checkpoint, which this connector
compares with the log it remembers; what it was ever told of the seat goes along, so that a missing entry shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from audit import exportfile
from audit.exportfile import Export, Held
from connectors import cases
from connectors import settings as configuration
from connectors.audit_cli import audit, fetched
from connectors.cli import as_json, config_option, examples, told
from connectors.consent_cli import Look, found_seat, logged, look_options
from connectors.context import Context
from schemas import limits
from schemas.calls import KeyedEntry, ProofsAnswer, ProofsRequest, UnitsAnswer
from schemas.errors import HandslagError
from schemas.identifiers import shown

_PAUSE_S = 0.5


@click.command(
    "export",
    epilog=examples(
        "handslag audit export --ref EX-1 --dir export --purpose LAWFULNESS --case-number K-7 --actor auditor-3",
        "handslag audit verify export --trust trust.toml",
    ),
)
@look_options
@click.option("--dir", "folder", type=click.Path(path_type=Path), required=True, help="Folder to create.")
@click.option(
    "--wait", type=click.FloatRange(min=0), default=30.0, show_default=True, help="Seconds to wait for the log's beat."
)
@config_option
@as_json
def export(
    seat: str | None,
    ref: str | None,
    purpose: str,
    case_number: str,
    actor: str,
    folder: Path,
    wait: float,
    config: Path,
    as_json: bool,
) -> None:
    """Write the trail's entries about SEAT (or --ref) with contents, keys and proofs to a new folder.

    The folder is as secret as the entries; `handslag audit verify FOLDER` checks it on any machine, without the broker.
    """
    look = Look(seat=seat, ref=ref, purpose=purpose, case_number=case_number, actor=actor)
    if folder.exists():
        # Before the query: a look that leads to nothing is not made.
        raise HandslagError("HS-EXPORT-EXISTS")
    made = asyncio.run(_exported(config, look, wait))
    exportfile.write(folder, made)
    waiting = len(made.entries) - len(made.proofs)
    data = {
        "dir": str(folder),
        "seat": shown(made.seat_id),
        "entries": len(made.entries),
        "proofs": len(made.proofs),
        "told": len(made.held),
        "query_entry": shown(made.query_entry),
    }
    lines = [
        f"{len(made.entries)} entries in {folder}, {len(made.proofs)} with their proof; the connector was told of"
        f" {len(made.held)} before.",
        f"This export is itself an entry of the trail: {shown(made.query_entry)}.",
        f"Next: handslag audit verify {folder} --trust YOUR-TRUST.toml",
    ]
    if waiting:
        lines.insert(1, f"{waiting} of the newest wait for the log's next beat; a later export will prove them.")
    told(as_json, data, lines)


async def _exported(config: Path, look: Look, wait_s: float) -> Export:
    current = configuration.load(config)
    ctx = Context.load(current)
    seat = found_seat(ctx, look)
    logged(ctx, seat, look, "audit export")
    # What was told before the query must be among its answers; what is told meanwhile need not.
    held = tuple(
        Held(leaf_hash=leaf, kind=kind, told_at_us=at_us) for leaf, kind, at_us in ctx.spool.memory.told_of(seat.sid)
    )
    ledger_seq, ledger_head = ctx.spool.memory.head(seat.sid)
    async with ctx.link:
        units = await ctx.link.get("/v1/units", UnitsAnswer)
        entries, query_entry = await fetched(ctx, seat, look)
        note, proofs = await _proven(ctx, entries, wait_s)
    made = Export(
        seat_id=seat.sid,
        origin=current.origin,
        unit=current.unit,
        made_at_us=ctx.now(),
        query_entry=query_entry,
        entries=tuple(entries),
        proofs=proofs,
        checkpoint=note,
        trust=current.trust_file.read_text(encoding="utf-8"),
        units=units.units,
        signing_key=seat.keys.public.signing,
        lead_statement=seat.lead_statement,
        held=held,
        ledger_seq=ledger_seq,
        ledger_head=ledger_head,
        lead_rotations=tuple(one.to_bytes() for one in cases.lead_rotations(ctx, seat)),
    )
    ctx.spool.close()
    return made


async def _proven(ctx: Context, entries: Sequence[KeyedEntry], wait_s: float) -> tuple[bytes, dict[int, bytes]]:
    """The checkpoint and every entry's proof under it; entries that still wait after `wait_s` seconds have none."""
    end = ctx.now() + int(wait_s * 1e6)
    while True:
        proofs, notes = await _proofs(ctx, entries)
        if len(notes) == 1 and (len(proofs) == len(entries) or ctx.now() >= end):
            break
        if ctx.now() >= end + int(wait_s * 1e6):
            raise HandslagError("HS-PROOF-LATE")
        # A beat between two calls gives proofs under two checkpoints: all are asked for again.
        await asyncio.sleep(_PAUSE_S)
    (note,) = notes
    await ctx.witness.agrees(note, ctx.link.raw, ctx.now())
    return note, proofs


async def _proofs(ctx: Context, entries: Sequence[KeyedEntry]) -> tuple[dict[int, bytes], set[bytes]]:
    proofs: dict[int, bytes] = {}
    notes: set[bytes] = set()
    for at in range(0, len(entries), limits.PROOFS):
        asked = {one.leaf_hash: one.number for one in entries[at : at + limits.PROOFS]}
        answer = await ctx.link.call("/v1/proofs", ProofsRequest(leaf_hashes=tuple(asked)), ProofsAnswer, tries=3)
        for each in answer.proofs:
            if each.proof is None or each.leaf_hash not in asked:
                continue
            data = each.proof.encode()
            notes.add(ctx.witness.check_proof(data, each.leaf_hash))
            proofs[asked[each.leaf_hash]] = data
    return proofs, notes


audit.add_command(export)


__all__ = ["audit"]
