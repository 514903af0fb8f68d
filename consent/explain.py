"""Why a decision came out as it did: every record of the ledger looked at, and sentences in Swedish and English.

For the discloser's own auditors; a sender is told less (`schemas.codes.shown_to_sender`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from consent import standing
from consent.decide import bites_from, block_meets, concerned, grant_bits, section_bits
from consent.ledger import LedgerView
from consent.records import Block, Grant
from consent.rules import Rules, shipped
from consent.terms import Decision, DecisionRequest, Party, SectionAsk, SectionDecision
from schemas.codes import words
from schemas.identifiers import shown


class Considered(NamedTuple):
    """One record looked at for one section, the section in place `place` of the request.

    `kind`: a word of list `record`; `effect`: a word of list `effect`, or None for a grant that does not cover;
    `why_not`: reason codes of such a grant; `follows`: it covers because it followed the role to another holder.
    """

    category: str
    consent_id: bytes
    kind: str
    effect: str | None
    why_not: tuple[str, ...]
    follows: bool = False
    place: int = 0


def considered(
    decision: Decision, request: DecisionRequest, view: LedgerView, rules: Rules | None = None
) -> tuple[Considered, ...]:
    """Every grant, block and note of the view for every section of the request, in ledger order.

    Of an amended consent the terms that stand at the moment asked about. `rules` are those of the decision; without
    them the shipped ones, and whether the type goes to a unit without a seat is read from the recipient.
    """
    to_unit, judging = _to_unit(request, rules), rules or shipped()[1]
    standing_now = [
        (grant, grant_bits(grant, request, to_unit, judging)) for grant in view.grants if grant.stands(request.at_us)
    ]
    found: list[Considered] = []
    for place, (ask, section) in enumerate(zip(request.sections, decision.sections, strict=True)):
        people = frozenset(concerned(ask))
        found += [
            _grant(grant, bits | section_bits(grant, request, ask), request.recipient, people, section, place)
            for grant, bits in standing_now
        ]
        for block in view.blocks:
            effect = _block(block, request, ask)
            found.append(Considered(ask.category, block.consent_id, "BLOCK", effect, (), place=place))
        found += [
            Considered(ask.category, noted.consent_id, noted.kind, "RECORDED", (), place=place) for noted in view.noted
        ]
    return tuple(found)


def _grant(
    grant: Grant, bits: int, recipient: Party, people: frozenset[int], section: SectionDecision, place: int
) -> Considered:
    used = grant.consent_id in section.grants
    why_not = standing.reasons(bits)
    if grant.about.isdisjoint(people):
        why_not = ("OTHER_SUBJECT_NO_CONSENT", *why_not)
    effect = "USED" if used else None if why_not else "COVERS" if people <= grant.about else "COVERS_SOME"
    follows = effect is not None and _followed(grant, recipient)
    return Considered(section.category, grant.consent_id, "GRANT", effect, () if used else why_not, follows, place)


def _block(block: Block, request: DecisionRequest, ask: SectionAsk) -> str:
    if not block_meets(block, request, ask):
        return "BLOCK_OTHER"
    if not block.holds(request.at_us):
        return "BLOCK_LIFTED"
    return "BLOCKS" if bites_from(block, request, ask.category) == request.at_us else "LIFTED_FOR_NOW"


def sentences(
    decision: Decision, request: DecisionRequest, view: LedgerView, language: str = "en", rules: Rules | None = None
) -> tuple[str, ...]:
    """The decision in words, `sv` or `en`: the outcome, then each section with its reasons and every record looked at.

    With `rules`, a section that is not released also names the row of the domain page that speaks about it.
    """
    return worded(decision, request, considered(decision, request, view, rules), language, rules, broken=view.broken)


def worded(
    decision: Decision,
    request: DecisionRequest,
    records: Sequence[Considered],
    language: str = "en",
    rules: Rules | None = None,
    *,
    broken: bool = False,
) -> tuple[str, ...]:
    """As `sentences`, of records that somebody else looked at; `broken`: the ledger cannot be read."""
    told = [f"{words('role', request.recipient.role, language)}: {words('outcome', decision.outcome, language)}."]
    for place, section in enumerate(decision.sections):
        told.append(_section(section, language, _row(request, section, rules)))
        told += [_record(one, language) for one in records if one.place == place]
    if decision.obligations:
        duties = "; ".join(f"{words('obligation', code, language)} ({code})" for code in decision.obligations)
        told.append(f"{words('record', 'DUTIES', language)}: {duties}.")
    if broken:
        told.append(f"{words('record', 'LEDGER', language)}: {words('reason', 'EVALUATION_ERROR', language)}.")
    return tuple(told)


def _section(section: SectionDecision, language: str, row: str) -> str:
    # A withheld section has reasons, not an outcome of its own: their words say whose the refusal is.
    told = "; ".join(f"{words('reason', reason, language)} ({reason})" for reason in section.reasons)
    if section.released:
        told = words("outcome", "RELEASED", language)
    return f"{section.category} {words('category', section.category, language)}: {told}{row}."


def _record(one: Considered, language: str) -> str:
    if one.effect is not None:
        told = words("effect", one.effect, language)
        if one.follows:
            told += "; " + words("effect", "FOLLOWS", language)
    else:
        told = "; ".join(words("reason", reason, language) for reason in one.why_not)
    return f"{one.category}, {words('record', one.kind, language)} {shown(one.consent_id)}: {told}."


def _followed(grant: Grant, recipient: Party) -> bool:
    """Whether a grant covers a recipient only because it follows its role."""
    named = recipient.unit in grant.units or (recipient.role, recipient.member) in grant.holders
    return recipient.role in grant.followed and not named


def _row(request: DecisionRequest, section: SectionDecision, rules: Rules | None) -> str:
    if rules is None or section.released:
        return ""
    return f" [{rules.row(request.event_type, request.sender.role, request.recipient.role, section.category)}]"


def _to_unit(request: DecisionRequest, rules: Rules | None) -> bool:
    if rules is None:
        return request.recipient.member is None and request.recipient.unit is not None
    return rules.lane(request.event_type, request.sender.role, request.recipient.role).to_unit
