"""May these sections go to this recipient now? A pure function, the same in connector, broker and verifier.

Order (architecture, "Decisions"; domain page A), every step run for every section so that all reasons are known:

    1  sender: active seat in a role and authority that may send the type   SENDER_INACTIVE, SENDER_NOT_ALLOWED
    2  recipient: may get the type, holds the role, is active               TYPE_NOT_ALLOWED, NO_HOLDER, SEAT_INACTIVE
    3  category: may go between the roles, can be waived                    CATEGORY_NOT_ALLOWED, NON_WAIVABLE, CAPACITY
    4  the sender's own release decision where 18 kap. OSL asks it          PUBLIC_INTEREST_NOT_RELEASED
    5  consent of this discloser, in force, covering all of it              consent/standing.py
    6  every person concerned                                               OTHER_SUBJECT_NO_CONSENT
    7  blocks; what the sender's connector withheld                         BLOCK_IN_FORCE, SENDER_WITHHELD
    8  what the event's name alone tells must be released too               TYPE_WITHHELD

A reservation belongs to its own grant and is read in step 5: if it spoke against other grants too, withdrawing the
reserved one would open something.
"""

from __future__ import annotations

from typing import NamedTuple

from consent import standing
from consent.ledger import LedgerView
from consent.records import FOREVER, Block, Grant, Withdrawal
from consent.rules import Lane, Rules
from consent.terms import THE_PERSON, Decision, DecisionRequest, SectionAsk, SectionDecision
from schemas import codes
from schemas.codes import outcome_of

_ALONE = (THE_PERSON,)
_RULES = frozenset(reason for reason in codes.table()["reason"] if codes.reason_kind(reason) == "RULE")


class _Case(NamedTuple):
    """What one decision knows before it looks at sections: every grant with its category-free bits, blocks, rules."""

    request: DecisionRequest
    lane: Lane
    view: LedgerView
    wide: tuple[str, ...]
    grants: list[tuple[Grant, int]]


class _Found(NamedTuple):
    """One section examined: reasons against it, the grant it rests on and until when."""

    reasons: tuple[str, ...]
    grant: Grant | None
    until_us: int


def decide(request: DecisionRequest, view: LedgerView, rules: Rules) -> Decision:
    """Decide every section for one recipient role on the *sender's own* seat's ledger; microseconds in, codes out.

    Never raises for what the ledger or the request say; anything unknown is a reason against.
    INVARIANT: test_released_cites_a_live_grant, test_no_release_after_withdrawal, test_narrowing_never_opens.
    """
    lane = rules.lane(request.event_type, request.sender.role, request.recipient.role)
    case = _Case(request, lane, view, wide_reasons(request, view, rules, lane), _stand(request, view, lane))
    found = [_examine(ask, case) for ask in request.sections]
    name = _name_released(case, found)
    sections = []
    holds_until = FOREVER
    used: dict[bytes, None] = {}
    for ask, one in zip(request.sections, found, strict=True):
        if one.grant is None or name.grant is None:
            reasons = one.reasons if name.grant is not None else _with_name(one.reasons)
            sections.append(SectionDecision(ask.category, False, reasons, ()))
            continue
        own, other = one.grant.consent_id, name.grant.consent_id
        cited = (own,) if own == other else (own, other)
        used.update(dict.fromkeys(cited))
        holds_until = min(holds_until, one.until_us, name.until_us)
        sections.append(SectionDecision(ask.category, True, (), cited))
    outcome = outcome_of([(section.released, section.reasons) for section in sections])
    if not used:
        return Decision(outcome, tuple(sections), None, (), ())
    return Decision(outcome, tuple(sections), holds_until, tuple(used), lane.obligations)


def wide_reasons(request: DecisionRequest, view: LedgerView, rules: Rules, lane: Lane) -> tuple[str, ...]:
    """Reasons of steps 1 and 2, which refuse every section alike; a broken ledger is one of them."""
    sender, recipient = request.sender, request.recipient
    reasons = list(lane.refusals)
    if not sender.active:
        reasons.append("SENDER_INACTIVE")
    if rules.authorities.get(sender.role) != sender.authority:
        reasons.append("SENDER_NOT_ALLOWED")
    if rules.authorities.get(recipient.role) != recipient.authority or recipient.authority in rules.never_individual:
        reasons.append("TYPE_NOT_ALLOWED")
    if request.purpose not in lane.purposes:
        reasons.append("TYPE_NOT_ALLOWED")
    if request.action not in rules.actions:
        reasons.append("SCHEMA_UNKNOWN")
    if not lane.to_unit and not recipient.held:
        reasons.append("NO_HOLDER")
    elif not lane.to_unit and not recipient.active:
        reasons.append("SEAT_INACTIVE")
    if view.broken:
        reasons.append("EVALUATION_ERROR")
    return tuple(dict.fromkeys(reasons)) if reasons else ()


def grant_bits(grant: Grant, request: DecisionRequest, to_unit: bool) -> int:
    """Every way in which a grant fails this request, leaving the category and partial withdrawals aside."""
    recipient, at_us = request.recipient, request.at_us
    bits = grant.fault
    if grant.member != request.sender.member:
        bits |= standing.WRONG_DISCLOSER
    if recipient.unit not in grant.units:
        if to_unit or recipient.role not in grant.roles:
            bits |= standing.RECIPIENT_NOT_COVERED
        elif (
            recipient.held
            and recipient.role not in grant.followed
            and (recipient.role, recipient.member) not in grant.holders
        ):
            bits |= standing.RECIPIENT_CHANGED
    if request.purpose not in grant.purposes:
        bits |= standing.PURPOSE_MISMATCH
    if request.action not in grant.actions:
        bits |= standing.ACTION_NOT_COVERED
    if at_us < grant.start_us:
        bits |= standing.NOT_YET_VALID
    if at_us >= grant.end_us:
        bits |= grant.ended(at_us)
    return bits


def category_bits(grant: Grant, request: DecisionRequest, category: str) -> int:
    """What the category adds: not covered, or taken out by a partial withdrawal."""
    bits = 0 if category in grant.categories else standing.CATEGORY_NOT_COVERED
    for part in grant.parts:
        if part.from_us <= request.at_us and _takes(part, request, category):
            bits |= part.bit
    return bits


def _stand(request: DecisionRequest, view: LedgerView, lane: Lane) -> list[tuple[Grant, int]]:
    return [(grant, grant_bits(grant, request, lane.to_unit)) for grant in view.grants]


def _takes(part: Withdrawal, request: DecisionRequest, category: str) -> bool:
    return part.reach is None or (part.reach.takes(category) and part.reach.meets(request.recipient, request.purpose))


def block_meets(block: Block, request: DecisionRequest, category: str) -> bool:
    """Whether a block forbids this category to this recipient, at whatever time."""
    if block.actions is not None and request.action not in block.actions:
        return False
    return block.reach.takes(category) and block.reach.meets(request.recipient, request.purpose)


def _examine(ask: SectionAsk, case: _Case) -> _Found:
    """One section by itself, steps 1 to 7."""
    reasons = case.wide
    if verdict := case.lane.verdict(ask.category):
        reasons += verdict
    if ask.category in case.lane.needs_release and not ask.public_interest_released:
        reasons += ("PUBLIC_INTEREST_NOT_RELEASED",)
    grant, until_us = _covering(ask.category, case)
    if grant is None:
        reasons += _closest(ask.category, case)
    if ask.persons != _ALONE and set(ask.persons) != {THE_PERSON}:
        reasons += ("OTHER_SUBJECT_NO_CONSENT",)  # nobody else's consent can be recorded yet; no person named is none
    if case.view.blocks:
        blocked, until_us = _blocked(ask.category, case, until_us)
        if blocked:
            reasons += ("BLOCK_IN_FORCE",)
    if ask.sender_withheld:
        reasons += ("SENDER_WITHHELD",)
    return _Found(reasons, None if reasons else grant, until_us)


def _covering(category: str, case: _Case) -> tuple[Grant | None, int]:
    """The grant that covers longest (the smaller id if two do), and until when it does."""
    best: Grant | None = None
    best_until = 0
    for grant, bits in case.grants:
        if bits or category not in grant.categories:
            continue
        until_us = grant.end_us
        if grant.parts:
            if category_bits(grant, case.request, category):
                continue
            until_us = min([until_us, *(p.from_us for p in grant.parts if _takes(p, case.request, category))])
        if best is None or until_us > best_until or (until_us == best_until and grant.consent_id < best.consent_id):
            best, best_until = grant, until_us
    return best, best_until


def _closest(category: str, case: _Case) -> tuple[str, ...]:
    return standing.closest([bits | category_bits(grant, case.request, category) for grant, bits in case.grants])


def _blocked(category: str, case: _Case, until_us: int) -> tuple[bool, int]:
    """Whether a block is in force, and the earlier of `until_us` and the next moment one begins."""
    at_us = case.request.at_us
    for block in case.view.blocks:
        if block_meets(block, case.request, category):
            if block.from_us <= at_us <= block.until_us:
                return True, until_us
            if at_us < block.from_us:
                until_us = min(until_us, block.from_us)
    return False, until_us


def _name_released(case: _Case, found: list[_Found]) -> _Found:
    """Step 8: whether the category that the event's name tells goes to this recipient.

    It is the section of that category; without one, the same question asked as if there were an empty one for which
    the sender has stated no release decision.
    """
    category = case.lane.type_category
    name: _Found | None = None
    for ask, one in zip(case.request.sections, found, strict=True):
        if ask.category == category and (name is None or one.grant is None):
            name = one
    return _examine(SectionAsk(category, _ALONE, False, False), case) if name is None else name


def _with_name(reasons: tuple[str, ...]) -> tuple[str, ...]:
    """Add TYPE_WITHHELD, except where a rule refuses already: what a rule refuses does not wait for the person."""
    return reasons if not _RULES.isdisjoint(reasons) else (*reasons, "TYPE_WITHHELD")
