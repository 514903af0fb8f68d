"""What was said outside the broker: the seat's own signed word, and the decision about it computed again."""

from __future__ import annotations

from collections.abc import Sequence

from audit.anchors import holds
from audit.report import Report
from audit.verify_keys import Opened, Speaker
from audit.verify_replay import Decided, Ledger, check_decision
from audit.verify_rulesets import RuleSets
from schemas import codes
from schemas.errors import HandslagError
from schemas.said import SPOKEN, SpokenDisclosure
from schemas.trail import Payload


def is_said(payload: Payload) -> bool:
    """Whether a DISCLOSURE is about something that was said and never handed over."""
    return payload.event_type == SPOKEN


def check_said_signed(ones: Sequence[Opened], speaker: Speaker, report: Report) -> None:
    """Check that the seat signed what each entry says it said."""
    # INVARIANT: test_a_recording_that_the_seat_did_not_sign_is_named
    for one in ones:
        try:
            part = _wrong(one, speaker)
        except HandslagError:
            part = "form"
        if part is not None:
            report.add(one.finding("said", part))
        report.signatures += 1


def check_said_decided(ones: Sequence[Opened], ledger: Ledger, sets: RuleSets, report: Report) -> None:
    """Compute each decision again, on the ledger as far as the entry says it looked, by the rules of its unit."""
    for one in ones:
        rules = sets.known.get(one.payload.rules_hash or b"")
        if rules is None:
            report.leave_open(["rules"])
            continue
        wrong = check_decision(Decided(one.entry, one.payload), ledger, rules)
        if wrong is not None:
            report.add(one.finding("decision", wrong))
        if sets.wrong(one):
            report.add(one.finding("rules", "effective"))
        report.decided += 1


def _wrong(one: Opened, speaker: Speaker) -> str | None:
    payload = one.payload
    said = SpokenDisclosure.from_bytes(payload.act or b"")
    if said.member != speaker.member:
        return "member"
    if speaker.case_tag is not None and said.case_tag != speaker.case_tag:
        return "case"
    if not holds(speaker.key, payload.act_signature or b"", payload.act or b""):
        return "signature"
    told = (
        payload.event_id,
        payload.purpose,
        tuple(section.category for section in payload.sections),
        payload.action,
        payload.decided_at_us,
        payload.actor_ref,
    )
    action = codes.table()["manner"].get(said.manner, {}).get("action")
    at_us = min(said.said_at_us, one.entry.at_us)
    if told != (said.disclosure_id, said.purpose, said.categories, action, at_us, said.actor_ref):
        return "content"
    if payload.counter_role not in said.roles:
        return "role"
    stated = {section.category for section in payload.sections if section.public_interest_released}
    return None if stated == set(said.public_interest_released) & set(said.categories) else "release"
