"""Who has been heard from: each unit's last call, in memory at once and in the store within a minute.

One transaction for all units a minute at most: a contact is worth no disk sync of its own. It serves the one on call,
who must learn that an agency is silent before a person does; it decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from statistics import median

from broker.store.contacts import ContactRow
from broker.store.port import Store
from schemas.errors import HandslagError

KEEP_S = 60.0
FRESH_US = 3600 * 1_000_000  # a clock that was told an hour ago says nothing about now


class Contacts:
    """The last contact of every unit; used from the event loop only."""

    def __init__(self) -> None:
        self._last: dict[str, ContactRow] = {}
        self._changed: set[str] = set()

    def note(self, unit: str, at_us: int, version: str | None, clock_us: int | None) -> None:
        """A call came at `at_us`; what it did not tell stays as it was told before."""
        before = self._last.get(unit)
        self._last[unit] = ContactRow(
            unit,
            at_us,
            version or (before.version if before else None),
            clock_us - at_us if clock_us is not None else (before.clock_offset_us if before else None),
        )
        self._changed.add(unit)

    def take(self, rows: Iterable[ContactRow]) -> None:
        """What was kept before this start, and what other nodes heard; the later contact of a unit counts."""
        # INVARIANT: test_a_unit_that_calls_another_node_is_not_silent
        for row in rows:
            known = self._last.get(row.unit)
            if known is None or known.at_us < row.at_us:
                self._last[row.unit] = row

    def of(self, unit: str) -> ContactRow | None:
        """The last contact of a unit, None before the first."""
        return self._last.get(unit)

    def all(self) -> list[ContactRow]:
        """Every contact, by unit code."""
        return [self._last[unit] for unit in sorted(self._last)]

    def changed(self) -> list[ContactRow]:
        """What is newer than the store's copy; counts as kept from now on."""
        rows = [self._last[unit] for unit in sorted(self._changed)]
        self._changed.clear()
        return rows

    def longest_silence_s(self, units: Iterable[tuple[str, int]], now_us: int) -> float:
        """Seconds since the last contact of the most silent of (unit, admitted at); 0 when there is no unit."""
        heard = [max(at_us, seen.at_us if (seen := self._last.get(unit)) else 0) for unit, at_us in units]
        return max(((now_us - at_us) / 1e6 for at_us in heard), default=0.0)

    def clock_offsets_s(self, units: Iterable[str], now_us: int) -> tuple[float, float]:
        """(largest, middle) offset in seconds among clocks told within the hour; the largest without its sign."""
        seen = [row for unit in units if (row := self._last.get(unit)) and now_us - row.at_us <= FRESH_US]
        told = [row.clock_offset_us / 1e6 for row in seen if row.clock_offset_us is not None]
        return (max(map(abs, told)), median(told)) if told else (0.0, 0.0)


async def keep(store: Store, contacts: Contacts, seconds: float = KEEP_S) -> None:
    """Write for ever what changed, all units together; a store that fails gets it with the next contact."""
    # INVARIANT: test_a_thousand_calls_cost_one_write
    while True:
        await asyncio.sleep(seconds)
        await kept(store, contacts)
        await heard_elsewhere(store, contacts)


async def kept(store: Store, contacts: Contacts) -> int:
    """Write what changed once; returns how many units."""
    rows = contacts.changed()
    if rows:
        try:
            await store.write(lambda into: into.contacts.put(rows))
        except HandslagError:
            return 0
    return len(rows)


async def heard_elsewhere(store: Store, contacts: Contacts) -> None:
    """Take in what other nodes wrote; a store that fails is asked again at the next time."""
    with contextlib.suppress(HandslagError):
        contacts.take(await store.read(lambda found: found.contacts.all()))
