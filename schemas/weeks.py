"""The weekly slot: when seat keys rotate, roles change hands, and the mailboxes of those who left are emptied."""

from __future__ import annotations

# A week: a hidden REMOVE lives at most two slots, and a lead on leave must not silence a case within days.
WEEK_US = 7 * 24 * 3600 * 1_000_000
# The epoch was a Thursday: this starts slots on Tuesdays 01:00 UTC, at night in Sweden, with a week of staff to come.
OFFSET_US = (5 * 24 + 1) * 3600 * 1_000_000


def next_start(at_us: int, length_us: int, offset_us: int) -> int:
    """The first moment of the slot after the one that a moment lies in; all in microseconds since 1970 UTC."""
    return ((at_us - offset_us) // length_us + 1) * length_us + offset_us
