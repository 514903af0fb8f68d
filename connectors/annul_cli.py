"""`handslag consent annul`, `void-case`: a consent was never one, or a whole case. Stopped at once, told to all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from connectors import by_hand
from connectors.consent_cli import consent
from connectors.shared_cli import as_json, config_option, examples, language_of, told
from schemas import codes
from schemas.identifiers import shown


@consent.command(
    "annul",
    epilog=examples(
        "handslag consent annul --ref EX-1 --consent 01a2016d-eb13-7b39-819c-a99e16436ddb --ground WRONG_PERSON"
        " --actor handl-7",
        "handslag consent annul --ref EX-1 --consent 01a2016d-eb13-7b39-819c-a99e16436ddb --ground CONSENT_INVALID"
        " --actor handl-7 --json",
    ),
)
@click.option("--ref", required=True, help="Local reference of the case.")
@click.option("--consent", "consent_id", required=True, help="The consent, as its result named it.")
@click.option("--ground", required=True, help="CONSENT_INVALID: do not rely on it. WRONG_PERSON: lock it.")
@click.option("--actor", required=True, help="Reference of the officer.")
@click.option("--wait", type=click.FloatRange(min=0), default=by_hand.WAIT_S, show_default=True, help="Seconds.")
@config_option
@as_json
def annul(ref: str, consent_id: str, ground: str, actor: str, wait: float, config: Path, as_json: bool) -> None:
    """Annul a consent of this unit: it never was one. An incident with its 72 hours is opened at this moment.

    Every recipient of a release under it is told to lock it, or not to rely on it, and asked what it did; the incident
    file in `receipts` is written anew with every answer. Sending in the case stands still until the broker has it.
    """
    codes.known("annul_ground", ground, "ground")
    values = {"do": "annul", "ref": ref, "consent": consent_id, "ground": ground, "actor_ref": actor}
    _carry_out(config, values, wait, as_json)


@consent.command(
    "void-case",
    epilog=examples(
        "handslag consent void-case --ref EX-1 --ground WRONG_PERSON --actor handl-7",
        "handslag consent void-case --ref EX-1 --ground CONSENT_INVALID --actor handl-7 --json",
    ),
)
@click.option("--ref", required=True, help="Local reference of the case.")
@click.option("--ground", required=True, help="CONSENT_INVALID: do not rely on it. WRONG_PERSON: lock it.")
@click.option("--actor", required=True, help="Reference of the officer.")
@click.option("--wait", type=click.FloatRange(min=0), default=by_hand.WAIT_S, show_default=True, help="Seconds.")
@config_option
@as_json
def void_case(ref: str, ground: str, actor: str, wait: float, config: Path, as_json: bool) -> None:
    """The lead only: the case never was one. Everything of every discloser stops, and nothing is granted in it again.

    Every recipient of every release in the case is told to lock it, or not to rely on it, and each discloser gets an
    incident of its own. Open a new case for the right person; nothing of the old one comes along.
    """
    codes.known("annul_ground", ground, "ground")
    _carry_out(config, {"do": "void_case", "ref": ref, "ground": ground, "actor_ref": actor}, wait, as_json)


def _carry_out(config: Path, values: dict[str, Any], wait: float, as_json: bool) -> None:
    done = asyncio.run(by_hand.carried_out(config, values, wait))
    language = language_of()
    if done.state == "ACCEPTED":
        text = "Stoppat här; mottagarna får veta när mäklaren svarar. Incidenten är öppnad."
        if language == "en":
            text = "Stopped here; recipients are told when the broker answers. The incident is open."
        told(as_json, {"incident": shown(done.command_id), "recorded": False}, [text])
        return
    result = done.value["result"]
    told(as_json, {"recorded": True, **result}, _lines(result, language))


def _lines(result: dict[str, Any], language: str) -> list[str]:
    counts = result["released"]
    lines = [f"{place}. {step[language]}" for place, step in enumerate(result["steps"], 1)]
    if language == "sv":
        lines.append(f"Utlämningar: {counts['releases']}, till {counts['recipients']} roller; alla har fått besked.")
    else:
        lines.append(f"Releases: {counts['releases']}, to {counts['recipients']} roles; all were told.")
    return [*lines, f"Incident: {result['incident']}."]


__all__ = ["annul", "consent", "void_case"]
