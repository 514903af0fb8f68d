"""From a resolved submission to its decisions, one per recipient role; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from broker.resolve import Resolved, counted, party_of, vacant
from broker.store.cases import SeatRow
from consent.decide import decide
from consent.rules import Rules
from consent.terms import Decision, DecisionRequest, Party, SectionAsk
from schemas.envelope import RoutedSection, Wrap
from schemas.identifiers import authority_of


@dataclass(frozen=True, slots=True)
class Judged:
    """The decision for one role: the request as decided, the seat that holds the role, the sender's wrap for it.

    `reseal`: the wrap is sealed to a key that the seat has no more, so that what is released must be sealed anew.
    `told`: what the sender is told in place of the decision, where that would say that nobody holds the role.
    """

    role: str
    holder: SeatRow | None
    request: DecisionRequest
    decision: Decision
    wrap: Wrap | None
    reseal: bool = False
    told: Decision | None = None


def judge(resolved: Resolved, rules: Rules, at_us: int) -> list[Judged]:
    """Decide for every role addressed; a refused or repeated submission has no decisions."""
    if resolved.refused is not None or resolved.repeat is not None or resolved.sender is None:
        return []
    waiting, sender = resolved.waiting, resolved.sender
    wraps = {wrap.role: wrap for wrap in waiting.attempt.wraps}
    judged = []
    for role in waiting.attempt.recipients:
        holder = resolved.holders[role]
        wrap = wraps.get(role)
        reseal = wrap is not None and wrap.seat_key_id in resolved.retired
        if holder is not None and wrap is not None and not reseal and wrap.seat_key_id not in holder.key_ids:
            wrap = None  # sealed to a key that the holder never had: nothing was given, and the receipt says so
        request = DecisionRequest(
            event_type=waiting.core.event_type,
            sender=own_party(sender),
            recipient=party_of(holder, resolved.view) if holder else vacant(role),
            sections=tuple(_ask(resolved, section, wrap) for section in waiting.routing.sections),
            purpose=waiting.core.purpose,
            action=waiting.core.action,
            at_us=max(at_us, resolved.view.recorded_at_us),
        )
        decision, told = decide(request, resolved.view, rules), _told(request, resolved, rules)
        judged.append(Judged(role, holder, request, decision, wrap, reseal, told))
    return judged


def _told(request: DecisionRequest, resolved: Resolved, rules: Rules) -> Decision | None:
    """The answer as if somebody held the role, to whose key the sender sealed nothing; None where it may know.

    The entry says what is: the discloser's auditor sees it.
    """
    # INVARIANT: test_a_receipt_does_not_tell_whether_a_role_is_held
    role = request.recipient.role
    held = counted(resolved.holders[role], role, resolved.view)
    if request.recipient.held or not held.held:
        return None
    nothing = tuple(replace(section, sender_withheld=True) for section in request.sections)
    return decide(replace(request, recipient=held, sections=nothing), resolved.view, rules)


def own_party(sender: SeatRow) -> Party:
    """The discloser's own seat as `decide` sees it."""
    return Party(
        role=sender.role,
        authority=authority_of(sender.unit),
        unit=sender.unit,
        member=sender.member,
        active=sender.active,
        held=True,
    )


def _ask(resolved: Resolved, section: RoutedSection, wrap: Wrap | None) -> SectionAsk:
    return SectionAsk(
        category=section.category,
        persons=section.persons,
        public_interest_released=section.public_interest_released,
        sender_withheld=wrap is None or section.digest not in _wrapped_digests(resolved, wrap),
        data_from_us=section.data_from_us,
        data_until_us=section.data_until_us,
    )


def _wrapped_digests(resolved: Resolved, wrap: Wrap) -> set[bytes]:
    digests = resolved.waiting.record.submission.digests
    return {digests[32 * key.index : 32 * key.index + 32] for key in wrap.keys}
