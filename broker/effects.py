"""What a decided submission leaves behind: deliveries, sections, receipts and audit entries, prepared before BEGIN."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from audit.entry import SealedEntry
from broker.context import Context
from broker.judge import Judged
from broker.pace import paced
from broker.resolve import Resolved, Waiting
from broker.store.cases import SeatRow
from broker.store.deliveries import DeliveryRow, SectionRow
from broker.store.inbox import Item
from broker.store.port import Rows
from broker.store.ready import Ready, readied
from broker.store.sealing import Sealing
from consent.terms import Decision, DecisionRequest, SectionDecision
from schemas.codes import DeliveryState, reason_kind, shown_to_sender
from schemas.envelope import Delivery, RecipientItem, RoutedSection
from schemas.event_types import carried_type
from schemas.identifiers import ZERO16, ZERO32
from schemas.inbox import Notice, Receipt, RoleOutcome, SectionOutcome
from schemas.trail import DecidedSection, Evidence, Payload

# A section whose digest is live already keeps its first delivery; the receipt says released again.


@dataclass(slots=True)
class Effects:
    """Rows of one batch, written in one transaction or not at all."""

    remembered: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)
    attempts: list[tuple[bytes, int, bytes, bytes]] = field(default_factory=list)
    deliveries: list[DeliveryRow | Ready[DeliveryRow]] = field(default_factory=list)
    sections: list[SectionRow | Ready[SectionRow]] = field(default_factory=list)
    items: list[Item | Ready[Item]] = field(default_factory=list)
    entries: list[SealedEntry | Ready[SealedEntry]] = field(default_factory=list)

    def sealed(self, by: Sealing) -> Effects:
        """The same rows with their columns sealed, so that a transaction has only to insert them."""
        # INVARIANT: test_nothing_is_sealed_between_begin_and_commit
        return replace(
            self,
            deliveries=[*readied(self.deliveries, by.delivery)],
            sections=[*readied(self.sections, by.section)],
            items=[*readied(self.items, by.item)],
            entries=[*readied(self.entries, by.entry)],
        )

    def write(self, rows: Rows) -> None:
        """Write everything; the gate was the first statement of this transaction."""
        rows.events.remember(self.remembered)
        rows.events.record_attempts(self.attempts)
        rows.deliveries.insert(self.deliveries, self.sections)
        rows.entries.insert(self.entries)
        rows.inbox.put(self.items)


async def prepare(context: Context, decided: Sequence[tuple[Resolved, Sequence[Judged]]], at_us: int) -> Effects:
    """The effects of a batch from its decisions."""
    effects = Effects()
    async for resolved, judged in paced(decided):
        if resolved.repeat is not None:
            effects.items.append(_receipt_item(context, resolved.waiting, resolved.repeat))
        elif resolved.refused is not None or resolved.sender is None:
            refuse(context, effects, resolved.waiting, resolved.sender, resolved.refused or "HS-SEAT-UNKNOWN", at_us)
        elif not context.recorder.keeps(resolved.sender.seat_id):
            # INVARIANT: test_what_an_erased_seat_sends_late_stops_nobody
            refuse(context, effects, resolved.waiting, None, "HS-SEAT-UNKNOWN", at_us)
        else:
            _decided(context, effects, resolved, resolved.sender, judged, at_us)
    return effects


def refuse(context: Context, effects: Effects, waiting: Waiting, sender: SeatRow | None, code: str, at_us: int) -> None:
    """A submission that is not decided: its REFUSAL entry and a receipt with the code."""
    own = sender if sender is not None and sender.unit == waiting.record.unit else None
    controller = context.directory.controller(waiting.record.unit)
    payload = Payload(
        seat_id=own.seat_id if own else None,
        event_id=waiting.core.event_id,
        attempt=waiting.attempt.attempt,
        decided_at_us=at_us,
        code=code,
        evidence=_evidence(waiting),
    )
    if own:
        entry = context.recorder.about_seat(own, controller, "REFUSAL", payload, at_us)
    else:
        entry = context.recorder.about_unit(waiting.record.unit, controller, "REFUSAL", payload, at_us)
    receipt = Receipt(
        seat_id=waiting.routing.seat_id,
        event_id=waiting.core.event_id,
        attempt=waiting.attempt.attempt,
        decided_at_us=at_us,
        refused_code=code,
        roles=(),
        ledger_seq=own.ledger_seq if own else 0,
        entry_id=entry.entry_id,
        leaf_hash=entry.leaf_hash,
    ).to_bytes()
    effects.entries.append(entry)
    effects.items.append(_receipt_item(context, waiting, receipt))
    context.metrics.refused(code)


def _decided(
    context: Context, effects: Effects, resolved: Resolved, sender: SeatRow, judged: Sequence[Judged], at_us: int
) -> None:
    waiting = resolved.waiting
    outcomes = []
    for one in judged:
        entry = decision_entry(context, resolved, sender, one, at_us)
        effects.entries.append(entry)
        outcomes.append(role_outcome(resolved, one, entry))
        context.metrics.decided(one.decision.outcome, probe=context.directory.is_probe(sender.unit))
        if one.holder is not None and one.wrap is not None:
            _deliver(context, effects, resolved, sender, one, one.holder, at_us)
    receipt = Receipt(
        seat_id=sender.seat_id,
        event_id=waiting.core.event_id,
        attempt=waiting.attempt.attempt,
        decided_at_us=at_us,
        roles=tuple(outcomes),
        ledger_seq=resolved.view.ledger_seq,
        entry_id=outcomes[0].entry_id,
        leaf_hash=outcomes[0].leaf_hash,
    ).to_bytes()
    effects.items.append(_receipt_item(context, waiting, receipt))
    effects.attempts.append((waiting.core.event_id, waiting.attempt.attempt, waiting.attempt_hash, receipt))
    if resolved.first_time:
        effects.remembered.append((waiting.core.event_id, sender.seat_id, waiting.fingerprint))


def decision_entry(context: Context, resolved: Resolved, sender: SeatRow, one: Judged, at_us: int) -> SealedEntry:
    """The DECISION entry for one role: request, every section with all reasons, and the bundle evidence."""
    waiting, request, decision = resolved.waiting, one.request, one.decision
    payload = Payload(
        seat_id=sender.seat_id,
        role=sender.role,
        counter_role=one.role,
        counter_member=request.recipient.member,
        counter_unit=request.recipient.unit,
        counter_state="ACTIVE" if request.recipient.active else ("NONE" if not request.recipient.held else "CLOSED"),
        event_id=waiting.core.event_id,
        event_type=request.event_type,
        attempt=waiting.attempt.attempt,
        purpose=request.purpose,
        action=request.action,
        basis=waiting.routing.basis,
        sections=_decided_sections(request, decision),
        rules_hash=resolved.rules.hash32,
        ledger_seq=resolved.view.ledger_seq,
        decided_at_us=request.at_us,
        evidence=_evidence(waiting),
    )
    return context.recorder.about_seat(
        sender,
        context.directory.controller(sender.unit),
        "DECISION",
        payload,
        at_us,
        outcome=decision.outcome,
        reason_class=reason_class(decision.sections),
    )


def reason_class(sections: Sequence[SectionDecision]) -> str | None:
    """RULE, PERSON or HUMAN of what was not released, the one that needs most; None when all was released."""
    kinds = {reason_kind(reason) for section in sections if not section.released for reason in section.reasons}
    return next((kind for kind in ("HUMAN", "PERSON", "RULE") if kind in kinds), None)


def _decided_sections(request: DecisionRequest, decision: Decision) -> tuple[DecidedSection, ...]:
    return tuple(
        DecidedSection(
            category=ask.category,
            persons=ask.persons,
            released=section.released,
            reasons=section.reasons,
            grants=section.grants,
            public_interest_released=ask.public_interest_released,
            sender_withheld=ask.sender_withheld,
            data_from_us=ask.data_from_us,
            data_until_us=ask.data_until_us,
        )
        for ask, section in zip(request.sections, decision.sections, strict=True)
    )


def role_outcome(resolved: Resolved, one: Judged, entry: SealedEntry) -> RoleOutcome:
    """What the sender is told for one role: codes it may see, and the entry that proves it."""
    seat_id = one.holder.seat_id if one.holder else ZERO16
    told = one.decision if one.told is None else one.told
    return RoleOutcome(
        role=one.role,
        outcome=told.outcome,
        sections=tuple(
            SectionOutcome(
                category=answer.category,
                released=answer.released,
                carried_by=resolved.live.get((seat_id, section.digest)) if answer.released else None,
                reasons=shown_to_sender(answer.reasons),
            )
            for section, answer in zip(resolved.waiting.routing.sections, told.sections, strict=True)
        ),
        obligations=told.obligations,
        entry_id=entry.entry_id,
        leaf_hash=entry.leaf_hash,
    )


def _deliver(
    context: Context,
    effects: Effects,
    resolved: Resolved,
    sender: SeatRow,
    one: Judged,
    holder: SeatRow,
    at_us: int,
) -> None:
    """PENDING delivery of the released sections that this seat was not given before."""
    routed = resolved.waiting.routing.sections
    given = [
        (section, answer)
        for section, answer in zip(routed, one.decision.sections, strict=True)
        if answer.released and (holder.seat_id, section.digest) not in resolved.live
    ]
    if not given:
        return
    # INVARIANT: test_what_was_sent_first_is_handed_over_first, a hand-over goes by the order of these
    delivery_id = context.new_id(at_us)
    row = delivery_row(resolved.waiting, sender, one, delivery_id, holder.unit, holder.seat_id, at_us)
    sections = section_rows(resolved.waiting, one, delivery_id, holder.seat_id, given)
    if one.reseal:
        # INVARIANT: test_a_wrap_to_a_key_that_is_gone_is_not_handed_over
        row = replace(row, state=DeliveryState.RESEAL.value, body=None)
        sections = [replace(section, live=False, item=None, wrapped_key=None) for section in sections]
        effects.items.append(reseal_item(context, row, sections, at_us))
    effects.deliveries.append(row)
    effects.sections.extend(sections)


def reseal_item(context: Context, row: DeliveryRow, sections: Iterable[SectionRow], at_us: int) -> Item:
    """The notice to a sender that a delivery must be sealed anew, to another key."""
    notice = Notice(
        seat_id=row.sender_seat,
        code="delivery_reseal",
        event_id=row.event_id,
        attempt=row.attempt,
        role=row.role,
        categories=tuple(sorted(section.category for section in sections)),
        detail=row.state,
        at_us=at_us,
    )
    return Item(context.new_id(), row.sender_unit, "NOTICE", notice.to_bytes())


def delivery_row(
    waiting: Waiting,
    sender: SeatRow,
    one: Judged,
    delivery_id: bytes,
    unit: str,
    seat_id: bytes | None,
    at_us: int,
    invitation_id: bytes | None = None,
) -> DeliveryRow:
    """The row of a new delivery; its bounds are columns, so that the hand-over decides on the row alone."""
    assert one.wrap is not None
    assert one.decision.holds_until_us is not None
    submission = waiting.record.submission
    deadline = waiting.attempt.deadline_at_us or at_us + carried_type(waiting.core.event_type).deadline_us
    own_item = next(raw for raw, role in _recipient_items(waiting) if role == one.role)
    body = Delivery(
        delivery_id=delivery_id,
        hand_number=0,
        seat_id=seat_id or ZERO16,
        core=submission.core,
        digests=submission.digests,
        seat_signature=submission.seat_signature,
        recipient_item=own_item,
        sections=(),
        seat_key_id=one.wrap.seat_key_id,
        enc=one.wrap.enc,
        obligations=one.decision.obligations,
        deadline_at_us=deadline,
        valid_until_us=waiting.valid_until_us,
        entry_id=ZERO16,
        leaf_hash=ZERO32,
    )
    return DeliveryRow(
        delivery_id=delivery_id,
        bucket=sender.bucket,
        case_id=sender.case_id,
        event_id=waiting.core.event_id,
        event_type=waiting.core.event_type,
        purpose=waiting.core.purpose,
        action=waiting.core.action,
        attempt=waiting.attempt.attempt,
        sender_seat=sender.seat_id,
        sender_unit=sender.unit,
        recipient_seat=seat_id,
        recipient_unit=unit,
        role=one.role,
        invitation_id=invitation_id,
        state=DeliveryState.PENDING.value,
        hand_number=0,
        row_version=0,
        lease_until_us=0,
        holds_until_us=one.decision.holds_until_us,
        valid_until_us=waiting.valid_until_us,
        deadline_at_us=deadline,
        held=False,
        overdue_told=False,
        decided_at_us=at_us,
        body=body.to_bytes(),
    )


def section_rows(
    waiting: Waiting,
    one: Judged,
    delivery_id: bytes,
    seat_id: bytes,
    given: Sequence[tuple[RoutedSection, SectionDecision]],
) -> list[SectionRow]:
    """One row per released section with its wrapped key; nothing of the others."""
    assert one.wrap is not None
    submission = waiting.record.submission
    items = {sha256(raw).digest(): raw for raw in submission.section_items}
    keys = {submission.digests[32 * k.index : 32 * k.index + 32]: k for k in one.wrap.keys}
    return [
        SectionRow(
            delivery_id=delivery_id,
            digest=section.digest,
            event_id=waiting.core.event_id,
            recipient_seat=seat_id,
            category=section.category,
            persons=",".join(map(str, section.persons)),
            public_interest_released=section.public_interest_released,
            grants=b"".join(answer.grants),
            digest_index=keys[section.digest].index,
            item=items[section.digest],
            wrapped_key=keys[section.digest].wrapped,
            live=True,
            data_from_us=section.data_from_us,
            data_until_us=section.data_until_us,
        )
        for section, answer in given
    ]


def _recipient_items(waiting: Waiting) -> list[tuple[bytes, str]]:

    return [(raw, RecipientItem.from_bytes(raw).role) for raw in waiting.record.submission.recipient_items]


def _evidence(waiting: Waiting) -> Evidence:
    record = waiting.record
    return Evidence(
        core_hash=waiting.fingerprint[:32],
        digests_hash=waiting.fingerprint[32:64],
        seat_signature=record.submission.seat_signature,
        attempt_hash=waiting.attempt_hash,
        bundle=record.bundle,
        unit_signature=record.unit_signature,
        index=record.index,
        path=record.path,
        core=record.submission.core,
        digests=record.submission.digests,
        routing_item=record.submission.routing_item,
    )


def _receipt_item(context: Context, waiting: Waiting, receipt: bytes) -> Item:
    return Item(context.new_id(), waiting.record.unit, "RECEIPT", receipt)
