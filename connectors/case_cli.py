"""`handslag case join`, `separate`, `joins`: two cases of one person, by a unit that has a seat in both."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from connectors import by_hand, joining
from connectors import settings as configuration
from connectors.context import Context
from connectors.shared_cli import as_json, config_option, examples, language_of, told
from schemas.identifiers import shown

_ID = "53b291e2-8eb4-e619-0261-8bbbd9a62751"
_WAITS = {
    "sv": "Antecknat här; det gäller när mäklaren svarar.",
    "en": "Noted here; it counts when the broker answers.",
}
_JOINED = {
    "sv": "{ref} och {other} gäller samma person sedan {at}. Det personen tar tillbaka i det ena tas tillbaka i båda.",
    "en": "{ref} and {other} are about one person since {at}. What the person takes back in one is taken back in both.",
}
_SEPARATED = {
    "sv": "{ref} och {other} gäller två personer sedan {at}. Det som har återkallats gäller inte igen av sig självt.",
    "en": "{ref} and {other} are about two persons since {at}. Nothing that was taken back comes into force by itself.",
}
_LOOK = {
    "sv": "Skickat härifrån medan de var sammanförda: {n}. Gällde det fel person: `handslag consent annul`.",
    "en": "Sent from here while they were joined: {n}. If it was about the wrong person: `handslag consent annul`.",
}
_NONE = {"sv": "Inga ärenden är sammanförda härifrån.", "en": "No cases were joined from here."}


@click.group(epilog=examples("handslag case join --ref EX-1 --other EX-2 --actor handl-7", "handslag case joins"))
def case() -> None:
    """Two cases that turn out to be one person's."""


@case.command(
    "join",
    epilog=examples(
        "handslag case join --ref EX-1 --other EX-2 --actor handl-7",
        "handslag case join --ref EX-1 --other EX-2 --actor handl-7 --json",
    ),
)
@click.option("--ref", required=True, help="Local reference of one case.")
@click.option("--other", required=True, help="Local reference of the other case.")
@click.option("--actor", required=True, help="Reference of the officer who decides that both are one person.")
@click.option("--wait", type=click.FloatRange(min=0), default=by_hand.WAIT_S, show_default=True, help="Seconds.")
@config_option
@as_json
def join(ref: str, other: str, actor: str, wait: float, config: Path, as_json: bool) -> None:
    """Join two cases in which this unit has a seat: both are one person's.

    When the person takes everything back in one, it is taken back in both. Nothing else: each consent goes on
    covering what it says, in its own case, and no member of either is told that there is another. Be sure that it is
    no namesake.
    """
    values = {"do": "join_cases", "ref": ref, "other": other, "actor_ref": actor}
    _carry_out(config, values, wait, as_json, _JOINED)


@case.command(
    "separate",
    epilog=examples(
        f"handslag case separate --ref EX-1 --join {_ID} --actor handl-7",
        f"handslag case separate --ref EX-1 --join {_ID} --actor handl-7 --json",
    ),
)
@click.option(
    "--ref", required=True, help="Local reference of one of the two cases, in which this unit's seat is open."
)
@click.option("--join", "join_id", required=True, help="The join, as its result or `handslag case joins` named it.")
@click.option("--actor", required=True, help="Reference of the officer who decides that they are two persons.")
@click.option("--wait", type=click.FloatRange(min=0), default=by_hand.WAIT_S, show_default=True, help="Seconds.")
@config_option
@as_json
def separate(ref: str, join_id: str, actor: str, wait: float, config: Path, as_json: bool) -> None:
    """Undo a join that was wrong: the two cases are two persons'.

    What was taken back over it stays taken back; each discloser concerned is told to ask the person and to record the
    consent anew. The answer lists what this unit sent in both cases meanwhile, to be looked through within 72 hours.
    """
    values = {"do": "separate_cases", "ref": ref, "join": join_id, "actor_ref": actor}
    _carry_out(config, values, wait, as_json, _SEPARATED)


@case.command("joins", epilog=examples("handslag case joins", "handslag case joins --json"))
@config_option
@as_json
def joins(config: Path, as_json: bool) -> None:
    """The joins of this unit that stand, from its own records."""
    ctx = Context.load(configuration.load(config))
    try:
        rows = [
            {"join": one.join, "refs": list(one.refs), "recorded_at": one.recorded_at} for one in joining.standing(ctx)
        ]
    finally:
        ctx.spool.close()
    lines = [f"{row['join']}  {row['recorded_at']}  {' = '.join(row['refs'])}" for row in rows]
    told(as_json, {"joins": rows}, lines or [_NONE[language_of()]])


def _carry_out(config: Path, values: dict[str, Any], wait: float, as_json: bool, words: dict[str, str]) -> None:
    done, language = asyncio.run(by_hand.carried_out(config, values, wait)), language_of()
    if done.state == "ACCEPTED":
        told(as_json, {"command": shown(done.command_id), "recorded": False}, [_WAITS[language]])
        return
    result = done.value["result"]
    lines = [words[language].format(ref=result["ref"], other=result["other"], at=result["recorded_at"])]
    lines += [f"{place}. {step[language]}" for place, step in enumerate(result.get("steps", ()), 1)]
    if "look_through" in result:
        lines.append(_LOOK[language].format(n=len(result["look_through"])))
        lines += [f"  {row['ref']}  {row['event_id']}  {row['event_type']}" for row in result["look_through"]]
    told(as_json, {"recorded": True, **result}, [*lines, f"Id: {result['join']}."])
