"""What may be said before a call or a meeting, and what was said afterwards.

The answer is this connector's own decision on its own copy of the ledger. It opens nothing and is nobody's permission
to be kept: it holds for the moment in which it is asked. What was said is recorded by the broker as it was, with what
the consents say about it; nothing that is recorded makes a later answer another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from connectors import ledgers, reports, stated
from connectors.cases import drawn, keep
from connectors.context import Context
from connectors.fields import moment, shown_moment
from connectors.identity import Seat
from connectors.spool.commands import Waiting
from connectors.stated import About
from consent.decide import decide
from consent.ledger import LedgerView
from consent.terms import Decision, DecisionRequest
from schemas import codes, limits
from schemas.codes import Outcome, shown_to_sender
from schemas.errors import HandslagError
from schemas.identifiers import parsed, shown
from schemas.said import SPOKEN, DisclosureAnswer, DisclosureRequest, SaidRole, SpokenDisclosure

_DECIDED = {
    False: {
        "sv": "Antecknat och avgjort för personen i ärendet (0) ensam och för uppgifter utan angiven tid.",
        "en": "Recorded and decided for the person of the case (0) alone and for data without a stated time.",
    },
    True: {
        "sv": "Antecknat hos mäklaren som för personen i ärendet (0) ensam och utan angiven tid: där finns ingen plats "
        "för annat. Svaret gäller det som angavs och är avgjort här.",
        "en": "Recorded at the broker as for the person of the case (0) alone and without a stated time: there is no "
        "place for more there. The answer is about what was stated and was decided here.",
    },
}
FRESH_US = 60_000_000  # a running connector compares its copies every few seconds; older means that it could not


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What somebody wants to say: to which roles, for which purpose, how, which categories, about whom, from when."""

    roles: Sequence[str]
    purpose: str
    manner: str
    categories: Sequence[str]
    public_interest: frozenset[str] = frozenset()
    about: About = field(default_factory=About)


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
    for kind, listed, named in (
        ("role", question.roles, "to"),
        ("category", question.categories, "categories"),
        ("category", sorted(question.public_interest), "public_interest"),
    ):
        for code in listed:
            codes.known(kind, code, named)


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
        **question.about.of(question.categories),
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
    said = SpokenDisclosure.from_bytes(statement)
    return _told(said, answer, await _without_consent(ctx, seat, said, answer, stated.of(value)), value)


async def _without_consent(
    ctx: Context, seat: Seat, said: SpokenDisclosure, answer: DisclosureAnswer, about: stated.Stated
) -> dict[tuple[str, str], tuple[str, ...]]:
    """By role and category the reasons why this connector's own decision does not cover what was said.

    The broker's record has no place for whose data it was and when they are from: it decides as for the person of the
    case, without a time. Where the officer stated either, the same is decided here for what was stated.
    """
    # INVARIANT: test_what_was_said_of_somebody_else_is_not_covered_by_the_person_of_the_case
    if not any(about.values()):
        return {}
    await ledgers.sync(ctx, seat)
    view = ctx.ledger(seat).as_known(ledger_seq=answer.ledger_seq)
    found = {}
    for role in said.roles:
        request = ledgers.asked(
            ctx,
            seat,
            ledgers.recipient(ctx, seat, role),
            event_type=SPOKEN,
            categories=said.categories,
            purpose=said.purpose,
            action=action_of(said.manner),
            at_us=answer.decided_at_us,
            public_interest=frozenset(said.public_interest_released),
            **about,
        )
        for section in decide(request, view, ctx.rules).sections:
            if not section.released:
                found[role, section.category] = shown_to_sender(section.reasons)
    return found


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


def _told(
    said: SpokenDisclosure,
    answer: DisclosureAnswer,
    without: dict[tuple[str, str], tuple[str, ...]],
    value: dict[str, Any],
) -> dict[str, Any]:
    covered = not without and all(role.outcome == Outcome.RELEASED for role in answer.roles)
    about = {name: value.get(name, {}) for name in ("persons", "data_periods")}
    return {
        "disclosure": shown(said.disclosure_id),
        "manner": said.manner,
        "said_at": shown_moment(said.said_at_us),
        "ledger_seq": answer.ledger_seq,
        "covered": covered,
        "stated": about,
        "decided_for": {**About().data, **_DECIDED[any(about.values())]},
        "possible_incident": None if covered else reports.error_value(HandslagError("HS-SAID-WITHOUT-CONSENT")),
        "roles": [_role_told(role, without) for role in answer.roles],
    }


def _role_told(role: SaidRole, without: dict[tuple[str, str], tuple[str, ...]]) -> dict[str, Any]:
    sections = []
    for section in role.sections:
        more = without.get((role.role, section.category), ())
        sections.append(
            {
                "category": section.category,
                "covered": section.covered and not more,
                "reasons": [reports.words("reason", reason) for reason in dict.fromkeys((*section.reasons, *more))],
                "consents": [shown(consent) for consent in section.consents],
            }
        )
    return {
        "role": role.role,
        "outcome": reports.words("outcome", role.outcome),
        "sections": sections,
        "entry_id": shown(role.entry_id),
        "leaf_hash": role.leaf_hash.hex(),
    }
