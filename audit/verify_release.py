"""Consent before release: every recorded hand-over against the acts that were recorded before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from audit.report import Report
from audit.verify_replay import Ledger, request_of, stranger
from consent.decide import decide
from consent.rules import Rules
from schemas.trail import AuditEntry, Payload


class Disclosed(NamedTuple):
    """An opened DISCLOSURE with the number of its entry."""

    number: int
    entry: AuditEntry
    payload: Payload


def check_release(
    one: Disclosed,
    decision: Payload | None,
    ledger: Ledger,
    released: Mapping[bytes, Rules],
    report: Report,
    now: Sequence[Rules] = (),
) -> str | None:
    """Return what speaks against a recorded hand-over, or None.

    `decision` is the payload of the DECISION that it rests on. The parts: `affected` (an act had stopped it, by
    delivery and hand number), `ledger_seq` (a position that did not exist), `decision` (none was recorded), `consent`
    (the consents in force where the entry lies do not cover it), `rules` (none of the rules `now`, those of the
    controller's units where the entry lies, allows it).
    """
    # INVARIANT: test_a_release_after_a_withdrawal_is_named
    if one.payload.ledger_seq is None or one.payload.ledger_seq > ledger.size:
        return "ledger_seq"
    if _stopped(one, decision, ledger):
        return "affected"
    if decision is None:
        return "decision"
    rules = released.get(decision.rules_hash or b"")
    if rules is None:
        report.leave_open(["rules"])
        return None
    if not _covered(one, decision, ledger, rules, report):
        return "consent"
    # INVARIANT: test_a_release_after_a_closing_is_named
    return "rules" if now and not any(_covered(one, decision, ledger, each, report) for each in now) else None


def _stopped(one: Disclosed, decision: Payload | None, ledger: Ledger) -> bool:
    """Whether an act that names this delivery contradicts this hand-over, by position and hand number alone."""
    most = None if decision is None else sum(section.released for section in decision.sections)
    removed = 0
    hand, seen = one.payload.hand_number or 0, one.payload.ledger_seq or 0
    for seq, (_, _, affected) in ledger.acts.items():
        for hit in affected:
            if hit.delivery_id != one.payload.delivery_id:
                continue
            # Hand-overs up to the counted one came before the act, all later ones after it.
            if (hand <= hit.hand_number) != (seen < seq):
                return True
            if hand > hit.hand_number:
                removed += hit.removed
    return most is not None and len(one.payload.sections) > most - removed


def _covered(one: Disclosed, decision: Payload, ledger: Ledger, rules: Rules, report: Report) -> bool:
    # What the entry says it saw, or more: acts whose entries lie before it were recorded before it.
    view = ledger.view(max(one.payload.ledger_seq or 0, ledger.acts_before(one.number)))
    asked = replace(
        decision,
        sections=one.payload.sections,
        purpose=one.payload.purpose,
        action=one.payload.action,
        counter_member=one.payload.counter_member or decision.counter_member,
    )
    request = request_of(one.entry, asked, ledger, max(one.entry.at_us, view.recorded_at_us))
    if all(section.released for section in decide(request, view, rules).sections):
        return True
    if request.recipient.unit is not None:
        return False
    # A later act may name units, and the recipient's is sealed: it may be one that the act does not mean.
    other = replace(request, recipient=stranger(request.recipient))
    if all(section.released for section in decide(other, view, rules).sections):
        report.leave_open(["recipient-unit"])
        return True
    return False
