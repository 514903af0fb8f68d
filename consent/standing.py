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
_HALF = 10  # bits looked up at once: one table of all twenty would be a million rows
_MASK = (1 << _HALF) - 1
_SCOPE = INVALIDATED - 1
_LIFE = CAPACITY - 1 - _SCOPE
_HUMAN = CAPACITY | RESERVATION


def _distance(bits: int) -> int:
    return (bits & _SCOPE).bit_count() << 8 | (bits & _LIFE).bit_count() << 4 | (bits & _HUMAN).bit_count()


# How far a consent is from covering, by its bits: fewer SCOPE reasons first, then fewer LIFE, then fewer HUMAN.
# Laid out in advance, because a refusal asks it for every consent and every section. The halves add up: no group of
# one half can carry into the next.
_FAR_LOW = tuple(_distance(bits) for bits in range(1 << _HALF))
_FAR_HIGH = tuple(_distance(bits << _HALF) for bits in range(1 << _HALF))

NOWHERE = 1 << 16  # farther than any bits
ONE_OF_SCOPE = _distance(CATEGORY_NOT_COVERED)


def distance(bits: int) -> int:
    """How far a consent with these bits is from covering; 0: it covers."""
    return _FAR_LOW[bits & _MASK] + _FAR_HIGH[bits >> _HALF]


def _named(bits: int, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for place, name in enumerate(names) if bits >> place & 1)


_LOW = tuple(_named(bits, NAMES[:_HALF]) for bits in range(1 << _HALF))
_HIGH = tuple(_named(bits, NAMES[_HALF:]) for bits in range(1 << _HALF))


def reasons(bits: int) -> tuple[str, ...]:
    """The reason codes of `bits`, in reporting order."""
    return _LOW[bits & _MASK] + _HIGH[bits >> _HALF]
