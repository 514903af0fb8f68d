"""Disclosure without consent, with support in law: a call of its own, decided by people, examined here, no default.

`decide` is not asked and no consent is read. What two people signed is checked for being whole and theirs, the pure
question of `consent/statute.py` is put to it, and the outcome is written into the trail as what it is
(STATUTORY_DISCLOSURE), whatever it was. Released, it goes to exactly one role, sealed like everything else. Nothing
leads here from the stream: what is submitted claims consent or is refused (`broker/resolve.py`).
"""

from __future__ import annotations

from hashlib import sha256

from audit.entry import SealedEntry
from broker.acts import own_seat
from broker.calls import answered, recorded, request_hash
from broker.context import Context
from broker.effects import delivery_row, section_rows
from broker.hold import require_free
from broker.holders import holders
from broker.judge import Judged, own_party
from broker.narrowing import WRONG_PERSON
from broker.resolve import Waiting, vacant
from broker.statute_checks import Told, checked, checked_approval
from broker.store.cases import SeatRow
from broker.store.gate import Bump
from broker.store.port import Rows
from broker.store.statutes import AcuteRow, one_time
from consent import provisions
from consent.statute import CONFIRM_WITHIN_US, StatuteDecision, approved_of, asked_of, check, require_standing
from consent.terms import THE_PERSON, Decision, DecisionRequest, Party, SectionDecision
from schemas import limits
from schemas.codes import Outcome, SeatState, reason_kind, shown_to_sender
from schemas.errors import HandslagError
from schemas.identifiers import authority_of
from schemas.statute import (
    BASIS,
    OPERATION,
    TYPE,
    ApprovalRequest,
    RecordedAnswer,
    SecondRequest,
    StatuteAnswer,
    StatuteOutcome,
    StatuteRequest,
)
from schemas.trail import DecidedSection, Evidence, Payload


async def approve(context: Context, unit: str, request: ApprovalRequest) -> RecordedAnswer:
    """Answer `POST /v1/provisions:approve`: an agency's lawyer has approved a provision; the newest counts.

    Raises `HS-APPROVAL-INVALID`, `HS-APPROVAL-OLD`, `HS-PROVISION-UNKNOWN`.
    """
    if (before := await answered(context, unit, request)) is not None:
        return RecordedAnswer.from_bytes(before)
    told = checked_approval(context, unit, request.agency_key, request.approval, request.approval_signature)
    if provisions.shipped().provision(told.provision_id).hash32 != told.provision_hash:
        raise HandslagError("HS-APPROVAL-INVALID", field="provision")
    # INVARIANT: test_an_approval_is_not_dated_in_the_future. The newest counts: none could end it before that day.
    if told.reviewed_at_us > context.now_us() + limits.SENT_AHEAD_US:
        raise HandslagError("HS-APPROVAL-INVALID", field="reviewed_at")

    def work(rows: Rows) -> RecordedAnswer:
        newest = rows.statutes.approved(told.agency, told.provision_id)
        if newest is not None and newest[0] >= told.reviewed_at_us:
            raise HandslagError("HS-APPROVAL-OLD")
        now_us = context.now_us()
        payload = Payload(act=request.approval, act_signature=request.approval_signature, code="PROVISION_APPROVED")
        entry = context.recorder.about_unit(unit, context.directory.controller(unit), "ADMIN", payload, now_us)
        rows.statutes.approve(told.agency, told.provision_id, told.reviewed_at_us, sha256(request.approval).digest())
        rows.entries.insert([entry])
        return recorded_answer(rows, unit, request, entry, now_us)

    return await recorded(context, unit, request, work, RecordedAnswer)


async def disclose(context: Context, unit: str, request: StatuteRequest) -> StatuteAnswer:
    """Answer `POST /v1/disclosures:statutory`: examine, record, and hand to one role, in one transaction.

    Raises `HS-SEAT-UNKNOWN`, `HS-SIGNATURE-INVALID`, `HS-STATUTE-INVALID`, `HS-APPROVAL-INVALID`, `HS-APPROVAL-OLD`,
    `HS-RULES-OTHER`, and what `consent.statute.check` raises; then nothing is recorded and nothing goes.
    """
    if (before := await answered(context, unit, request)) is not None:
        return StatuteAnswer.from_bytes(before, limits.CALL)
    seat = await own_seat(context, unit, request.seat_id)
    told = checked(context, unit, request, seat)

    def work(rows: Rows) -> StatuteAnswer:
        bump = rows.gate.bump(seat.bucket, 1, context.now_us())
        # INVARIANT: test_a_statutory_disclosure_is_decided_by_the_rules_of_its_own_unit
        rules = context.rules_of(rows)(unit)
        if told.waiting.attempt.rules_hash != rules.hash32:
            raise HandslagError("HS-RULES-OTHER")
        sender, holder = _parties(rows, unit, seat, told.statement.role)
        newest = rows.statutes.approved(told.approval.agency, told.approval.provision_id)
        if newest is None:
            raise HandslagError("HS-PROVISION-UNREVIEWED")
        if newest[1] != told.statement.approval_hash:
            raise HandslagError("HS-APPROVAL-OLD")
        if rows.events.fingerprints([told.waiting.core.event_id]):
            raise HandslagError("HS-STATUTE-INVALID", check="event")  # one decision, one event: neither is used twice
        asked = asked_of(told.statement, told.word, own_party(sender), _recipient(holder, told.statement.role))
        approval = approved_of(told.approval)
        decision = check(asked, provisions.shipped(), approval, rules)
        if decision.outcome is Outcome.RELEASED:
            require_standing(asked, provisions.shipped(), approval, bump.clock_us)
        payload = _payload(request, told, sender, holder, decision, rules.hash32, bump.clock_us)
        entry = _entry(context, sender, decision, payload)
        rows.entries.insert([entry])
        if decision.outcome is Outcome.RELEASED and holder is not None:
            _release(context, rows, told, sender, holder, decision, bump)
        return _answer(rows, unit, request, told, decision, entry, bump)

    return await recorded(context, unit, request, work, StatuteAnswer)


def recorded_answer(
    rows: Rows, unit: str, request: ApprovalRequest | SecondRequest, entry: SealedEntry, at_us: int
) -> RecordedAnswer:
    """The kept answer of a call that only records."""
    told = RecordedAnswer(
        call_id=request.call_id,
        seat_id=request.seat_id if isinstance(request, SecondRequest) else None,
        recorded_at_us=at_us,
        entry_id=entry.entry_id,
        leaf_hash=entry.leaf_hash,
    )
    rows.units.answer(unit, request.call_id, request_hash(request), told.to_bytes(), at_us)
    return told


def _parties(rows: Rows, unit: str, seen: SeatRow, role: str) -> tuple[SeatRow, SeatRow | None]:
    """The sender's seat and whoever holds the role, as they are now.

    Raises `HS-SEAT-UNKNOWN`, `HS-HOLD`, `HS-CASE-VOID` for a case that was declared another person's.
    """
    sender = rows.cases.seat(seen.seat_id)
    if sender is None or sender.state != SeatState.ACTIVE:
        raise HandslagError("HS-SEAT-UNKNOWN")
    if rows.units.closed([unit]):  # shut out since the call was authenticated
        raise HandslagError("HS-UNIT-UNKNOWN")
    require_free(rows, sender.seat_id)
    if rows.annulments.ground(sender.case_id) == WRONG_PERSON:
        raise HandslagError("HS-CASE-VOID")
    return sender, holders(rows, sender.case_id).get(role)


def _recipient(holder: SeatRow | None, role: str) -> Party:
    """Whoever holds the role, without its unit: no provision asks for it, and the sender may not know it."""
    if holder is None:
        return vacant(role)
    return Party(role, authority_of(holder.unit), None, holder.member, active=holder.active, held=True)


def _payload(
    request: StatuteRequest,
    told: Told,
    sender: SeatRow,
    holder: SeatRow | None,
    decision: StatuteDecision,
    rules_hash: bytes,
    at_us: int,
) -> Payload:
    """What was decided by whom, by which rules, with every signature, and what came of it."""
    statement, waiting = told.statement, told.waiting
    return Payload(
        seat_id=sender.seat_id,
        role=sender.role,
        counter_role=statement.role,
        counter_member=holder.member if holder else None,
        counter_state="ACTIVE" if holder else "NONE",
        event_id=waiting.core.event_id,
        event_type=TYPE,
        attempt=waiting.attempt.attempt,
        purpose=statement.purpose,
        action=waiting.core.action,
        basis=BASIS,
        sections=_sections(told, decision),
        rules_hash=rules_hash,
        decided_at_us=at_us,
        act=request.disclosure.to_bytes(),
        act_signature=request.disclosure.seat_signature,
        evidence=_evidence(waiting),
        actor_ref=statement.decider_ref,
        assurance=statement.assurance,
    )


def _entry(context: Context, sender: SeatRow, decision: StatuteDecision, payload: Payload) -> SealedEntry:
    """The STATUTORY_DISCLOSURE entry."""
    at_us = payload.decided_at_us or 0
    kinds = {reason_kind(reason) for section in decision.sections for reason in section.reasons}
    why = "HUMAN" if "HUMAN" in kinds else ("RULE" if kinds else None)
    controller = context.directory.controller(sender.unit)
    return context.recorder.about_seat(
        sender, controller, OPERATION, payload, at_us, outcome=decision.outcome, reason_class=why
    )


def _sections(told: Told, decision: StatuteDecision) -> tuple[DecidedSection, ...]:
    return tuple(
        DecidedSection(
            category=section.category,
            persons=(THE_PERSON,),
            released=section.released,
            reasons=section.reasons,
            grants=(),
            public_interest_released=section.category in told.statement.public_interest_released,
            sender_withheld=False,
        )
        for section in decision.sections
    )


def _evidence(waiting: Waiting) -> Evidence:
    submission = waiting.record.submission
    return Evidence(
        core_hash=waiting.fingerprint[:32],
        digests_hash=waiting.fingerprint[32:64],
        seat_signature=submission.seat_signature,
        attempt_hash=waiting.attempt_hash,
        bundle=waiting.record.bundle,
        unit_signature=waiting.record.unit_signature,
        index=0,
        path=(),
        core=submission.core,
        digests=submission.digests,
        routing_item=submission.routing_item,
    )


def _release(
    context: Context, rows: Rows, told: Told, sender: SeatRow, holder: SeatRow, decision: StatuteDecision, bump: Bump
) -> None:
    """The one delivery, and in acute danger the 24 hours that a second person has."""
    waiting, wrap = told.waiting, told.wrap
    if wrap is None or wrap.seat_key_id not in holder.key_ids:
        raise HandslagError("HS-STATUTE-INVALID", check="key")  # the role's key is another by now: seal anew
    given = {one.category: SectionDecision(one.category, True, (), ()) for one in decision.sections}
    carried = tuple(given[section.category] for section in waiting.routing.sections)
    until = waiting.valid_until_us
    ground = DecisionRequest(
        event_type=TYPE,
        sender=own_party(sender),
        recipient=_recipient(holder, holder.role),
        sections=(),
        purpose=told.statement.purpose,
        action=waiting.core.action,
        at_us=bump.clock_us,
    )
    judged = Judged(holder.role, holder, ground, Decision(Outcome.RELEASED, carried, until, (), ()), wrap)
    delivery_id = context.new_id(bump.clock_us)
    row = delivery_row(waiting, sender, judged, delivery_id, holder.unit, holder.seat_id, bump.clock_us)
    pairs = list(zip(waiting.routing.sections, carried, strict=True))
    rows.events.remember([(waiting.core.event_id, sender.seat_id, waiting.fingerprint)])
    rows.deliveries.insert([row], section_rows(waiting, judged, delivery_id, holder.seat_id, pairs))
    if told.word is None:
        rows.statutes.await_second(
            AcuteRow(
                disclosure_id=told.statement.disclosure_id,
                seat_id=sender.seat_id,
                recipient_seat=holder.seat_id,
                event_id=waiting.core.event_id,
                statement_hash=sha256(waiting.record.bundle).digest(),
                decider_key=one_time(told.statement.disclosure_id, told.statement.decider_key),
                decider_hash=one_time(told.statement.disclosure_id, told.statement.decider_ref.encode()),
                confirm_by_us=bump.clock_us + CONFIRM_WITHIN_US,
            )
        )


def _answer(
    rows: Rows,
    unit: str,
    request: StatuteRequest,
    told: Told,
    decision: StatuteDecision,
    entry: SealedEntry,
    bump: Bump,
) -> StatuteAnswer:
    awaited = told.word is None and decision.outcome is Outcome.RELEASED
    answer = StatuteAnswer(
        call_id=request.call_id,
        seat_id=request.seat_id,  # by which the answer is found again when the seat is erased
        decided_at_us=bump.clock_us,
        outcome=decision.outcome,
        sections=tuple(
            StatuteOutcome(category=one.category, released=one.released, reasons=shown_to_sender(one.reasons))
            for one in decision.sections
        ),
        confirm_by_us=bump.clock_us + CONFIRM_WITHIN_US if awaited else None,
        entry_id=entry.entry_id,
        leaf_hash=entry.leaf_hash,
    )
    rows.units.answer(unit, request.call_id, request_hash(request), answer.to_bytes(), bump.clock_us)
    return answer
