"""Reading one batch: decode what waits, find seats, ledgers and what is remembered, all in one snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from broker.rulebook import RulesOf
from broker.store.cases import SeatRow
from broker.store.port import Rows
from broker.views import Views
from consent.ledger import LedgerView
from consent.rules import Rules
from consent.terms import Party
from schemas import codes, limits
from schemas.envelope import Attempt, Core, RoutingItem
from schemas.errors import HandslagError
from schemas.event_types import carried_type, check_action, content_type
from schemas.identifiers import ZERO16, authority_of
from schemas.stream_record import StreamRecord
from schemas.views import has_views


@dataclass(frozen=True, slots=True)
class Waiting:
    """One submission off the stream, decoded; `fingerprint` is what no later attempt may change."""

    position: int
    record: StreamRecord
    core: Core
    routing: RoutingItem
    attempt: Attempt
    fingerprint: bytes
    attempt_hash: bytes

    @property
    def valid_until_us(self) -> int:
        """After this it is not handed over: its own end, or its type's shelf life."""
        own = self.core.valid_until_us
        return own if own is not None else self.core.sent_at_us + carried_type(self.core.event_type).shelf_life_us


@dataclass(frozen=True, slots=True)
class Resolved:
    """A submission with all it is decided on.

    `refused` is an error code when it is not decided at all; `repeat` the receipt it got before; `holders` the active
    seat per role addressed, None where nobody holds it; `live` the attempt by (recipient seat, digest) given already;
    `retired` ids of keys that wraps of this attempt are sealed to and that their holders had once and have no more;
    `rules` are those that its sender's unit is decided by.
    """

    waiting: Waiting
    sender: SeatRow | None
    holders: dict[str, SeatRow | None]
    view: LedgerView
    rules: Rules
    live: Mapping[tuple[bytes, bytes], int]
    first_time: bool
    refused: str | None = None
    repeat: bytes | None = None
    retired: frozenset[bytes] = frozenset()


def decoded(position: int, raw: bytes | HandslagError) -> Waiting:
    """Decode one stream record; raises PayloadRejected and its kin, and the refusal of what nobody can read."""
    if isinstance(raw, HandslagError):
        raise raw
    return waiting_of(position, StreamRecord.from_bytes(raw, limits.SUBMISSION + limits.CALL))


def waiting_of(position: int, record: StreamRecord) -> Waiting:
    """The parts of one record decoded once; raises PayloadRejected and its kin."""
    submission = record.submission
    return Waiting(
        position=position,
        record=record,
        core=Core.from_bytes(submission.core),
        routing=RoutingItem.from_bytes(submission.routing_item),
        attempt=Attempt.from_bytes(submission.attempt),
        fingerprint=b"".join(
            sha256(part).digest() for part in (submission.core, submission.digests, submission.routing_item)
        ),
        attempt_hash=sha256(submission.attempt).digest(),
    )


def one_per_event(batch: Sequence[Waiting]) -> list[Waiting]:
    """The longest beginning of a batch in which no event occurs twice: what it decides is remembered for the rest."""
    seen: set[bytes] = set()
    kept: list[Waiting] = []
    for waiting in batch:
        if waiting.core.event_id in seen:
            break
        seen.add(waiting.core.event_id)
        kept.append(waiting)
    return kept


def resolve(rows: Rows, batch: Sequence[Waiting], views: Views, rules_of: RulesOf, now_us: int) -> list[Resolved]:
    """Everything a batch is decided on, read in the snapshot of `rows`."""
    senders = rows.cases.seats({waiting.routing.seat_id for waiting in batch})
    event_ids = [waiting.core.event_id for waiting in batch]
    known = rows.events.fingerprints(event_ids)
    attempts = rows.events.attempts(event_ids)
    live = rows.deliveries.live_sections(event_ids)
    ledgers = views.of(rows, senders.values())
    seats = rows.cases.of_cases({seat.case_id for seat in senders.values()})
    closed = rows.units.closed({seat.unit for seat in seats} | {waiting.record.unit for waiting in batch})
    on_hold = rows.hold.held(senders)
    holders: dict[tuple[bytes, str], SeatRow] = {}
    for seat in seats:
        # INVARIANT: test_a_unit_that_was_shut_out_gives_and_gets_nothing_more
        if seat.active and seat.unit not in closed:
            holders[seat.case_id, seat.role] = seat
    resolved = []
    for waiting in batch:
        sender = senders.get(waiting.routing.seat_id)
        event_id = waiting.core.event_id
        before = attempts.get((event_id, waiting.attempt.attempt))
        rules = rules_of(waiting.record.unit)
        # INVARIANT: test_a_held_seat_is_not_decided_for
        barred = "HS-UNIT-UNKNOWN" if waiting.record.unit in closed else None
        barred = "HS-HOLD" if sender is not None and sender.seat_id in on_hold else barred
        refused = barred or _refusal(waiting, sender, known.get(event_id), attempts, rules, now_us)
        held = {r: holders.get((sender.case_id, r)) if sender else None for r in waiting.attempt.recipients}
        same = before is not None and before[0] == waiting.attempt_hash and refused is None
        resolved.append(
            Resolved(
                waiting=waiting,
                sender=sender,
                holders=held,
                view=ledgers[sender.seat_id] if sender else LedgerView.empty(),
                rules=rules,
                live={(seat, digest): number for (event, seat, digest), number in live.items() if event == event_id},
                first_time=event_id not in known,
                refused=refused,
                repeat=before[1] if same and before else None,
                retired=_retired(rows, waiting, held),
            )
        )
    return resolved


def _retired(rows: Rows, waiting: Waiting, holders: Mapping[str, SeatRow | None]) -> frozenset[bytes]:
    """Ids of keys sealed to that the holder had once; looked up only where a wrap is to none of its keys of today."""
    found = set()
    for wrap in waiting.attempt.wraps:
        holder = holders.get(wrap.role)
        if holder is not None and wrap.seat_key_id not in holder.key_ids:
            had = rows.cases.key_ids(holder.case_id, holder.chain_id)
            found |= {wrap.seat_key_id} & had
    return frozenset(found)


def _refusal(
    waiting: Waiting,
    sender: SeatRow | None,
    known: tuple[bytes, bytes] | None,
    attempts: dict[tuple[bytes, int], tuple[bytes, bytes]],
    rules: Rules,
    now_us: int,
) -> str | None:
    """Why this submission is not decided at all, or None."""
    event_id, number = waiting.core.event_id, waiting.attempt.attempt
    if sender is None or sender.unit != waiting.record.unit:
        return "HS-SEAT-UNKNOWN"
    if known is not None and known != (sender.seat_id, waiting.fingerprint):
        return "HS-EQUIVOCATION"
    before = attempts.get((event_id, number))
    if before is not None:
        return None if before[0] == waiting.attempt_hash else "HS-EQUIVOCATION"
    if any(event == event_id and other > number for event, other in attempts):
        return "HS-ATTEMPT-INVALID"
    if waiting.attempt.rules_hash != rules.hash32:
        return "HS-RULES-OTHER"
    if not now_us - limits.SENT_BACK_US <= waiting.core.sent_at_us <= now_us + limits.SENT_AHEAD_US:
        return "HS-SUBMISSION-INVALID"
    # INVARIANT: test_one_plan_sealed_to_two_parties_is_refused_by_the_broker
    if has_views(waiting.core.event_type) and len(waiting.record.submission.recipient_items) != 1:
        return "HS-VIEW-OTHER"
    # INVARIANT: test_nothing_that_is_submitted_can_claim_another_basis_than_consent
    if waiting.routing.basis != "CONSENT":
        return "HS-STATUTE-INVALID"
    try:
        content_type(waiting.core.event_type)
        # INVARIANT: test_an_event_goes_under_no_other_action_than_its_own
        check_action(waiting.core.event_type, waiting.core.action)
        return "HS-EVENT-EXPIRED" if waiting.valid_until_us <= now_us else None
    except HandslagError as error:
        return error.code


def party_of(seat: SeatRow, view: LedgerView) -> Party:
    """A seat as `decide` sees it; its unit only where the discloser's own ledger names that unit.

    Never that of a seat that came by a protected relocation: a block that names a guess would else tell a hit.
    """
    # INVARIANT: test_no_act_that_names_a_unit_tells_whether_it_is_the_one
    unit = seat.unit if seat.unit in view.named_units and not seat.protected else None
    return Party(
        role=seat.role,
        authority=authority_of(seat.unit),
        unit=unit,
        member=seat.member,
        active=seat.active,
        held=True,
    )


def vacant(role: str) -> Party:
    """A role that nobody holds."""
    return Party(role=role, authority="", unit=None, member=None, active=False, held=False)


def counted(holder: SeatRow | None, role: str, view: LedgerView) -> Party:
    """The recipient as its discloser is told about it: a role that no consent names counts as held by somebody.

    That it is held or not is health information, of a health care seat say; whoever gave a consent for the role knows
    that it was. INVARIANT: test_asking_does_not_tell_whether_a_role_is_held.
    """
    if holder is not None:
        return party_of(holder, view)
    if any(role in grant.roles for grant in view.grants):
        return vacant(role)
    authority = str(codes.table()["role"][role]["authority"])
    return Party(role=role, authority=authority, unit=None, member=ZERO16, active=True, held=True)
