"""Ledger views by seat, bounded, filled on demand.

A view is kept under the seat's ledger head, which commits to the whole ledger: a cached view is used only when the
head read in the deciding snapshot is its own, so correctness never depends on the cache.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace

from broker.store.cases import SeatRow
from broker.store.port import Rows
from consent.ledger import LedgerView, view_of
from schemas import limits
from schemas.acts import LedgerEvent
from schemas.errors import HandslagError

_CAPACITY = 20_000  # views; a few kilobytes each


class Views:
    """Least recently used ledger views."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()  # readers and the writer of the store ask from threads of their own
        self._kept: OrderedDict[tuple[bytes, bytes], LedgerView] = OrderedDict()

    def of(self, rows: Rows, seats: Iterable[SeatRow]) -> dict[bytes, LedgerView]:
        """The view of each seat as it stands in this snapshot."""
        wanted = {seat.seat_id: seat for seat in seats}
        found: dict[bytes, LedgerView] = {}
        missing: list[SeatRow] = []
        for seat in wanted.values():
            view = self._seen((seat.seat_id, seat.head))
            if view is None:
                missing.append(seat)
            else:
                found[seat.seat_id] = view
        ledgers = rows.ledger.of_seats([seat.seat_id for seat in missing]) if missing else {}
        for seat in missing:
            view = _read(seat, ledgers[seat.seat_id])
            self._keep((seat.seat_id, seat.head), view)
            found[seat.seat_id] = view
        return found

    def forget(self, seat_id: bytes) -> None:
        """Keep no view of a seat any longer."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == seat_id]:
                del self._kept[key]

    def clear(self) -> None:
        """Keep no view at all any longer."""
        with self._lock:
            self._kept.clear()

    def _seen(self, key: tuple[bytes, bytes]) -> LedgerView | None:
        with self._lock:
            view = self._kept.get(key)
            if view is not None:
                self._kept.move_to_end(key)
            return view

    def _keep(self, key: tuple[bytes, bytes], view: LedgerView) -> None:
        with self._lock:
            self._kept[key] = view
            while len(self._kept) > self._capacity:
                self._kept.popitem(last=False)


def _read(seat: SeatRow, events: list[bytes]) -> LedgerView:
    """The view of a stored ledger; one that cannot be read is broken: it permits nothing and stops nobody else."""
    try:
        return view_of([LedgerEvent.from_bytes(event, limits.CALL * 2) for event in events])
    except HandslagError:
        return replace(LedgerView.empty(), ledger_seq=seat.ledger_seq, head=seat.head, broken=True)
