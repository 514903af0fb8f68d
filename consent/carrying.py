"""Which consents carry what was received, whatever else speaks against it by now. Pure.

A block, a suspension, other rules, another person's withdrawal or a seat that closed uncovers what somebody holds, and
the consent that it came under stands all the same. When that consent ends later it is news to whoever holds the data,
also where `decide` would not have let them go any more.

A consent past its own date carries nothing: that was said when it was given. One whose duty is to erase on withdrawal
can be withdrawn until it is, whatever ended it before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from consent import standing
from consent.conditions import owed
from consent.decide import concerned, grant_bits, section_bits
from consent.ledger import LedgerView
from consent.records import Grant
from consent.rules import Rules
from consent.terms import THE_PERSON, DecisionRequest, SectionAsk

_ERASE = "DELETE_ON_WITHDRAWAL"
_ENDED_OTHERWISE = (
    standing.INVALIDATED
    | standing.NOT_YET_VALID
    | standing.EXPIRED
    | standing.SUSPENDED
    | standing.SUPERSEDED
    | standing.GUARDIAN_AUTHORITY_ENDED
    | standing.CAPACITY
)


@dataclass(frozen=True, slots=True)
class Received:
    """What somebody was given, as it would be asked for now; `under`: the consents it was released on (16 bytes)."""

    request: DecisionRequest
    under: frozenset[bytes]


def taken_back(received: Received, before: LedgerView, after: LedgerView, rules: Rules) -> tuple[bool, ...]:
    """Of each section, whether from one ledger to the other a consent of any person concerned stopped carrying it.

    What another consent of the same person carries has not ended.
    INVARIANT: test_each_persons_own_withdrawal_is_told, test_whoever_holds_data_is_told_of_each_end_once.
    """
    names = _names(received.request, rules)
    still = {id(one) for one in after.grants}  # an act leaves what it does not touch as it is
    changed = [one for one in before.grants if id(one) not in still]
    touched = {category for one in changed for category in one.categories}
    return tuple(
        not touched.isdisjoint(one.category for one in (ask, *names))
        and any(
            _ended(
                received,
                before,
                after,
                rules,
                person,
                [one for one in (ask, *names) if person in concerned(one)],
                changed,
            )
            or _owed(received, before, after, rules, person, ask)
            for person in dict.fromkeys(person for one in (ask, *names) for person in concerned(one))
        )
        for ask in received.request.sections
    )


def _names(request: DecisionRequest, rules: Rules) -> list[SectionAsk]:
    """What the event's name alone tells, as `decide` asks it; nothing where the rules of today know no such event."""
    category = rules.lane(request.event_type, request.sender.role, request.recipient.role).type_category
    told = [ask for ask in request.sections if ask.category == category]
    return told or ([SectionAsk(category, (THE_PERSON,), False, False)] if category else [])


def _ended(
    received: Received,
    before: LedgerView,
    after: LedgerView,
    rules: Rules,
    person: int,
    asks: list[SectionAsk],
    changed: Iterable[Grant],
) -> bool:
    """Whether one person's consents carried all of this and do not any more, those that rest left out or counted.

    Where none of those that `changed` carried any of it, nothing of it ended: the others carry what they carried.
    """
    return any(
        any(_carried(received, changed, rules, person, [ask], resting=resting) for ask in asks)
        and _carried(received, before.grants, rules, person, asks, resting=resting)
        and not _carried(received, after.grants, rules, person, asks, resting=resting)
        for resting in (False, True)
    )


def _carried(
    received: Received, grants: Iterable[Grant], rules: Rules, person: int, asks: list[SectionAsk], *, resting: bool
) -> bool:
    standing_now = [one for one in grants if one.stands(received.request.at_us) and one.concerns(person)]
    ignored = standing.SUSPENDED if resting else 0
    return all(any(not _bits(received, one, ask, rules) & ~ignored for one in standing_now) for ask in asks)


def _bits(received: Received, grant: Grant, ask: SectionAsk, rules: Rules) -> int:
    """How a consent fails to cover; of one that it was released on nothing counts that the rules find by now."""
    request = received.request
    known = replace(grant, facts=None) if grant.consent_id in received.under else grant
    to_unit = request.recipient.member is None
    return grant_bits(known, request, to_unit, rules) | section_bits(grant, request, ask)


def _owed(
    received: Received, before: LedgerView, after: LedgerView, rules: Rules, person: int, ask: SectionAsk
) -> bool:
    """Whether a consent was withdrawn under which this was given with the duty to erase it then."""
    # INVARIANT: test_what_is_to_be_erased_on_withdrawal_is_told_after_every_other_end
    was = _to_erase(received, before, rules, person, ask)
    withdrawn = was and was - _to_erase(received, after, rules, person, ask)
    return bool(withdrawn) and not _carried(received, after.grants, rules, person, [ask], resting=False)


def _to_erase(received: Received, view: LedgerView, rules: Rules, person: int, ask: SectionAsk) -> frozenset[bytes]:
    """Consents, of whichever of their terms, that this was given under with that duty and that nobody withdrew."""
    return frozenset(
        one.consent_id
        for one in view.grants
        if one.consent_id in received.under
        and one.concerns(person)
        and _ERASE in owed(one.facts, one.obligations, rules)
        and not _bits(received, one, ask, rules) & ~_ENDED_OTHERWISE
    )
