"""What an act would do, before anybody says it: to what waits, to what was handed over, to what was received.

The same decisions as when it is recorded, on the ledger as it would be; nothing is written but the entry of the look.
Counts and roles only, as in the answer to the act itself: never a unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from broker import affected as consequences
from broker import annulments, endings, queries
from broker.affected import Write
from broker.calls import answered, recorded, request_hash
from broker.context import Context
from broker.holders import supposed
from broker.narrowing import Shrunk, foreseen
from broker.quota import QUERIES
from broker.recordable import require_recordable, require_whole
from broker.rulebook import RulesOf
from broker.store.cases import SeatRow
from broker.store.deliveries import SectionRow
from broker.store.port import Rows
from consent.ledger import LedgerView
from consent.simulate import event_of
from schemas import limits
from schemas.acts import ConsentAct, Holder, LedgerEvent
from schemas.codes import DeliveryState
from schemas.errors import HandslagError
from schemas.explain import SimulateAnswer, SimulatedDelivery, SimulateRequest
from schemas.identifiers import ZERO16, ZERO32

_EVERYTHING = "WITHDRAW_ALL"
_COVERED = frozenset({DeliveryState.PENDING, DeliveryState.HANDED, DeliveryState.ACKED})


async def simulate(context: Context, unit: str, request: SimulateRequest) -> SimulateAnswer:
    """Answer `POST /v1/decisions:simulate`; the CONSULTATION entry commits with the answer.

    An act that would be refused is answered with the code of that refusal and with nothing else. Raises as
    `broker.explaining.explain`, and PayloadRejected for what is no act.
    """
    queries.check(request.query)
    if len(request.act) > limits.ACT:
        raise HandslagError("HS-TOO-LARGE", limit=limits.ACT)
    act = ConsentAct.from_bytes(request.act)
    if (before := await answered(context, unit, request)) is not None:
        return SimulateAnswer.from_bytes(before, limits.SUBMISSION)
    seat = await queries.asked(context, unit, request.seat_id)
    context.quotas.take(seat.unit, {QUERIES: 1})
    found = await context.store.read(lambda rows: _simulated(context, rows, seat, request, act))
    controller, at_us = context.directory.controller(seat.unit), context.now_us()
    payload = replace(queries.looking(seat, request.query), ledger_seq=found.ledger_seq, decided_at_us=found.as_of_us)
    entry = context.recorder.about_seat(seat, controller, "CONSULTATION", payload, at_us)
    told = replace(found, entry_id=entry.entry_id, leaf_hash=entry.leaf_hash)
    raw = told.to_bytes()
    if len(raw) > limits.SUBMISSION:
        raise HandslagError("HS-TOO-LARGE", limit=limits.SUBMISSION)

    def work(rows: Rows) -> SimulateAnswer:
        # INVARIANT: test_simulating_changes_nothing_but_the_trail
        rows.entries.insert([entry])
        rows.units.answer(unit, request.call_id, request_hash(request), raw, at_us)
        return told

    return await recorded(context, unit, request, work, SimulateAnswer, shared=True, limit=limits.SUBMISSION)


def _simulated(
    context: Context, rows: Rows, asking: SeatRow, request: SimulateRequest, act: ConsentAct
) -> SimulateAnswer:
    seat = rows.cases.seat(asking.seat_id) or asking
    view = context.views.of(rows, [seat])[seat.seat_id]
    at_us = max(context.now_us(), view.recorded_at_us)
    nothing = SimulateAnswer(
        call_id=request.call_id,
        as_of_us=at_us,
        ledger_seq=view.ledger_seq,
        counts=(),
        deliveries=(),
        entry_id=ZERO16,
        leaf_hash=ZERO32,
    )
    try:
        named = _recordable(context, rows, seat, act, view, at_us)
    except HandslagError as error:
        return replace(nothing, refused=error.code)
    # INVARIANT: test_an_amendment_to_a_role_does_what_simulating_it_said
    event = event_of(view, request.act, at_us, named)
    write = Write(seat, act, event, _as_told(view.applied(event), view), _as_told(view, view))
    shrunk, received, told = _effects(context, rows, write, event, at_us)
    return replace(
        nothing,
        counts=consequences.counts_of(seat.seat_id, shrunk, received),
        deliveries=tuple(_told(one) for one in _listed(shrunk, told)),
    )


def _as_told(view: LedgerView, recorded: LedgerView) -> LedgerView:
    """The view as far as a trial may show it: a unit counts as not told unless a recorded consent names it.

    Else whoever tries an act that names a guess, or narrows beside a guess noted earlier, reads from what it would
    spare who sits there. What could be meant is listed as stopping.
    """
    # INVARIANT: test_trying_an_act_does_not_tell_which_unit_sits_there
    consented = frozenset(unit for grant in recorded.grants for unit in grant.units)
    return replace(view, named_units=consented)


def _effects(
    context: Context, rows: Rows, write: Write, event: LedgerEvent, at_us: int
) -> tuple[list[Shrunk], consequences.Acked, list[Shrunk]]:
    """What would shrink of what is open, what was received under it, and of what a recipient would be told."""
    after = {write.seat.seat_id: write.view}
    rules_of = context.rules_of(rows)
    waiting = rows.deliveries.open_of_senders(after)
    sections = rows.deliveries.sections([row.delivery_id for row in waiting])
    found = foreseen(rows, waiting, sections, after, rules_of, event.recorded_at_us)
    shrunk = [one for one, _until in found if one.removed]
    lost = endings.lost(rows, [write], rules_of, at_us) if endings.may_end(write) else []
    received = endings.received(rows, [write], lost)
    return shrunk, received, [*lost, *_annulled(rows, write, rules_of, at_us)]


def _annulled(rows: Rows, write: Write, rules_of: RulesOf, at_us: int) -> list[Shrunk]:
    """Releases of whose annulment the recipients would be told; `kept` is what another consent covers beside it."""
    # INVARIANT: test_annulling_tells_whom_trying_it_named
    told = annulments.untold(rows, write)
    found = [row for row, _handed in told]
    sections = rows.deliveries.sections([row.delivery_id for row in found])
    after = foreseen(rows, found, sections, {write.seat.seat_id: write.view}, rules_of, at_us)
    lasting = [one.kept if one.row.state in _COVERED else () for one, _until in after]
    return [
        Shrunk(row, handed, tuple(one for one in kept if one.digest not in _digests(handed)), DeliveryState(row.state))
        for (row, handed), kept in zip(told, lasting, strict=True)
    ]


def _digests(sections: Sequence[SectionRow]) -> set[bytes]:
    return {section.digest for section in sections}


def _listed(shrunk: Sequence[Shrunk], told: Sequence[Shrunk]) -> list[Shrunk]:
    """Each delivery once: what is recalled and told of as annulled as well, with every section that either names."""
    every = {one.row.delivery_id: one for one in shrunk}
    for one in told:
        first = every.get(one.row.delivery_id, one)
        more = tuple(section for section in first.removed if section.digest not in _digests(one.removed))
        every[one.row.delivery_id] = replace(one, removed=(*one.removed, *more))
    return list(every.values())


def _recordable(
    context: Context, rows: Rows, seat: SeatRow, act: ConsentAct, view: LedgerView, at_us: int
) -> tuple[Holder, ...]:
    """Who would be noted to hold each role that the act names; raises what recording it now would raise."""
    if act.act == _EVERYTHING:  # that one is the broker's own: the person's word about every ledger of the case
        require_whole(rows, seat, act.case_tag, act.member, act.effective_at_us, at_us)
        return ()

    def noting(rows: Rows, seat: SeatRow, act: ConsentAct) -> tuple[Holder, ...]:
        return supposed(rows, seat, act, view)

    return require_recordable(context, rows, seat, act, at_us, noting)


def _told(one: Shrunk) -> SimulatedDelivery:
    return SimulatedDelivery(
        event_id=one.row.event_id,
        event_type=one.row.event_type,
        role=one.row.role,
        state=one.row.state,
        removed=_categories(one.removed),
        kept=_categories(one.kept),
    )


def _categories(sections: Sequence[SectionRow]) -> tuple[str, ...]:
    return tuple(sorted({section.category for section in sections}))
