"""Whether the unit sent what a DECISION or REFUSAL is about: the evidence that the entry carries, link by link.

    fields of the entry  =  core and routing item      what the seat said of itself, hashed into the event
    routing item         in digests                    its SHA-256 is one of them
    core, digests        in the bundle's leaf          with the seat's signature over both, and the attempt record
    leaf                 in the bundle's root          RFC 6962 inclusion path
    root                 under the unit's signature    the unit's key from outside the trail

An invitation is a bundle of its own: the unit signed the `Invitation`, which names both hashes. Not provable: which
sections the sender held back by itself (that lies in the attempt record, of which the trail keeps the hash).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from audit.anchors import Anchors
from audit.merkle import leaf_hash, verify_inclusion
from audit.report import Report
from audit.verify_keys import Opened, Speaker
from schemas import codec, limits
from schemas.checks import digest_table
from schemas.envelope import BundleLeaf, BundleStatement, Core, EventStatement, RoutedSection, RoutingItem
from schemas.errors import HandslagError
from schemas.statements import Invitation
from schemas.trail import DecidedSection, Evidence, Payload


def check_evidence(ones: Sequence[Opened], speaker: Speaker | None, anchors: Anchors, report: Report) -> None:
    """Check the evidence of decided and refused submissions of one seat, or of a unit (`speaker` None).

    When only the trail vouches for the seat's key, one event of it under the unit's signature must bear it.
    """
    # INVARIANT: test_evidence_of_something_else_is_named
    decided, borne = 0, False
    for one in ones:
        evidence = one.payload.evidence
        if evidence is None:
            continue
        try:
            part = _wrong(one, evidence, speaker, anchors, report)
        except HandslagError:
            part = "form"
        if part is not None:
            report.add(one.finding("evidence", part))
        report.evidence += 1
        if speaker is None or one.entry.operation != "DECISION":
            continue
        decided += 1
        if speaker.signed(evidence.seat_signature, _event(evidence)):
            borne = True
        else:
            # A unit may send what its seat did not sign: the broker decides, and every recipient refuses it.
            report.leave_open(["sender-signature"])
    if speaker is None or speaker.proven or borne:
        return
    if decided:
        report.add(next(one for one in ones if one.entry.operation == "DECISION").finding("seat-key", "unproven"))
    else:
        report.leave_open(["seat-key"])


def _event(evidence: Evidence) -> bytes:
    return EventStatement(core_hash=evidence.core_hash, digests_hash=evidence.digests_hash).to_bytes()


def _wrong(one: Opened, evidence: Evidence, speaker: Speaker | None, anchors: Anchors, report: Report) -> str | None:
    """Return the first link that does not hold, or None."""
    if sha256(evidence.core).digest() != evidence.core_hash:
        return "core"
    if sha256(evidence.digests).digest() != evidence.digests_hash:
        return "digests"
    if sha256(evidence.routing_item).digest() not in digest_table(evidence.digests):
        return "routing"
    wrong = _wrong_in_record(one, Core.from_bytes(evidence.core), RoutingItem.from_bytes(evidence.routing_item))
    if wrong is not None:
        return wrong
    if codec.name_of(evidence.bundle) == Invitation.SCHEMA:
        unit, wrong = _invitation(one.payload, evidence, speaker)
    else:
        unit, wrong = _bundle(evidence, report.origin)
    if wrong is not None:
        return wrong
    signed = anchors.unit_signed(unit, one.entry.owner, evidence.unit_signature, evidence.bundle)
    if signed is None:
        report.leave_open(["units"])
    return "unit-signature" if signed is False else None


def _wrong_in_record(one: Opened, core: Core, routing: RoutingItem) -> str | None:
    """Compare what the entry says was asked with what the seat signed."""
    payload = one.payload
    if payload.event_id != core.event_id:
        return "event_id"
    if payload.seat_id is not None and routing.seat_id != payload.seat_id:
        return "seat_id"
    if one.entry.operation != "DECISION":
        return None
    for name in ("event_type", "purpose", "action"):
        if getattr(payload, name) != getattr(core, name):
            return name
    if payload.basis != routing.basis:
        return "basis"
    if list(map(_stated, payload.sections)) != list(map(_stated, routing.sections)):
        return "sections"
    # The broker takes nothing sent further back or ahead than this, and decides after it took it.
    at = payload.decided_at_us or 0
    return None if core.sent_at_us - limits.SENT_AHEAD_US <= at <= core.sent_at_us + _LATEST_US else "decided_at"


def _stated(section: DecidedSection | RoutedSection) -> tuple[object, ...]:
    """What the sender said of a section, as the broker decided on it."""
    period = section.data_from_us, section.data_until_us
    return section.category, section.persons, section.public_interest_released, period


_LATEST_US = limits.SENT_BACK_US + limits.SENT_AHEAD_US


def _bundle(evidence: Evidence, origin: str) -> tuple[str, str | None]:
    """The unit that a bundle names, and what is wrong with the bundle or None."""
    statement = BundleStatement.from_bytes(evidence.bundle)
    leaf = BundleLeaf(
        core_hash=evidence.core_hash,
        digests_hash=evidence.digests_hash,
        seat_signature=evidence.seat_signature,
        attempt_hash=evidence.attempt_hash,
    )
    if statement.origin != origin:
        return statement.unit, "origin"
    try:
        verify_inclusion(
            leaf=leaf_hash(leaf.to_bytes()),
            index=evidence.index,
            size=statement.count,
            proof=evidence.path,
            root_hash=statement.root,
        )
    except HandslagError:
        return statement.unit, "path"
    return statement.unit, None


def _invitation(payload: Payload, evidence: Evidence, speaker: Speaker | None) -> tuple[str, str | None]:
    """The unit that invites, and what is wrong with the invitation or None."""
    told = Invitation.from_bytes(evidence.bundle)
    if (told.core_hash, told.digests_hash) != (evidence.core_hash, evidence.digests_hash):
        return told.inviter_unit, "path"
    if (told.role, told.unit) != (payload.counter_role, payload.counter_unit):
        return told.inviter_unit, "recipient"
    if speaker is not None and (told.inviter, told.case_tag) != (speaker.member, speaker.case_tag):
        return told.inviter_unit, "inviter"
    return told.inviter_unit, None
