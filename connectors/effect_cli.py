"""`handslag consent effect`: when something ended, from the person's word to the last recipient's acknowledgement."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from audit import search as trail
from connectors import effect
from connectors import settings as configuration
from connectors.audit_cli import fetched
from connectors.consent_cli import Look, found_seat, logged, look_options
from connectors.context import Context
from connectors.effect import Effect
from connectors.fields import shown_moment
from connectors.foresee_cli import consent
from connectors.shared_cli import as_json, config_option, examples, language_of, told
from schemas import codes
from schemas.errors import HandslagError
from schemas.identifiers import parsed
from schemas.languages import Text


@consent.command(
    "effect",
    epilog=examples(
        "handslag consent effect --ref EX-1 --purpose SELF_MONITORING --case-number K-7 --actor auditor-3",
        "handslag consent effect --ref EX-1 --consent 01a2016d-eb13-7b39-819c-a99e16436ddb --purpose SELF_MONITORING"
        " --case-number K-7 --actor auditor-3 --json",
    ),
)
@look_options
@click.option("--consent", "consent_id", help="Only acts that could reach this consent.  [default: all]")
@config_option
@as_json
def effect_command(
    seat: str | None,
    ref: str | None,
    purpose: str,
    case_number: str,
    actor: str,
    consent_id: str | None,
    config: Path,
    as_json: bool,
) -> None:
    """How long each withdrawal, block, suspension or end took for SEAT: said, in force everywhere, known to each role.

    Read from the seat's own trail; the look is an entry. Roles and counts: which unit knows is not told.
    """
    wanted = parsed(consent_id) if consent_id else None
    look = Look(seat=seat, ref=ref, purpose=purpose, case_number=case_number, actor=actor)
    entries = asyncio.run(_entries(config, look))
    if wanted is not None and not effect.names(entries, wanted):
        raise HandslagError("HS-CONSENT-UNKNOWN")
    found = effect.effects(entries, wanted)
    language = language_of()
    lines = [line for one in found for line in _lines(one, language)]
    nothing = _TEXT["nothing"].told(language)
    told(as_json, {"effects": [effect.as_data(one) for one in found]}, lines or [nothing])


async def _entries(config: Path, look: Look) -> list[trail.Found]:
    ctx = Context.load(configuration.load(config))
    seat = found_seat(ctx, look)
    logged(ctx, seat, look, "consent effect")
    async with ctx.link:
        entries, _query = await fetched(ctx, seat, look)
    ctx.spool.close()
    return trail.opened(entries)


_TEXT = {
    "nothing": Text("Ingenting har återkallats, spärrats eller upphört.", "Nothing was withdrawn, blocked or ended."),
    "head": Text("{}. {}: sagt {}, gäller överallt {} ({})", "{}. {}: said {}, in force everywhere {} ({})"),
    "after": Text("{:.3f} s efter anteckningen", "{:.3f} s after it was noted"),
    "elsewhere": Text("antecknat av en annan enhet; när vet bara den", "noted by another unit; only it knows when"),
    "unknown": Text("okänt när", "not told when"),
    "role": Text("   {}: {} stoppade, {} fick besked, {} vet", "   {}: {} stopped, {} told, {} know"),
    "all": Text("   alla visste {} ({:.3f} s senare)", "   all knew at {} ({:.3f} s later)"),
    "waits": Text("   någon har inte kvitterat än", "   somebody has not acknowledged yet"),
}  # fmt: skip


def _lines(one: Effect, language: str) -> list[str]:
    lines = [
        _TEXT["head"].told(
            language,
            one.ledger_seq,
            codes.words("consent_act", one.act, language),
            _TEXT["unknown"].told(language) if one.said_us is None else shown_moment(one.said_us),
            shown_moment(one.recorded_us),
            _TEXT["elsewhere"].told(language) if one.force_s is None else _TEXT["after"].told(language, one.force_s),
        )
    ]
    for each in one.roles:
        role = codes.words("role", each.role, language)
        lines.append(_TEXT["role"].told(language, role, each.stopped, each.told, each.acknowledged))
    if one.known_us is not None:
        lines.append(_TEXT["all"].told(language, shown_moment(one.known_us), (one.known_us - one.recorded_us) / 1e6))
    elif any(each.told > each.acknowledged for each in one.roles):
        lines.append(_TEXT["waits"].told(language))
    return lines


__all__ = ["consent", "effect_command"]
