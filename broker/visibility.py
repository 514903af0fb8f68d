"""Which seat may see which keys: a role is shown only where a grant lets the two exchange something."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from broker.context import Context
from broker.store.cases import SeatRow
from broker.store.inbox import Item
from broker.store.port import Rows
from consent.ledger import LedgerView
from schemas import limits
from schemas.acts import Holder
from schemas.inbox import Notice, StatementNotice
from schemas.statements import MemberStatement, SignedStatement

_LEAD = "social_services_lead"
_DEPUTY = "police_coordination"


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


def changed(context: Context, discloser: SeatRow, holder: SeatRow, at_us: int) -> Item:
    """The notice that another holds the lead's role in the same chain of keys, with the id that stands for it."""
    notice = Notice(
        seat_id=discloser.seat_id, code="recipient_changed", role=holder.role, categories=(), at_us=at_us,
        member=holder.member,
    )  # fmt: skip
    return Item(context.new_id(), discloser.unit, "NOTICE", notice.to_bytes())


def _changed(context: Context, discloser: SeatRow, role: str, at_us: int) -> Item:
    notice = Notice(seat_id=discloser.seat_id, code="recipient_changed", role=role, categories=(), at_us=at_us)
    return Item(context.new_id(), discloser.unit, "NOTICE", notice.to_bytes())


def statement_item(context: Context, rows: Rows, *, to: SeatRow, about: Iterable[SeatRow]) -> Item:
    """A STATEMENT item for `to` with the statements of the seats it may see, and of who vouched for them."""
    signed = seen_statements(context, rows, to=to, about=about)
    notice = StatementNotice(seat_id=to.seat_id, statements=tuple(signed))
    return Item(context.new_id(), to.unit, "STATEMENT", notice.to_bytes())


def seen_statements(context: Context, rows: Rows, *, to: SeatRow, about: Iterable[SeatRow]) -> list[SignedStatement]:
    """The statements of seats that `to` may see, and of those who vouched for them.

    A replacement that somebody signed whom `to` has not met, or who left, stays behind: the word for the next rotation
    must do.
    """
    everybody = {seat.chain_id: seat for seat in rows.cases.of_cases([to.case_id])}
    shown: dict[bytes, list[SignedStatement]] = {}
    signers: set[bytes] = set()
    for seat in about:
        shown[seat.chain_id] = []
        for one in _needed(context, rows, seat):
            statement = MemberStatement.from_bytes(one.statement)
            by = {statement.signer}
            if statement.kind == "REPLACE":
                by = set(rows.cases.replacers(seat.case_id, seat.chain_id, statement.seq))
                if not all(who in everybody and _may_know(context, rows, to, everybody[who]) for who in by):
                    continue
            shown[seat.chain_id].append(one)
            signers |= by
    for seat in everybody.values():
        if seat.chain_id in signers - shown.keys() and seat.role != _LEAD and seat.seat_id != to.seat_id:
            shown[seat.chain_id] = _needed(context, rows, seat)
    return in_order(one for statements in shown.values() for one in statements)


def _may_know(context: Context, rows: Rows, one: SeatRow, other: SeatRow) -> bool:
    if one.role == _LEAD or other.role in {_LEAD, _DEPUTY} or one.seat_id == other.seat_id:
        return True
    return met(context, rows, one, other)


def _needed(context: Context, rows: Rows, seat: SeatRow) -> list[SignedStatement]:
    """A seat's statements; HPKE keys that can name no sender any more stay behind, and nobody seals to them."""
    every = [SignedStatement.from_bytes(raw) for raw in rows.cases.statements(seat.case_id, seat.chain_id)]
    oldest = context.now_us() - limits.SENT_BACK_US
    return [replace(one, hpke_key=None) if _past(one, oldest) else one for one in every]


def _past(signed: SignedStatement, oldest_us: int) -> bool:
    statement = MemberStatement.from_bytes(signed.statement)
    return statement.kind == "ROTATE" and statement.not_after_us < oldest_us


def in_order(statements: Iterable[SignedStatement]) -> list[SignedStatement]:
    """Statements so that each finds what it rests on: keys before words for them, the lead's before the deputy's."""
    read = [(MemberStatement.from_bytes(one.statement), one) for one in statements]
    leads = {s.signer for s, _one in read if s.kind in {"OPEN", "JOIN"} or s.role == _LEAD}
    rank = {"OPEN": 0, "JOIN": 1, "ROTATE": 2, "REPLACE": 2, "CONFIRM": 3, "REMOVE": 5}

    def place(one: tuple[MemberStatement, SignedStatement]) -> tuple[int, int]:
        statement = one[0]
        if statement.kind in {"ROTATE", "REPLACE"} and statement.role == _LEAD:
            return 0, statement.seq
        late = statement.kind == "CONFIRM" and statement.signer not in leads
        return rank[statement.kind] + late, statement.seq

    return [signed for _statement, signed in sorted(read, key=place)]


def met(context: Context, rows: Rows, one: SeatRow, other: SeatRow) -> bool:
    """Whether a grant of either ever named the other or follows its role, so that each has the other's keys."""
    views = context.views.of(rows, [one, other])
    return _named(views[one.seat_id], other) or _named(views[other.seat_id], one)


def _named(view: LedgerView, seat: SeatRow) -> bool:
    # A consent that follows the role and was over when this holder came counts too: who may have its keys must learn
    # that it left, and a withdrawal can reach back before the day the keys were given.
    return any((seat.role, seat.member) in grant.holders or seat.role in grant.followed for grant in view.grants)
