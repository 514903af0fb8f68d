"""After a consent ended: whoever acknowledged something that rested on it is told, in codes.

What was received stays where it is, and it was lawful to hand it over; whether it may be kept is for the recipient's
own rules and for the duties that came with it. The word follows an earlier release, goes to its recipients only, and
brings nothing new about anybody. Its acknowledgement is in the trail of both (`broker.acks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from broker.acks import outcome_entries, recipient_seat
from broker.affected import Write
from broker.context import Context
from broker.narrowing import Shrunk, foreseen
from broker.rulebook import RulesOf
from broker.store.cases import SeatRow
from broker.store.inbox import Item
from broker.store.port import Rows
from consent.admission import ANNULLING
from consent.ledger import LedgerView
from consent.simulate import unsuspended
from schemas import codes
from schemas.acts import ConsentAct
from schemas.inbox import ConsentEnded
from schemas.statute import TYPE as STATUTORY

TOLD = "HS-CONSENT-ENDED"
"""In the trail: the recipient of something it had acknowledged was told that it rests on no consent any more."""


def may_end(act: ConsentAct) -> bool:
    """Whether an act can take a consent from under what was received; an annulment tells by itself, and more."""
    if act.act == "GRANT":
        return act.terms is not None and act.terms.supersedes is not None
    return act.act == "AMEND" or (act.act in codes.consent_acts("NARROWS") and act.act not in ANNULLING)


def tell(context: Context, rows: Rows, writes: Sequence[Write], at_us: int, code: str) -> None:
    """Put a word into the inbox of every recipient of what was received and was covered until these acts.

    In the transaction of the acts. INVARIANT: test_who_holds_data_under_a_consent_is_told_that_it_ended.
    """
    ending = {write.seat.seat_id: write for write in writes if may_end(write.act)}
    if not ending:
        return
    # Who was told of a suspension is told of the withdrawal that follows it as well.
    before = {
        seat_id: write.before if write.act.act == "SUSPEND" else unsuspended(write.before)
        for seat_id, write in ending.items()
    }
    after = {seat_id: write.view for seat_id, write in ending.items()}
    for one in uncovered(rows, before, after, context.rules_of(rows), at_us):
        write = ending[one.row.sender_seat]
        _tell(context, rows, one, write, at_us, code)


def uncovered(
    rows: Rows, before: dict[bytes, LedgerView], after: dict[bytes, LedgerView], rules_of: RulesOf, at_us: int
) -> list[Shrunk]:
    """Acknowledged deliveries of these disclosers with the sections that `before` covers and `after` does not."""
    acked = [(row, held) for row, held in rows.deliveries.acked_of_senders(before) if row.event_type != STATUTORY]
    found, sections = [row for row, _held in acked], {row.delivery_id: held for row, held in acked}
    now = foreseen(rows, found, sections, after, rules_of, at_us)
    lost = [one for one, _until in now if one.removed]
    rows_lost = [one.row for one in lost]
    was = {
        one.row.delivery_id: {section.digest for section in one.kept}
        for one, _until in foreseen(rows, rows_lost, sections, before, rules_of, at_us)
    }
    shrunk = [
        Shrunk(one.row, tuple(s for s in one.removed if s.digest in was[one.row.delivery_id]), one.kept, one.state)
        for one in lost
    ]
    return [one for one in shrunk if one.removed]


def _tell(context: Context, rows: Rows, one: Shrunk, write: Write, at_us: int, code: str) -> None:
    # Who got it with an invitation has it in the trail of the seat that it led to: there the word stands as well.
    # INVARIANT: test_what_came_with_an_invitation_ends_in_the_seat_that_it_led_to
    seat_id = recipient_seat(rows, one.row)
    row = replace(one.row, recipient_seat=seat_id)
    seats: dict[bytes, SeatRow] = rows.cases.seats({row.sender_seat, seat_id})
    # Who was invited and took no seat knows no case by which it could be told; a closed seat gets corrections alone, or
    # the day of a withdrawal would tell of the case it has left.
    if seat_id not in seats or not seats[seat_id].active:
        return
    ours, theirs = outcome_entries(context, row, one.removed, seats, at_us, TOLD, write.event.ledger_seq)
    rows.entries.insert([ours, theirs])
    word = ConsentEnded(
        seat_id=seat_id,
        delivery_id=row.delivery_id,
        event_id=row.event_id,
        role=write.seat.role,
        categories=tuple(sorted({section.category for section in one.removed})),
        code=code,
        at_us=at_us,
        entry_id=theirs.entry_id,
        leaf_hash=theirs.leaf_hash,
    )
    rows.inbox.put([Item(context.new_id(), row.recipient_unit, "ENDED", word.to_bytes())])
