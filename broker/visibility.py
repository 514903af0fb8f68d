"""Which seat may see which keys: a role is shown only where a grant lets the two exchange something."""

from __future__ import annotations

from collections.abc import Iterable

from broker.context import Context
from broker.store.cases import SeatRow
from broker.store.inbox import Item
from broker.store.port import Rows
from consent.ledger import LedgerView
from schemas.acts import Holder
from schemas.inbox import Notice, StatementNotice
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


def role_taken(context: Context, rows: Rows, seat: SeatRow, at_us: int) -> None:
    """After a JOIN: what the consents of the case that name the role mean for its new holder.

    A consent that follows the role introduces the two to each other. A discloser with one that does not is told
    `recipient_changed` and the role, never a unit: until the person consents anew nothing goes there.
    """
    # INVARIANT: test_a_consent_follows_the_role_only_when_it_says_so
    others = [each for each in rows.cases.of_cases([seat.case_id]) if each.active and each.seat_id != seat.seat_id]
    views = context.views.of(rows, others)
    for other in others:
        named = [g for g in views[other.seat_id].grants if seat.role in g.roles and at_us < g.end_us]
        if any(seat.role in grant.followed for grant in named):
            rows.inbox.put([
                statement_item(context, rows, to=other, about=[seat]),
                statement_item(context, rows, to=seat, about=[other]),
            ])  # fmt: skip
        if any(seat.role not in g.followed and (seat.role, seat.member) not in g.holders for g in named):
            rows.inbox.put([_changed(context, other, seat.role, at_us)])


def _changed(context: Context, discloser: SeatRow, role: str, at_us: int) -> Item:
    notice = Notice(seat_id=discloser.seat_id, code="recipient_changed", role=role, categories=(), at_us=at_us)
    return Item(context.new_id(), discloser.unit, "NOTICE", notice.to_bytes())


def statement_item(context: Context, rows: Rows, *, to: SeatRow, about: Iterable[SeatRow]) -> Item:
    """A STATEMENT item for `to` with every statement of the seats it may see."""
    signed = [
        SignedStatement.from_bytes(raw) for seat in about for raw in rows.cases.statements(seat.case_id, seat.member)
    ]
    notice = StatementNotice(seat_id=to.seat_id, statements=tuple(signed))
    return Item(context.new_id(), to.unit, "STATEMENT", notice.to_bytes())


def met(context: Context, rows: Rows, one: SeatRow, other: SeatRow) -> bool:
    """Whether a grant of either ever named the other or follows its role, so that each has the other's keys."""
    views = context.views.of(rows, [one, other])
    return _named(views[one.seat_id], other) or _named(views[other.seat_id], one)


def _named(view: LedgerView, seat: SeatRow) -> bool:
    # A consent that follows the role and was over when this holder came counts too: who may have its keys must learn
    # that it left, and a withdrawal can reach back before the day the keys were given.
    return any((seat.role, seat.member) in grant.holders or seat.role in grant.followed for grant in view.grants)
