"""The cache of ledger views under several threads: it may forget, it never fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from broker.views import Views
from consent.ledger import LedgerView
from schemas.identifiers import ZERO32

ROWS = SimpleNamespace(ledger=SimpleNamespace(of_seats=lambda ids: {seat_id: [] for seat_id in ids}))


class Seat:
    """A seat; when its head is read once more, another thread makes the cache of one forget it."""

    seat_id = b"1" * 16

    def __init__(self, views: Views) -> None:
        self.views = views
        self.meanwhile = ThreadPoolExecutor(1)
        self.reads = 0

    @property
    def head(self) -> bytes:
        self.reads += 1
        if self.reads == 2:
            other = SimpleNamespace(seat_id=b"2" * 16, head=ZERO32)
            self.meanwhile.submit(self.views.of, ROWS, [other]).result(10)
        return ZERO32


def test_a_view_forgotten_in_between_is_read_again():
    views = Views(capacity=1)
    seat = Seat(views)
    plain = SimpleNamespace(seat_id=seat.seat_id, head=ZERO32)
    views.of(ROWS, [plain])
    assert views.of(ROWS, [seat]) == {seat.seat_id: LedgerView.empty()}
    seat.meanwhile.shutdown()
