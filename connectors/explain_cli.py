"""`handslag consent explain`: would this be released, and every record that was looked at, in words."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from connectors import explaining, ledgers
from connectors import settings as configuration
from connectors.consent_cli import Look, check_question, disclosure_options, found_seat, logged, look_options, times
from connectors.context import Context
from connectors.explaining import Explained
from connectors.fhir_cli import consent
from connectors.fields import moment
from connectors.shared_cli import as_json, config_option, examples, language_of, told


@consent.command(
    "explain",
    epilog=examples(
        "handslag consent explain --ref EX-1 --to police_coordination --event-type threat_assessment_requested"
        " --category IC04 --for THREAT_ASSESSMENT --purpose LAWFULNESS --case-number K-7 --actor auditor-3",
        "handslag --lang en consent explain --ref EX-1 --to provider --event-type joint_plan_adopted --category IC09"
        " --for PLANNING --as-of 2026-11-01T12:00:00Z --purpose LAWFULNESS --case-number K-7 --actor auditor-3 --json",
    ),
)
@look_options
@times
@disclosure_options
@click.option("--person", "persons", multiple=True, type=click.IntRange(0, 63), help="Whom it concerns.  [default: 0]")
@config_option
@as_json
def explain_command(
    seat: str | None,
    ref: str | None,
    purpose: str,
    case_number: str,
    actor: str,
    lang: str | None,
    config: Path,
    as_json: bool,
    **asked: Any,
) -> None:
    """Whether SEAT may disclose to a role, as the broker decides it, and why each record applies or does not.

    The question is an entry in the seat's trail. Nothing is released, and of the recipient no more is told than a
    receipt tells.
    """
    look = Look(seat=seat, ref=ref, purpose=purpose, case_number=case_number, actor=actor)
    ctx, found = asyncio.run(_explained(config, look, **asked))
    data = explaining.told(ctx, found)
    lines = explaining.sentences(ctx, found, language_of(lang))
    ctx.spool.close()
    told(as_json, data, lines)


async def _explained(
    config: Path,
    look: Look,
    *,
    role: str,
    event_type: str,
    categories: tuple[str, ...],
    for_purpose: str,
    action: str,
    public_interest: tuple[str, ...],
    persons: tuple[int, ...],
    as_of: str | None,
    known_at: str | None,
) -> tuple[Context, Explained]:
    check_question(role, event_type, (*categories, *public_interest), for_purpose, action)
    at_us = moment(as_of, "as_of") if as_of else None
    known_us = moment(known_at, "known_at") if known_at else None
    ctx = Context.load(configuration.load(config))
    own = found_seat(ctx, look)
    logged(ctx, own, look, "consent explain")
    request = ledgers.asked(
        ctx,
        own,
        ledgers.recipient(ctx, own, role),
        event_type=event_type,
        categories=sorted(set(categories)),
        purpose=for_purpose,
        action=action,
        at_us=at_us or ctx.now(),
        public_interest=frozenset(public_interest),
        persons=dict.fromkeys(categories, persons) if persons else {},
    )
    async with ctx.link:
        found = await explaining.ask(ctx, own, look.query(), request, now=at_us is None, known_at_us=known_us)
    return ctx, found


__all__ = ["consent", "explain_command"]
