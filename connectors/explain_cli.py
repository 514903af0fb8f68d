"""`handslag consent explain`: would this be released, and every record that was looked at, in words."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from connectors import explaining
from connectors import settings as configuration
from connectors.consent_cli import Look, Question, disclosure_options, found_seat, logged, look_options, times
from connectors.context import Context
from connectors.explaining import Explained
from connectors.fhir_cli import consent
from connectors.fields import moment
from connectors.shared_cli import about_options, as_json, config_option, examples, language_of, told


@consent.command(
    "explain",
    epilog=examples(
        "handslag consent explain --ref EX-1 --to police_coordination --event-type threat_assessment_requested"
        " --category IC04 --for THREAT_ASSESSMENT --purpose LAWFULNESS --case-number K-7 --actor auditor-3",
        "handslag --lang en consent explain --ref EX-1 --to provider --event-type joint_plan_adopted --category IC09"
        " --person 1 --data-since 2026-01-01T00:00:00Z --for PLANNING --as-of 2026-11-01T12:00:00Z"
        " --purpose LAWFULNESS --case-number K-7 --actor auditor-3 --json",
    ),
)
@look_options
@times
@disclosure_options
@about_options
@config_option
@as_json
def explain_command(
    seat: str | None,
    ref: str | None,
    purpose: str,
    case_number: str,
    actor: str,
    as_of: str | None,
    known_at: str | None,
    lang: str | None,
    config: Path,
    as_json: bool,
    **given: Any,
) -> None:
    """Whether SEAT may disclose to a role, as the broker decides it, and why each record applies or does not.

    The question is an entry in the seat's trail. Nothing is released, and of the recipient no more is told than a
    receipt tells.
    """
    question = Question.of(**given)
    look = Look(seat=seat, ref=ref, purpose=purpose, case_number=case_number, actor=actor)
    ctx, found = asyncio.run(_explained(config, look, question, as_of=as_of, known_at=known_at))
    data = {**explaining.told(ctx, found), "decided_for": question.about.data}
    language = language_of(lang)
    lines = [*explaining.sentences(ctx, found, language), question.about.words(language)]
    ctx.spool.close()
    told(as_json, data, lines)


async def _explained(
    config: Path, look: Look, question: Question, *, as_of: str | None, known_at: str | None
) -> tuple[Context, Explained]:
    at_us = moment(as_of, "as_of") if as_of else None
    known_us = moment(known_at, "known_at") if known_at else None
    ctx = Context.load(configuration.load(config))
    own = found_seat(ctx, look)
    logged(ctx, own, look, "consent explain")
    request = question.request(ctx, own, at_us or ctx.now())
    async with ctx.link:
        found = await explaining.ask(ctx, own, look.query(), request, now=at_us is None, known_at_us=known_us)
    return ctx, found


__all__ = ["consent", "explain_command"]
