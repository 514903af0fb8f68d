"""Why a decision came out as it did: every record of the ledger looked at, and sentences in Swedish and English.

For the discloser's own auditors; a sender is told less (`schemas.codes.shown_to_sender`).
"""

from __future__ import annotations

from typing import NamedTuple

from consent import standing
from consent.decide import block_meets, category_bits, grant_bits
from consent.ledger import LedgerView
from consent.records import Grant
from consent.rules import Rules
from consent.terms import Decision, DecisionRequest, Party, SectionDecision
from schemas.codes import words
from schemas.identifiers import shown


class Considered(NamedTuple):
    """One record looked at for one category.

    `kind`: GRANT or BLOCK; `effect`: a word of list `effect`, or None for a grant that does not cover; `why_not`:
    reason codes of such a grant; `follows`: it covers because it followed the role to another holder.
    """

    category: str
    consent_id: bytes
    kind: str
    effect: str | None
    why_not: tuple[str, ...]
    follows: bool = False


def considered(
    decision: Decision, request: DecisionRequest, view: LedgerView, rules: Rules | None = None
) -> tuple[Considered, ...]:
    """Every grant and block of the view for every section of the request, in ledger order.

    `rules` tell whether the type goes to a unit without a seat; without them that is read from the recipient.
    """
    to_unit = _to_unit(request, rules)
    found: list[Considered] = []
    for section in decision.sections:
        for grant in view.grants:
            bits = grant_bits(grant, request, to_unit) | category_bits(grant, request, section.category)
            used = grant.consent_id in section.grants
            effect = "USED" if used else None if bits else "COVERS"
            why_not = () if used else standing.reasons(bits)
            follows = effect is not None and _followed(grant, request.recipient)
            found.append(Considered(section.category, grant.consent_id, "GRANT", effect, why_not, follows))
        for block in view.blocks:
            effect = "BLOCK_OTHER"
            if block_meets(block, request, section.category):
                effect = "BLOCKS" if block.from_us <= request.at_us <= block.until_us else "BLOCK_LIFTED"
            found.append(Considered(section.category, block.consent_id, "BLOCK", effect, ()))
    return tuple(found)


def sentences(
    decision: Decision, request: DecisionRequest, view: LedgerView, language: str = "en", rules: Rules | None = None
) -> tuple[str, ...]:
    """The decision in words, `sv` or `en`: the outcome, then each section with its reasons and every record looked at.

    With `rules`, a section that is not released also names the row of the domain page that speaks about it.
    """
    records = considered(decision, request, view, rules)
    told = [f"{words('role', request.recipient.role, language)}: {words('outcome', decision.outcome, language)}."]
    for section in decision.sections:
        told.append(_section(section, language, _row(request, section, rules)))
        told += [_record(one, language) for one in records if one.category == section.category]
    if view.broken:
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
