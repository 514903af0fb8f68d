"""`handslag consent simulate`: what an act would stop or release, before anybody says it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click

from connectors import foreseeing, ledgers
from connectors import settings as configuration
from connectors.consent_cli import Look, found_seat, logged, look_options
from connectors.context import Context
from connectors.explain_cli import consent
from connectors.foreseeing import Here
from connectors.shared_cli import as_json, config_option, examples, language_of, told
from schemas import codes, limits
from schemas.errors import HandslagError, registry
from schemas.explain import SimulateAnswer
from schemas.identifiers import shown
from schemas.languages import Text


@consent.command(
    "simulate",
    epilog=examples(
        "handslag consent simulate --ref EX-1 --withdraw 01a2016d-eb13-7b39-819c-a99e16436ddb"
        " --purpose SELF_MONITORING --case-number K-7 --actor handl-7",
        "handslag consent simulate --ref EX-1 --withdraw-case --purpose SELF_MONITORING --case-number K-7"
        " --actor handl-7",
        "handslag consent simulate --ref EX-1 --act grant.json --purpose SELF_MONITORING --case-number K-7"
        " --actor handl-7 --json",
    ),
)
@look_options
@click.option("--withdraw", help="A consent that would be withdrawn whole.")
@click.option("--withdraw-case", is_flag=True, help="Everything would be withdrawn; of this unit's own is told.")
@click.option(
    "--act",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A command as the agency's system would drop it: grant, amend, withdraw, suspend, block, lift ...",
)
@config_option
@as_json
def simulate_command(
    seat: str | None,
    ref: str | None,
    purpose: str,
    case_number: str,
    actor: str,
    withdraw: str | None,
    withdraw_case: bool,
    act: Path | None,
    config: Path,
    as_json: bool,
) -> None:
    """What an act would stop, now and in the queues, or what it would release at once. Nothing is recorded of it.

    Roles and counts, no unit. The question is an entry in the seat's trail.
    """
    if [withdraw is not None, withdraw_case, act is not None].count(True) != 1:
        raise click.UsageError("one of --withdraw, --withdraw-case and --act")
    command: dict[str, Any] = {"do": "withdraw", "consent": withdraw}
    if withdraw_case:
        command = {"do": "withdraw_case", "method": "ORAL_DOCUMENTED"}
    if act is not None:
        command = _read(act)
    look = Look(seat=seat, ref=ref, purpose=purpose, case_number=case_number, actor=actor)
    answer, waits = asyncio.run(_simulated(config, look, command))
    annuls = command.get("do") == "annul"
    told(as_json, foreseeing.told(answer, waits), _lines(answer, waits, language_of(), annuls=annuls))


def _read(path: Path) -> dict[str, Any]:
    if path.stat().st_size > limits.CALL:
        raise HandslagError("HS-TOO-LARGE", limit=limits.CALL)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise HandslagError("HS-INPUT-INVALID", field="act") from None
    if not isinstance(value, dict):
        raise HandslagError("HS-INPUT-INVALID", field="act")
    return value


async def _simulated(config: Path, look: Look, command: dict[str, Any]) -> tuple[SimulateAnswer, list[Here]]:
    ctx = Context.load(configuration.load(config))
    seat = found_seat(ctx, look)
    logged(ctx, seat, look, "consent simulate")
    async with ctx.link:
        await ledgers.sync(ctx, seat)
        act = foreseeing.act_of(ctx, seat, command)
        answer = await foreseeing.at_the_broker(ctx, seat, look.query(), act)
    waits = [] if answer.refused else foreseeing.here(ctx, seat, act)
    ctx.spool.close()
    return answer, waits


_TEXT = {
    "refused": Text("Det skulle nekas", "It would be refused"),
    "nothing": Text("Ingenting skulle ändras.", "Nothing would change."),
    "stops": Text("stoppas", "stops"),
    "ends": Text("upphör, mottagaren får besked", "ends, the recipient is told"),
    "annuls": Text("gällde aldrig, mottagaren får besked", "was never valid, the recipient is told"),
    "keeps": Text("går ändå", "goes all the same"),
    "counts": Text(
        "{}: {} stoppas före utlämning, {} kan ha kommit fram och återkallas, {} har tagits emot",
        "{}: {} stopped before hand-over, {} may have arrived and are recalled, {} were received",
    ),
    "goes": Text("skulle lämnas ut", "would be released"),
    "stays": Text("skulle stanna här", "would stay here"),
    "held": Text(
        "om någon innehar rollen, vilket inte är känt här", "if somebody holds the role, which is not known here"
    ),
    "person": Text("efter att någon har bestämt det", "once a named person says so"),
}


def _lines(answer: SimulateAnswer, waits: list[Here], language: str, *, annuls: bool) -> list[str]:
    if answer.refused:
        known = registry().get(answer.refused)
        why = "" if known is None else f": {known.sv if language == 'sv' else known.en}"
        return [f"{_say('refused', language)} ({answer.refused}){why}."]
    lines = [
        _TEXT["counts"].told(
            language, codes.words("role", one.role, language), one.stopped, one.may_have_arrived, one.received
        )
        + "."
        for one in answer.counts
    ]
    for one in answer.deliveries:
        role, state = codes.words("role", one.role, language), codes.words("delivery_state", one.state, language)
        kept = f"; {_say('keeps', language)} {', '.join(one.kept)}" if one.kept else ""
        word = _say(_becomes(one.state, annuls=annuls), language)
        what = f"{one.event_type} {shown(one.event_id)}"
        lines.append(f"  {what} -> {role} ({state}): {', '.join(one.removed)} {word}{kept}")
    for waiting in waits:
        for word, categories in (("goes", waiting.goes), ("stays", waiting.stays)):
            if categories:
                by = f", {_say('held', language)}" if waiting.if_held else ""
                by += "" if waiting.by_itself else f", {_say('person', language)}"
                role = codes.words("role", waiting.role, language)
                lines.append(f"  {waiting.event_type} -> {role}: {_say(word, language)} {', '.join(categories)}{by}")
    return lines or [_say("nothing", language)]


def _say(word: str, language: str) -> str:
    return _TEXT[word].told(language)


def _becomes(state: str, *, annuls: bool) -> str:
    """What becomes of a delivery: what was received is not stopped any more; an annulment is told to all who got it."""
    if annuls and state != "PENDING":
        return "annuls"
    return "ends" if state == "ACKED" else "stops"


__all__ = ["consent", "simulate_command"]
