"""Commands about seats whose keys were lost with no backup; each names the person who answers for it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from connectors.command_types import Command, Heard, Ref, Spelled


class Named(Command):
    """What only a named person does: about seats whose keys are lost. `actor_ref` says who."""

    actor_ref: Annotated[str, Field(min_length=1, max_length=64)]
    ref: str = ""


class RekeyAsk(Named):
    """Ask two other seats of the case to vouch for new keys of a lost one."""

    do: Literal["rekey_ask"]
    ref: Literal[""] = ""
    seat: Spelled


class RekeyCompare(Named):
    """What an agency that vouched read back, as it was heard."""

    do: Literal["rekey_compare"]
    ref: Literal[""] = ""
    seat: Spelled
    heard: Heard


class RekeySign(Named):
    """Vouch for another seat's new keys; `heard` is what its agency read aloud."""

    do: Literal["rekey_sign"]
    ref: Literal[""] = ""
    request: Spelled
    heard: Heard


class Identify(Named):
    """Tie a seat to a person again: `ref` is this agency's own reference."""

    do: Literal["identify"]
    ref: Ref
    seat: Spelled


class Reaffirm(Named):
    """Confirm a consent that only the broker remembered."""

    do: Literal["reaffirm"]
    ref: Ref
    consent: Spelled
    how: Literal["PERSON_ASKED", "SIGNED_PAPER"]
