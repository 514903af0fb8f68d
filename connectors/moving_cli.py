"""`handslag connector hand-over` and `relocation`: the lead's case passes to the social services that takes it over.

What names the receiving unit or the place is given here and not through the folder, where more people look.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import click

from connectors import by_hand, officers, transfers
from connectors import settings as configuration
from connectors.context import Context
from connectors.keys import UnitKeyPair
from connectors.said_cli import connector
from connectors.shared_cli import as_json, config_option, examples, language_of, told
from schemas.capsule import Place
from schemas.errors import HandslagError
from schemas.identifiers import shown


def swedish() -> bool:
    """Whether the caller reads Swedish."""
    return language_of() == "sv"


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


@connector.group("relocation", epilog=examples("handslag connector relocation invite --help"))
def relocation() -> None:
    """An ordinary transfer: two named officers invite the receiving unit and seal the place for it."""


_key = click.option("--key", type=click.Path(path_type=Path), required=True, help="The officer's own key file.")
_passphrase = click.option("--passphrase-file", type=click.Path(path_type=Path), help="Default: asks, without echo.")
_officer = click.option("--officer", required=True, help="Reference of the named officer.")


def _spoken(file: Path | None, *, twice: bool = False) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").strip()
    asked: str = click.prompt("Lösenfras / passphrase", hide_input=True, err=True, confirmation_prompt=twice)
    return asked


@relocation.command(
    "officer",
    epilog=examples(
        "handslag connector relocation officer --name handl-7 --key usb/handl-7.key",
        "handslag connector relocation officer --name handl-9 --instead-of handl-7 --key usb/handl-9.key --json",
    ),
)
@click.option("--name", required=True, help="Reference of the officer, one of two.")
@click.option("--instead-of", help="Reference of the officer whose place this one takes.")
@_key
@_passphrase
@config_option
@as_json
def officer(
    name: str, instead_of: str | None, key: Path, passphrase_file: Path | None, config: Path, as_json: bool
) -> None:
    """Name an officer: draws the officer's keys and writes them to --key, sealed under a passphrase.

    The file belongs on the officer's own stick. A capsule that exists already opens for the two of its day only.
    """
    current = configuration.load(config)
    passphrase = _spoken(passphrase_file, twice=True)
    officers.name_officer(current.keys_dir, name, key, passphrase, os.urandom, instead_of)
    named = sorted(officers.named(current.keys_dir))
    told(as_json, {"officers": named}, [("Namngivna: " if swedish() else "Named: ") + ", ".join(named)])


@relocation.command(
    "invite",
    epilog=examples(
        "handslag connector relocation invite --ref EX-1 --unit SOC/EXEMPEL/NYA --place place.json --officer handl-7"
        " --key usb/handl-7.key --contact 'Konsultationsteamet EXEMPEL' --person-name 'Tolvan Tolvansson'",
    ),
)
@click.option("--ref", required=True, help="Local reference of the case.")
@click.option("--unit", required=True, help="Unit code of the receiving social services.")
@click.option("--place", type=click.Path(path_type=Path), required=True, help="JSON file with the place; delete it.")
@click.option("--contact", required=True, help="Unit and function that invites, in words.")
@click.option("--person-name", help="Name of the person.")
@click.option("--person-number", help="Personal identity number, 12 digits.")
@_officer
@_key
@_passphrase
@click.option("--wait", type=click.FloatRange(min=0), default=by_hand.WAIT_S, show_default=True, help="Seconds.")
@config_option
@as_json
def invite(config: Path, as_json: bool, wait: float, **given: Any) -> None:
    """Invite the receiving social services to take the case over, and seal the place for it.

    The person's consent to that unit (IC01, IC12, INTAKE) must be in force. The place goes along with the event
    `case_transfer_changed`.
    """
    place = _place(given["place"])
    done = asyncio.run(_invited(config, wait, place, given))
    text = "Inbjudan är på väg." if swedish() else "The invitation is on its way."
    data = {"command": shown(done.command_id), "recorded": done.state != "ACCEPTED"}
    told(as_json, {**data, **done.value.get("result", {})}, [text])


async def _invited(config: Path, wait: float, place: Place, given: dict[str, Any]) -> Any:
    person = {"name": given["person_name"], "personal_identity_number": given["person_number"], "local_reference": None}
    ctx = Context.load(configuration.load(config))
    try:
        await _unlocked(ctx, given)
        command = transfers.invite(ctx, given["ref"], given["unit"], place, given["officer"], given["contact"], person)
        return await by_hand.awaited(ctx, command, wait)
    finally:
        ctx.spool.close()


def _place(file: Path) -> Place:
    names = {field.name for field in fields_of(Place)}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        if (
            not isinstance(value, dict)
            or not set(value) <= names
            or not all(isinstance(v, str) for v in value.values())
        ):
            raise ValueError
    except (OSError, ValueError):
        raise HandslagError("HS-INPUT-INVALID", field="place") from None
    return Place(**value)


async def _unlocked(ctx: Context, given: dict[str, Any]) -> UnitKeyPair:
    """The named officer's keys; anybody else's attempt is recorded, also when the broker is away, and refused."""
    phrase = _spoken(given["passphrase_file"])
    try:
        return officers.unlocked(ctx.settings.keys_dir, given["officer"], given["key"], phrase)
    except HandslagError:
        await _attempt(ctx, given)
        raise


async def _attempt(ctx: Context, given: dict[str, Any]) -> None:
    seat = ctx.identities.get(given["ref"])
    await by_hand.awaited(ctx, transfers.tried(ctx, seat, given["officer"], allowed=False), 2.0)


@relocation.command(
    "look",
    epilog=examples(
        "handslag connector relocation look --ref EX-1 --officer handl-7 --key usb/handl-7.key",
        "handslag connector relocation look --ref EX-1 --officer handl-7 --key usb/handl-7.key --json | jq .place",
    ),
)
@click.option("--ref", required=True, help="Local reference of the case.")
@_officer
@_key
@_passphrase
@config_option
@as_json
def look(config: Path, as_json: bool, **given: Any) -> None:
    """Show the place in the capsule to a named officer; every look, and every attempt, is in the trail before.

    At the old lead until the case has passed; at the receiving unit, whose own two officers are named there.
    """
    place = asyncio.run(_looked(config, given))
    found = {name: value for name, value in place.to_dict().items() if name not in {"label", "version"} and value}
    told(as_json, {"place": found}, [f"{name}: {value}" for name, value in found.items()])


async def _looked(config: Path, given: dict[str, Any]) -> Place:
    ctx = Context.load(configuration.load(config))
    try:
        pair = await _unlocked(ctx, given)
        seat = ctx.identities.get(given["ref"])
        try:
            place = transfers.place(ctx, seat, given["officer"], pair)
        except HandslagError as error:
            if error.code == "HS-OFFICER-NOT-NAMED":
                await _attempt(ctx, given)
            raise
        done = await by_hand.awaited(ctx, transfers.tried(ctx, seat, given["officer"], allowed=True))
        if done.state == "ACCEPTED":
            raise HandslagError("HS-NOT-RECORDED")  # the trail first, then the place
        return place
    finally:
        ctx.spool.close()


@relocation.command("cancel", epilog=examples("handslag connector relocation cancel --ref EX-1"))
@click.option("--ref", required=True, help="Local reference of the case.")
@config_option
@as_json
def cancel(ref: str, config: Path, as_json: bool) -> None:
    """Destroy the capsule of a transfer that does not take place; then `remove` the role if it was accepted."""
    ctx = Context.load(configuration.load(config))
    try:
        transfers.cancel(ctx, ref)
    finally:
        ctx.spool.close()
    told(as_json, {"cancelled": True}, ["Kapseln är förstörd." if swedish() else "The capsule is destroyed."])


__all__ = ["connector", "hand_over", "relocation", "swedish"]
