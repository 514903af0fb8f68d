"""Would this be allowed, and why not: asked by the discloser's own seat, decided by the function that decides all.

A look at a person's records, so it is an entry before it is an answer. It releases nothing, changes nothing, and tells
of the recipient no more than a receipt does: that nobody holds a role is not to be had by asking.
"""

from __future__ import annotations

from dataclasses import replace

from broker import queries
from broker.calls import answered, recorded, request_hash
from broker.context import Context
from broker.holders import holders
from broker.judge import own_party
from broker.quota import QUERIES
from broker.resolve import counted
from broker.store.cases import SeatRow
from broker.store.port import Rows
from consent.decide import decide
from consent.explain import considered
from consent.ledger import LedgerView
from consent.rules import Rules
from consent.terms import Decision, DecisionRequest, SectionAsk
from schemas import codes, event_types, limits
from schemas.codes import shown_to_sender
from schemas.errors import HandslagError
from schemas.explain import ExplainAnswer, ExplainedRecord, ExplainedSection, ExplainRequest
from schemas.identifiers import ZERO16, ZERO32
from schemas.trail import Payload


async def explain(context: Context, unit: str, request: ExplainRequest) -> ExplainAnswer:
    """Answer `POST /v1/decisions:explain`; the CONSULTATION entry commits with the answer.

    Raises `HS-SEAT-UNKNOWN` for an unknown, foreign or closed seat alike, after the same reads; `HS-SEAT-ERASED`,
    `HS-CODE-UNKNOWN`, `HS-NOT-YET`, `HS-ACTION-OTHER`, `HS-GRANT-INCOMPLETE`, `HS-TOO-LARGE`, `HS-QUOTA`,
    `HS-CALL-CHANGED`.
    """
    # INVARIANT: test_a_foreign_seat_is_answered_as_one_that_does_not_exist. What the question itself lacks is said
    # before any seat is looked at, so that no answer depends on whose it is.
    _check(request)
    if (before := await answered(context, unit, request)) is not None:
        return ExplainAnswer.from_bytes(before, limits.SUBMISSION)
    seat = await queries.asked(context, unit, request.seat_id)
    context.quotas.take(seat.unit, {QUERIES: 1})
    answer, payload = await context.store.read(lambda rows: _explained(context, rows, seat, request))
    controller, at_us = context.directory.controller(seat.unit), context.now_us()
    entry = context.recorder.about_seat(seat, controller, "CONSULTATION", payload, at_us)
    told = replace(answer, entry_id=entry.entry_id, leaf_hash=entry.leaf_hash)
    raw = told.to_bytes()
    if len(raw) > limits.SUBMISSION:  # of thousands of records for many sections at once
        raise HandslagError("HS-TOO-LARGE", limit=limits.SUBMISSION)

    def work(rows: Rows) -> ExplainAnswer:
        # INVARIANT: test_nothing_is_explained_without_an_entry
        rows.entries.insert([entry])
        rows.units.answer(unit, request.call_id, request_hash(request), raw, at_us)
        return told

    return await recorded(context, unit, request, work, ExplainAnswer, shared=True, limit=limits.SUBMISSION)


def _check(request: ExplainRequest) -> None:
    queries.check(request.query)
    codes.known("role", request.role, "role")
    codes.known("purpose", request.purpose, "purpose")
    event_types.check_action(request.event_type, request.action)
    if not 0 < len(request.sections) <= limits.SECTIONS:
        raise HandslagError("HS-TOO-LARGE", limit=limits.SECTIONS)
    for section in request.sections:
        codes.known("category", section.category, "category")


def _explained(context: Context, rows: Rows, asking: SeatRow, request: ExplainRequest) -> tuple[ExplainAnswer, Payload]:
    seat = rows.cases.seat(asking.seat_id) or asking
    whole = context.views.of(rows, [seat])[seat.seat_id]
    view = whole if request.known_seq is None else whole.as_known(ledger_seq=request.known_seq)
    rules = context.rules_of(rows)(seat.unit)
    holder = holders(rows, seat.case_id).get(request.role)
    now_us = max(context.now_us(), whole.recorded_at_us)
    asked = DecisionRequest(
        event_type=request.event_type,
        sender=own_party(seat),
        recipient=counted(holder, request.role, view),
        sections=tuple(
            SectionAsk(
                one.category,
                one.persons,
                one.public_interest_released,
                sender_withheld=False,
                data_from_us=one.data_from_us,
                data_until_us=one.data_until_us,
            )
            for one in request.sections
        ),
        purpose=request.purpose,
        action=request.action,
        at_us=now_us if request.as_of_us is None else request.as_of_us,
    )
    decision = decide(asked, view, rules)
    payload = replace(
        queries.looking(seat, request.query),
        counter_role=request.role,
        event_type=request.event_type,
        purpose=request.purpose,
        action=request.action,
        rules_hash=rules.hash32,
        ledger_seq=view.ledger_seq,
        decided_at_us=asked.at_us,
    )
    return _answer(request, asked, decision, view, rules), payload


def _answer(
    request: ExplainRequest, asked: DecisionRequest, decision: Decision, view: LedgerView, rules: Rules
) -> ExplainAnswer:
    sections = tuple(
        ExplainedSection(
            category=one.category, released=one.released, reasons=shown_to_sender(one.reasons), grants=one.grants
        )
        for one in decision.sections
    )
    return ExplainAnswer(
        call_id=request.call_id,
        as_of_us=asked.at_us,
        ledger_seq=view.ledger_seq,
        rules_hash=rules.hash32,
        outcome=decision.outcome,
        sections=sections,
        records=tuple(
            ExplainedRecord(
                place=one.place,
                consent_id=one.consent_id,
                kind=one.kind,
                effect=one.effect,
                why_not=shown_to_sender(one.why_not),
                follows=one.follows,
            )
            for one in considered(decision, asked, view, rules)
        ),
        obligations=decision.obligations,
        holds_until_us=decision.holds_until_us,
        broken=view.broken,
        entry_id=ZERO16,
        leaf_hash=ZERO32,
    )
