"""May these sections go to this recipient now? A pure function, the same in connector, broker and verifier.

Order (architecture, "Decisions"; domain page A), every step run for every section so that all reasons are known:

    1  sender: active seat in a role and authority that may send the type   SENDER_INACTIVE, SENDER_NOT_ALLOWED
    2  recipient: may get the type, holds the role, is active               TYPE_NOT_ALLOWED, NO_HOLDER, SEAT_INACTIVE
    3  category: may go between the roles, can be waived                    CATEGORY_NOT_ALLOWED, NON_WAIVABLE, CAPACITY
    4  the sender's own release decision where 18 kap. OSL asks it          PUBLIC_INTEREST_NOT_RELEASED
    5  consent of this discloser, in force, covering all of it              consent/standing.py
    6  a consent of every other person concerned                            OTHER_SUBJECT_NO_CONSENT
    7  blocks; what the sender's connector withheld                         BLOCK_IN_FORCE, SENDER_WITHHELD
    8  what the event's name alone tells must be released too               TYPE_WITHHELD
       (what is said outside the broker has no name; each category stands by itself)

A reservation belongs to its own grant and is read in step 5: if it spoke against other grants too, withdrawing the
reserved one would open something.
"""

from __future__ import annotations

from consent import standing
from consent.conditions import judged, owed
from consent.ledger import LedgerView
from consent.records import FOREVER, Block, Grant, Part
from consent.rules import NOT_ALLOWED, Lane, Rules
from consent.terms import THE_PERSON, Decision, DecisionRequest, SectionAsk, SectionDecision
from schemas import codes
from schemas.codes import Outcome
from schemas.said import SPOKEN

_ALONE = (THE_PERSON,)
_RULES = frozenset(reason for reason in codes.table()["reason"] if codes.reason_kind(reason) == "RULE")
_HUMANS = frozenset(reason for reason in codes.table()["reason"] if codes.reason_kind(reason) == "HUMAN")


# One section examined: reasons against it, the grant it rests on, until when it is covered, the grants of others.
_Found = tuple[tuple[str, ...], Grant | None, int, tuple[Grant, ...]]


_UNNAMED: _Found = ((), None, FOREVER, ())

# What every section of one request is examined with: request, view, rules, lane, reasons against all, grants in force,
# and how all grants stand. A plain tuple: it is made for every decision.
_Asked = tuple[DecisionRequest, LedgerView, Rules, Lane, tuple[str, ...], list[Grant], list[tuple[Grant, int]]]


def decide(request: DecisionRequest, view: LedgerView, rules: Rules) -> Decision:
    """Decide every section for one recipient role on the *sender's own* seat's ledger; microseconds in, codes out.

    Never raises for what the ledger or the request say; anything unknown is a reason against.
    INVARIANT: test_released_cites_a_live_grant, test_no_release_after_withdrawal, test_narrowing_never_opens.
    """
    lane = rules.lane(request.event_type, request.sender.role, request.recipient.role)
    wide = wide_reasons(request, view, rules, lane)
    # The consents that stand at the moment asked about, and what speaks against each, whatever the section.
    stood = [(one, grant_bits(one, request, lane.to_unit, rules)) for one in view.grants if one.stands(request.at_us)]
    asked: _Asked = (request, view, rules, lane, wide, [one for one, bits in stood if not bits], stood)
    found = [_examine(ask, asked) for ask in request.sections]
    named = request.event_type != SPOKEN
    name = _name_released(asked, found) if named else _UNNAMED
    _, name_grant, holds_until, name_others = name
    name_cited = () if name_grant is None else _ids(name_grant, name_others)
    depends_on: tuple[bytes, ...] = ()
    sections = []
    given = 0
    for ask, (reasons, grant, until_us, others) in zip(request.sections, found):  # noqa: B905 - of the same list
        if name_grant is None and named:
            sections.append(SectionDecision(ask.category, False, _with_name(reasons), ()))
        elif grant is None:
            sections.append(SectionDecision(ask.category, False, reasons, ()))
        else:
            given += 1
            cited = tuple(dict.fromkeys(_ids(grant, others) + name_cited))
            depends_on = tuple(dict.fromkeys(depends_on + cited))
            holds_until = min(holds_until, until_us)
            sections.append(SectionDecision(ask.category, True, (), cited))
    if not given:
        return Decision(_outcome(sections, 0), tuple(sections), None, (), ())
    obligations = _joined(lane.obligations, (*found, name), rules)
    return Decision(_outcome(sections, given), tuple(sections), holds_until, depends_on, obligations)


def _ids(grant: Grant, others: tuple[Grant, ...]) -> tuple[bytes, ...]:
    return (grant.consent_id, *[other.consent_id for other in others])


def _joined(own: tuple[str, ...], found: tuple[_Found, ...], rules: Rules) -> tuple[str, ...]:
    """The lane's own obligations first, then those of the consents used in the table's order."""
    used = [grant for _, first, _, others in found if first is not None for grant in (first, *others)]
    more = {code for grant in used for code in owed(grant.facts, grant.obligations, rules)} - set(own)
    return own + tuple(code for code in codes.table()["obligation"] if code in more)


def _outcome(sections: list[SectionDecision], given: int) -> Outcome:
    """As `schemas.codes.outcome_of`, without asking the table about every reason when the answer is plain."""
    if given:
        return Outcome.RELEASED if given == len(sections) else Outcome.PARTIAL
    reasons = {reason for section in sections for reason in section.reasons}
    if reasons and _RULES.issuperset(reasons):
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
    return tuple(dict.fromkeys(reasons))


def grant_bits(grant: Grant, request: DecisionRequest, to_unit: bool, rules: Rules) -> int:
    """Every way in which a grant fails this request, leaving the section and partial withdrawals aside."""
    recipient, at_us = request.recipient, request.at_us
    bits = grant.fault | grant.stale(rules.texts_ended)
    if grant.facts is not None:
        bits |= judged(grant.facts, request.action, rules)
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
    return bits | standing.SUSPENDED if grant.paused(at_us) else bits


def section_bits(grant: Grant, request: DecisionRequest, ask: SectionAsk) -> int:
    """What the section adds: category not covered or taken out by a partial withdrawal, data of another time."""
    bits = 0 if ask.category in grant.categories else standing.CATEGORY_NOT_COVERED
    if grant.period is not None and not _within(grant.period, ask):
        bits |= standing.DATA_PERIOD
    for part in grant.parts:
        if part.from_us <= request.at_us and _takes(part, request, ask.category):
            bits |= part.bit
    return bits


def _within(period: tuple[int | None, int | None], ask: SectionAsk) -> bool:
    """Whether the stated period of a section lies within a consent's; one that is not stated does not."""
    first, last = ask.data_from_us, ask.data_until_us
    if first is not None and last is not None and first >= last:
        return False
    since, until = period
    return (since is None or (first is not None and first >= since)) and (
        until is None or (last is not None and last <= until)
    )


def _takes(part: Part, request: DecisionRequest, category: str) -> bool:
    return part.reach.takes(category) and part.reach.meets(request.recipient, request.purpose)


def concerned(ask: SectionAsk) -> tuple[int, ...]:
    """Every person a section concerns: in a person's own case it always tells something of that person (0) too."""
    return tuple(dict.fromkeys((THE_PERSON, *ask.persons)))


def block_meets(block: Block, request: DecisionRequest, ask: SectionAsk) -> bool:
    """Whether a block forbids this section to this recipient, at whatever time."""
    if block.actions is not None and request.action not in block.actions:
        return False
    if block.about is not None and block.about.isdisjoint(concerned(ask)):
        return False
    return block.reach.takes(ask.category) and block.reach.meets(request.recipient, request.purpose)


def bites_from(block: Block, request: DecisionRequest, category: str) -> int | None:
    """The first moment from now on at which a block holds that meets the request and is not lifted; None when never."""
    # INVARIANT: test_a_block_of_a_unit_stays_until_it_is_lifted_for_the_unit
    found = min(_bites_by(block, way, request, category) for way in block.reach.ways(request.recipient))
    return found if found <= block.until_us else None


def _bites_by(block: Block, way: frozenset[str], request: DecisionRequest, category: str) -> int:
    """The first moment at which nothing lifts what the block says of this recipient in one way."""
    bites_us = max(request.at_us, block.from_us)
    for lift in sorted(block.lifts, key=lambda one: one.from_us):
        if lift.from_us <= bites_us < lift.until_us and lift.meets(request.recipient, request.purpose, category, way):
            bites_us = lift.until_us
    return bites_us


def _examine(ask: SectionAsk, asked: _Asked) -> _Found:
    """One section by itself, steps 1 to 7."""
    request, view, _rules, lane, reasons, live, stood = asked
    category = ask.category
    if verdict := lane.verdicts.get(category, NOT_ALLOWED):
        reasons += verdict
    if category in lane.needs_release and not ask.public_interest_released:
        reasons += ("PUBLIC_INTEREST_NOT_RELEASED",)
    grant, until_us = _covering(THE_PERSON, ask, request, live)
    others: tuple[Grant, ...] = ()
    if grant is None:
        reasons += _closest(ask, request, stood)
    if ask.persons != _ALONE:
        others, until_us = _of_others(ask, request, live, until_us)
        if len(others) < len(set(ask.persons) - {THE_PERSON}) or not ask.persons:
            reasons += ("OTHER_SUBJECT_NO_CONSENT",)  # no person named is none
    blocked, until_us = _blocked(ask, request, view, until_us)
    if blocked:
        reasons += ("BLOCK_IN_FORCE",)
    if ask.sender_withheld:
        reasons += ("SENDER_WITHHELD",)
    return reasons, None if reasons else grant, until_us, others


def _closest(ask: SectionAsk, request: DecisionRequest, stood: list[tuple[Grant, int]]) -> tuple[str, ...]:
    """What the closest consents about the case's own person lack."""
    return standing.closest(
        [bits | section_bits(grant, request, ask) for grant, bits in stood if grant.concerns(THE_PERSON)]
    )


def _of_others(
    ask: SectionAsk, request: DecisionRequest, live: list[Grant], until_us: int
) -> tuple[tuple[Grant, ...], int]:
    """A covering consent of each other person who has one, and the earliest end of all.

    INVARIANT: test_every_person_of_a_datum_permits_or_it_stays.
    """
    found = []
    for person in dict.fromkeys(ask.persons):
        if person == THE_PERSON:
            continue
        grant, person_until = _covering(person, ask, request, live)
        if grant is not None:
            found.append(grant)
            until_us = min(until_us, person_until)
    return tuple(found), until_us


def _covering(person: int, ask: SectionAsk, request: DecisionRequest, live: list[Grant]) -> tuple[Grant | None, int]:
    """The grant that covers the section longest (of two as long, the smaller id), and until when it does."""
    best: Grant | None = None
    best_until = request.at_us
    category = ask.category
    for grant in live:
        if category in grant.categories:
            if not _fits(grant, person, ask):
                continue
            end_us = _part_end(grant, request, category)
            if end_us > best_until or (best and end_us == best_until and grant.consent_id < best.consent_id):
                best, best_until = grant, end_us
    return best, best_until


def _fits(grant: Grant, person: int, ask: SectionAsk) -> bool:
    """Whether it is about the person, and the section's data are from its period."""
    return grant.concerns(person) and (grant.period is None or _within(grant.period, ask))


def _part_end(grant: Grant, request: DecisionRequest, category: str) -> int:
    """Until when a grant in force covers a category, seeing what is taken out and suspended; in the past if not now."""
    parts = (part.from_us for part in grant.parts if _takes(part, request, category))
    # One that ended in the moment it began rests nothing.
    pauses = (pause.from_us for pause in grant.pauses if max(request.at_us, pause.from_us) < pause.until_us)
    return min([grant.end_us, *parts, *pauses])


def _blocked(ask: SectionAsk, request: DecisionRequest, view: LedgerView, until_us: int) -> tuple[bool, int]:
    """Whether a block is in force, and the earlier of `until_us` and the next moment one begins or holds again."""
    for block in view.blocks:
        bites_us = bites_from(block, request, ask.category) if block_meets(block, request, ask) else None
        if bites_us is not None:
            if bites_us <= request.at_us:
                return True, until_us
            until_us = min(until_us, bites_us)
    return False, until_us


def _name_released(asked: _Asked, found: list[_Found]) -> _Found:
    """Step 8: whether the category that the event's name tells goes to this recipient.

    It is the section of that category. Without one the same question is asked as if there were an empty one, for which
    the sender has stated no release decision and no period.
    """
    request, category = asked[0], asked[3].type_category
    name: _Found | None = None
    for place, ask in enumerate(request.sections):
        if ask.category == category and (name is None or found[place][1] is None):
            name = found[place]
    return _examine(SectionAsk(category, _ALONE, False, False), asked) if name is None else name


def _with_name(reasons: tuple[str, ...]) -> tuple[str, ...]:
    """Add TYPE_WITHHELD, except where a rule refuses already: what a rule refuses does not wait for the person."""
    return reasons if not _RULES.isdisjoint(reasons) else (*reasons, "TYPE_WITHHELD")
