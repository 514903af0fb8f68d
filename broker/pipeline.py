"""THE MAIN PATH: from submissions that wait in one bucket to deliveries, receipts and audit entries.

Read the gate, resolve, decide, prepare; then one transaction whose first statement moves the gate. When the gate
moved meanwhile nothing is written and the batch is read again: that alone is exactly-once, fencing and the end of a
withdrawn permission.
"""

from __future__ import annotations

import asyncio

from broker.context import Context
from broker.effects import Effects, prepare, refuse
from broker.judge import judge
from broker.pace import paced
from broker.resolve import Resolved, Waiting, decoded, one_per_event, resolve
from broker.store.gate import Gate, GateMoved
from broker.store.port import Rows
from schemas.errors import HandslagError
from schemas.trail import Payload

ENGINE = frozenset({"HS-NOT-RECORDED", "HS-NOT-READY"})  # the store failed, not the submission: it is decided again
BATCH = 200  # bounds one transaction; a withdrawal waits for at most one of them


async def decide_next(context: Context, bucket: int, limit: int = BATCH) -> int:
    """Decide what waits in `bucket`, at most `limit` submissions; returns how many were decided.

    Raises GateMoved when a ledger write or another node came between: call again. Any other error leaves everything
    undecided; the worker then halves the batch until one submission stands alone, for `decide_alone`.
    """
    started_us = context.now_us()
    gate = await context.store.read(lambda rows: rows.gate.read(bucket))
    raw = await context.stream.read(bucket, gate.next_position, limit)
    batch = one_per_event([decoded(*record) async for record in paced(raw)])
    if not batch:
        await context.stream.trim(bucket, gate.next_position)  # what a node decided and died before it forgot
        return 0
    at_us = max(context.now_us(), gate.clock_us)
    resolved = await context.store.read(lambda rows: resolve(rows, batch, context.views, context.rules_of(rows), at_us))
    decided = [(one, judge(one, one.rules, at_us)) async for one in paced(resolved)]
    prepared = await prepare(context, decided, at_us)
    effects = await asyncio.to_thread(prepared.sealed, context.store.sealing)
    end = batch[-1].position + 1
    await context.store.write(lambda rows: _commit(rows, gate, end, at_us, effects), shared=True)
    await context.stream.trim(bucket, end)
    context.metrics.batched((context.now_us() - started_us) / 1e6)
    return len(batch)


async def count_next(context: Context, bucket: int, limit: int) -> int:
    """How many submissions `decide_next` would take now."""
    gate = await context.store.read(lambda rows: rows.gate.read(bucket))
    return len(await context.stream.read(bucket, gate.next_position, limit))


async def decide_alone(context: Context, bucket: int) -> int:
    """Decide the first submission that waits; refuse it with a code and an entry when that fails. Returns 1, or 0.

    Raises GateMoved as `decide_next`, and what the store raises when it fails.
    """
    gate = await context.store.read(lambda rows: rows.gate.read(bucket))
    try:
        return await decide_next(context, bucket, limit=1)
    except GateMoved:
        raise
    except Exception as error:
        if isinstance(error, HandslagError) and error.code in ENGINE:
            raise
        context.faults(error)
        # INVARIANT: test_another_node_s_progress_is_not_refused
        return await _refuse(context, gate)


async def _refuse(context: Context, gate: Gate) -> int:
    """Refuse what stands at the gate as it was read before the attempt: where it moved, nobody is refused."""
    raw = await context.stream.read(gate.bucket, gate.next_position, 1)
    if not raw:
        return 0
    at_us = max(context.now_us(), gate.clock_us)
    effects = Effects()
    position, record = raw[0]
    try:
        waiting: Waiting = decoded(position, record)
    except HandslagError as error:
        # Only a damaged or newer stream holds such a record: nobody can be told, so the operator's trail is.
        effects.entries.append(context.recorder.about_operator("REFUSAL", Payload(code=error.code), at_us))
    else:
        sender = await context.store.read(lambda rows: rows.cases.seat(waiting.routing.seat_id))
        refuse(context, effects, waiting, sender, "HS-DECISION-FAILED", at_us)
    end = position + 1
    await context.store.write(lambda rows: _commit(rows, gate, end, at_us, effects), shared=True)
    await context.stream.trim(gate.bucket, end)
    return 1


def _commit(rows: Rows, gate: Gate, end: int, at_us: int, effects: Effects) -> None:
    """The one transaction of a batch. INVARIANT: test_no_release_after_ack, the gate row comes first."""
    rows.gate.advance(gate, end, at_us)
    effects.write(rows)


__all__ = ["BATCH", "ENGINE", "Resolved", "count_next", "decide_alone", "decide_next"]
