"""Disclosures without consent: who signed, the question asked again, and that each hand-over rests on one of them.

A basis of its own. A hand-over of what was disclosed with support in law rests on a STATUTORY_DISCLOSURE that was
recorded before it and released exactly that; consents are not looked at, and one that a hand-over of this kind cites
is a finding. One decided in acute danger is followed within 24 hours by a second person's word, or by the entry that
says that nobody spoke.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from audit.anchors import Anchors, holds
from audit.report import Report
from audit.verify_keys import Opened, Speaker
from audit.verify_rulesets import RuleSets
from consent import provisions
from consent.rules import Rules
from consent.statute import CONFIRM_WITHIN_US, approved_of, asked_of, check, forbidden
from consent.terms import Party
from schemas import codec, codes, limits
from schemas.checks import digest_table
from schemas.codes import Outcome
from schemas.envelope import Core, EventStatement, RoutingItem
from schemas.errors import HandslagError
from schemas.statute import (
    BASIS,
    OPERATION,
    TYPE,
    ProvisionApproval,
    SecondRequest,
    SecondWord,
    SignedDisclosure,
    StatutoryDisclosure,
)
from schemas.trail import Evidence, Payload

UNSPOKEN = "HS-STATUTE-UNCONFIRMED"
_SLACK_US = 10 * 60 * 1_000_000  # deadlines are looked at each second; a broker that was away looks when it is back


def is_statutory(payload: Payload) -> bool:
    """Whether a hand-over claims to rest on a law: by its kind or by its basis."""
    return payload.event_type == TYPE or payload.basis == BASIS


def check_statutes(
    decided: Sequence[Opened],
    handed: Sequence[Opened],
    speaker: Speaker | None,
    anchors: Anchors,
    sets: RuleSets,
    report: Report,
) -> None:
    """Check the STATUTORY_DISCLOSURE entries of one seat and the hand-overs that rest on them."""
    made: list[tuple[Opened, StatutoryDisclosure]] = []
    words: dict[bytes, list[Opened]] = {}
    for one in decided:
        if one.payload.code is not None:
            words.setdefault(one.payload.event_id or b"", []).append(one)
            continue
        try:
            part, told = _wrong(one, speaker, anchors, sets.known, report)
        except HandslagError:
            part, told = "form", None
        if part is not None:
            report.add(one.finding("statute", part))
        if told is not None:
            made.append((one, told))
        if sets.wrong(one):
            report.add(one.finding("rules", "effective"))
        report.signatures += 1
    newest = max((one.entry.at_us for one in [*decided, *handed]), default=0)
    after = [(one, _unfounded(one, made) or _closed(one, sets)) for one in handed]
    for one, told in made:
        after.append((one, _followed(one, told, words.get(one.payload.event_id or b"", []), speaker, newest)))
    for one, part in after:
        if part is not None:
            report.add(one.finding("statute", part))


def _followed(
    one: Opened, told: StatutoryDisclosure, words: Sequence[Opened], speaker: Speaker | None, newest: int
) -> str | None:
    try:
        return _unconfirmed(one, told, words, speaker, newest)
    except HandslagError:
        return "form"


def _wrong(
    one: Opened, speaker: Speaker | None, anchors: Anchors, released: Mapping[bytes, Rules], report: Report
) -> tuple[str | None, StatutoryDisclosure]:
    """The first thing that does not hold of one entry, and the statement."""
    # INVARIANT: test_a_statutory_disclosure_that_does_not_hold_is_named
    signed = SignedDisclosure.from_bytes(one.payload.act or b"")
    told = StatutoryDisclosure.from_bytes(signed.statement)
    word = None if signed.second is None else SecondWord.from_bytes(signed.second)
    wrong = (
        _signatures(one, signed, told, word, speaker, anchors, report)
        or _bound(one, signed, told, word, speaker)
        or _decided(one, signed, told, word, released, report)
    )
    return wrong, told


def _signatures(
    one: Opened,
    signed: SignedDisclosure,
    told: StatutoryDisclosure,
    word: SecondWord | None,
    speaker: Speaker | None,
    anchors: Anchors,
    report: Report,
) -> str | None:
    """Seat, decider, second person and agency; the unit's is looked at where its key is known."""
    approval = ProvisionApproval.from_bytes(signed.approval)
    if not holds(told.decider_key, signed.decider_signature, signed.statement):
        return "decider"
    if word is not None and not holds(word.key, signed.second_signature or b"", signed.second or b""):
        return "second"
    if speaker is not None:
        mine = [(signed.seat_signature, signed.statement), *_by_seat(signed)]
        if not all(speaker.signed(signature, data, one.number) for signature, data in mine):
            return "signature"
    if anchors.agencies is None or approval.agency not in anchors.agencies:
        report.leave_open(["units"])
    elif not holds(anchors.agencies[approval.agency], signed.approval_signature, signed.approval):
        return "approval"
    unit = next((u for u, entries in anchors.units.items() if any(e.agency == approval.agency and
                 e.controller == one.entry.owner for e in entries) and
                 anchors.unit_signed(u, one.entry.owner, signed.unit_signature, signed.statement)), None)  # fmt: skip
    if unit is None and anchors.units:
        return "unit-signature"
    return None


def _by_seat(signed: SignedDisclosure) -> list[tuple[bytes, bytes]]:
    return [] if signed.second is None else [(signed.second_seat_signature or b"", signed.second)]


def _bound(
    one: Opened,
    signed: SignedDisclosure,
    told: StatutoryDisclosure,
    word: SecondWord | None,
    speaker: Speaker | None,
) -> str | None:
    """Statement, word, approval and sealed event are about each other, and the entry says what they say."""
    payload, evidence = one.payload, one.payload.evidence
    if evidence is None or (part := _sealed(evidence, signed, told)) is not None:
        return "evidence" if evidence is None else part
    core, routing = Core.from_bytes(evidence.core), RoutingItem.from_bytes(evidence.routing_item)
    if speaker is not None and not speaker.signed(evidence.seat_signature, _event(evidence)):
        return "event-signature"
    if speaker is not None and told.member != speaker.member:
        return "member"
    if speaker is not None and speaker.case_tag is not None and told.case_tag != speaker.case_tag:
        return "case"
    if word is not None and word.disclosure_hash != sha256(signed.statement).digest():
        return "second"
    if word is not None and not told.decided_at_us <= word.at_us <= one.entry.at_us + limits.SENT_AHEAD_US:
        return "second"
    recorded = (payload.event_id, payload.event_type, payload.basis, payload.counter_role, payload.purpose)
    if recorded != (core.event_id, TYPE, BASIS, told.role, told.purpose) or core.purpose != told.purpose:
        return "content"
    if (routing.basis, routing.seat_id, core.event_type) != (BASIS, payload.seat_id, TYPE):
        return "content"
    same = sorted(section.category for section in routing.sections) == sorted(told.categories)
    ours = tuple(section.category for section in payload.sections) == told.categories
    by_consent = any(section.grants for section in payload.sections)
    return None if same and ours and not by_consent else "sections"


def _sealed(evidence: Evidence, signed: SignedDisclosure, told: StatutoryDisclosure) -> str | None:
    if evidence.bundle != signed.statement:
        return "statement"
    if (sha256(evidence.core).digest(), sha256(evidence.digests).digest()) != (told.core_hash, told.digests_hash):
        return "event"
    if (evidence.core_hash, evidence.digests_hash) != (told.core_hash, told.digests_hash):
        return "event"
    if sha256(signed.approval).digest() != told.approval_hash:
        return "approval"
    return None if sha256(evidence.routing_item).digest() in digest_table(evidence.digests) else "routing"


def _event(evidence: Evidence) -> bytes:
    return EventStatement(core_hash=evidence.core_hash, digests_hash=evidence.digests_hash).to_bytes()


def _decided(
    one: Opened,
    signed: SignedDisclosure,
    told: StatutoryDisclosure,
    word: SecondWord | None,
    released: Mapping[bytes, Rules],
    report: Report,
) -> str | None:
    """Ask again, on the list and the rules of that day; outcome and reasons come out as recorded."""
    registry = provisions.released().get(told.provisions_hash)
    rules = released.get(one.payload.rules_hash or b"")
    if registry is None or rules is None:
        report.leave_open(["rules"])
        return None
    asked = asked_of(told, word, _sender(one), _recipient(one.payload))
    again = check(asked, registry, approved_of(ProvisionApproval.from_bytes(signed.approval)), rules)
    report.decided += 1
    if again.outcome != one.entry.outcome:
        return "outcome"
    found = [(section.released, section.reasons) for section in again.sections]
    return None if found == [(s.released, s.reasons) for s in one.payload.sections] else "reasons"


def _sender(one: Opened) -> Party:
    reasons = {reason for section in one.payload.sections for reason in section.reasons}
    role = one.payload.role or ""
    return Party(role, _authority(role), None, None, active="SENDER_INACTIVE" not in reasons, held=True)


def _recipient(payload: Payload) -> Party:
    role, held = payload.counter_role or "", payload.counter_state != "NONE"
    authority = _authority(role) if held else ""
    return Party(role, authority, None, payload.counter_member, active=held, held=held)


def _authority(role: str) -> str:
    return str(codes.table()["role"].get(role, {"authority": ""})["authority"])


def _unfounded(one: Opened, made: Sequence[tuple[Opened, StatutoryDisclosure]]) -> str | None:
    """What speaks against a hand-over: no decision before it that released just this, or a consent beside it."""
    # INVARIANT: test_a_hand_over_on_a_law_that_nobody_decided_is_named
    payload = one.payload
    if (payload.event_type, payload.basis) != (TYPE, BASIS):
        return "basis"
    if any(section.grants for section in payload.sections):
        return "grants"
    for decided, told in made:
        before = decided.number < one.number and decided.entry.outcome == Outcome.RELEASED
        if before and (decided.payload.event_id, told.role) == (payload.event_id, payload.counter_role):
            given = {section.category for section in payload.sections}
            return None if given == set(told.categories) else "sections"
    return "decision"


def _closed(one: Opened, sets: RuleSets) -> str | None:
    """Whether the rules that stood when it was handed over, those of any unit of its controller, forbid it."""
    # INVARIANT: test_a_hand_over_on_a_law_after_a_closing_is_named
    now = sets.at(one.number, one.entry.owner) if sets.changed else []
    role, payload = one.payload.role or "", one.payload
    sender = Party(role, _authority(role), None, None, active=True, held=True)
    given = [(section.category, section.public_interest_released) for section in payload.sections]
    return "rules" if now and all(forbidden(sender, _recipient(payload), given, each) for each in now) else None


def _unconfirmed(
    one: Opened, told: StatutoryDisclosure, words: Sequence[Opened], speaker: Speaker | None, newest: int
) -> str | None:
    """What is missing after a disclosure in acute danger: a second person's word, or the entry that none came."""
    # INVARIANT: test_an_unconfirmed_night_that_nobody_was_told_of_is_named
    signed = SignedDisclosure.from_bytes(one.payload.act or b"")
    if signed.second is not None or one.entry.outcome != Outcome.RELEASED:
        return None
    for word in words:
        silent = word.payload.act is None and word.payload.code == UNSPOKEN
        if not silent and not _spoken(word, told, signed, speaker):
            return "confirmation"
    # Late is not never: a broker that was away says so when it is back, and the entry's time shows how late.
    return None if words or newest <= one.entry.at_us + CONFIRM_WITHIN_US + _SLACK_US else "unconfirmed"


def _spoken(word: Opened, told: StatutoryDisclosure, signed: SignedDisclosure, speaker: Speaker | None) -> bool:
    """Whether another person than the decider said that of this very disclosure."""
    if word.payload.act is None or codec.name_of(word.payload.act) != SecondRequest.SCHEMA:
        return False
    request = SecondRequest.from_bytes(word.payload.act)
    second = SecondWord.from_bytes(request.second)
    by_seat = speaker is None or speaker.signed(request.seat_signature, request.second, word.number)
    other = second.key != told.decider_key and second.ref != told.decider_ref
    about = second.disclosure_hash == sha256(signed.statement).digest() and second.verdict == word.payload.code
    since_us = told.decided_at_us - 2 * limits.SENT_AHEAD_US  # the broker compares with its own clock, both may be off
    dated = since_us <= second.at_us <= word.entry.at_us + limits.SENT_AHEAD_US
    return by_seat and other and about and dated and holds(second.key, request.second_signature, request.second)


__all__ = ["OPERATION", "check_statutes", "is_statutory"]
