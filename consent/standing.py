"""How one recorded consent stands to one request: the ways in which it fails to cover it, as bits.

One bit per reason, in the order in which reasons are reported. Three groups, from far to near: what the consent
was never about (SCOPE), what happened to it (LIFE), what a human must look at first (HUMAN).
"""

from __future__ import annotations

WRONG_DISCLOSER = 1 << 0
RECIPIENT_NOT_COVERED = 1 << 1
RECIPIENT_CHANGED = 1 << 2
CATEGORY_NOT_COVERED = 1 << 3
PURPOSE_MISMATCH = 1 << 4
ACTION_NOT_COVERED = 1 << 5
INVALIDATED = 1 << 6
NOT_YET_VALID = 1 << 7
EXPIRED = 1 << 8
WITHDRAWN = 1 << 9
PARTIALLY_WITHDRAWN = 1 << 10
SUSPENDED = 1 << 11
CAPACITY = 1 << 12
RESERVATION = 1 << 13

NAMES = (
    "WRONG_DISCLOSER",
    "RECIPIENT_NOT_COVERED",
    "RECIPIENT_CHANGED",
    "CATEGORY_NOT_COVERED",
    "PURPOSE_MISMATCH",
    "ACTION_NOT_COVERED",
    "INVALIDATED",
    "NOT_YET_VALID",
    "EXPIRED",
    "WITHDRAWN",
    "PARTIALLY_WITHDRAWN",
    "SUSPENDED",
    "CAPACITY",
    "RESERVATION",
)
_SCOPE = (1 << 6) - 1
_LIFE = (1 << 12) - 1 - _SCOPE
_HUMAN = CAPACITY | RESERVATION


def distance(bits: int) -> int:
    """How far a consent is from covering: fewer SCOPE reasons first, then fewer LIFE, then fewer HUMAN; 0 covers."""
    return (bits & _SCOPE).bit_count() << 8 | (bits & _LIFE).bit_count() << 4 | (bits & _HUMAN).bit_count()


def reasons(bits: int) -> tuple[str, ...]:
    """The reason codes of `bits`, in reporting order."""
    return tuple([name for place, name in enumerate(NAMES) if bits >> place & 1])


def closest(all_bits: list[int]) -> tuple[str, ...]:
    """Reasons to report when no consent covers: those of the closest consents, of all of them if several tie.

    A consent that was about exactly this and is withdrawn says WITHDRAWN, however many others are about something
    else; only when none was about this do the others say what they lack. Without any record: NO_RECORD.
    """
    if not all_bits:
        return ("NO_RECORD",)
    nearest = min(map(distance, all_bits))
    merged = 0
    for bits in all_bits:
        if distance(bits) == nearest:
            merged |= bits
    return reasons(merged)
