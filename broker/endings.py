"""After a consent ended: whoever was handed something that rested on it is told, in codes.

What was received stays where it is, and it was lawful to hand it over; whether it may be kept is for the recipient's
own rules and for the duties that came with it. What was handed over and never acknowledged may be there as well, though
its delivery has expired since: it is recalled. The word follows an earlier release, goes to its recipients only, and
brings nothing new about anybody. Its acknowledgement is in the trail of both (`broker.acks`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from audit.entry import SealedEntry
from broker.acks import outcome_entries, recipient_seat
from broker.affected import ENDING, Acked, Write, consents_of, rested
from broker.context import Context
from broker.narrowing import Shrunk, asked_of, foreseen
from broker.rulebook import RulesOf
from broker.store.cases import SeatRow
from broker.store.deliveries import DeliveryRow, SectionRow
from broker.store.inbox import Item
from broker.store.port import Rows
from consent.admission import ANNULLING
from consent.carrying import Received, taken_back
from consent.ledger import LedgerView
from consent.simulate import unsuspended
from schemas import codes
from schemas.codes import DeliveryState
from schemas.identifiers import ZERO16
from schemas.inbox import ConsentEnded, Recall
from schemas.statute import TYPE as STATUTORY

_BESIDE = frozenset({"BLOCK", "SUSPEND"})  # these end no consent: one forbids beside it, one lets it rest
TOLD = "HS-CONSENT-ENDED"
"""In the trail: the recipient of something it had acknowledged was told that it rests on no consent any more."""
RECALLED = "HS-RECALLED"
"""In the trail: sections that were handed over were recalled."""


def may_end(write: Write) -> bool:
    """Whether an act can take a consent from under what was received; an annulment tells by itself, and more."""
    act = write.act
    if act.act == "GRANT":
        supersedes = act.terms is not None and act.terms.supersedes is not None
        # Other terms under a name that was granted: neither of the two is valid any more.
        return supersedes or any(grant.consent_id == act.consent_id for grant in write.before.grants)
    return act.act == "AMEND" or (act.act in codes.consent_acts("NARROWS") and act.act not in ANNULLING)


def ended(
    rows: Rows, writes: Sequence[Write], rules_of: RulesOf, at_us: int, shrunk: Sequence[Shrunk] = ()
) -> list[Shrunk]:
    """What was received with the sections that these acts took a consent from; `shrunk`: what they stopped itself."""
    return lost(rows, [write for write in writes if may_end(write)], rules_of, at_us, shrunk)


def tell(context: Context, rows: Rows, writes: Sequence[Write], found: Sequence[Shrunk], at_us: int, code: str) -> None:
    """Put a word into the inbox of every recipient of what `ended` found.

    In the transaction of the acts. INVARIANT: test_who_holds_data_under_a_consent_is_told_that_it_ended.
    """
    if not found:
        return
    by = {write.seat.seat_id: write for write in writes}
    # Who got it with an invitation has it in the trail of the seat that it led to: there the word stands as well.
    # INVARIANT: test_what_came_with_an_invitation_ends_in_the_seat_that_it_led_to
    to = [replace(one.row, recipient_seat=recipient_seat(rows, one.row)) for one in found]
    seats = rows.cases.seats({seat_id for row in to for seat_id in (row.sender_seat, row.recipient_seat or ZERO16)})
    words = [
        _word(context, row, one.removed, by[row.sender_seat], seats, at_us, code)
        for row, one in zip(to, found, strict=True)
        # Who was invited and took no seat knows no case by which it could be told; a closed seat gets corrections
        # alone, or the day of a withdrawal would tell of the case it has left.
        if (holder := seats.get(row.recipient_seat or ZERO16)) is not None and holder.active
    ]
    rows.entries.insert([entry for entries, _item in words for entry in entries])
    rows.inbox.put([item for _entries, item in words])


def received(rows: Rows, writes: Sequence[Write], found: Sequence[Shrunk]) -> Acked:
    """What was handed over before and these acts took a consent from (`ended`), for the answer's counts.

    What withdraws a consent counts all that was received and rested on it; other terms in its place, or a block beside
    it, count what they cover no longer or forbid: whoever is told that it ended.
    """
    # INVARIANT: test_the_answer_counts_who_received_what_the_act_takes_a_consent_from
    withdrawn = {write.seat.seat_id for write in writes if write.act.act in ENDING}
    others = [one for one in found if one.row.state != DeliveryState.ACKED or one.row.sender_seat not in withdrawn]
    return [*rested(rows, writes), *((one.row, one.removed) for one in others)]


def lost(
    rows: Rows, writes: Collection[Write], rules_of: RulesOf, at_us: int, shrunk: Sequence[Shrunk] = ()
) -> list[Shrunk]:
    """What was received with the sections that these acts, one on a ledger, took a consent from.

    Who was told of a suspension is told of the withdrawal that follows it as well, and of nothing else that happens
    while the consent rests. What ends a consent is told also where a block, rules, another person or a closed seat had
    uncovered the data before.
    """
    # INVARIANT: test_what_happens_beside_a_consent_that_rests_is_no_end_of_it
    held = _held(rows, {one.seat.seat_id for one in writes}, shrunk)
    found = _between(rows, held, {one.seat.seat_id: (one.before, one.view) for one in writes}, rules_of, at_us)
    resting = {
        one.seat.seat_id: (unsuspended(one.before), unsuspended(one.view))
        for one in writes
        if one.act.act != "SUSPEND" and any(grant.pauses for grant in one.before.grants)
    }
    found = _merged(found, _between(rows, held, resting, rules_of, at_us))
    ending = {one.seat.seat_id: one for one in writes if one.act.act not in _BESIDE}
    whole = {one.row.delivery_id: len(one.removed) for one in found}
    touched = {seat_id: _touched(one) for seat_id, one in ending.items()}
    rest = [
        (row, of)
        for row, of in held
        if whole.get(row.delivery_id) != len(of)
        and any(not touched.get(row.sender_seat, frozenset()).isdisjoint(consents_of(section)) for section in of)
    ]
    return _merged(found, _carried(rows, rest, ending, rules_of, at_us))


def _touched(write: Write) -> frozenset[bytes]:
    """The consents (16 bytes each) that an act changed: it leaves the others as they are."""
    still = {id(one) for one in write.view.grants}
    return frozenset(one.consent_id for one in write.before.grants if id(one) not in still)


def _carried(rows: Rows, held: Acked, writes: Mapping[bytes, Write], rules_of: RulesOf, at_us: int) -> list[Shrunk]:
    """What was received with the sections that a consent carried until these acts, whatever else spoke against it."""
    # INVARIANT: test_a_consent_that_ends_while_something_else_stands_against_it_is_told
    seats = rows.cases.seats({seat_id for row, _of in held for seat_id in (row.sender_seat, row.recipient_seat or b"")})
    known: dict[tuple[bytes, Received], Sequence[bool]] = {}
    found = []
    for row, sections in held:
        write = writes[row.sender_seat]
        under = frozenset(one for section in sections for one in consents_of(section))
        question = row.sender_seat, Received(asked_of(row, sections, seats, write.view, at_us), under)
        if question not in known:
            known[question] = _ends(question[1], write, rules_of, row.sender_unit)
        ends = known[question]
        removed = tuple(section for section, over in zip(sections, ends, strict=True) if over)
        if removed:  # what is left of it is not covered for that: `_uncovered` knows
            found.append(Shrunk(row, removed, (), DeliveryState(row.state)))
    return found


def _ends(received: Received, write: Write, rules_of: RulesOf, unit: str) -> Sequence[bool]:
    try:
        return taken_back(received, write.before, write.view, rules_of(unit))
    except Exception:  # noqa: BLE001 - a withdrawal does not fail with it; in doubt who holds the data is told
        return [True] * len(received.request.sections)


def _between(
    rows: Rows, held: Acked, views: Mapping[bytes, tuple[LedgerView, LedgerView]], rules_of: RulesOf, at_us: int
) -> list[Shrunk]:
    """What is held with the sections that the first view of its discloser covers and the second does not."""
    held = [(row, of) for row, of in held if row.sender_seat in views]
    before = {seat_id: pair[0] for seat_id, pair in views.items()}
    return _uncovered(rows, held, before, {seat_id: pair[1] for seat_id, pair in views.items()}, rules_of, at_us)


def _merged(found: list[Shrunk], more: list[Shrunk]) -> list[Shrunk]:
    """Each delivery once, with every section that either names."""
    every = {one.row.delivery_id: one for one in found}
    for one in more:
        known = every.setdefault(one.row.delivery_id, one)
        digests = {section.digest for section in known.removed}
        added = tuple(section for section in one.removed if section.digest not in digests)
        every[one.row.delivery_id] = replace(known, removed=(*known.removed, *added))
    return list(every.values())


def _uncovered(
    rows: Rows,
    held: Acked,
    before: Mapping[bytes, LedgerView],
    after: Mapping[bytes, LedgerView],
    rules_of: RulesOf,
    at_us: int,
) -> list[Shrunk]:
    found, sections = [row for row, _of in held], {row.delivery_id: of for row, of in held}
    now = foreseen(rows, found, sections, after, rules_of, at_us)
    without = [one for one, _until in now if one.removed]
    was = {
        one.row.delivery_id: {section.digest for section in one.kept}
        for one, _until in foreseen(rows, [one.row for one in without], sections, before, rules_of, at_us)
    }
    shrunk = [
        Shrunk(one.row, tuple(s for s in one.removed if s.digest in was[one.row.delivery_id]), one.kept, one.state)
        for one in without
    ]
    return [one for one in shrunk if one.removed]


def _held(rows: Rows, seat_ids: Collection[bytes], shrunk: Sequence[Shrunk]) -> Acked:
    """What these disclosers' recipients may hold on a consent, but for what is open or was stopped just now.

    Acknowledged, or handed over and then recalled, expired or to be sealed anew: its recipient's connector may have
    opened it. Of what was handed over twice the delivery counts that was acknowledged.
    """
    # INVARIANT: test_what_was_handed_over_and_never_acknowledged_is_recalled_when_its_consent_ends
    stopped = {(one.row.delivery_id, section.digest) for one in shrunk for section in one.removed}
    handed = [one for one in rows.deliveries.handed_of_senders(seat_ids) if one[0].event_type != STATUTORY]
    acked = {
        _what(row, of) for row, sections in handed if row.state == DeliveryState.ACKED for of in sections if of.live
    }
    found = []
    for row, sections in handed:
        held = tuple(
            of
            for of in sections
            if (of.live and row.state == DeliveryState.ACKED)
            or (
                not of.live and of.grants and _what(row, of) not in acked and (of.delivery_id, of.digest) not in stopped
            )
        )
        if held:
            found.append((row, held))
    return found


def _what(row: DeliveryRow, section: SectionRow) -> tuple[bytes, bytes, bytes]:
    """What a section is, in whichever delivery: event, digest and who got it."""
    return section.event_id, section.digest, row.recipient_seat or ZERO16


def _word(
    context: Context,
    row: DeliveryRow,
    removed: Sequence[SectionRow],
    write: Write,
    seats: dict[bytes, SeatRow],
    at_us: int,
    code: str,
) -> tuple[tuple[SealedEntry, SealedEntry], Item]:
    """What the recipient of a delivery is told, ENDED or RECALL, and the entries of it in both trails."""
    acked = row.state == DeliveryState.ACKED
    ours, theirs = outcome_entries(
        context, row, removed, seats, at_us, TOLD if acked else RECALLED, write.event.ledger_seq
    )
    if not acked:
        return (ours, theirs), recall(context, row, removed, code, theirs)
    word = ConsentEnded(
        seat_id=row.recipient_seat or ZERO16,
        delivery_id=row.delivery_id,
        event_id=row.event_id,
        role=write.seat.role,
        categories=tuple(sorted({section.category for section in removed})),
        code=code,
        at_us=at_us,
        entry_id=theirs.entry_id,
        leaf_hash=theirs.leaf_hash,
    )
    return (ours, theirs), Item(_word_id(write, row), row.recipient_unit, "ENDED", word.to_bytes())


def _word_id(write: Write, row: DeliveryRow) -> bytes:
    """The same for the same act and delivery: told by a restored broker it is shown to nobody a second time."""
    return sha256(b"ended" + write.event.head + row.delivery_id).digest()[:16]


def recall(context: Context, row: DeliveryRow, removed: Sequence[SectionRow], code: str, entry: SealedEntry) -> Item:
    """RECALL of these sections to the recipient; `entry` is the one of it in the recipient's trail."""
    word = Recall(
        seat_id=row.recipient_seat or ZERO16,
        delivery_id=row.delivery_id,
        event_id=row.event_id,
        digests=tuple(section.digest for section in removed),
        code=code,
        entry_id=entry.entry_id,
        leaf_hash=entry.leaf_hash,
    )
    return Item(context.new_id(), row.recipient_unit, "RECALL", word.to_bytes())
