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


# How far a consent is from covering, by its bits: fewer SCOPE reasons first, then fewer LIFE, then fewer HUMAN.
# Laid out in advance, because a refusal asks it for every consent and every section.
DISTANCE = tuple(
    (bits & _SCOPE).bit_count() << 8 | (bits & _LIFE).bit_count() << 4 | (bits & _HUMAN).bit_count()
    for bits in range(1 << len(NAMES))
)

_NOWHERE = 1 << 16  # farther than any bits


def _named(bits: int, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for place, name in enumerate(names) if bits >> place & 1)


_LOW = tuple(_named(bits, NAMES[:7]) for bits in range(1 << 7))
_HIGH = tuple(_named(bits, NAMES[7:]) for bits in range(1 << 7))


def reasons(bits: int) -> tuple[str, ...]:
    """The reason codes of `bits`, in reporting order."""
    return _LOW[bits & 127] + _HIGH[bits >> 7]


def closest(all_bits: list[int]) -> tuple[str, ...]:
    """Reasons to report when no consent covers: those of the closest consents, of all of them if several tie.

    A consent that was about exactly this and is withdrawn says WITHDRAWN, however many others are about something
    else; only when none was about this do the others say what they lack. Without any record: NO_RECORD.
    """
    nearest, merged = _NOWHERE, 0
    for bits in all_bits:
        far = DISTANCE[bits]
        if far < nearest:
            nearest, merged = far, bits
        elif far == nearest:
            merged |= bits
    return reasons(merged) if merged else ("NO_RECORD",)
