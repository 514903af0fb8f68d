"""`handslag connector rekey ...`, `seats`, `identify`: a connector is lost and there was no backup.

Every step that vouches for something names the person who answers for it; nothing here signs by itself.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from connectors import persons, rekeying, vouching
from connectors import settings as configuration
from connectors.by_hand import carried_out
from connectors.context import Context
from connectors.shared_cli import as_json, config_option, examples, told

_officer = click.option("--officer", required=True, help="Who does this and answers for it, at this agency.")
_heard = click.option("--heard", help="The half as it was read aloud by phone; `-` reads stdin.  [default: asks]")
ALOUD = "Läs upp / read aloud: "
TYPE = "Skriv vad de läste upp / type what they read aloud"
WAITS = "Noterat; utförs när anslutningen når mäklaren / noted; done when the connector reaches the broker."


@click.group("rekey", epilog=examples("handslag connector rekey list --config konsult/connector.toml"))
def rekey() -> None:
    """New keys for seats that were lost with no backup: two other agencies of the case vouch for them.

    The lost agency asks (`ask`) and reads half a fingerprint aloud by phone; an officer of another agency types it
    (`sign`) and reads the other half back, which the lost agency types (`compare`). Two agencies must sign, one of them
    the lead or the police coordinator.
    """


@rekey.command("list", epilog=examples("handslag connector rekey list --json"))
@config_option
@as_json
def list_(config: Path, as_json: bool) -> None:
    """Lost seats of this unit, and requests of others that wait for a signature here."""
    ctx = Context.load(configuration.load(config))
    own, others = rekeying.listed(ctx), vouching.listed(ctx)
    ctx.spool.close()
    lines = [
        f"{row['seat']}  {row['state']:8}  {row['role']}  intygas av två av / two of: {', '.join(row['may_sign'])}"
        + (f"\n    {ALOUD}{row['read_aloud']}" if row["read_aloud"] else "")
        for row in own
    ]
    lines += [
        f"{row['request']}  {row['state']:8}  {row['role']}  {row['ref']}  {row['at']}"
        + (f"\n    {ALOUD}{row['read_aloud']}" if row["read_aloud"] else "")
        for row in others
    ]
    told(as_json, {"lost": own, "asked": others}, lines or ["Inget / nothing."])


@rekey.command("ask", epilog=examples("handslag connector rekey ask 0c45f8b6-... --officer IT-4"))
@click.argument("seat")
@_officer
@config_option
@as_json
def ask(seat: str, officer: str, config: Path, as_json: bool) -> None:
    """Draw new keys for the lost SEAT and ask the others of its case to vouch for them."""
    data = _done(config, {"do": "rekey_ask", "seat": seat, "actor_ref": officer})
    lines = [WAITS]
    if data["done"]:
        lines = [
            f"Ring två av / phone two of: {', '.join(data['may_sign'])}, på nummer ni redan har / on known numbers.",
            ALOUD + data["read_aloud"],
            f"Sedan / then: handslag connector rekey compare {seat}",
        ]
    told(as_json, data, lines)


@rekey.command(
    "sign",
    epilog=examples("handslag connector rekey sign 61fe0c7a-... --officer handlaggare-2 --heard '66d5 e235 ...'"),
)
@click.argument("request_id", metavar="REQUEST")
@_heard
@_officer
@config_option
@as_json
def sign(request_id: str, heard: str | None, officer: str, config: Path, as_json: bool) -> None:
    """Vouch for another agency's new keys, after it read half of their fingerprint aloud.

    Phone it on a number you have already, never on one that came with the request, and ask who speaks. It cannot be
    taken back: whoever has these keys is that seat from then on.
    """
    values = {"do": "rekey_sign", "request": request_id, "heard": _typed(heard), "actor_ref": officer}
    data = _done(config, values)
    told(as_json, data, [ALOUD + data["read_aloud"]] if data["done"] else [WAITS])


@rekey.command("compare", epilog=examples("handslag connector rekey compare 0c45f8b6-... --officer IT-4"))
@click.argument("seat")
@_heard
@_officer
@config_option
@as_json
def compare(seat: str, heard: str | None, officer: str, config: Path, as_json: bool) -> None:
    """Type what an agency that signed for SEAT read back: the case is theirs, and not one the broker made up."""
    data = _done(config, {"do": "rekey_compare", "seat": seat, "heard": _typed(heard), "actor_ref": officer})
    told(as_json, data, [f"Jämfört / compared. Sedan / then: handslag connector identify {seat} --ref ..."])


@rekey.command(
    "consent",
    epilog=examples("handslag connector rekey consent EX-1 0199... --how PERSON_ASKED --officer handlaggare-2"),
)
@click.argument("ref")
@click.argument("consent")
@click.option(
    "--how",
    required=True,
    type=click.Choice(["PERSON_ASKED", "SIGNED_PAPER"]),
    help="The person was asked after the loss, or the signed paper is in the file and nothing newer.",
)
@_officer
@config_option
@as_json
def consent(ref: str, consent: str, how: str, officer: str, config: Path, as_json: bool) -> None:
    """Let CONSENT of the case REF count again: it came back from the broker, which may have kept a withdrawal back."""
    data = _done(config, {"do": "reaffirm", "ref": ref, "consent": consent, "how": how, "actor_ref": officer})
    told(as_json, data, [f"{consent}: räknas igen / counts again."])


@click.command(
    "seats", epilog=examples("handslag connector seats --unidentified", "handslag connector seats --json | jq .seats")
)
@click.option("--unidentified", is_flag=True, help="Only those of which nobody has said whose they are.")
@config_option
@as_json
def seats(unidentified: bool, config: Path, as_json: bool) -> None:
    """Seats of this unit: role, state, whether the person is identified, consents that wait to be confirmed."""
    ctx = Context.load(configuration.load(config))
    rows = persons.listed(ctx, unidentified=unidentified)
    ctx.spool.close()
    lines = []
    for row in rows:
        who = row["ref"] if row["identified"] else "PERSONEN INTE FASTSTÄLLD / PERSON NOT IDENTIFIED"
        lines.append(f"{row['seat']}  {row['state']:8}  {row['role']}  {who}")
        lines += [f"    från mäklaren, inte ur eget minne / from the broker, not from own memory: {one}"
                  for one in row["consents_unconfirmed"]]  # fmt: skip
    told(as_json, {"seats": rows}, lines or ["Inget / nothing."])


@click.command(
    "identify", epilog=examples("handslag connector identify 0c45f8b6-... --ref EX-1 --officer handlaggare-2")
)
@click.argument("seat")
@click.option("--ref", required=True, help="This agency's own reference of the person.")
@_officer
@config_option
@as_json
def identify(seat: str, ref: str, officer: str, config: Path, as_json: bool) -> None:
    """Say which person SEAT is about, after a loss with no backup.

    Ask an agency that signed, by phone, and compare with your own file: two facts that only the right person fits. A
    mistake gives one person's information to another's file.
    """
    data = _done(config, {"do": "identify", "seat": seat, "ref": ref, "actor_ref": officer})
    told(as_json, data, [f"{seat}: {ref}"] if data["done"] else [WAITS])


def _typed(heard: str | None) -> str:
    if heard == "-" or (heard is None and not sys.stdin.isatty()):
        return sys.stdin.readline().strip()
    return heard if heard is not None else str(click.prompt(TYPE, err=True))


def _done(config: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Carry a command out; its result, and `done` False where it waits for the broker."""
    waiting = asyncio.run(carried_out(config, values))
    result = waiting.value.get("result", {})
    names = ("seat", "request", "read_aloud", "may_sign", "state", "role", "consent", "origin")
    return {"done": waiting.state == "DONE", **{name: result[name] for name in names if name in result}}


COMMANDS = (rekey, seats, identify)
