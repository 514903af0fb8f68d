"""What an act did to what was released: counted per role, and listed delivery by delivery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from broker.context import Context
from broker.narrowing import Shrunk, asked_of
from broker.store.cases import SeatRow
from broker.store.deliveries import DeliveryRow, SectionRow
from broker.store.gate import Bump
from broker.store.port import Rows
from consent.admission import ANNULLING
from consent.decide import block_meets
from consent.ledger import LedgerView, ends
from consent.records import ALWAYS, FOREVER, Block, Part, Reach, block_of, withdrawal_of
from schemas.acts import ConsentAct, LedgerEvent
from schemas.codes import DeliveryState, consent_acts
from schemas.inbox import AffectedDelivery, RoleCount
from schemas.statute import TYPE as STATUTORY

BLOCK = "BLOCK"
# What takes something from a consent itself; a block forbids beside it.
ENDING = consent_acts("NARROWS") - {BLOCK}


@dataclass(frozen=True, slots=True)
class Write:
    """One act on one seat's ledger, as recorded: the seat, and what its ledger says after it and said before it."""

    seat: SeatRow
    act: ConsentAct
    event: LedgerEvent
    view: LedgerView
    before: LedgerView


def affected(seat_id: bytes, shrunk: Sequence[Shrunk]) -> tuple[AffectedDelivery, ...]:
    """The open deliveries of a discloser's seat that an act took sections from."""
    return tuple(
        AffectedDelivery(
            delivery_id=one.row.delivery_id,
            event_id=one.row.event_id,
            role=one.row.role,
            hand_number=one.row.hand_number,
            removed=len(one.removed),
            state_before=one.row.state,
        )
        for one in shrunk
        if one.row.sender_seat == seat_id
    )


Acked = Sequence[tuple[DeliveryRow, tuple[SectionRow, ...]]]


def rested(rows: Rows, writes: Sequence[Write]) -> Acked:
    """Acknowledged deliveries that rest on what was withdrawn: they stay where they are, and are counted."""
    withdrawn = {w.seat.seat_id: _Taken.by(w) for w in writes if w.act.act in ENDING}
    if not withdrawn:
        return []
    acked = [one for one in rows.deliveries.acked_of_senders(withdrawn) if one[0].event_type != STATUTORY]
    seats = _seats(rows, acked)
    return [(row, sections) for row, sections in acked if withdrawn[row.sender_seat].from_under(row, sections, seats)]


def _seats(rows: Rows, found: Acked) -> dict[bytes, SeatRow]:
    """Senders and recipients of deliveries, by id."""
    ids = {row.sender_seat for row, _sections in found}
    return rows.cases.seats(ids | {row.recipient_seat for row, _sections in found if row.recipient_seat})


def consents_of(section: SectionRow) -> set[bytes]:
    """The consents (16 bytes each) that a section rests on."""
    return {section.grants[i : i + 16] for i in range(0, len(section.grants), 16)}


def counts_of(seat_id: bytes, shrunk: Sequence[Shrunk], received: Acked) -> tuple[RoleCount, ...]:
    """What the act stopped, what may have arrived, and what had been received, per role."""
    mine = [one for one in shrunk if one.row.sender_seat == seat_id]
    held = [row for row, _sections in received if row.sender_seat == seat_id]
    # Handed over by now or before and never acknowledged: each delivery once.
    perhaps = {one.row.delivery_id: one.row.role for one in mine if one.row.state == DeliveryState.HANDED}
    perhaps |= {row.delivery_id: row.role for row in held if row.state != DeliveryState.ACKED}
    roles = sorted({one.row.role for one in mine} | {row.role for row in held})
    return tuple(
        RoleCount(
            role=role,
            stopped=sum(1 for o in mine if o.row.role == role and o.row.state == DeliveryState.PENDING),
            may_have_arrived=sum(1 for each in perhaps.values() if each == role),
            received=sum(1 for row in held if row.role == role and row.state == DeliveryState.ACKED),
        )
        for role in roles
    )


def incidents(
    context: Context, rows: Rows, write: Write, shrunk: Sequence[Shrunk], bump: Bump
) -> tuple[AffectedDelivery, ...]:
    """Hand-overs between the time a withdrawal or block took effect and its recording, whatever came after.

    They are possible incidents. Of a consent that was annulled every hand-over ever: it was never valid.
    INVARIANT: test_releases_between_effect_and_recording_are_listed,
    test_what_went_between_a_block_and_its_recording_is_listed. The last hand-over decides, and it is where the
    lease began; what the act itself shrank is listed already.
    """
    since, act = write.act.effective_at_us, write.act
    if act.act in ANNULLING:
        since = ALWAYS
    if since is None or since >= bump.clock_us or act.act not in ENDING | {BLOCK}:
        return ()
    listed = {one.row.delivery_id for one in shrunk}
    handed = [
        (row, sections)
        for row, sections in rows.deliveries.handed_since(write.seat.seat_id, since + context.lease_us)
        if row.delivery_id not in listed
        and row.event_type != STATUTORY  # rested on no consent that could be taken back
    ]
    seats, taken = _seats(rows, handed), _Taken.by(write)
    return tuple(
        AffectedDelivery(
            delivery_id=row.delivery_id,
            event_id=row.event_id,
            role=row.role,
            hand_number=row.hand_number,
            removed=0,
            state_before=row.state,
        )
        for row, sections in handed
        if row.lease_until_us - context.lease_us <= taken.until_us
        and (taken.from_under(row, sections, seats) or _rested_before(rows, act, sections))
    )


def _rested_before(rows: Rows, act: ConsentAct, sections: Sequence[SectionRow]) -> bool:
    return act.act in ANNULLING and any(
        rows.annulments.rested_before(section.delivery_id, section.digest, act.consent_id) for section in sections
    )


@dataclass(frozen=True, slots=True)
class _Taken:
    """What an act takes from under deliveries: of the consents `ended` what lies within `reach`, or what a block meets.

    `reach` None: all of them, in doubt about a scope too.
    """

    view: LedgerView
    everything: bool
    ended: frozenset[bytes]
    reach: Reach | None
    block: Block | None

    @classmethod
    def by(cls, write: Write) -> _Taken:
        """As the ledger reads the act."""
        act, at_us = write.act, write.event.recorded_at_us
        part = withdrawal_of(act, at_us) if act.act == "WITHDRAW" else None
        return cls(
            view=write.view,
            everything=act.act == "WITHDRAW_ALL",
            ended=frozenset(grant.consent_id for grant in write.view.grants if ends(act, grant)),
            reach=part.reach if isinstance(part, Part) else None,
            block=block_of(act, at_us) if act.act == BLOCK else None,
        )

    @property
    def until_us(self) -> int:
        """What was handed over later is not concerned."""
        return FOREVER if self.block is None else self.block.until_us

    def from_under(self, row: DeliveryRow, sections: Sequence[SectionRow], seats: Mapping[bytes, SeatRow]) -> bool:
        """Whether it takes from any of these sections what they were released on."""
        # INVARIANT: test_a_part_of_one_recipient_counts_that_recipient_alone
        if self.everything:
            return True
        asked = asked_of(row, sections, seats, self.view, 0)
        if self.block is not None:
            block = self.block
            return any(block_meets(block, asked, section) for section in asked.sections)
        if self.reach is not None and not self.reach.meets(asked.recipient, asked.purpose):
            return False
        return any(
            not self.ended.isdisjoint(consents_of(section))
            and (self.reach is None or self.reach.takes(section.category))
            for section in sections
        )
