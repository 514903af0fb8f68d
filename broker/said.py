"""What was said outside the broker, written into the trail as it was: nothing is released, no ledger changes.

The decision is the same pure function as for everything that is sent, asked about the moment when it was said, on all
that is recorded by now: a grant never covers what was said before it was recorded, a withdrawal does from the time the
person spoke. What no consent covered is recorded with the reasons. It is never refused for being wrong: what is not
written down is worse.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from audit.entry import SealedEntry
from broker.acts import own_seat
from broker.calls import answered, recorded, signed_by_seat
from broker.context import Context
from broker.effects import reason_class
from broker.judge import own_party
from broker.keys_back import signed_by_member
from broker.resolve import counted, party_of, vacant
from broker.store.cases import SeatRow
from broker.store.hold import HELD, RELEASED
from broker.store.port import Rows
from consent.decide import decide
from consent.ledger import LedgerView
from consent.rules import Rules
from consent.terms import Decision, DecisionRequest, SectionAsk
from schemas import codes, limits
from schemas.codes import Outcome, SeatState, shown_to_sender
from schemas.errors import HandslagError
from schemas.said import SPOKEN, DisclosureAnswer, DisclosureRequest, SaidRole, SaidSection, SpokenDisclosure
from schemas.trail import DecidedSection, Payload

WITHOUT_CONSENT = "HS-SAID-WITHOUT-CONSENT"


async def record(context: Context, unit: str, request: DisclosureRequest) -> DisclosureAnswer:
    """Answer `POST /v1/disclosures:record`: an entry for each role, and nothing else.

    Raises `HS-SEAT-UNKNOWN`, `HS-SIGNATURE-INVALID`, `HS-TOO-LARGE`, `HS-CODE-UNKNOWN`, `HS-SAID-LATER`,
    `HS-CALL-CHANGED`, PayloadRejected; never anything about whether it was allowed.
    INVARIANT: test_no_sequence_of_recordings_changes_a_later_decision.
    """
    if (before := await answered(context, unit, request)) is not None:
        return DisclosureAnswer.from_bytes(before, limits.CALL * 2)
    if len(request.statement) > limits.ACT:
        raise HandslagError("HS-TOO-LARGE", limit=limits.ACT)
    seat = await own_seat(context, unit, request.seat_id)
    await _signed(context, seat, request)
    said = SpokenDisclosure.from_bytes(request.statement)
    _check(said, seat, context.now_us())

    def work(rows: Rows) -> DisclosureAnswer:
        # No gate: nothing here widens or narrows. Which acts were looked at stands in the entry.
        return _written(context, unit, request, said, rows)

    return await recorded(context, unit, request, work, DisclosureAnswer)


async def _signed(context: Context, seat: SeatRow, request: DisclosureRequest) -> None:
    """The seat's signature; while it is held what it gives back may be signed with keys that are gone since.

    Raises `HS-HEAD-LOST` before the seat has given its ledger back: on half of it a no could read as a yes.
    """
    state = await context.store.read(lambda rows: rows.hold.state(seat.seat_id))
    if state == HELD:
        raise HandslagError("HS-HEAD-LOST")
    if state in {None, RELEASED}:
        signed_by_seat(seat, request.signature, request.statement)
        return
    await context.store.read(lambda rows: signed_by_member(rows, seat, request.signature, request.statement))


def _check(said: SpokenDisclosure, seat: SeatRow, now_us: int) -> None:
    """The form: whose it is, known codes, bounded lists, a moment that has been."""
    if said.case_tag != seat.case_tag or said.member != seat.member:
        raise HandslagError("HS-SIGNATURE-INVALID")
    codes.known("manner", said.manner, "manner")
    codes.known("purpose", said.purpose, "purpose")
    for kind, listed, limit in (
        ("role", said.roles, limits.RECIPIENTS),
        ("category", said.categories, limits.SECTIONS),
        ("category", said.public_interest_released, limits.SECTIONS),
    ):
        if len(listed) > limit or len(set(listed)) != len(listed):
            raise HandslagError("HS-TOO-LARGE", limit=limit)
        for code in listed:
            codes.known(kind, code, kind)
    if not said.roles or not said.categories:
        raise HandslagError("HS-CODE-UNKNOWN", field="categories")
    if said.said_at_us > now_us + limits.SENT_AHEAD_US:
        raise HandslagError("HS-SAID-LATER")


def _written(
    context: Context, unit: str, request: DisclosureRequest, said: SpokenDisclosure, rows: Rows
) -> DisclosureAnswer:
    seat = rows.cases.seat(request.seat_id)
    if seat is None or seat.state == SeatState.CLOSED:
        raise HandslagError("HS-SEAT-UNKNOWN")
    now_us = context.now_us()
    view = context.views.of(rows, [seat])[seat.seat_id]
    holders = {other.role: other for other in rows.cases.of_cases([seat.case_id]) if other.active}
    rules = context.rules_of(rows)(seat.unit)
    roles, entries = [], []
    for role in said.roles:
        asked = _asked(said, seat, holders.get(role), role, view, min(said.said_at_us, now_us))
        decision = decide(asked, view, rules)
        entry = _entry(context, request, said, seat, holders.get(role), asked, decision, view, rules, now_us)
        entries.append(entry)
        # INVARIANT: test_what_is_answered_to_who_spoke_does_not_tell_whether_a_role_is_held
        shown = replace(asked, recipient=counted(holders.get(role), role, view))
        roles.append(_told(role, decide(shown, view, rules), entry))
    # INVARIANT: test_a_recording_writes_its_entry_and_nothing_else
    rows.entries.insert(entries)
    answer = DisclosureAnswer(
        call_id=request.call_id,
        decided_at_us=min(said.said_at_us, now_us),
        ledger_seq=view.ledger_seq,
        roles=tuple(roles),
    )
    rows.units.answer(unit, request.call_id, sha256(request.to_bytes()).digest(), answer.to_bytes(), now_us)
    return answer


def _asked(
    said: SpokenDisclosure, seat: SeatRow, holder: SeatRow | None, role: str, view: LedgerView, at_us: int
) -> DecisionRequest:
    return DecisionRequest(
        event_type=SPOKEN,
        sender=own_party(seat),
        recipient=party_of(holder, view) if holder else vacant(role),
        sections=tuple(
            SectionAsk(category, (0,), category in said.public_interest_released, sender_withheld=False)
            for category in said.categories
        ),
        purpose=said.purpose,
        action=str(codes.table()["manner"][said.manner]["action"]),
        at_us=at_us,
    )


def _entry(
    context: Context,
    request: DisclosureRequest,
    said: SpokenDisclosure,
    seat: SeatRow,
    holder: SeatRow | None,
    asked: DecisionRequest,
    decision: Decision,
    view: LedgerView,
    rules: Rules,
    now_us: int,
) -> SealedEntry:
    """A DISCLOSURE that nobody handed over: what was said, with what the consents say about it."""
    whole = decision.outcome is Outcome.RELEASED
    payload = Payload(
        seat_id=seat.seat_id,
        role=seat.role,
        counter_role=asked.recipient.role,
        counter_member=asked.recipient.member,
        counter_unit=asked.recipient.unit,
        counter_state="ACTIVE" if holder else "NONE",
        event_id=said.disclosure_id,
        event_type=SPOKEN,
        purpose=asked.purpose,
        action=asked.action,
        basis="CONSENT" if whole else None,
        sections=_sections(asked, decision),
        rules_hash=rules.hash32,
        ledger_seq=view.ledger_seq,
        decided_at_us=asked.at_us,
        act=request.statement,
        act_signature=request.signature,
        recipient_sealed=holder.recipient_sealed if holder else None,
        recipient_own=holder.recipient_own if holder else None,
        actor_ref=said.actor_ref,
        assurance=said.assurance,
        code=None if whole else WITHOUT_CONSENT,
    )
    controller, why = context.directory.controller(seat.unit), reason_class(decision.sections)
    return context.recorder.about_seat(
        seat, controller, "DISCLOSURE", payload, now_us, outcome=decision.outcome, reason_class=why
    )


def _sections(asked: DecisionRequest, decision: Decision) -> tuple[DecidedSection, ...]:
    return tuple(
        DecidedSection(
            category=ask.category,
            persons=ask.persons,
            released=section.released,
            reasons=section.reasons,
            grants=section.grants,
            public_interest_released=ask.public_interest_released,
            sender_withheld=False,
        )
        for ask, section in zip(asked.sections, decision.sections, strict=True)
    )


def _told(role: str, decision: Decision, entry: SealedEntry) -> SaidRole:
    return SaidRole(
        role=role,
        outcome=decision.outcome,
        sections=tuple(
            SaidSection(
                category=section.category,
                covered=section.released,
                reasons=shown_to_sender(section.reasons),
                consents=section.grants,
            )
            for section in decision.sections
        ),
        entry_id=entry.entry_id,
        leaf_hash=entry.leaf_hash,
    )
