"""After a loss with no backup: which person a seat is about, and which of its consents stand, a named person says.

The map from person to seat was on the lost disk alone. Until somebody has tied a seat to a reference again, nothing is
sent in it and nothing of it is given to the agency's system. Consents come back from the broker signed by this seat's
own lost key: forged they cannot be; that a later withdrawal is among them nobody can know who has lost its memory.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from connectors.context import Context, borrowed
from connectors.identity import Seat
from connectors.spool.commands import Waiting
from schemas.errors import HandslagError
from schemas.identifiers import parsed, shown

OWN, UNCONFIRMED, CONFIRMED = "OWN", "BROKER_UNCONFIRMED", "BROKER_CONFIRMED"


def require_identified(seat: Seat) -> None:
    """Raise `HS-SEAT-UNIDENTIFIED` while nobody has said which person the seat is about."""
    # INVARIANT: test_nothing_is_sent_or_given_before_the_person_is_identified
    if not seat.identified:
        raise HandslagError("HS-SEAT-UNIDENTIFIED", field="ref")


def unknown_seat(ctx: Context, seat_id: bytes) -> Seat:
    """A seat that waits to be tied to a person; raises `HS-SEAT-UNKNOWN`, `HS-STATE-INVALID`."""
    seat = ctx.identities.by_seat_id(seat_id)
    if seat is None:
        raise HandslagError("HS-SEAT-UNKNOWN", field="seat")
    if seat.identified or not seat.active:
        raise HandslagError("HS-STATE-INVALID", field="seat")
    return seat


async def identify(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Tie a seat to the agency's own reference of a person again, by a named officer; kept in the log of looks."""
    seat = unknown_seat(ctx, parsed(command.value["seat"]))
    if ctx.spool.commands.busy(ctx.identities.handle(seat.ref)):
        raise HandslagError("HS-NOT-READY", field="seat")  # its own rotation, say: a moment later
    with ctx.spool.transaction():
        ctx.spool.memory.log_reading(
            {"what": "identify", "seat": shown(seat.sid), "actor": command.value["actor_ref"]}, ctx.now()
        )
        ctx.identities.identified(seat, command.value["ref"])
    return {"seat": shown(seat.sid), "state": seat.state}


def origin(ctx: Context, seat: Seat, consent_id: bytes) -> str:
    """Whether a consent is from own memory, or from the broker and confirmed or not."""
    if not seat.borrowed_seq or consent_id not in borrowed(seat, ctx.whole_ledger(seat)):
        return OWN
    return CONFIRMED if consent_id.hex() in seat.reaffirmed else UNCONFIRMED


def unconfirmed(ctx: Context, seat: Seat) -> list[bytes]:
    """Ids of consents that stand on the broker's word alone, ascending."""
    return sorted(borrowed(seat, ctx.whole_ledger(seat)) - {bytes.fromhex(one) for one in seat.reaffirmed})


async def reaffirm(ctx: Context, command: Waiting) -> dict[str, Any]:
    """A named person confirms a consent: the person was asked, or the signed paper is in the file."""
    seat, consent = ctx.identities.get(command.value["ref"]), parsed(command.value["consent"])
    if consent not in unconfirmed(ctx, seat):
        raise HandslagError("HS-EVENT-UNKNOWN", field="consent")
    with ctx.spool.transaction():
        said = {"what": "reaffirm", "seat": shown(seat.sid), "actor": command.value["actor_ref"]}
        ctx.spool.memory.log_reading({**said, "consent": shown(consent), "how": command.value["how"]}, ctx.now())
        ctx.identities.update(replace(seat, reaffirmed=(*seat.reaffirmed, consent.hex())))
    return {"consent": shown(consent), "origin": CONFIRMED}


def listed(ctx: Context, *, unidentified: bool) -> list[dict[str, Any]]:
    """Seats for the command line; `consents_unconfirmed` are those that permit nothing until somebody confirms them."""
    return [
        {
            "seat": shown(seat.seat_id) if seat.seat_id else None, "ref": seat.ref if seat.identified else None,
            "role": seat.role, "state": seat.state, "identified": seat.identified,
            "consents_unconfirmed": [shown(one) for one in unconfirmed(ctx, seat)] if seat.borrowed_seq else [],
        }
        for seat in ctx.identities.all()
        if not (unidentified and seat.identified)
    ]  # fmt: skip
