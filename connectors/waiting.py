"""The life of an outgoing event at its sender: pure functions, no clock.

    ACCEPTED -> SEALED -> SENT -> DECIDED -> DONE
                  ^                  |
                  +---- WAITING <----+      consent came within the shelf life: it goes again by itself
                           |
                           +--> EXPIRED     a named person decides; what goes then is a new event (`replaces`)

A section for a role is OPEN (nobody was given it), KEYLESS (released, and sealed to a key that is gone or to none),
LIVE (released, on its way), ACKED, REJECTED or LAPSED (released and never handed over in time).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from schemas.errors import HandslagError
from schemas.event_types import carried_type, content_type
from schemas.statute import TYPE as STATUTORY


class OutgoingState(StrEnum):
    """Where an outgoing event stands."""

    ACCEPTED = "ACCEPTED"
    SEALED = "SEALED"
    SENT = "SENT"
    DECIDED = "DECIDED"
    WAITING = "WAITING"
    EXPIRED = "EXPIRED"
    DONE = "DONE"
    REFUSED = "REFUSED"
    REPLACED = "REPLACED"


_S = OutgoingState
TRANSITIONS: Mapping[OutgoingState, frozenset[OutgoingState]] = {
    # A shelf life may end before anything could be sealed: the broker was away, or a local stop stands.
    _S.ACCEPTED: frozenset({_S.SEALED, _S.REFUSED, _S.EXPIRED, _S.REPLACED}),
    # SEALED again: the ledger moved between sealing and sending.
    _S.SEALED: frozenset({_S.SEALED, _S.SENT, _S.REFUSED, _S.EXPIRED, _S.REPLACED}),
    _S.SENT: frozenset({_S.SENT, _S.SEALED, _S.DECIDED, _S.REFUSED, _S.EXPIRED}),
    _S.DECIDED: frozenset({_S.DECIDED, _S.WAITING, _S.DONE}),
    _S.WAITING: frozenset({_S.SEALED, _S.DECIDED, _S.DONE, _S.EXPIRED, _S.REPLACED}),
    _S.EXPIRED: frozenset({_S.REPLACED, _S.DONE}),
    _S.DONE: frozenset(),
    _S.REFUSED: frozenset(),
    _S.REPLACED: frozenset(),
}
KEEPS_CONTENT = frozenset(_S) - {_S.DONE, _S.REFUSED, _S.REPLACED}


class SectionState(StrEnum):
    """Where one section stands for one role."""

    OPEN = "OPEN"
    KEYLESS = "KEYLESS"
    LIVE = "LIVE"
    ACKED = "ACKED"
    REJECTED = "REJECTED"
    LAPSED = "LAPSED"


# What a notice about (event, role) does to the sections it names; a code that is not here changes none.
NOTICE_EFFECT: Mapping[str, SectionState] = {
    "delivery_acknowledged": SectionState.ACKED,
    "delivery_rejected": SectionState.REJECTED,
    "delivery_expired": SectionState.LAPSED,
    "delivery_cancelled": SectionState.OPEN,
    "recipient_changed": SectionState.OPEN,
    "delivery_reseal": SectionState.KEYLESS,
}
NOT_DELIVERED = frozenset({"delivery_overdue", "delivery_expired"})
_NOT_AGAIN = frozenset({"delivery_reseal", "delivery_cancelled", "delivery_rejected"})
LIFE_SAFETY = {
    "sv": "INTE FRAMME. Ring. Vid fara: 112.",
    "en": "NOT DELIVERED. Phone. In danger: 112.",
}


def moved(state: OutgoingState, to: OutgoingState) -> OutgoingState:
    """`to`, when the table allows it from `state`; raises `HS-STATE-INVALID`."""
    if to not in TRANSITIONS[state]:
        raise HandslagError("HS-STATE-INVALID")
    return to


def shelf_until_us(event_type: str, accepted_at_us: int, valid_until_us: int | None) -> int:
    """Last moment a withheld event goes again by itself: its own `valid_until`, else the type's shelf life."""
    return valid_until_us if valid_until_us is not None else accepted_at_us + content_type(event_type).shelf_life_us


def settled(sections: Iterable[SectionState]) -> OutgoingState:
    """State of a decided event from all its (role, section) states."""
    states = set(sections)
    if states & {SectionState.OPEN, SectionState.KEYLESS}:
        return OutgoingState.WAITING
    if SectionState.LIVE in states:
        return OutgoingState.DECIDED
    return OutgoingState.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the waiting list knows of one withheld event; `rekeyed`: it was released, and only the key has changed."""

    shelf_until_us: int
    newly_covered: bool
    later_same_type: bool
    rekeyed: bool = False


class Step(StrEnum):
    """What becomes of a withheld event now."""

    KEEP = "KEEP"
    SEND_AGAIN = "SEND_AGAIN"
    ASK_A_PERSON = "ASK_A_PERSON"


def step(standing: Standing, now_us: int) -> Step:
    """Whether a withheld event goes again by itself, keeps waiting, or needs a named person.

    A message that a later one of its type has overtaken is never sent by a machine: it would speak of the past. One
    that was released before it is only late, and its recipient can see when it was sent.
    """
    if now_us > standing.shelf_until_us or (standing.later_same_type and not standing.rekeyed):
        return Step.ASK_A_PERSON
    return Step.SEND_AGAIN if standing.newly_covered else Step.KEEP


def warning(code: str, event_type: str) -> dict[str, str] | None:
    """The sender's sentence when a life-safety message did not arrive, else None; keys `sv` and `en`."""
    # INVARIANT: test_life_safety_sentence
    if code in NOT_DELIVERED and carried_type(event_type).life_safety:
        return dict(LIFE_SAFETY)
    # What people decided without consent no machine sends again: whoever decided must know that it did not arrive.
    return dict(LIFE_SAFETY) if event_type == STATUTORY and code in _NOT_AGAIN else None
