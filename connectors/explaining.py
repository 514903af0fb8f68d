"""Why something would be released or not, as the broker answers it and as this connector's own copy does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from connectors import ledgers
from connectors.context import Context
from connectors.fields import shown_moment
from connectors.identity import Seat
from consent import explain
from consent.decide import decide
from consent.explain import Considered
from consent.records import FOREVER
from consent.terms import Decision, DecisionRequest, SectionDecision
from schemas import codes
from schemas.calls import AuditQuery
from schemas.codes import Outcome, shown_to_sender
from schemas.errors import HandslagError
from schemas.explain import ExplainAnswer, ExplainAsk, ExplainRequest
from schemas.identifiers import shown

PATH = "/v1/decisions:explain"


@dataclass(frozen=True, slots=True)
class Explained:
    """The broker's answer with the question as it was decided, and what the own copy says of the same."""

    answer: ExplainAnswer
    request: DecisionRequest
    own: Decision

    @property
    def agrees(self) -> bool:
        """Whether own copy and broker release the same sections on the same consents."""
        told = [(one.released, one.grants) for one in self.answer.sections]
        return told == [(one.released, one.grants) for one in self.own.sections]

    @property
    def decision(self) -> Decision:
        """The broker's answer as a decision."""
        answer = self.answer
        sections = tuple(
            SectionDecision(one.category, one.released, one.reasons, one.grants) for one in answer.sections
        )
        used = tuple(dict.fromkeys(grant for one in sections for grant in one.grants))
        return Decision(Outcome(answer.outcome), sections, answer.holds_until_us, used, answer.obligations)

    @property
    def records(self) -> tuple[Considered, ...]:
        """Every record that the broker looked at, section by section."""
        return tuple(
            Considered(
                self.answer.sections[one.place].category,
                one.consent_id,
                one.kind,
                one.effect,
                one.why_not,
                one.follows,
                one.place,
            )
            for one in self.answer.records
        )


async def ask(
    ctx: Context, seat: Seat, query: AuditQuery, request: DecisionRequest, *, now: bool, known_at_us: int | None
) -> Explained:
    """Ask the broker, and decide the same on the own copy as it stands after fetching what is new.

    `now`: the moment is the broker's own present one, not `request.at_us`. The look is an entry at the broker. Raises
    HandslagError of the call, and `HS-ANSWER-INVALID` for an answer to another question.
    """
    await ledgers.sync(ctx, seat)
    whole = ctx.whole_ledger(seat)
    known = None if known_at_us is None else whole.as_known(known_at_us).ledger_seq
    call = _call(ctx, seat, query, request, None if now else request.at_us, known)
    answer = await ctx.link.call(PATH, call, ExplainAnswer, tries=3)
    _check(call, answer)
    ctx.spool.memory.want_proof(answer.leaf_hash, "query", ctx.now(), seat.sid)
    if answer.ledger_seq > whole.ledger_seq:
        await ledgers.sync(ctx, seat)
    asked = replace(request, at_us=answer.as_of_us)
    view = ctx.ledger(seat).as_known(ledger_seq=answer.ledger_seq)
    return Explained(answer, asked, decide(asked, view, ctx.rules))


def _call(
    ctx: Context, seat: Seat, query: AuditQuery, request: DecisionRequest, as_of_us: int | None, known: int | None
) -> ExplainRequest:
    return ExplainRequest(
        call_id=ctx.random(16),
        seat_id=seat.sid,
        query=query,
        role=request.recipient.role,
        event_type=request.event_type,
        purpose=request.purpose,
        action=request.action,
        sections=tuple(
            ExplainAsk(
                category=one.category,
                persons=one.persons,
                public_interest_released=one.public_interest_released,
                data_from_us=one.data_from_us,
                data_until_us=one.data_until_us,
            )
            for one in request.sections
        ),
        as_of_us=as_of_us,
        known_seq=known,
    )


def _check(call: ExplainRequest, answer: ExplainAnswer) -> None:
    """Raise `HS-ANSWER-INVALID` unless the answer is one to this question."""
    categories = [one.category for one in answer.sections]
    places = {one.place for one in answer.records}
    if (
        answer.call_id != call.call_id
        or categories != [one.category for one in call.sections]
        or not places <= set(range(len(categories)))
        or answer.outcome not in set(Outcome)
    ):
        raise HandslagError("HS-ANSWER-INVALID", field="sections")


def told(ctx: Context, explained: Explained) -> dict[str, Any]:
    """The answer as JSON, with its sentences in both languages."""
    answer = explained.answer
    holds = answer.holds_until_us
    return {
        "as_of": shown_moment(answer.as_of_us),
        "ledger_seq": answer.ledger_seq,
        "entry_id": shown(answer.entry_id),
        "rules": answer.rules_hash.hex(),
        "outcome": answer.outcome,
        "holds_until": shown_moment(holds) if holds is not None and holds < FOREVER else None,
        "obligations": list(answer.obligations),
        "sections": [
            {
                "category": one.category,
                "released": one.released,
                "reasons": list(one.reasons),
                "consents": [shown(grant) for grant in one.grants],
            }
            for one in answer.sections
        ],
        "records": [_record(one) for one in explained.records],
        "own_copy": {"agrees": explained.agrees, "outcome": explained.own.outcome, "sections": _own(explained.own)},
        "sentences": {language: sentences(ctx, explained, language) for language in ("sv", "en")},
    }


def sentences(ctx: Context, explained: Explained, language: str) -> list[str]:
    """The answer in words; with a line of its own where the own copy says otherwise."""
    lines = list(
        explain.worded(
            explained.decision,
            explained.request,
            explained.records,
            language,
            ctx.rules,
            broken=explained.answer.broken,
        )
    )
    if not explained.agrees:
        outcome = codes.words("outcome", explained.own.outcome, language)
        lines.append(_OTHERWISE[language].format(outcome))
    return lines


_OTHERWISE = {
    "sv": "Anslutningens egen kopia svarar något annat ({}): den vet mindre om mottagaren, eller så saknas något.",
    "en": "This connector's own copy answers otherwise ({}): it knows less of the recipient, or something is missing.",
}


def _record(one: Considered) -> dict[str, Any]:
    return {
        "section": one.place,
        "category": one.category,
        "consent": shown(one.consent_id),
        "kind": one.kind,
        "effect": one.effect,
        "why_not": list(one.why_not),
        "follows_role": one.follows,
    }


def _own(decision: Decision) -> Sequence[dict[str, Any]]:
    return [
        {"category": one.category, "released": one.released, "reasons": list(shown_to_sender(one.reasons))}
        for one in decision.sections
    ]
