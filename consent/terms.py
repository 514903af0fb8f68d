"""What is asked of a decision and what it answers: parties, sections, request, decision.

The answers are named tuples, not dataclasses: a decision is made for every recipient of every event, and building
four frozen dataclasses costs more than deciding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from schemas.codes import Outcome
from schemas.errors import HandslagError

THE_PERSON = 0  # index of the case's own person; every other index is somebody else (protocol, routing item)


@dataclass(frozen=True, slots=True)
class Party:
    """One side of a disclosure: a seat, or for an invitation the unit that is to get one.

    `authority` is the first part of the unit code. `unit` is None where the asker may not know it (a sender's
    connector in a protected relocation). `member` is the 16-byte member id of the seat; a sender always has one.
    `active`: the seat is ACTIVE. `held`: somebody holds the role at all.
    """

    role: str
    authority: str
    unit: str | None
    member: bytes | None
    active: bool
    held: bool


@dataclass(frozen=True, slots=True)
class SectionAsk:
    """One section of the event: category, persons by index (0 is the case's own), and what the sender states of it.

    `data_from_us` and `data_until_us`: the period its data are from (half open, microseconds UTC), where stated.
    """

    category: str
    persons: tuple[int, ...]
    public_interest_released: bool
    sender_withheld: bool
    data_from_us: int | None = None
    data_until_us: int | None = None


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """Sections of one event from `sender` to `recipient` at `at_us` (microseconds UTC), for a purpose and an action."""

    event_type: str
    sender: Party
    recipient: Party
    sections: tuple[SectionAsk, ...]
    purpose: str
    action: str
    at_us: int


class SectionDecision(NamedTuple):
    """Released or not; every reason if not; if released the consents used (16 bytes each), its own category's first."""

    category: str
    released: bool
    reasons: tuple[str, ...]
    grants: tuple[bytes, ...]


class Decision(NamedTuple):
    """The answer for one recipient role.

    `holds_until_us`: first moment at which a released section no longer rests on what it was released on; None only
    when nothing is released. `depends_on`: every consent used. `obligations`: codes that travel with the release.
    """

    outcome: Outcome
    sections: tuple[SectionDecision, ...]
    holds_until_us: int | None
    depends_on: tuple[bytes, ...]
    obligations: tuple[str, ...]

    def __bool__(self) -> bool:
        """Never an answer: a decision is true for one section and false for the next. Raises `HS-DECISION-BOOL`."""
        raise HandslagError("HS-DECISION-BOOL")
