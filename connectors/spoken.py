"""What may be said before a call or a meeting, and what was said afterwards.

The answer is this connector's own decision on its own copy of the ledger. It opens nothing and is nobody's permission
to be kept: it holds for the moment in which it is asked. What was said is recorded by the broker as it was, with what
the consents say about it; nothing that is recorded makes a later answer another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from connectors import ledgers, reports
from connectors.cases import drawn, keep
from connectors.context import Context
from connectors.fields import moment, shown_moment
from connectors.identity import Seat
from connectors.spool.commands import Waiting
from consent.decide import decide
from consent.ledger import LedgerView
from consent.terms import Decision, DecisionRequest
from schemas import codes, limits
from schemas.codes import Outcome
from schemas.errors import HandslagError
from schemas.identifiers import parsed, shown
from schemas.said import SPOKEN, DisclosureAnswer, DisclosureRequest, SpokenDisclosure

FRESH_US = 60_000_000  # a running connector compares its copies every few seconds; older means that it could not


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What somebody wants to say: to which roles, for which purpose, how, and which categories."""

    roles: Sequence[str]
    purpose: str
    manner: str
    categories: Sequence[str]
    public_interest: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """How old the ledger copy is: `confirmed_at_us` None before the first answer; `trouble` why it was not renewed."""

    confirmed_at_us: int | None
    fresh: bool
    trouble: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One role's decision with what it was made of."""

    request: DecisionRequest
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What may be said to each, and to all at once: only what every one of them may hear."""

    asked_at_us: int
    ledger_seq: int
    copy: Copy
    stopped_here: bool
    log_stopped: bool
    each: tuple[Asked, ...]

    @property
    def in_room(self) -> tuple[str, ...]:
        """Categories that may be said while all are present."""
        # INVARIANT: test_in_a_room_only_what_everybody_may_hear
        allowed = [{s.category for s in one.decision.sections if s.released} for one in self.each]
        common = set.intersection(*allowed) if allowed else set()
        return tuple(sorted(common))

    @property
    def something(self) -> bool:
        """Whether anything may be said to anybody; of several, to all at once."""
        return bool(self.in_room)


async def renewed(ctx: Context, seat: Seat) -> Copy:
    """Bring the copy up to date; whatever goes wrong is told and not raised. Inside the link's context."""
    try:
        await ledgers.sync(ctx, seat)
    except HandslagError as error:
        return replace(kept(ctx), fresh=False, trouble=error.code)
    return Copy(confirmed_at_us=ctx.now(), fresh=True, trouble=None)


def kept(ctx: Context) -> Copy:
    """The copy as it lies here, without asking anybody."""
    at_us = ledgers.confirmed_at(ctx)
    fresh = at_us is not None and 0 <= ctx.now() - at_us < FRESH_US
    return Copy(confirmed_at_us=at_us, fresh=fresh, trouble=None)


def may_i(ctx: Context, seat: Seat, question: Question, copy: Copy) -> Answer:
    """Decide for every role by itself, with all reasons; raises `HS-CODE-UNKNOWN` naming the field.

    A withdrawal or block noted here counts at once, also before the broker has recorded it; so does a log that was
    caught lying. Then everything is withheld by this connector (SENDER_WITHHELD), whatever the ledger says.
    INVARIANT: test_a_withdrawal_noted_here_counts_at_once.
    """
    _check(question)
    stopped = ctx.spool.commands.stopped(ctx.identities.handle(seat.ref))
    log_stopped = ctx.witness.stopped
    view = ledgers.view(ctx, seat)
    asked = (_asked(ctx, seat, role, question, view, withheld=stopped or log_stopped) for role in question.roles)
    return Answer(
        asked_at_us=ctx.now(),
        ledger_seq=view.ledger_seq,
        copy=copy,
        stopped_here=stopped,
        log_stopped=log_stopped,
        each=tuple(Asked(request=one, decision=decide(one, view, ctx.rules)) for one in asked),
    )


def _check(question: Question) -> None:
    codes.known("purpose", question.purpose, "purpose")
    codes.known("manner", question.manner, "manner")
    for kind, listed, field in (
        ("role", question.roles, "to"),
        ("category", question.categories, "categories"),
        ("category", sorted(question.public_interest), "public_interest"),
    ):
        for code in listed:
            codes.known(kind, code, field)


def _asked(
    ctx: Context, seat: Seat, role: str, question: Question, view: LedgerView, *, withheld: bool
) -> DecisionRequest:
    request = ledgers.asked(
        ctx,
        seat,
        ledgers.recipient(ctx, seat, role),
        event_type=SPOKEN,
        categories=question.categories,
        purpose=question.purpose,
        action=action_of(question.manner),
        at_us=max(ctx.now(), view.recorded_at_us),
        public_interest=question.public_interest,
    )
    sections = tuple(replace(section, sender_withheld=withheld) for section in request.sections)
    return replace(request, sections=sections)


def action_of(manner: str) -> str:
    """The action that a consent must name for a manner."""
    return str(codes.table()["manner"][manner]["action"])


def check_said_at(said_at_us: int, now_us: int) -> None:
    """Raise `HS-SAID-LATER` for something that has not been said yet."""
    if said_at_us > now_us + limits.SENT_AHEAD_US:
        raise HandslagError("HS-SAID-LATER")


async def record(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Have the broker record what was said; signed once, repeated under the same id. The note stays here."""
    # INVARIANT: test_a_note_never_leaves_the_connector
    seat, value = ctx.identities.get(command.value["ref"]), command.value
    made = drawn(command)
    if not made:
        statement = _statement(ctx, seat, value)
        signature = seat.keys.sign(statement)
        drawn_now = {"call_id": ctx.random(16).hex(), "statement": statement.hex(), "signature": signature.hex()}
        made = keep(ctx, command, drawn_now)
    call_id, statement = bytes.fromhex(made["call_id"]), bytes.fromhex(made["statement"])
    request = DisclosureRequest(
        call_id=call_id, seat_id=seat.sid, statement=statement, signature=bytes.fromhex(made["signature"])
    )
    answer = await ctx.kept_call("/v1/disclosures:record", call_id, request, DisclosureAnswer)
    for role in answer.roles:
        ctx.spool.memory.want_proof(role.leaf_hash, "said", ctx.now(), seat.sid)
    return _told(SpokenDisclosure.from_bytes(statement), answer)


def _statement(ctx: Context, seat: Seat, value: dict[str, Any]) -> bytes:
    said_at = value.get("said_at")
    return SpokenDisclosure(
        case_tag=seat.case_tag,
        member=seat.member,
        disclosure_id=ctx.random(16),
        manner=value["manner"],
        said_at_us=moment(said_at, "said_at") if said_at else value["noted_at_us"],
        purpose=value["purpose"],
        roles=_once(value["to"]),
        categories=_once(value["categories"]),
        public_interest_released=_once(value["public_interest_released"]),
        consents=tuple(parsed(consent) for consent in value["consents"]),
        actor_ref=value.get("actor_ref") or ctx.settings.actor_ref,
        assurance="ASSERTED",  # until staff sign in at the connector
        noted_at_us=value["noted_at_us"],
    ).to_bytes()


def _once(listed: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(listed))


def _told(said: SpokenDisclosure, answer: DisclosureAnswer) -> dict[str, Any]:
    covered = all(role.outcome == Outcome.RELEASED for role in answer.roles)
    return {
        "disclosure": shown(said.disclosure_id),
        "manner": said.manner,
        "said_at": shown_moment(said.said_at_us),
        "ledger_seq": answer.ledger_seq,
        "covered": covered,
        "possible_incident": None if covered else reports.error_value(HandslagError("HS-SAID-WITHOUT-CONSENT")),
        "roles": [
            {
                "role": role.role,
                "outcome": reports.words("outcome", role.outcome),
                "sections": [
                    {
                        "category": section.category,
                        "covered": section.covered,
                        "reasons": [reports.words("reason", reason) for reason in section.reasons],
                        "consents": [shown(consent) for consent in section.consents],
                    }
                    for section in role.sections
                ],
                "entry_id": shown(role.entry_id),
                "leaf_hash": role.leaf_hash.hex(),
            }
            for role in answer.roles
        ],
    }
