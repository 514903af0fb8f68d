"""On whose ledgers the person's withdrawal of everything is written: also of who has left what it gave behind."""

from __future__ import annotations

from collections.abc import Collection

from broker.context import Context
from broker.store.cases import SeatRow
from broker.store.port import Rows
from schemas.acts import ConsentAct
from schemas.codes import SeatState

_ALL = "WITHDRAW_ALL"


def reached(context: Context, rows: Rows, case_ids: Collection[bytes]) -> list[SeatRow]:
    """Every open seat of these cases, and each closed one of whose releases somebody may hold something; by id.

    A seat that closed gets consents no more: what was withdrawn there once is withdrawn. Of an erased one nothing is
    here, neither its ledger nor what it gave. INVARIANT: test_a_withdrawal_reaches_what_a_discloser_gave_that_left.
    """
    every = rows.cases.every(case_ids=case_ids)
    left = [seat for seat in every if closed(seat)]
    gave = rows.deliveries.gave(seat.seat_id for seat in left)
    left = [seat for seat in left if seat.seat_id in gave and rows.erasures.of_seat(seat.seat_id) is None]
    views = context.views.of(rows, left)
    over = {seat_id for seat_id, view in views.items() if view.events and _is_all(view.events[-1].act)}
    asked = {seat.seat_id for seat in left} - over
    return [seat for seat in every if not closed(seat) or seat.seat_id in asked]


def closed(seat: SeatRow) -> bool:
    """Whether a seat is closed: it is told nothing of the case it has left, its trail is."""
    return seat.state == SeatState.CLOSED


def _is_all(raw: bytes) -> bool:
    return ConsentAct.from_bytes(raw).act == _ALL
