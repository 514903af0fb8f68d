"""When seat keys rotate: one slot after the other, the same for every role of every case (protocol, "wraps").

A pure function of time. That all rotate in the same slot is what lets a role change hands unseen; that each seat takes
a moment of its own inside it tells nobody which seats belong to one unit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from schemas.weeks import OFFSET_US, WEEK_US

_WINDOW = 4  # rotations lie in the first quarter of a slot: the rest is for those who were away
_CATCH_UP = 1024  # who was away takes a moment of this part of a slot: ten minutes of a week
_DEPUTY = 3  # of four quarters: what the lead has not confirmed by then, its deputy does


@dataclass(frozen=True, slots=True)
class Slots:
    """Slot length and the start of slot 0 after the epoch, both in microseconds; only a test or a show shortens them.

    Every connector of a case must be told the same: a slot is read from the moments that statements carry.
    """

    length_us: int = WEEK_US
    offset_us: int = OFFSET_US

    def number(self, at_us: int) -> int:
        """The slot that a moment (microseconds UTC) lies in."""
        return (at_us - self.offset_us) // self.length_us

    def start(self, number: int) -> int:
        """First moment of a slot, microseconds UTC."""
        return number * self.length_us + self.offset_us

    def moment(self, number: int, secret: bytes) -> int:
        """When a seat rotates in a slot: in its first quarter, unforeseeable without the seat's secret."""
        return self.start(number) + self._spread(number, secret, self.length_us // _WINDOW)

    def catch_up(self, number: int, secret: bytes) -> int:
        """How long, in microseconds, a seat that missed its moment waits after its connector came back.

        Else all seats of one unit would rotate at once, and whoever is told of two of them would know.
        """
        return self._spread(number, secret, self.length_us // _CATCH_UP)

    def deputy_from(self, number: int) -> int:
        """From when in a slot the deputy confirms what the lead has not."""
        return self.start(number) + self.length_us * _DEPUTY // 4

    def _spread(self, number: int, secret: bytes, room_us: int) -> int:
        digest = hashlib.sha256(b"HS1 slot moment" + number.to_bytes(8, "big", signed=True) + secret).digest()
        return int.from_bytes(digest[:8], "big") * room_us >> 64


WEEKLY = Slots()
"""The one schedule outside tests and shows."""

__all__ = ["OFFSET_US", "WEEKLY", "WEEK_US", "Slots"]
