"""How one recorded consent stands to one request: the ways in which it fails to cover it, as bits.

One bit per reason, in the order in which reasons are reported. Three groups, from far to near: what the consent
was never about (SCOPE), what happened to it (LIFE), what a human must look at first (HUMAN).
"""

from __future__ import annotations

WRONG_DISCLOSER = 1
RECIPIENT_NOT_COVERED = 1 << 1
RECIPIENT_CHANGED = 1 << 2
CATEGORY_NOT_COVERED = 1 << 3
PURPOSE_MISMATCH = 1 << 4
ACTION_NOT_COVERED = 1 << 5
DATA_PERIOD = 1 << 6
INVALIDATED = 1 << 7
NOT_YET_VALID = 1 << 8
EXPIRED = 1 << 9
WITHDRAWN = 1 << 10
PARTIALLY_WITHDRAWN = 1 << 11
SUSPENDED = 1 << 12
SUPERSEDED = 1 << 13
GUARDIAN_AUTHORITY_ENDED = 1 << 14
TEXT_VERSION_STALE = 1 << 15
CHILD_COSIGN_MISSING = 1 << 16
GUARDIAN_MISSING = 1 << 17
CAPACITY = 1 << 18
RESERVATION = 1 << 19

NAMES = (
    "WRONG_DISCLOSER",
    "RECIPIENT_NOT_COVERED",
    "RECIPIENT_CHANGED",
    "CATEGORY_NOT_COVERED",
    "PURPOSE_MISMATCH",
    "ACTION_NOT_COVERED",
    "DATA_PERIOD",
    "INVALIDATED",
    "NOT_YET_VALID",
    "EXPIRED",
    "WITHDRAWN",
    "PARTIALLY_WITHDRAWN",
    "SUSPENDED",
    "SUPERSEDED",
    "GUARDIAN_AUTHORITY_ENDED",
    "TEXT_VERSION_STALE",
    "CHILD_COSIGN_MISSING",
    "GUARDIAN_MISSING",
    "CAPACITY",
    "RESERVATION",
)
_UPPER = NAMES.index("WITHDRAWN")  # bits are looked up in halves: one table of all twenty would be a million rows
_ROWS = WITHDRAWN  # the first bit of the upper half: so many rows tell everything of the lower one
_MASK = _ROWS - 1
_SCOPE = INVALIDATED - 1
_LIFE = CAPACITY - 1 - _SCOPE


def _distance(bits: int) -> int:
    scope, life = (bits & _SCOPE).bit_count(), (bits & _LIFE).bit_count()
    return (scope * len(NAMES) + life) * len(NAMES) + (bits & (CAPACITY | RESERVATION)).bit_count()


# How far a consent is from covering, by its bits: fewer SCOPE reasons first, then fewer LIFE, then fewer HUMAN.
# Laid out in advance, because a refusal asks it for every consent and every section. The halves add up: no group of
# one half can carry into the next.
_FAR_LOW = tuple(_distance(bits) for bits in range(_ROWS))
_FAR_HIGH = tuple(_distance(bits * _ROWS) for bits in range(_ROWS))


def _named(bits: int, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for place, name in enumerate(names) if bits >> place & 1)


_LOW = tuple(_named(bits, NAMES[:_UPPER]) for bits in range(_ROWS))
_HIGH = tuple(_named(bits, NAMES[_UPPER:]) for bits in range(_ROWS))


def reasons(bits: int) -> tuple[str, ...]:
    """The reason codes of `bits`, in reporting order."""
    return _LOW[bits & _MASK] + _HIGH[bits >> _UPPER]


def closest(all_bits: list[int]) -> tuple[str, ...]:
    """Reasons to report when no consent covers: those of the closest consents, of all of them if several tie.

    A consent that was about exactly this and is withdrawn says WITHDRAWN, however many others are about something
    else; only when none was about this do the others say what they lack. Without any record: NO_RECORD.
    """
    nearest, merged = _FAR_LOW[_MASK] + _FAR_HIGH[_MASK], 0
    for bits in all_bits:
        far = _FAR_LOW[bits & _MASK] + _FAR_HIGH[bits >> _UPPER]
        if far < nearest:
            nearest, merged = far, bits
        elif far == nearest:
            merged |= bits
    return reasons(merged) if merged else ("NO_RECORD",)
