"""Restored connectors: which number is in service, whose recovery key counts, how much of the log was shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from broker.store.cipher import ColumnCipher
from broker.store.tables import attempt, event_memory, instance, item, unit_memory

_RECEIPTS = 5000  # of one restore; older ones are in the backup


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One announcement of a restored connector: encoded request and answer."""

    unit: str
    instance: int
    restore_id: bytes
    request: bytes
    answer: bytes
    announced_at_us: int


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of a unit: its agency's recovery key, the tree size that its connector surely has seen.

    `compromised_key` is the unit's signing key that it said was stolen; it is never admitted again.
    """

    recovery_key: bytes | None = None
    seen_size: int = 0
    compromised_key: bytes | None = None


class InstanceRows:
    """Verbs on `instance` and `unit_memory`, and what a restored connector is given once more."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher

    def memory(self, unit: str) -> Memory:
        """What is remembered of a unit."""
        row = self._c.execute(
            select(unit_memory).where(unit_memory.c.unit == self._cipher.handle("unit_memory", unit))
        ).one_or_none()
        return Memory(row.recovery_key, row.seen_size, row.compromised_key) if row else Memory()

    def remember(self, unit: str, memory: Memory) -> None:
        """Replace what is remembered of a unit."""
        of = self._cipher.handle("unit_memory", unit)
        self._c.execute(delete(unit_memory).where(unit_memory.c.unit == of))
        values = {name: getattr(memory, name) for name in Memory.__slots__}
        self._c.execute(insert(unit_memory).values(unit=of, **values))

    def newest(self, unit: str) -> InstanceRow | None:
        """The last announcement of a unit, or None."""
        rows = self._c.execute(select(instance).where(self._of(unit)).order_by(instance.c.instance.desc()).limit(1))
        row = rows.one_or_none()
        if row is None:
            return None
        found, cipher = InstanceRow(*row), self._cipher
        return replace(
            found,
            unit=unit,
            request=cipher.open("instance.request", found.request),
            answer=cipher.open("instance.answer", found.answer),
        )

    def used(self, restore_id: bytes) -> bool:
        """Whether a restore was announced before."""
        return self._c.execute(select(instance.c.unit).where(instance.c.restore_id == restore_id)).first() is not None

    def take(self, row: InstanceRow) -> None:
        """Keep an announcement."""
        values = {name: getattr(row, name) for name in InstanceRow.__slots__}
        values["unit"] = self._cipher.handle("instance", row.unit)
        for name in ("request", "answer"):
            values[name] = self._cipher.seal(f"instance.{name}", values[name])
        self._c.execute(insert(instance).values(**values))

    def forget(self, unit: str) -> None:
        """A unit that comes back with other keys has no past instances."""
        self._c.execute(delete(instance).where(self._of(unit)))

    def announced(self) -> dict[str, tuple[int, int]]:
        """(number, microseconds UTC of its announcement) of every unit that was ever restored."""
        rows = self._c.execute(
            select(instance.c.unit, instance.c.instance, instance.c.announced_at_us).order_by(instance.c.instance)
        )
        return {self._cipher.code("instance", row.unit): (row.instance, row.announced_at_us) for row in rows}

    def receipts(self, seat_ids: Iterable[bytes], first_event: bytes) -> list[bytes]:
        """Receipts of these seats' events from an event id on, the newest events first, at most 5,000."""
        rows = self._c.execute(
            select(attempt.c.receipt)
            .join(event_memory, event_memory.c.event_id == attempt.c.event_id)
            .where(event_memory.c.seat_id.in_(list(seat_ids)), attempt.c.event_id >= first_event)
            .order_by(attempt.c.event_id.desc(), attempt.c.attempt)
            .limit(_RECEIPTS)
        )
        return [row.receipt for row in rows]

    def end_leases(self, unit: str) -> None:
        """What the lost connector had fetched and not acknowledged comes at once; deliveries keep their lease."""
        self._c.execute(
            update(item).where(item.c.unit == self._cipher.handle("inbox_item", unit)).values(lease_until_us=0)
        )

    def _of(self, unit: str) -> ColumnElement[bool]:
        return instance.c.unit == self._cipher.handle("instance", unit)
