"""Which seat may see which keys: a role is shown only where a grant lets the two exchange something."""

from __future__ import annotations

from collections.abc import Iterable

from broker.context import Context
from broker.store.cases import SeatRow
from broker.store.inbox import Item
from broker.store.port import Rows
from consent.ledger import LedgerView
from schemas.acts import Holder
from schemas.inbox import StatementNotice
from schemas.statements import SignedStatement


def introduce_keys(context: Context, rows: Rows, discloser: SeatRow, holders: Iterable[Holder]) -> None:
    """After a grant: the discloser gets the keys it seals to, each recipient those it verifies with."""
    members = {holder.member for holder in holders}
    others = [seat for seat in rows.cases.of_cases([discloser.case_id]) if seat.member in members]
    for other in others:
        rows.inbox.put([
            statement_item(context, rows, to=discloser, about=[other]),
            statement_item(context, rows, to=other, about=[discloser]),
        ])  # fmt: skip


def statement_item(context: Context, rows: Rows, *, to: SeatRow, about: Iterable[SeatRow]) -> Item:
    """A STATEMENT item for `to` with every statement of the seats it may see."""
    signed = [
        SignedStatement.from_bytes(raw) for seat in about for raw in rows.cases.statements(seat.case_id, seat.member)
    ]
    notice = StatementNotice(seat_id=to.seat_id, statements=tuple(signed))
    return Item(context.new_id(), to.unit, "STATEMENT", notice.to_bytes())


def met(context: Context, rows: Rows, one: SeatRow, other: SeatRow) -> bool:
    """Whether a grant of either ever named the other, so that each has the other's keys."""
    views = context.views.of(rows, [one, other])
    return _named(views[one.seat_id], other) or _named(views[other.seat_id], one)


def _named(view: LedgerView, seat: SeatRow) -> bool:
    return any((seat.role, seat.member) in grant.holders for grant in view.grants)
