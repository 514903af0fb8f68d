"""The way out: accept, decide, seal, send, settle, wait. Each step is a durable state of the spool.

Between two steps the process may die: what was accepted is sealed later, what was sealed is sent later with the same
bytes, what was sent without a receipt is sent again with the same bytes.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping
from typing import Any

from connectors import fields, ledgers, reports, retry, sealing, stated, waiting
from connectors.context import Context
from connectors.identity import Seat
from connectors.keys import PublicKeys
from connectors.sealing import Given, SealedEvent, SealPlan
from connectors.spool.outgoing import OutgoingEvent
from connectors.waiting import OutgoingState, SectionState, Standing, Step
from schemas import checks, limits, projection
from schemas.calls import SubmitAnswer
from schemas.envelope import Submission
from schemas.errors import HandslagError, registry
from schemas.identifiers import parsed, shown

SUBMISSIONS = "/v1/submissions"
SEALED_TOGETHER = 100  # a bundle this large leaves, and is decided, while the next is being sealed
RECEIPT_WAIT_US = 30_000_000  # a decision takes a second; after this the same bytes are sent again
_ROOM = limits.BUNDLE_BYTES - 128 * 1024  # beside the submissions a bundle carries its statement and lengths


def basis(ctx: Context, seat: Seat, event: Mapping[str, Any]) -> str:
    """What a sealing rests on: ledger, rules, the roles' keys, and what our own decision gives each role *now*.

    Another basis, another look: a consent that ends by itself changes it as a withdrawal does.
    INVARIANT: test_bytes_do_not_leave_after_their_consent_ended.
    """
    digest = hashlib.sha256(ctx.rules.hash32)
    for role in sorted(event["to"]):
        keys = holder_keys(ctx, seat, role)
        given = ",".join(sorted(ledgers.released(ctx, seat, event, role)))
        digest.update(role.encode() + b"\x00" + (keys.key_id if keys else b"") + given.encode() + b"\x00")
    return f"{ctx.spool.memory.head(seat.sid)[0]}/{digest.hexdigest()[:16]}"


def may_sign(ctx: Context, seat: Seat) -> bool:
    """Whether others believe what this seat signs now: its keys are vouched for by a key of this slot or the last."""
    try:
        ctx.members(seat).sender(seat.keys.key_id, ctx.now())
    except HandslagError:
        return False
    return True


def holder_keys(ctx: Context, seat: Seat, role: str) -> PublicKeys | None:
    """The vouched keys of a role's present holder, None when nobody's key chains to the pin."""
    try:
        return ctx.members(seat).holder(role, ctx.now()).keys
    except HandslagError:
        return None


def seal_due(ctx: Context) -> int:
    """Seal what was accepted, and what must be decided anew before it leaves, durable together; returns how many.

    At most `SEALED_TOGETHER`: call again until it is 0.
    """
    with ctx.spool.transaction():
        due = ctx.spool.outgoing.in_state(OutgoingState.ACCEPTED, OutgoingState.SEALED, due_us=ctx.now())
        return _seal_all(ctx, due)


def _seal_all(ctx: Context, events: Iterable[OutgoingEvent]) -> int:
    done = 0
    for event in events:
        if done == SEALED_TOGETHER:
            break
        seat = ctx.identities.by_handle(event.ref)
        if seat is None or not seat.active or ctx.spool.commands.stopped(event.ref):
            continue
        if event.shelf_until_us < ctx.now():
            _to_person(ctx, event)
            continue
        if event.state is OutgoingState.SEALED and event.basis == basis(ctx, seat, event.event):
            continue
        if event.sealed is None and not may_sign(ctx, seat):
            continue  # INVARIANT: test_a_seat_whose_keys_have_lapsed_signs_nothing_until_it_is_confirmed
        # Bytes that may have arrived keep their attempt number for ever; anything else is a new attempt.
        number = max(event.attempt, 1) if not event.posted else event.attempt + 1
        _seal(ctx, seat, event, number)
        done += 1
    return done


def _seal(ctx: Context, seat: Seat, event: OutgoingEvent, number: int) -> None:
    open_now = ctx.spool.outgoing.open_now(event.event_id)
    if not open_now:
        # An earlier attempt, whose receipt came late, released every section.
        with ctx.spool.transaction():
            if event.state is OutgoingState.SEALED:
                ctx.spool.outgoing.move(event.event_id, OutgoingState.SENT)
            settle(ctx, event.event_id)
        return
    try:
        sealed = (
            SealedEvent.from_bytes(event.sealed, sealing.SEALED_BYTES) if event.sealed else _first(ctx, seat, event)
        )
        given = {role: _given(ctx, seat, event.event, role, categories) for role, categories in open_now.items()}
        until = event.event["deadline_at"]
        deadline = fields.moment(until, "deadline_at") if until else None
        submission = sealing.attempt(sealed, number, ctx.rules.hash32, deadline, given)
    except HandslagError as error:
        if event.state is OutgoingState.WAITING:
            _to_person(ctx, event)  # its content stays: a person decides, and no other event waits behind it
        else:
            _refused(ctx, event, error)
        return
    resting = basis(ctx, seat, event.event)
    for role, categories in open_now.items():
        # What this seat itself releases to a role without a key of today goes by itself when there is one.
        keyless = () if given[role].keys else ledgers.released(ctx, seat, event.event, role) & categories
        for category in keyless:
            ctx.spool.outgoing.set_section(event.event_id, role, category, SectionState.KEYLESS)
    ctx.spool.outgoing.sealed(event.event_id, number, sealed.to_bytes(), submission.to_bytes(), resting)


def _given(ctx: Context, seat: Seat, event: Mapping[str, Any], role: str, categories: set[str]) -> Given:
    """Keys and categories this sender itself releases to a role; of the rest neither ciphertext nor key leaves."""
    keys = holder_keys(ctx, seat, role)
    return Given(keys, ledgers.released(ctx, seat, event, role) & categories if keys else frozenset())


def _first(ctx: Context, seat: Seat, event: OutgoingEvent) -> SealedEvent:
    given = event.event
    plan = SealPlan(
        case_tag=seat.case_tag,
        seat_id=seat.sid,
        event_id=event.event_id,
        event_type=event.event_type,
        occurred_at_us=fields.moment(given["occurred_at"], "occurred_at")
        if given["occurred_at"]
        else event.accepted_at_us,
        sent_at_us=ctx.now(),
        valid_until_us=fields.moment(given["valid_until"], "valid_until") if given["valid_until"] else None,
        purpose=given["purpose"],
        action=given["action"],
        statement_kind=given["statement_kind"],
        reliability=given["reliability"],
        in_reply_to=parsed(given["in_reply_to"]) if given["in_reply_to"] else None,
        replaces=parsed(given["replaces"]) if given["replaces"] else None,
        roles=tuple(given["to"]),
        sections=projection.split(event.event_type, fields.from_json(event.event_type, given["data"])),
        **stated.of(given),
        public_interest_released=frozenset(given["public_interest_released"]),
        is_minor=False,
        protected_handling=False,
        regime=ctx.settings.regime,
    )
    return sealing.seal_event(plan, seat.keys, ctx.random)


def _refused(ctx: Context, event: OutgoingEvent, error: HandslagError) -> None:
    """Nothing more will become of it; the agency's system is told why."""
    with ctx.spool.transaction():
        ctx.spool.outgoing.move(event.event_id, OutgoingState.REFUSED)
        what = {"kind": "refused", **reports.error_value(error)}
        reports.event_notice(ctx, event.event_id, event.event_type, event.event.get("id", ""), what)


def _to_person(ctx: Context, event: OutgoingEvent) -> None:
    """The shelf life is over: a named person decides."""
    with ctx.spool.transaction():
        ctx.spool.outgoing.move(event.event_id, OutgoingState.EXPIRED)
        what: dict[str, Any] = {"kind": "waits_for_a_person"}
        states = {row.state for row in ctx.spool.outgoing.sections(event.event_id)}
        alarm = waiting.warning("delivery_expired", event.event_type)
        # A later event of the type, or a part that did arrive, speaks for itself; silence is what must be phoned.
        silent = event.shelf_until_us < ctx.now() and not states & {SectionState.LIVE, SectionState.ACKED}
        if alarm is not None and silent:
            what["warning"] = alarm
        reports.event_notice(ctx, event.event_id, event.event_type, event.event.get("id", ""), what)


async def out(ctx: Context) -> bool:
    """Seal and send one bundle of what may leave now; returns whether there may be more."""
    return bool(seal_due(ctx) + await send_due(ctx))


async def send_due(ctx: Context) -> int:
    """Send one bundle of what is sealed, or sent and unanswered; returns how many submissions it held."""
    ctx.witness.check_running()
    chosen = _chosen(ctx)
    if not chosen:
        return 0
    submissions = [Submission.from_bytes(event.submission or b"", limits.SUBMISSION * 2) for event in chosen]
    request = sealing.bundle(
        submissions,
        origin=ctx.settings.origin,
        unit=ctx.settings.unit,
        bundle_id=ctx.random(16),
        keys=ctx.unit_keys,
    )
    ctx.spool.outgoing.posting(event.event_id for event in chosen)
    try:
        answer = await ctx.link.call(SUBMISSIONS, request, SubmitAnswer)
    except HandslagError as error:
        _put_off(ctx, chosen, error)
        raise
    _noted(ctx, chosen, answer)
    return len(chosen)


def _chosen(ctx: Context) -> list[OutgoingEvent]:
    """What may leave at this moment; a local stop counts up to the last moment before sending."""
    # INVARIANT: test_a_noted_withdrawal_stops_at_once_also_offline
    chosen: list[OutgoingEvent] = []
    room = _ROOM
    for event in ctx.spool.outgoing.in_state(OutgoingState.SEALED, OutgoingState.SENT, due_us=ctx.now()):
        seat = ctx.identities.by_handle(event.ref)
        if seat is None or not seat.active or event.submission is None or ctx.spool.commands.stopped(event.ref):
            continue
        if event.basis != basis(ctx, seat, event.event):
            if event.state is OutgoingState.SENT:
                # Unanswered, and the ground has moved: seal a new attempt instead of repeating the old one.
                _again(ctx, seat, event)
            continue
        size = checks.size_of(Submission.from_bytes(event.submission, limits.SUBMISSION * 2))
        if size > room or len(chosen) == limits.BUNDLE_COUNT:
            break
        room -= size
        chosen.append(event)
    return chosen


def _again(ctx: Context, seat: Seat, event: OutgoingEvent) -> None:
    if event.shelf_until_us < ctx.now():
        _to_person(ctx, event)
    else:
        _seal(ctx, seat, event, event.attempt + 1)


def _put_off(ctx: Context, chosen: list[OutgoingEvent], error: HandslagError) -> None:
    """The bundle's fate is unknown or it was refused as a whole: everything stays, for a later try."""
    with ctx.spool.transaction():
        for event in chosen:
            asked = retry.floor_s(error)
            pause = retry.delay_s(event.tries + 1, random.random(), asked)  # noqa: S311 - spreads load, no secret
            if not retry.again(error):
                pause = retry.CEILING_S
            ctx.spool.outgoing.later(event.event_id, ctx.now() + int(pause * 1e6))


def _noted(ctx: Context, chosen: list[OutgoingEvent], answer: SubmitAnswer) -> None:
    refusals = {refusal.index: refusal.code for refusal in answer.refusals}
    with ctx.spool.transaction():
        for index, sent in enumerate(chosen):
            state, attempt = ctx.spool.outgoing.standing(sent.event_id)
            if attempt != sent.attempt or state not in {OutgoingState.SEALED, OutgoingState.SENT}:
                continue  # the receipt overtook the answer
            code = refusals.get(index)
            if code is None:
                ctx.spool.outgoing.move(sent.event_id, OutgoingState.SENT)
                ctx.spool.outgoing.later(sent.event_id, ctx.now() + RECEIPT_WAIT_US)
                continue
            event = ctx.spool.outgoing.get(sent.event_id)
            error = HandslagError(code if code in registry() else "HS-ANSWER-INVALID")
            if retry.again(error):
                _put_off(ctx, [event], error)
            elif event.attempt > 1:
                # An earlier attempt was taken; its receipt decides.
                ctx.spool.outgoing.move(event.event_id, OutgoingState.SENT)
                settle(ctx, event.event_id)
            else:
                _refused(ctx, event, error)


def arrived(ctx: Context, event: OutgoingEvent, attempt: int) -> OutgoingEvent:
    """The event after a receipt: an attempt whose own answer was lost counts as sent, and is not sealed anew."""
    # INVARIANT: test_a_receipt_stands_for_a_lost_answer
    if event.state is OutgoingState.SEALED and event.posted and event.attempt == attempt:
        ctx.spool.outgoing.move(event.event_id, OutgoingState.SENT)
    return ctx.spool.outgoing.get(event.event_id)


def settle(ctx: Context, event_id: bytes) -> None:
    """Move a decided event to where its sections say it is; an event sealed anew stays where it is."""
    state, _attempt = ctx.spool.outgoing.standing(event_id)
    if state not in {OutgoingState.SENT, OutgoingState.DECIDED, OutgoingState.WAITING}:
        return
    target = waiting.settled(row.state for row in ctx.spool.outgoing.sections(event_id))
    if state is OutgoingState.SENT:
        state = OutgoingState.DECIDED
        ctx.spool.outgoing.move(event_id, state)
    if target is not state:
        ctx.spool.outgoing.move(event_id, target)


def may_go_anew(ctx: Context, event: OutgoingEvent) -> bool:
    """Whether an event that left before may leave again: its seat acts, nothing stops it, and it is not too old."""
    seat = ctx.identities.by_handle(event.ref)
    stopped = seat is None or not seat.active or ctx.spool.commands.stopped(event.ref)
    return not stopped and event.shelf_until_us >= ctx.now()


def send_anew(ctx: Context, event_id: bytes) -> None:
    """Seal an event that waits as a new attempt at once, whatever its last attempt rested on."""
    event = ctx.spool.outgoing.get(event_id)
    seat = ctx.identities.by_handle(event.ref)
    if seat is not None:
        _seal(ctx, seat, event, event.attempt + 1)


def review_waiting(ctx: Context) -> int:
    """Let withheld events go again where consent came, and hand the rest to a person in time; returns how many went."""
    went = 0
    for event in ctx.spool.outgoing.in_state(OutgoingState.WAITING):
        seat = ctx.identities.by_handle(event.ref)
        if seat is None:
            continue
        covered = seat.active and not ctx.spool.commands.stopped(event.ref) and _newly_covered(ctx, seat, event)
        standing = Standing(
            shelf_until_us=event.shelf_until_us,
            newly_covered=covered,
            later_same_type=ctx.spool.outgoing.overtaken(event.event_id),
            rekeyed=_rekeyed(ctx, event),
        )
        match waiting.step(standing, ctx.now()):
            case Step.SEND_AGAIN:
                _seal(ctx, seat, event, event.attempt + 1)
                went += 1
            case Step.ASK_A_PERSON:
                _to_person(ctx, event)
            case Step.KEEP:
                pass
    return went


def _newly_covered(ctx: Context, seat: Seat, event: OutgoingEvent) -> bool:
    """Whether something changed since the last attempt and an open section is released by it."""
    if event.basis == basis(ctx, seat, event.event):
        return False
    return any(
        ledgers.released(ctx, seat, event.event, role) & categories
        for role, categories in ctx.spool.outgoing.open_now(event.event_id).items()
    )


def _rekeyed(ctx: Context, event: OutgoingEvent) -> bool:
    """Whether all that is open of the event was released once and waits for a key alone."""
    states = {row.state for row in ctx.spool.outgoing.sections(event.event_id)}
    return SectionState.KEYLESS in states and SectionState.OPEN not in states


def waiting_list(ctx: Context) -> list[dict[str, Any]]:
    """What waits for consent (WAITING) or for a named person (EXPIRED), oldest first."""
    rows = []
    for event in ctx.spool.outgoing.in_state(OutgoingState.WAITING, OutgoingState.EXPIRED):
        seat = ctx.identities.by_handle(event.ref)
        rows.append(
            {
                "event_id": shown(event.event_id),
                "id": event.event.get("id", ""),
                "ref": seat.ref if seat else "",
                "event_type": event.event_type,
                "state": event.state.value,
                "accepted_at": fields.shown_moment(event.accepted_at_us),
                "goes_by_itself_until": fields.shown_moment(event.shelf_until_us),
                "open": [
                    {"role": row.role, "category": row.category, "reasons": list(row.reasons)}
                    for row in ctx.spool.outgoing.sections(event.event_id)
                    if row.state in {SectionState.OPEN, SectionState.KEYLESS}
                ],
            }
        )
    return rows
