"""Ledgers and requests for the tests of consent/, in the words of a case."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from consent.ledger import LedgerView, head_after, view_of
from consent.terms import DecisionRequest, Party, SectionAsk
from schemas import codes
from schemas.acts import ConsentAct, Holder, LedgerEvent, RecipientRef, Reservation, Scope, Terms
from schemas.identifiers import ZERO16, ZERO32

HOUR = 3600 * 1_000_000
T0 = 1_795_000_000 * 1_000_000  # a moment in November 2026
UNITS = {
    "social_services_lead": "SOC/EXEMPEL/KONSULT",
    "police_coordination": "POL/EXEMPEL/SYD",
    "prison_probation": "KV/EXEMPEL/FRI",
    "secure_youth_care": "SIS/EXEMPEL/HEM",
    "health_care": "REG/EXEMPEL/VARD",
    "provider": "UTF/EXEMPEL/STOD",
}


def named(word: str) -> bytes:
    """16 bytes that stand for a word."""
    return hashlib.sha256(word.encode()).digest()[:16]


def party(role: str, **changes) -> Party:
    authority = codes.table()["role"].get(role, {"authority": "XX"})["authority"]
    return replace(Party(role, authority, UNITS.get(role), named(role), True, True), **changes)


def to_role(role: str, *, member: str | None = None, follows: bool = False) -> RecipientRef:
    return RecipientRef(kind="ROLE", id=role, member=named(member or role), follows_role=follows)


def to_unit(unit: str) -> RecipientRef:
    return RecipientRef(kind="UNIT", id=unit, follows_role=False)


def terms(*recipients: RecipientRef, **changes) -> Terms:
    base = Terms(
        recipients=recipients,
        categories=("IC13",),
        purposes=("PLANNING",),
        actions=("DISCLOSE",),
        valid_from_us=T0,
        valid_until_us=T0 + 100 * HOUR,
        reservations=(),
        text_version="1",
        terms_version="1",
        processing_acknowledged=True,
        given_by="SELF",
        method="WRITTEN",
    )
    return replace(base, **changes)


def act(kind: str, consent: str | bytes = "C1", **changes) -> ConsentAct:
    base = ConsentAct(
        case_tag=named("case"),
        member=named("social_services_lead"),
        consent_id=named(consent) if isinstance(consent, str) else consent,
        seq=0,
        prev=ZERO32,
        act=kind,
        actor_ref="h-1",
        assurance="ASSERTED",
        noted_at_us=T0,
    )
    return replace(base, **changes)


def scope(*recipients: RecipientRef, categories=(), purposes=()) -> Scope:
    return Scope(recipients=recipients, categories=tuple(categories), purposes=tuple(purposes))


def recorded(
    acts: list[tuple[ConsentAct, int]], *, unsigned: tuple[int, ...] = (), holders: tuple[Holder, ...] = ()
) -> list[LedgerEvent]:
    """Events of (act, recorded_at_us), heads computed; places in `unsigned` bear no signature."""
    head, events = ZERO32, []
    for place, (one, at_us) in enumerate(acts):
        data = one.to_bytes()
        head = head_after(head, place + 1, data, holders, at_us)
        broker_made = place in unsigned or one.consent_id == ZERO16
        signature = None if broker_made else bytes(64)
        events.append(
            LedgerEvent(
                ledger_seq=place + 1, act=data, signature=signature, holders=holders, recorded_at_us=at_us, head=head
            )
        )
    return events


def ledger(*acts: ConsentAct, unsigned: tuple[int, ...] = (), holders: tuple[Holder, ...] = ()) -> LedgerView:
    """A view of acts recorded one hour apart, the first at T0."""
    timed = [(one, T0 + place * HOUR) for place, one in enumerate(acts)]
    return view_of(recorded(timed, unsigned=unsigned, holders=holders))


def ask(category: str, **changes) -> SectionAsk:
    return replace(SectionAsk(category, (0,), False, False), **changes)


def request(sections=("IC13",), to: str = "police_coordination", **changes) -> DecisionRequest:
    """Social services tell `to` of a meeting, ten hours after T0, unless said otherwise."""
    base = DecisionRequest(
        event_type="coordination_meeting_scheduled",
        sender=party("social_services_lead"),
        recipient=party(to),
        sections=tuple(ask(one) if isinstance(one, str) else one for one in sections),
        purpose="PLANNING",
        action="DISCLOSE",
        at_us=T0 + 10 * HOUR,
    )
    return replace(base, **changes)


RESERVED = (Reservation(text_ref=b"sealed"),)
