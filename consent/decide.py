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
       (what is said outside the broker has no name; each category stands by itself)

A reservation belongs to its own grant and is read in step 5: if it spoke against other grants too, withdrawing the
reserved one would open something.
"""

from __future__ import annotations

from consent import standing
from consent.ledger import LedgerView
from consent.records import FOREVER, Block, Grant, Withdrawal
from consent.rules import NOT_ALLOWED, Lane, Rules
from consent.terms import THE_PERSON, Decision, DecisionRequest, SectionAsk, SectionDecision
from schemas import codes
from schemas.codes import Outcome
from schemas.said import SPOKEN

_ALONE = (THE_PERSON,)
_RULES = frozenset(reason for reason in codes.table()["reason"] if codes.reason_kind(reason) == "RULE")
_HUMANS = frozenset(reason for reason in codes.table()["reason"] if codes.reason_kind(reason) == "HUMAN")


# One section examined: reasons against it, the grant it rests on, and until when that covers it.
_Found = tuple[tuple[str, ...], Grant | None, int]


def decide(request: DecisionRequest, view: LedgerView, rules: Rules) -> Decision:
    """Decide every section for one recipient role on the *sender's own* seat's ledger; microseconds in, codes out.

    Never raises for what the ledger or the request say; anything unknown is a reason against.
    INVARIANT: test_released_cites_a_live_grant, test_no_release_after_withdrawal, test_narrowing_never_opens.
    """
    lane = rules.lane(request.event_type, request.sender.role, request.recipient.role)
    wide = wide_reasons(request, view, rules, lane)
    live = _live(request, view.grants, lane.to_unit)
    stood: list[tuple[Grant, int]] = []
    found = [_examine(ask, request, view, lane, wide, live, stood) for ask in request.sections]
    name_grant: Grant | None = None
    holds_until = FOREVER
    named = request.event_type != SPOKEN
    if named:
        name = _name_released(request, lane, found)
        if name is None:
            name = _examine(
                SectionAsk(lane.type_category, _ALONE, False, False), request, view, lane, wide, live, stood
            )
        _, name_grant, holds_until = name
    name_cited = () if name_grant is None else (name_grant.consent_id,)
    depends_on: tuple[bytes, ...] = ()
    sections = []
    given = 0
    for ask, (reasons, grant, until_us) in zip(request.sections, found):  # noqa: B905 - made of the same list
        if name_grant is None and named:
            sections.append(SectionDecision(ask.category, False, _with_name(reasons), ()))
        elif grant is None:
            sections.append(SectionDecision(ask.category, False, reasons, ()))
        else:
            given += 1
            cited = name_cited if grant is name_grant else (grant.consent_id, *name_cited)
            if cited != depends_on:
                depends_on = tuple(dict.fromkeys(depends_on + cited))
            if until_us < holds_until:  # noqa: PLR1730 - min() costs more than the rest of the loop
                holds_until = until_us
            sections.append(SectionDecision(ask.category, True, (), cited))
    if not given:
        return Decision(_outcome(sections, 0), tuple(sections), None, (), ())
    return Decision(_outcome(sections, given), tuple(sections), holds_until, depends_on, lane.obligations)


def _outcome(sections: list[SectionDecision], given: int) -> Outcome:
    """As `schemas.codes.outcome_of`, without asking the table about every reason when the answer is plain."""
    if given:
        return Outcome.RELEASED if given == len(sections) else Outcome.PARTIAL
    reasons = {reason for section in sections for reason in section.reasons}
    if reasons and reasons <= _RULES:
        return Outcome.REFUSED
    return Outcome.WITHHELD if _HUMANS.isdisjoint(reasons) else Outcome.NEEDS_HUMAN


def wide_reasons(request: DecisionRequest, view: LedgerView, rules: Rules, lane: Lane) -> tuple[str, ...]:
    """Reasons of steps 1 and 2, which refuse every section alike; a broken ledger is one of them."""
    sender, recipient = request.sender, request.recipient
    reasons = lane.refusals
    if not sender.active:
        reasons += ("SENDER_INACTIVE",)
    if sender.authority != lane.sender_authority:
        reasons += ("SENDER_NOT_ALLOWED",)
    if recipient.authority != lane.recipient_authority or recipient.authority in rules.never_individual:
        # A role that nobody holds has no authority; that nobody holds it is said below.
        reasons += ("TYPE_NOT_ALLOWED",) if recipient.held or lane.to_unit else ()
    if request.purpose not in lane.purposes:
        reasons += ("TYPE_NOT_ALLOWED",)
    if request.action not in rules.actions:
        reasons += ("SCHEMA_UNKNOWN",)
    if not (recipient.active and recipient.held) and not lane.to_unit:
        reasons += ("SEAT_INACTIVE",) if recipient.held else ("NO_HOLDER",)
    if view.broken:
        reasons += ("EVALUATION_ERROR",)
    return tuple(dict.fromkeys(reasons)) if reasons else reasons


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


def _live(request: DecisionRequest, grants: tuple[Grant, ...], to_unit: bool) -> list[Grant]:
    """The grants that `grant_bits` has nothing against, found without asking what is wrong with the others."""
    recipient, at_us, purpose = request.recipient, request.at_us, request.purpose
    live = []
    for grant in grants:
        if purpose not in grant.purposes or not grant.start_us <= at_us < grant.end_us:
            continue
        if recipient.unit not in grant.units and (to_unit or recipient.role not in grant.roles):
            continue
        if not grant_bits(grant, request, to_unit):
            live.append(grant)
    return live


def _takes(part: Withdrawal, request: DecisionRequest, category: str) -> bool:
    return part.reach is None or (part.reach.takes(category) and part.reach.meets(request.recipient, request.purpose))


def block_meets(block: Block, request: DecisionRequest, category: str) -> bool:
    """Whether a block forbids this category to this recipient, at whatever time."""
    if block.actions is not None and request.action not in block.actions:
        return False
    return block.reach.takes(category) and block.reach.meets(request.recipient, request.purpose)


def _examine(
    ask: SectionAsk,
    request: DecisionRequest,
    view: LedgerView,
    lane: Lane,
    wide: tuple[str, ...],
    live: list[Grant],
    stood: list[tuple[Grant, int]],
) -> _Found:
    """One section by itself, steps 1 to 7; `stood` is filled by the first section that no grant covers."""
    category = ask.category
    reasons = wide
    if verdict := lane.verdicts.get(category, NOT_ALLOWED):
        reasons += verdict
    if category in lane.needs_release and not ask.public_interest_released:
        reasons += ("PUBLIC_INTEREST_NOT_RELEASED",)
    grant, until_us = _covering(category, request, live)
    if grant is None:
        if not stood:
            stood += [(one, grant_bits(one, request, lane.to_unit)) for one in view.grants]
        reasons += _closest(category, request, stood)
    if ask.persons != _ALONE and set(ask.persons) != {THE_PERSON}:
        reasons += ("OTHER_SUBJECT_NO_CONSENT",)  # nobody else's consent can be recorded yet; no person named is none
    if view.blocks:
        blocked, until_us = _blocked(category, request, view, until_us)
        if blocked:
            reasons += ("BLOCK_IN_FORCE",)
    if ask.sender_withheld:
        reasons += ("SENDER_WITHHELD",)
    return reasons, None if reasons else grant, until_us


def _covering(category: str, request: DecisionRequest, live: list[Grant]) -> tuple[Grant | None, int]:
    """The grant that covers the category longest (of two as long, the smaller id), and until when it does."""
    best: Grant | None = None
    best_until = request.at_us
    for grant in live:
        if category in grant.categories:
            end_us = _part_end(grant, request, category) if grant.parts else grant.end_us
            if end_us > best_until or (best and end_us == best_until and grant.consent_id < best.consent_id):
                best, best_until = grant, end_us
    return best, best_until


def _part_end(grant: Grant, request: DecisionRequest, category: str) -> int:
    """Until when a grant in force covers a category, seeing its partial withdrawals; in the past if it does not now."""
    return min(grant.end_us, *(part.from_us if _takes(part, request, category) else FOREVER for part in grant.parts))


def _closest(category: str, request: DecisionRequest, stood: list[tuple[Grant, int]]) -> tuple[str, ...]:
    return standing.closest(
        [
            bits if category in grant.categories and not grant.parts else bits | category_bits(grant, request, category)
            for grant, bits in stood
        ]
    )


def _blocked(category: str, request: DecisionRequest, view: LedgerView, until_us: int) -> tuple[bool, int]:
    """Whether a block is in force, and the earlier of `until_us` and the next moment one begins."""
    at_us = request.at_us
    for block in view.blocks:
        if block_meets(block, request, category):
            if block.from_us <= at_us <= block.until_us:
                return True, until_us
            if at_us < block.from_us:
                until_us = min(until_us, block.from_us)
    return False, until_us


def _name_released(request: DecisionRequest, lane: Lane, found: list[_Found]) -> _Found | None:
    """Step 8: whether the category that the event's name tells goes to this recipient.

    It is the section of that category. Without one (None) the same question is asked as if there were an empty one,
    for which the sender has stated no release decision.
    """
    name: _Found | None = None
    for place, ask in enumerate(request.sections):
        if ask.category == lane.type_category and (name is None or found[place][1] is None):
            name = found[place]
    return name


def _with_name(reasons: tuple[str, ...]) -> tuple[str, ...]:
    """Add TYPE_WITHHELD, except where a rule refuses already: what a rule refuses does not wait for the person."""
    return reasons if not _RULES.isdisjoint(reasons) else (*reasons, "TYPE_WITHHELD")
