"""A Store that lets something else happen before the k-th use of it: every interleaving of two calls, one by one.

Two calls meet in the store and nowhere else, so "the withdrawal commits before the k-th store operation of the
hand-over", for every k, is every order there is. Nothing here sleeps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import BigInteger, literal, select, update

from broker.context import Context
from broker.store.deliveries import DeliveryRow, DeliveryRows, _handable
from broker.store.dialect import greatest
from broker.store.gate import Gate, GateMoved, GateRows
from broker.store.port import Rows
from broker.store.sealing import Sealing
from broker.store.tables import bucket, delivery
from broker.stream.embedded import EmbeddedStream
from schemas.codes import DeliveryState


@dataclass
class Stepped:
    """Store wrapper: `meanwhile` runs to its end before operation number `at`."""

    inner: Any
    at: int
    meanwhile: Callable[[], Awaitable[Any]]
    narrows_first: bool = False
    done: int = 0
    fired: bool = False

    @property
    def sealing(self) -> Sealing:
        return self.inner.sealing

    async def _step(self) -> None:
        self.done += 1
        if self.done == self.at + 1:
            self.fired = True
            await self.meanwhile()

    async def read(self, query: Any) -> Any:
        await self._step()
        return await self.inner.read(query)

    async def write(self, work: Any, *, shared: bool = False) -> Any:
        await self._step()
        if not self.narrows_first:
            return await self.inner.write(work, shared=shared)
        # the broken one: what is to be narrowed is looked up before the gate is bumped, in a transaction of its own
        seen: list[DeliveryRow] = await self.inner.read(_everything_open)
        await self._step()
        return await self.inner.write(lambda rows: work(_with_seen(rows, seen)), shared=shared)


def _everything_open(rows: Rows) -> list[DeliveryRow]:
    states = [DeliveryState.PENDING.value, DeliveryState.HANDED.value]
    found = rows.gate._c.execute(select(delivery).where(delivery.c.state.in_(states)))
    return [rows.deliveries._row(row) for row in found]


def _with_seen(rows: Rows, seen: list[DeliveryRow]) -> Rows:
    rows.deliveries.open_of_senders = lambda ids: [row for row in seen if row.sender_seat in set(ids)]  # type: ignore[method-assign]
    return rows


def stepped(context: Context, store: Stepped) -> Context:
    return replace(context, store=store, stream=EmbeddedStream(store))  # type: ignore[arg-type]


# --- drivers with one defence switched off


class _UnversionedGate(GateRows):
    """The compare-and-set looks at the position only."""

    def advance(self, seen: Gate, end: int, now_us: int) -> None:
        done = self._c.execute(
            update(bucket)
            .where(bucket.c.bucket == seen.bucket, bucket.c.next_position == seen.next_position)
            .values(next_position=end, clock_us=greatest(bucket.c.clock_us, literal(now_us, BigInteger)))
        )
        if done.rowcount != 1:
            raise GateMoved


class UnversionedGate(Rows):
    def __init__(self, connection: Any, cipher: Any) -> None:
        super().__init__(connection, cipher)
        self.gate = _UnversionedGate(connection)


class _VersionlessHand(DeliveryRows):
    """The hand-over takes whatever row has the id, not the row version that was prepared."""

    def hand(self, seen: Any, now_us: int, lease_until_us: int) -> set[bytes]:
        done = self._c.execute(
            update(delivery)
            .where(delivery.c.delivery_id.in_([one for one, _ in seen]), _handable(now_us))
            .values(
                state=DeliveryState.HANDED.value,
                hand_number=delivery.c.hand_number + 1,
                row_version=delivery.c.row_version + 1,
                lease_until_us=lease_until_us,
            )
            .returning(delivery.c.delivery_id)
        )
        return {row.delivery_id for row in done}


class VersionlessHand(Rows):
    def __init__(self, connection: Any, cipher: Any) -> None:
        super().__init__(connection, cipher)
        self.deliveries = _VersionlessHand(connection, cipher)


@dataclass
class Answers:
    """What the callers were told: hand-overs as (delivery id, hand number, categories), and what was affected."""

    handed: list[tuple[bytes, int, frozenset[str]]] = field(default_factory=list)
    affected: list[Any] = field(default_factory=list)

    def violations(self, forbidden: frozenset[str]) -> list[tuple[bytes, int, frozenset[str]]]:
        """Hand-overs of what was taken back that the narrowing answer does not name as HANDED before it."""
        listed = {(one.delivery_id, one.hand_number) for one in self.affected if one.state_before == "HANDED"}
        return [one for one in self.handed if one[2] & forbidden and (one[0], one[1]) not in listed]
