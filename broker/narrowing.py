"""Re-deciding what is open after a ledger write: deliveries shrink, never grow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from broker.judge import own_party
from broker.resolve import party_of, vacant
from broker.store.cases import SeatRow
from broker.store.deliveries import DeliveryRow, SectionRow
from broker.store.port import Rows
from consent.decide import decide
from consent.ledger import LedgerView
from consent.rules import Rules
from consent.terms import DecisionRequest, Party, SectionAsk
from schemas.codes import DeliveryState
from schemas.identifiers import authority_of


@dataclass(frozen=True, slots=True)
class Shrunk:
    """One open delivery that lost sections; `state` is where it went, its own state when some remain."""

    row: DeliveryRow
    removed: tuple[SectionRow, ...]
    kept: tuple[SectionRow, ...]
    state: DeliveryState


def shrink(
    rows: Rows, open_rows: Sequence[DeliveryRow], views: Mapping[bytes, LedgerView], rules: Rules, at_us: int
) -> list[Shrunk]:
    """Decide every open delivery anew and take out what is no longer covered; rows are locked by the caller's read.

    `views` holds the view of each discloser seat after the write. A decision that fails removes everything: fail
    closed.
    """
    sections = rows.deliveries.sections([row.delivery_id for row in open_rows])
    wanted = {row.sender_seat for row in open_rows} | {row.recipient_seat for row in open_rows if row.recipient_seat}
    seats = rows.cases.seats(wanted)
    shrunk = []
    for row in open_rows:
        live = sections[row.delivery_id]
        kept = _still_covered(row, live, seats, views[row.sender_seat], rules, at_us)
        removed = tuple(section for section in live if section.digest not in kept)
        if removed:
            remaining = tuple(section for section in live if section.digest in kept)
            shrunk.append(Shrunk(row, removed, remaining, _next_state(row, bool(remaining))))
    for one in shrunk:
        rows.deliveries.remove_sections(one.row.delivery_id, [section.digest for section in one.removed])
        rows.deliveries.move(one.row, one.state)
    return shrunk


def _next_state(row: DeliveryRow, remains: bool) -> DeliveryState:
    if remains:
        return DeliveryState(row.state)
    return DeliveryState.CANCELLED if row.state == DeliveryState.PENDING else DeliveryState.RECALLED


def _still_covered(
    row: DeliveryRow,
    sections: Iterable[SectionRow],
    seats: Mapping[bytes, SeatRow],
    view: LedgerView,
    rules: Rules,
    at_us: int,
) -> set[bytes]:
    listed = list(sections)
    request = DecisionRequest(
        event_type=row.event_type,
        sender=own_party(seats[row.sender_seat]),
        recipient=_recipient(row, seats, view),
        sections=tuple(
            SectionAsk(
                category=section.category,
                persons=tuple(map(int, section.persons.split(","))),
                public_interest_released=section.public_interest_released,
                sender_withheld=False,
            )
            for section in listed
        ),
        purpose=row.purpose,
        action=row.action,
        at_us=max(at_us, view.recorded_at_us),
    )
    try:
        decision = decide(request, view, rules)
    except Exception:  # noqa: BLE001 - a withdrawal must not fail because deciding did: then nothing is covered
        return set()
    return {section.digest for section, answer in zip(listed, decision.sections, strict=True) if answer.released}


def _recipient(row: DeliveryRow, seats: Mapping[bytes, SeatRow], view: LedgerView) -> Party:
    if row.recipient_seat is None:
        return invited_party(row.recipient_unit, row.role)
    seat = seats.get(row.recipient_seat)
    return party_of(seat, view) if seat else vacant(row.role)


def invited_party(unit: str, role: str) -> Party:
    """A unit that is invited and has no seat yet."""
    return Party(role=role, authority=authority_of(unit), unit=unit, member=None, active=True, held=True)
