"""A seat of the consent workload as the product has it: the acts of its ledger, and the questions asked of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from consent.ledger import LedgerView, view_of
from consent.terms import DecisionRequest, Party, SectionAsk
from schemas import codes, limits
from schemas.acts import ConsentAct, LedgerEvent, RecipientRef, Scope
from tests.bench.consent_workload import Ask, Later, Seat
from tests.consent.making import UNITS, act, terms
from tests.consent.making import recorded as events

_SENDER = "social_services_lead"


def recorded(seat: Seat) -> tuple[bytes, ...]:
    """The ledger as a store keeps it."""
    timed = [(_grant(seat, place), seat.at_us(place)) for place in range(len(seat.shape.grants))]
    timed += [(_later(seat, one), seat.at_us(one.hour)) for one in seat.shape.later]
    return tuple(event.to_bytes() for event in events(timed))


def view(record: Iterable[bytes]) -> LedgerView:
    """The ledger as it is decided on, every head checked."""
    return view_of([LedgerEvent.from_bytes(event, limits.CALL * 2) for event in record])


def asked(seat: Seat, ask: Ask) -> DecisionRequest:
    """Social services ask for one event to one role."""
    return DecisionRequest(
        event_type=ask.event_type,
        sender=_party(seat, _SENDER),
        recipient=_party(seat, ask.role),
        sections=tuple(SectionAsk(category, (0,), False, False) for category in ask.categories),
        purpose=ask.purpose,
        action="DISCLOSE",
        at_us=seat.at_us(ask.hour),
    )


def _party(seat: Seat, role: str) -> Party:
    return Party(role, str(codes.table()["role"][role]["authority"]), UNITS[role], seat.named(role), True, True)


def _role(seat: Seat, role: str) -> RecipientRef:
    return RecipientRef(kind="ROLE", id=role.rstrip("*"), member=seat.named(role), follows_role=False)


def _grant(seat: Seat, place: int) -> ConsentAct:
    given = seat.shape.grants[place]
    said = terms(
        *(_role(seat, role) for role in given.roles),
        categories=given.categories,
        purposes=given.purposes,
        valid_from_us=seat.at_us(given.from_h),
        valid_until_us=seat.at_us(given.until_h),
    )
    return _of(seat, "GRANT", f"consent {place}", terms=said)


def _later(seat: Seat, one: Later) -> ConsentAct:
    if one.kind == "BLOCK":
        refs = (_role(seat, role) for role in one.roles)
        said = terms(
            *refs, categories=one.categories, purposes=(), valid_from_us=seat.at_us(one.hour), valid_until_us=None
        )
        return _of(seat, "BLOCK", f"block {one.grant}", terms=said)
    part = Scope(recipients=(), categories=one.categories, purposes=()) if one.categories else None
    return _of(seat, one.kind, f"consent {one.grant}", scope=part)


def _of(seat: Seat, kind: str, consent: str, **changes: Any) -> ConsentAct:
    return replace(act(kind, seat.named(consent), **changes), member=seat.named(_SENDER), noted_at_us=seat.start_us)
