"""Whose a statutory disclosure is: every signature under it, and that its parts are about each other."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from broker.calls import signed_by, signed_by_seat
from broker.context import Context
from broker.resolve import Waiting, waiting_of
from broker.store.cases import SeatRow
from consent import provisions
from consent.terms import THE_PERSON
from schemas import limits
from schemas.checks import check_submission
from schemas.envelope import Wrap
from schemas.errors import HandslagError
from schemas.event_types import carried_type
from schemas.statute import (
    BASIS,
    TYPE,
    ProvisionApproval,
    SecondWord,
    SignedDisclosure,
    StatuteRequest,
    StatutoryDisclosure,
)
from schemas.stream_record import StreamRecord

_DECIDED_BACK_US = 24 * 3600 * 1_000_000  # what was decided longer ago is decided anew
CONFIRMED = "CONFIRMED"


@dataclass(frozen=True, slots=True)
class Told:
    """One request, every signature checked: the statement, the second person's word, the approval, the sealed event."""

    statement: StatutoryDisclosure
    word: SecondWord | None
    approval: ProvisionApproval
    waiting: Waiting
    wrap: Wrap | None


def checked_word(seat: SeatRow, statement: bytes, second: bytes, signature: bytes, by_seat: bytes) -> SecondWord:
    """A second person's word about exactly this statement, signed by that person and the seat."""
    word = SecondWord.from_bytes(second)
    signed_by(word.key, signature, second)
    signed_by_seat(seat, by_seat, second)
    if word.disclosure_hash != statement:
        raise HandslagError("HS-STATUTE-INVALID", check="second")
    return word


def check_spoken_at(word: SecondWord, decided_at_us: int, now_us: int) -> None:
    """Raise `HS-STATUTE-INVALID` for a word from before the decision that it is about, or from the future."""
    # INVARIANT: test_nobody_confirms_what_was_not_decided_yet
    if not decided_at_us <= word.at_us <= now_us + limits.SENT_AHEAD_US:
        raise HandslagError("HS-STATUTE-INVALID", check="second_at")


def checked_approval(context: Context, unit: str, key: bytes, approval: bytes, signature: bytes) -> ProvisionApproval:
    """An approval of the unit's own agency: by the key that signed the unit's entry when it was admitted."""
    # INVARIANT: test_an_approval_of_another_agency_approves_nothing
    row = context.directory.get(unit)
    try:
        signed_by(key, row.agency_signature, row.entry)
        signed_by(key, signature, approval)
        told = ProvisionApproval.from_bytes(approval)
    except HandslagError:
        raise HandslagError("HS-APPROVAL-INVALID", field="signature") from None
    if told.agency != row.agency:
        raise HandslagError("HS-APPROVAL-INVALID", field="agency")
    return told


def checked(context: Context, unit: str, request: StatuteRequest, seat: SeatRow) -> Told:
    """Every signature, and that statement, word, approval and sealed event are about each other.

    By which rules the unit is decided the transaction knows that records it: whoever calls compares the attempt's.
    """
    signed = request.disclosure
    if len(signed.statement) > limits.ACT:
        raise HandslagError("HS-TOO-LARGE", limit=limits.ACT)
    told = StatutoryDisclosure.from_bytes(signed.statement)
    signed_by_seat(seat, signed.seat_signature, signed.statement)
    signed_by(context.directory.get(unit).signing_key, signed.unit_signature, signed.statement)
    signed_by(told.decider_key, signed.decider_signature, signed.statement)
    approval = checked_approval(context, unit, request.agency_key, signed.approval, signed.approval_signature)
    word = _word(seat, signed)
    check_submission(request.submission)
    record = StreamRecord(
        unit=unit,
        received_at_us=context.now_us(),
        bundle=signed.statement,
        unit_signature=signed.unit_signature,
        index=0,
        path=(),
        submission=request.submission,
    )
    waiting = waiting_of(0, record)
    wrap = next(iter(waiting.attempt.wraps), None)
    _belongs(told, seat, waiting, signed, wrap)
    if told.provisions_hash != provisions.shipped().hash32:
        raise HandslagError("HS-RULES-OTHER")
    now_us = context.now_us()
    if not now_us - _DECIDED_BACK_US <= told.decided_at_us <= now_us + limits.SENT_AHEAD_US:
        raise HandslagError("HS-STATUTE-INVALID", check="decided_at")
    if word is not None:
        check_spoken_at(word, told.decided_at_us, now_us)
    return Told(told, word, approval, waiting, wrap)


def _word(seat: SeatRow, signed: SignedDisclosure) -> SecondWord | None:
    if signed.second is None:
        return None
    digest = sha256(signed.statement).digest()
    word = checked_word(
        seat, digest, signed.second, signed.second_signature or b"", signed.second_seat_signature or b""
    )
    if word.verdict != CONFIRMED:
        raise HandslagError("HS-STATUTE-SECOND")
    return word


def _belongs(
    told: StatutoryDisclosure, seat: SeatRow, waiting: Waiting, signed: SignedDisclosure, wrap: Wrap | None
) -> None:
    """The statement names this case, this member and exactly this sealed event, whole, for exactly one role."""
    # INVARIANT: test_a_statutory_disclosure_goes_to_one_role_and_no_other
    routing, digests = waiting.routing, waiting.record.submission.digests
    given = {digests[32 * k.index : 32 * k.index + 32] for k in wrap.keys} if wrap else set()
    sealed = (waiting.fingerprint[:32], waiting.fingerprint[32:64])
    released = {section.category for section in routing.sections if section.public_interest_released}
    for holds, check in (
        ((told.core_hash, told.digests_hash) == sealed, "event"),
        (told.case_tag == seat.case_tag and told.member == seat.member, "member"),
        (sha256(signed.approval).digest() == told.approval_hash, "approval"),
        (waiting.core.event_type == TYPE and routing.basis == BASIS and routing.seat_id == seat.seat_id, "type"),
        (waiting.core.purpose == told.purpose, "purpose"),
        (waiting.core.action in carried_type(TYPE).actions, "action"),
        (waiting.core.replaces is None, "replaces"),
        (waiting.attempt.recipients == (told.role,) and waiting.attempt.attempt == 1, "role"),
        (tuple(sorted(section.category for section in routing.sections)) == tuple(sorted(told.categories)), "sections"),
        (all(section.persons == (THE_PERSON,) for section in routing.sections), "persons"),
        (released == set(told.public_interest_released), "release"),
        (given == {section.digest for section in routing.sections}, "whole"),
    ):
        if not holds:
            raise HandslagError("HS-STATUTE-INVALID", check=check)
