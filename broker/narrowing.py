"""Re-deciding what is open after a ledger write: deliveries shrink, never grow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from broker.judge import own_party
from broker.resolve import party_of, vacant
from broker.rulebook import RulesOf
from broker.store.cases import SeatRow
from broker.store.deliveries import OPEN, DeliveryRow, SectionRow
from broker.store.port import Rows
from consent.decide import decide
from consent.ledger import LedgerView
from consent.statute import forbidden
from consent.terms import Decision, DecisionRequest, Party, SectionAsk, SectionDecision
from schemas import limits
from schemas.codes import DeliveryState, Outcome
from schemas.envelope import Delivery
from schemas.identifiers import authority_of
from schemas.statute import TYPE as STATUTORY

WRONG_PERSON = "WRONG_PERSON"  # on this ground a case is nobody's: nothing in it is about the person it names


@dataclass(frozen=True, slots=True)
class Shrunk:
    """One open delivery that lost sections; `state` is where it went, its own state when some remain."""

    row: DeliveryRow
    removed: tuple[SectionRow, ...]
    kept: tuple[SectionRow, ...]
    state: DeliveryState


def shrink(
    rows: Rows, open_rows: Sequence[DeliveryRow], views: Mapping[bytes, LedgerView], rules_of: RulesOf, at_us: int
) -> list[Shrunk]:
    """Decide every open delivery anew and take out what is no longer covered; rows are locked by the caller's read.

    `views` holds the view of each discloser seat after the write. A decision that fails removes everything: fail
    closed. What remains rests on the consents of this decision and holds as long as they do.
    INVARIANT: test_a_delivery_left_on_a_shorter_grant_ends_with_that_grant.
    """
    sections = rows.deliveries.sections([row.delivery_id for row in open_rows])
    shrunk = []
    for one, holds_until_us in foreseen(rows, open_rows, sections, views, rules_of, at_us):
        row, live = one.row, sections[one.row.delivery_id]
        if one.kept and (row.holds_until_us != holds_until_us or not set(one.kept) <= set(live)):
            assert holds_until_us is not None
            _remember(rows, row, live, one.kept)
            rows.deliveries.rest_on(row, holds_until_us, one.kept)
        if one.removed:
            shrunk.append(one)
    for one in shrunk:
        digests = [section.digest for section in one.removed]
        rows.deliveries.remove_sections(one.row.delivery_id, digests, never_handed=one.row.hand_number == 0)
        rows.deliveries.move(one.row, one.state)
    return shrunk


def foreseen(
    rows: Rows,
    found: Sequence[DeliveryRow],
    sections: Mapping[bytes, Sequence[SectionRow]],
    views: Mapping[bytes, LedgerView],
    rules_of: RulesOf,
    at_us: int,
) -> Iterator[tuple[Shrunk, int | None]]:
    """What these views make of each delivery, and until when what is kept holds; writes nothing.

    `views` by discloser seat, `sections` by delivery. INVARIANT: test_a_withdrawal_does_what_simulating_it_said.
    """
    wanted = {row.sender_seat for row in found} | {row.recipient_seat for row in found if row.recipient_seat}
    seats, answers = rows.cases.seats(wanted), _Answers(views, rules_of)
    for row in found:
        live = sections[row.delivery_id]
        decision = _decision(rows, row, live, seats, answers, at_us)
        pairs = list(zip(live, decision.sections, strict=True)) if decision is not None else []
        kept = tuple(replace(section, grants=b"".join(answer.grants)) for section, answer in pairs if answer.released)
        left = {section.digest for section in kept}
        removed = tuple(section for section in live if section.digest not in left)
        state = _next_state(row, bool(kept)) if removed else DeliveryState(row.state)
        yield Shrunk(row, removed, kept, state), None if decision is None else decision.holds_until_us


def _remember(rows: Rows, row: DeliveryRow, before: Sequence[SectionRow], now: Sequence[SectionRow]) -> None:
    """What was handed over rested on the consents of then; annulling one of those must still find it.

    INVARIANT: test_a_release_that_rests_on_another_consent_by_now_is_listed.
    """
    if row.hand_number:
        then = {section.digest: section for section in before}
        changed = [then[section.digest] for section in now if then[section.digest].grants != section.grants]
        rows.annulments.remember_grounds(changed)


def _next_state(row: DeliveryRow, remains: bool) -> DeliveryState:
    if remains or row.state not in OPEN:
        return DeliveryState(row.state)
    return DeliveryState.CANCELLED if row.state == DeliveryState.PENDING else DeliveryState.RECALLED


class _Answers:
    """What views say, by discloser seat. Many deliveries ask the same, and each question is decided once."""

    def __init__(self, views: Mapping[bytes, LedgerView], rules_of: RulesOf) -> None:
        self.views = views
        self.rules_of = rules_of
        self._known: dict[tuple[bytes, DecisionRequest], Decision | None] = {}

    def to(self, row: DeliveryRow, request: DecisionRequest) -> Decision | None:
        """The decision; None where deciding fails."""
        question = row.sender_seat, request
        if question not in self._known:
            self._known[question] = self._decided(row, request)
        return self._known[question]

    def _decided(self, row: DeliveryRow, request: DecisionRequest) -> Decision | None:
        try:
            return decide(request, self.views[row.sender_seat], self.rules_of(row.sender_unit))
        except Exception:  # noqa: BLE001 - whatever is wrong, the answer is no
            return None


def _decision(
    rows: Rows,
    row: DeliveryRow,
    sections: Iterable[SectionRow],
    seats: Mapping[bytes, SeatRow],
    answers: _Answers,
    at_us: int,
) -> Decision | None:
    """The decision as of now; None when deciding fails: a withdrawal must not fail with it, and nothing is covered."""
    if row.event_type == STATUTORY:
        return _as_decided(rows, row, tuple(sections), seats, answers.rules_of)
    decision = answers.to(row, asked_of(row, sections, seats, answers.views[row.sender_seat], at_us))
    try:
        # INVARIANT: test_a_delivery_that_would_rest_on_a_stricter_consent_stops
        return decision if decision is not None and _told(row, decision.obligations) else None
    except Exception:  # noqa: BLE001 - a body that cannot be read carries no obligation
        return None


def asked_of(
    row: DeliveryRow, sections: Iterable[SectionRow], seats: Mapping[bytes, SeatRow], view: LedgerView, at_us: int
) -> DecisionRequest:
    """What a delivery asks of its discloser's consents; `seats` by id, at least its two."""
    return DecisionRequest(
        event_type=row.event_type,
        sender=own_party(seats[row.sender_seat]),
        recipient=_recipient(row, seats, view),
        sections=tuple(
            SectionAsk(
                category=section.category,
                persons=tuple(map(int, section.persons.split(","))),
                public_interest_released=section.public_interest_released,
                sender_withheld=False,
                data_from_us=section.data_from_us,
                data_until_us=section.data_until_us,
            )
            for section in sections
        ),
        purpose=row.purpose,
        action=row.action,
        at_us=max(at_us, view.recorded_at_us),
    )


def _told(row: DeliveryRow, obligations: tuple[str, ...]) -> bool:
    """Whether these obligations go along with the delivery: a consent that asks for more cannot carry it.

    With one that is over nothing goes along any more.
    """
    return (
        row.state not in OPEN
        or not obligations
        or set(obligations) <= set(Delivery.from_bytes(row.body or b"", limits.SUBMISSION).obligations)
    )


def _as_decided(
    rows: Rows, row: DeliveryRow, sections: Sequence[SectionRow], seats: Mapping[bytes, SeatRow], rules_of: RulesOf
) -> Decision | None:
    """What people decided without consent no consent takes back; seats and rules do, and its own time ends it."""
    # INVARIANT: test_no_consent_act_touches_a_statutory_disclosure
    sender, holder = seats.get(row.sender_seat), seats.get(row.recipient_seat or b"")
    if sender is None or holder is None or not (sender.active and holder.active):
        return None
    # INVARIANT: test_nothing_goes_on_a_law_about_the_wrong_person
    if rows.annulments.ground(sender.case_id) == WRONG_PERSON:
        return None
    given = ((section.category, section.public_interest_released) for section in sections)
    try:
        # INVARIANT: test_rules_that_close_a_pair_stop_what_went_on_a_law
        if forbidden(own_party(sender), own_party(holder), given, rules_of(row.sender_unit)):
            return None
    except Exception:  # noqa: BLE001 - rules that cannot be read let nothing go
        return None
    kept = tuple(SectionDecision(section.category, True, (), ()) for section in sections)
    return Decision(Outcome.RELEASED, kept, row.holds_until_us, (), ())


def _recipient(row: DeliveryRow, seats: Mapping[bytes, SeatRow], view: LedgerView) -> Party:
    if row.recipient_seat is None:
        return invited_party(row.recipient_unit, row.role)
    seat = seats.get(row.recipient_seat)
    return party_of(seat, view) if seat else vacant(row.role)


def invited_party(unit: str, role: str) -> Party:
    """A unit that is invited and has no seat yet."""
    return Party(role=role, authority=authority_of(unit), unit=unit, member=None, active=True, held=True)
