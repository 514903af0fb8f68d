"""`handslag connector hand-over`: the lead's case passes to the social services that takes it over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from connectors import by_hand
from connectors.cli import as_json, config_option, examples, told
from connectors.said_cli import connector
from schemas.identifiers import shown


def swedish() -> bool:
    """Whether the caller reads Swedish."""
    return (click.get_current_context().find_root().params.get("lang") or "sv") == "sv"


@connector.command(
    "hand-over",
    epilog=examples(
        "handslag connector hand-over --ref EX-1 --actor handl-7",
        "handslag connector hand-over --ref EX-1 --actor handl-7 --undo --json",
    ),
)
@click.option("--ref", required=True, help="Local reference of the case.")
@click.option("--actor", required=True, help="Reference of the officer.")
@click.option("--undo", is_flag=True, help="Take it back; possible until the next weekly rotation.")
@click.option("--wait", type=click.FloatRange(min=0), default=by_hand.WAIT_S, show_default=True, help="Seconds.")
@config_option
@as_json
def hand_over(ref: str, actor: str, undo: bool, wait: float, config: Path, as_json: bool) -> None:
    """The lead only: the case passes to the social services that has accepted to take it over.

    It does in this connector's next weekly rotation. The seat here is closed then, and its keys are destroyed.
    """
    values = {"do": "hand_over", "ref": ref, "actor_ref": actor, "undo": undo}
    done = asyncio.run(by_hand.carried_out(config, values, wait))
    if done.state == "ACCEPTED":
        text = "Antecknat; anslutningen fortsätter själv." if swedish() else "Noted; the connector goes on by itself."
        told(as_json, {"command": shown(done.command_id), "recorded": False}, [text])
        return
    if swedish():
        text = "Ärendet stannar här." if undo else "Ärendet går över vid nästa veckobyte av nycklar."
    else:
        text = "The case stays here." if undo else "The case passes on with the next weekly rotation."
    told(as_json, {"recorded": True, **done.value["result"]}, [text])


__all__ = ["connector", "hand_over", "swedish"]
