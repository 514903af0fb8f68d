"""Taking a bundle: the unit's signature, each submission's consistency, its seat; then the stream."""

from __future__ import annotations

from collections import defaultdict

from audit.entry import SealedEntry
from audit.merkle import inclusion_proofs, leaf_hash, root
from broker.calls import signed_by
from broker.context import Context
from broker.pace import paced
from broker.room import short_of_room
from schemas.calls import ItemRefusal, SubmitAnswer, SubmitRequest
from schemas.checks import CheckedSubmission, check_bundle, check_submission
from schemas.codes import SeatState
from schemas.envelope import Submission
from schemas.errors import HandslagError
from schemas.stream_record import StreamRecord
from schemas.trail import Payload


async def submit(context: Context, unit: str, request: SubmitRequest) -> SubmitAnswer:
    """Answer `POST /v1/submissions`: 202 with per-item refusals; it acknowledges nothing.

    Raises `HS-BUNDLE-INVALID`, `HS-TOO-LARGE`, `HS-SIGNATURE-INVALID` for the bundle as a whole.
    """
    signed_by(context.directory.get(unit).signing_key, request.unit_signature, request.bundle)
    _statement, leaves = check_bundle(
        request, origin=context.origin, unit=unit, root=lambda raw: root([leaf_hash(one) for one in raw])
    )
    paths = inclusion_proofs([leaf_hash(leaf) for leaf in leaves])
    checked, refusals = await _checked(request)
    late: list[ItemRefusal] = []  # of these nothing is recorded: the sender tries again, and nothing was decided
    for index, code in (await short_of_room(context, unit, checked)).items():
        del checked[index]
        late.append(ItemRefusal(index=index, code=code))
    seat_ids = {one.routing.seat_id for one in checked.values()}
    seats, held = await context.store.read(lambda rows: (rows.cases.seats(seat_ids), rows.hold.held(seat_ids)))
    records: dict[int, list[bytes]] = defaultdict(list)
    now_us = context.now_us()
    async for index, one in paced(checked.items()):
        seat = seats.get(one.routing.seat_id)
        if seat is None or seat.unit != unit or seat.state == SeatState.CLOSED:
            refusals.append(ItemRefusal(index=index, code="HS-SEAT-UNKNOWN"))
            continue
        if seat.seat_id in held:
            refusals.append(ItemRefusal(index=index, code="HS-HOLD"))
            continue
        records[seat.bucket].append(_record(unit, request, index, tuple(paths[index]), one.submission, now_us))
    if refusals:
        await _record_refusals(context, unit, refusals, now_us)
    if records:
        await context.stream.append(records, unit)
    accepted = sum(map(len, records.values()))
    context.metrics.submitted(accepted, probe=context.directory.is_probe(unit))
    refusals += late
    return SubmitAnswer(accepted=accepted, refusals=tuple(sorted(refusals, key=lambda refusal: refusal.index)))


async def _checked(request: SubmitRequest) -> tuple[dict[int, CheckedSubmission], list[ItemRefusal]]:
    good: dict[int, CheckedSubmission] = {}
    refusals: list[ItemRefusal] = []
    async for index, submission in paced(enumerate(request.submissions)):
        try:
            good[index] = check_submission(submission)
        except HandslagError as error:
            refusals.append(ItemRefusal(index=index, code=error.code))
    return good, refusals


def _record(
    unit: str, request: SubmitRequest, index: int, path: tuple[bytes, ...], submission: Submission, now_us: int
) -> bytes:
    return StreamRecord(
        unit=unit,
        received_at_us=now_us,
        bundle=request.bundle,
        unit_signature=request.unit_signature,
        index=index,
        path=path,
        submission=submission,
    ).to_bytes()


async def _record_refusals(context: Context, unit: str, refusals: list[ItemRefusal], now_us: int) -> None:
    """One REFUSAL entry per item, under the unit's key: it is about no seat we may name."""
    controller = context.directory.controller(unit)
    entries: list[SealedEntry] = [
        context.recorder.about_unit(unit, controller, "REFUSAL", Payload(code=refusal.code), now_us)
        for refusal in refusals
        if refusal.code != "HS-HOLD"  # comes again until the hold ends: not an entry each time
    ]
    await context.store.write(lambda rows: rows.entries.insert(entries), shared=True)
    for refusal in refusals:
        context.metrics.refused(refusal.code)
