"""Disclosing without consent, with support in law: decided by one named person, confirmed by another, then sent once.

Nothing leads here but a person. There is no way in from an event that consent withheld, from a folder of files, from
a timer or from a list, and none for two at once. What is decided is drawn and sealed anew, under an event id of its
own, for one role. The decider's own file proves who decided; that is the agency's word for a person, not a sign-in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors import approving, fields, ledgers, sealing, sending
from connectors.context import Context
from connectors.identity import Seat
from connectors.keys import UnitKeyPair
from connectors.sealing import Given, SealedEvent, SealPlan
from connectors.statute_book import DONE, REFUSED, SENT, WAITS, one, over, put
from consent import provisions
from consent.statute import PROVEN, StatuteDecision, approved_of, asked_of, check
from consent.terms import Party
from schemas import codes, projection
from schemas.checks import sha256
from schemas.codes import Outcome
from schemas.errors import HandslagError
from schemas.identifiers import authority_of, parsed, uuid7
from schemas.statute import (
    BASIS,
    TYPE,
    ProvisionApproval,
    RecordedAnswer,
    SecondRequest,
    SecondWord,
    SignedDisclosure,
    StatuteAnswer,
    StatuteNote,
    StatuteRequest,
    StatutoryDisclosure,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one person states; lists are codes, texts stay at this agency.

    `data` holds the fields of the event by name. `call_back` is the decider's own number.
    """

    ref: str
    role: str
    purpose: str
    provision: str
    data: Mapping[str, Any]
    secrecy: tuple[str, ...]
    exclusions: tuple[str, ...]
    released: tuple[str, ...]
    necessity: str
    request: str | None = None
    balanced: str | None = None
    age: str | None = None
    consent_sought: str = "NO"
    subject_informed: str = "LATER"
    inform_by_us: int | None = None
    call_back: str | None = None
    in_reply_to: str | None = None
    acute: bool = False


def decide(ctx: Context, given: Decision, officer: str, keys: UnitKeyPair) -> bytes:
    """Draw, seal and sign one decision, and keep it until a second person has seen it; returns its id (16 bytes).

    Raises `HS-STATUTE-FALLBACK` for an answer to this unit's own event, `HS-PROVISION-UNREVIEWED`,
    `HS-STATUTE-INCOMPLETE`, `HS-STATUTE-ACUTE`, `HS-KEY-UNTRUSTED` when nobody holds the role, PayloadRejected.
    """
    seat = ctx.identities.get(given.ref)
    if not seat.active:
        raise HandslagError("HS-STATE-INVALID", field="seat")
    _no_fallback(ctx, given)
    if given.acute and not given.call_back:
        raise HandslagError("HS-STATUTE-ACUTE", field="call_back")
    if not given.necessity.strip():
        raise HandslagError("HS-STATUTE-INCOMPLETE", field="necessity")
    held = approving.held(ctx, given.provision)
    provisions.shipped().provision(given.provision)
    if held is None:
        raise HandslagError("HS-PROVISION-UNREVIEWED")
    sealed = _sealed(ctx, seat, given)
    notes = [StatuteNote(salt=ctx.random(16), text=text) for text in (given.necessity, given.request) if text]
    told = _statement(ctx, seat, given, sealed, held[0], officer, keys, notes)
    examined(ctx, seat, told, None, held[0])
    raw = told.to_bytes()
    value = {
        "ref": given.ref,
        "state": WAITS,
        "statement": raw.hex(),
        "decider_signature": keys.sign(raw).hex(),
        "sealed": sealed.to_bytes().hex(),
        "notes": [note.to_bytes().hex() for note in notes],
        "data": fields.to_json(_filled(given)),
        "at_us": ctx.now(),
    }
    put(ctx, told.disclosure_id, value)
    return told.disclosure_id


def examined(
    ctx: Context, seat: Seat, told: StatutoryDisclosure, word: SecondWord | None, approval: bytes
) -> StatuteDecision:
    """This connector's own look at a decision, before anybody else is asked; raises as `consent.statute.check`.

    The broker examines it again: what is decided there counts.
    """
    mine = Party(seat.role, authority_of(ctx.settings.unit), None, seat.member, active=seat.active, held=True)
    asked = asked_of(told, word, mine, ledgers.recipient(ctx, seat, told.role))
    approved = approved_of(ProvisionApproval.from_bytes(approval))
    return check(asked, provisions.shipped(), approved, ctx.rules, second_to_come=word is None)


async def confirm(
    ctx: Context, disclosure_id: bytes, officer: str, keys: UnitKeyPair, verdict: str
) -> StatuteAnswer | RecordedAnswer | None:
    """A second person's word: it sends what waits for one, or is recorded beside what went in acute danger.

    None for a word against what waits: it is destroyed and nothing went. Where an answer was lost, what became of it is
    asked first: what went on two people's words by then is the answer, whatever the word.

    Raises `HS-STATUTE-SECOND` for the decider, `HS-STATUTE-OVER` for what waits no more, and as `send`. Inside the
    link's context.
    """
    value = one(ctx, disclosure_id)
    told = StatutoryDisclosure.from_bytes(bytes.fromhex(value["statement"]))
    if officer == told.decider_ref or keys.public.signing == told.decider_key:
        raise HandslagError("HS-STATUTE-SECOND")
    codes.known("second_verdict", verdict, "verdict")
    if value["state"] == WAITS and "request" in value:
        # INVARIANT: test_a_no_after_a_lost_answer_does_not_say_that_nothing_went
        answer = await _called(ctx, disclosure_id, value, _again(value))
        value = one(ctx, disclosure_id)
        if value["state"] != SENT:
            return answer
    word = SecondWord(
        disclosure_hash=sha256(bytes.fromhex(value["statement"])),
        verdict=verdict,
        ref=officer,
        key=keys.public.signing,
        assurance=PROVEN,
        at_us=ctx.now(),
    ).to_bytes()
    signed = (word, keys.sign(word))
    if value["state"] == SENT:
        return await _afterwards(ctx, told, value, signed)
    if value["state"] != WAITS:
        raise HandslagError("HS-STATUTE-OVER")  # perhaps it went: nobody is told to begin again
    if verdict != "CONFIRMED":
        put(ctx, disclosure_id, over(value, REFUSED))
        return None
    return await send(ctx, disclosure_id, signed)


async def send(ctx: Context, disclosure_id: bytes, second: tuple[bytes, bytes] | None) -> StatuteAnswer:
    """Send a decision once, with the second person's word and signature or, in acute danger, without.

    A lost answer is fetched by the same call. Raises `HS-STATUTE-SECOND`, `HS-KEY-UNTRUSTED`, and what the broker
    raises; then it waits as before.
    """
    ctx.witness.check_running()
    value = one(ctx, disclosure_id)
    statement = bytes.fromhex(value["statement"])
    told, seat = StatutoryDisclosure.from_bytes(statement), ctx.identities.get(value["ref"])
    if second is None and not told.acute:
        raise HandslagError("HS-STATUTE-SECOND")
    held = approving.held(ctx, told.provision_id)
    if held is None or sha256(held[0]) != told.approval_hash:
        raise HandslagError("HS-PROVISION-UNREVIEWED")
    examined(ctx, seat, told, None if second is None else SecondWord.from_bytes(second[0]), held[0])
    request = _request(ctx, seat, value, told, second, held) if "request" not in value else _again(value)
    return await _called(ctx, disclosure_id, value, request)


async def _called(ctx: Context, disclosure_id: bytes, value: dict[str, Any], request: StatuteRequest) -> StatuteAnswer:
    """Make the call, the same one until it is answered, and keep what it said."""
    put(ctx, disclosure_id, {**value, "request": request.to_bytes().hex()})
    try:
        answer = await ctx.kept_call("/v1/disclosures:statutory", request.call_id, request, StatuteAnswer)
    except HandslagError as error:
        # INVARIANT: test_a_decision_that_met_other_rules_is_tried_anew
        if not error.entry.retriable or error.code == "HS-RULES-OTHER":
            kept = {name: each for name, each in value.items() if name != "request"}
            put(ctx, disclosure_id, kept)  # nothing was recorded: the next try is a call of its own
        raise
    ctx.spool.memory.want_proof(answer.leaf_hash, "statute", ctx.now(), request.seat_id)
    state = REFUSED if answer.outcome != Outcome.RELEASED else (DONE if answer.confirm_by_us is None else SENT)
    kept = {"outcome": answer.outcome, "confirm_by_us": answer.confirm_by_us, "entry_id": answer.entry_id.hex()}
    put(ctx, disclosure_id, {**over(value, state), **kept})
    return answer


def _no_fallback(ctx: Context, given: Decision) -> None:
    """Raise `HS-STATUTE-FALLBACK` where what is named is an event of this unit's own: withheld, waiting or sent."""
    # INVARIANT: test_it_is_never_made_from_what_consent_withheld
    if given.in_reply_to is None:
        return
    try:
        ctx.spool.outgoing.get(parsed(given.in_reply_to))
    except HandslagError as error:
        if error.code != "HS-EVENT-UNKNOWN":
            raise
        return
    raise HandslagError("HS-STATUTE-FALLBACK")


def _filled(given: Decision) -> dict[str, Any]:
    """The event's fields, each with the provision and the number to call back."""
    whole = {}
    for name, value in given.data.items():
        if not isinstance(value, Mapping) or set(value) != {"statements"} or not value["statements"]:
            raise HandslagError("HS-INPUT-INVALID", field="data")
        whole[name] = {"provision": given.provision, "call_back": given.call_back, **value}
    return fields.from_json(TYPE, whole)


def _sealed(ctx: Context, seat: Seat, given: Decision) -> SealedEvent:
    sections = projection.split(TYPE, _filled(given))
    now = ctx.now()
    plan = SealPlan(
        case_tag=seat.case_tag,
        seat_id=seat.sid,
        event_id=uuid7(now, ctx.random(10)),
        event_type=TYPE,
        occurred_at_us=now,
        sent_at_us=now,
        purpose=codes.known("purpose", given.purpose, "purpose"),
        action="DISCLOSE",
        statement_kind="ASSESSMENT",
        in_reply_to=parsed(given.in_reply_to) if given.in_reply_to else None,
        roles=(codes.known("role", given.role, "to"),),
        sections=sections,
        public_interest_released=frozenset(given.released) & sections.keys(),
        is_minor=False,
        protected_handling=False,
        regime=ctx.settings.regime,
        basis=BASIS,
    )
    return sealing.seal_event(plan, seat.keys, ctx.random)


def _statement(
    ctx: Context,
    seat: Seat,
    given: Decision,
    sealed: SealedEvent,
    approval: bytes,
    officer: str,
    keys: UnitKeyPair,
    notes: list[StatuteNote],
) -> StatutoryDisclosure:
    categories = tuple(section.category for section in sealed.sections)
    return StatutoryDisclosure(
        disclosure_id=ctx.random(16),
        case_tag=seat.case_tag,
        member=seat.member,
        core_hash=sha256(sealed.core),
        digests_hash=sha256(sealed.digests),
        role=given.role,
        purpose=given.purpose,
        categories=categories,
        public_interest_released=tuple(c for c in categories if c in given.released),
        provision_id=given.provision,
        provisions_hash=provisions.shipped().hash32,
        approval_hash=sha256(approval),
        initiated_by="RECIPIENT_REQUEST" if given.request else "OWN_INITIATIVE",
        request_commit=notes[1].commitment if given.request else None,
        necessity_commit=notes[0].commitment,
        secrecy=given.secrecy,
        exclusions=given.exclusions,
        balanced=given.balanced,
        age=given.age,
        consent_sought=given.consent_sought,
        subject_informed=given.subject_informed,
        inform_by_us=given.inform_by_us,
        acute=given.acute,
        decider_ref=officer,
        decider_key=keys.public.signing,
        assurance=PROVEN,
        decided_at_us=ctx.now(),
    )


def _request(
    ctx: Context,
    seat: Seat,
    value: Mapping[str, Any],
    told: StatutoryDisclosure,
    second: tuple[bytes, bytes] | None,
    held: tuple[bytes, bytes],
) -> StatuteRequest:
    """The call: the sealed event for the role's key of today, whole, and every signature."""
    holder = sending.holder_keys(ctx, seat, told.role)
    agency = ctx.trusted.agency_key(ctx.settings.agency)
    if holder is None or agency is None:
        raise HandslagError("HS-KEY-UNTRUSTED", check="no-key")
    statement = bytes.fromhex(value["statement"])
    sealed = SealedEvent.from_bytes(bytes.fromhex(value["sealed"]), sealing.SEALED_BYTES)
    given = {told.role: Given(holder, frozenset(told.categories))}
    return StatuteRequest(
        call_id=ctx.random(16),
        seat_id=seat.sid,
        agency_key=agency,
        disclosure=SignedDisclosure(
            statement=statement,
            seat_signature=seat.keys.sign(statement),
            unit_signature=ctx.unit_keys.sign(statement),
            decider_signature=bytes.fromhex(value["decider_signature"]),
            approval=held[0],
            approval_signature=held[1],
            second=second[0] if second else None,
            second_signature=second[1] if second else None,
            second_seat_signature=seat.keys.sign(second[0]) if second else None,
        ),
        submission=sealing.attempt(sealed, 1, ctx.rules.hash32, None, given),
    )


def _again(value: Mapping[str, Any]) -> StatuteRequest:
    return StatuteRequest.from_bytes(bytes.fromhex(value["request"]), sealing.SEALED_BYTES)


async def _afterwards(
    ctx: Context, told: StatutoryDisclosure, value: Mapping[str, Any], second: tuple[bytes, bytes]
) -> RecordedAnswer:
    """The second person's word about what one person sent in acute danger."""
    seat, call_id = ctx.identities.get(value["ref"]), ctx.random(16)
    request = SecondRequest(
        call_id=call_id,
        seat_id=seat.sid,
        disclosure_id=told.disclosure_id,
        second=second[0],
        second_signature=second[1],
        seat_signature=seat.keys.sign(second[0]),
    )
    answer = await ctx.kept_call("/v1/disclosures:confirm", call_id, request, RecordedAnswer)
    ctx.spool.memory.want_proof(answer.leaf_hash, "statute", ctx.now(), seat.sid)
    put(ctx, told.disclosure_id, {**value, "state": DONE, "verdict": SecondWord.from_bytes(second[0]).verdict})
    return answer
