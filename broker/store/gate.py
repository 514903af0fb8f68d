"""The gate rows: position, version and ledger clock of each bucket."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import BigInteger, Connection, func, insert, literal, select, update

from broker.store.dialect import greatest, has_row_locks, moment
from broker.store.tables import BUCKETS, bucket


class GateMoved(Exception):  # noqa: N818 - an answer, not a fault: read the gate again
    """The gate no longer stands where it was read: nothing of this transaction may be written."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate row as read: next stream position, ledger version, floor of the ledger clock in microseconds."""

    bucket: int
    next_position: int
    gate_version: int
    clock_us: int


@dataclass(frozen=True, slots=True)
class Bump:
    """What a ledger write was given: its first position on the knowledge axis and its moment."""

    bucket: int
    first_version: int
    clock_us: int


class GateRows:
    """Verbs on `bucket`. Lock order everywhere: bucket rows ascending, then deliveries, then the log's head."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    def create(self) -> None:
        """Insert the 64 rows of an empty store."""
        rows = [{"bucket": b, "next_position": 0, "gate_version": 0, "clock_us": 0} for b in range(BUCKETS)]
        self._c.execute(insert(bucket), rows)

    def read(self, number: int) -> Gate:
        """The gate as it stands; read it in a statement before any ledger row."""
        row = self._c.execute(select(bucket).where(bucket.c.bucket == number)).one()
        return Gate(row.bucket, row.next_position, row.gate_version, row.clock_us)

    def clock(self, numbers: Iterable[int]) -> int:
        """The furthest ledger clock of these buckets, 0 of none; only a look, it locks nothing."""
        query = select(func.max(bucket.c.clock_us)).where(bucket.c.bucket.in_(list(numbers)))
        return int(self._c.execute(query).scalar() or 0)

    def advance(self, seen: Gate, end: int, now_us: int) -> None:
        """Compare-and-set: the batch [next_position, end) is decided under the version that was read.

        INVARIANT: test_no_release_after_ack. Raises GateMoved when position or version are not those of `seen`.
        """
        done = self._c.execute(
            update(bucket)
            .where(
                bucket.c.bucket == seen.bucket,
                bucket.c.next_position == seen.next_position,
                bucket.c.gate_version == seen.gate_version,
            )
            .values(
                next_position=end,
                clock_us=greatest(bucket.c.clock_us, literal(now_us, BigInteger), moment(self._c, now_us)),
            )
        )
        if done.rowcount != 1:
            raise GateMoved

    def bump(self, number: int, events: int, now_us: int) -> Bump:
        """First statement of every ledger write: take `events` positions and the ledger clock (never back)."""
        if has_row_locks(self._c):  # an UPDATE that waits for the row has read the clock before it waited
            self._c.execute(select(bucket.c.bucket).where(bucket.c.bucket == number).with_for_update())
        row = self._c.execute(
            update(bucket)
            .where(bucket.c.bucket == number)
            .values(
                gate_version=bucket.c.gate_version + events,
                clock_us=greatest(bucket.c.clock_us, moment(self._c, now_us)),
            )
            .returning(bucket.c.gate_version, bucket.c.clock_us)
        ).one()
        return Bump(number, row.gate_version - events + 1, row.clock_us)

    def positions(self) -> list[int]:
        """The stream position of every bucket, bucket 0 first."""
        return list(self._c.execute(select(bucket.c.next_position).order_by(bucket.c.bucket)).scalars())

    def place(self, number: int, position: int) -> None:
        """Where a bucket goes on in another log; only after `bump`, in the same transaction."""
        self._c.execute(update(bucket).where(bucket.c.bucket == number).values(next_position=position))
