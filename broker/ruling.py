"""Rule sets on their way into force: proposed, put in force, approved, and what is open decided anew.

What closes holds from the transaction of the ACTIVATE act on: it moves every gate, then every open delivery is decided
by the new rules, or, where there are many, held in one UPDATE until `recheck` has looked at it. What opens waits for
each discloser's own approval, which moves every gate too: nothing is decided by rules that were read before it.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from audit.administration import ACT
from audit.entry import SealedEntry
from broker.acts import tell_shrunk
from broker.calls import signed_by
from broker.context import Context
from broker.entering import held_otherwise
from broker.narrowing import shrink
from broker.rulebook import counting
from broker.store.gate import Bump
from broker.store.port import Rows
from broker.store.rules import ApprovalRow
from broker.store.tables import BUCKETS
from consent.rules import parse
from consent.rules_check import check, ready
from schemas import limits
from schemas.admin import ACTIVATE, PROPOSE, RULES, AdminAct, SignedAdminAct
from schemas.errors import HandslagError
from schemas.rules import (
    RecordedApproval,
    RulesApproval,
    RulesStateAnswer,
    RulesStateRequest,
    SignedApproval,
)
from schemas.trail import Payload

AT_ONCE = 1_000  # open deliveries that one transaction decides anew; more of them would make a withdrawal wait
_PIECE = 200
_CLOSED = "CATEGORY_NOT_ALLOWED"  # what recipients and senders are told: a rule, not the person


def fit(file: bytes, today: datetime.date) -> None:
    """Raise `HS-RULES-INVALID` or `HS-RULES-UNREADY` unless a file may be proposed; `rules check` says why."""
    parse(file)
    if not ready(check(file, today)):
        raise HandslagError("HS-RULES-UNREADY")


def effect(context: Context, rows: Rows, raw: bytes, at_us: int) -> None:
    """What an administrative act does to the rules, in the transaction that records it; nothing for any other act."""
    act = AdminAct.from_bytes(raw, ACT)
    if act.kind == PROPOSE and act.rules is not None and act.subject is not None:
        rows.rules.propose(act.number, act.subject, act.rules)
    elif act.kind == ACTIVATE and act.subject is not None:
        # INVARIANT: test_what_closes_is_stopped_in_the_transaction_that_activates_it
        clock = _bump_all(rows, at_us)
        rows.rules.step(act.number, context.rules.hash32, act.subject)
        _look_anew(context, rows, clock)
    elif act.kind == RULES and act.subject is not None:
        _install(context, rows, {act.number: act.subject}, at_us)


async def noted(context: Context, signed: Sequence[SignedAdminAct]) -> None:
    """Note where rules of an installation took force by acts recorded before the store kept that."""
    # INVARIANT: test_a_store_of_before_learns_where_rules_came_back
    acts = [AdminAct.from_bytes(each.act, ACT) for each in signed]
    every = {act.number: act.subject for act in acts if act.kind == RULES and act.subject is not None}
    kept = await context.store.read(lambda rows: rows.rules.installed())
    lacking = {number: subject for number, subject in every.items() if number not in kept}
    if lacking:
        await context.store.write(lambda rows: _install(context, rows, lacking, context.now_us()))


def _install(context: Context, rows: Rows, taken: Mapping[int, bytes], at_us: int) -> None:
    """Rules of an installation take force by the acts of these numbers; what lay on those before is gone."""
    clock = _bump_all(rows, at_us)
    for number, base_hash in taken.items():
        rows.rules.install(number, base_hash)
    _look_anew(context, rows, clock)


def _look_anew(context: Context, rows: Rows, clock: int) -> None:
    """Decide anew what is open, or hold it where it is much."""
    waiting = rows.rules.open_deliveries()
    if len(waiting) > AT_ONCE:
        # INVARIANT: test_many_open_deliveries_are_held_until_each_was_decided_anew
        rows.rules.hold_all(waiting)
        return
    _decide_anew(context, rows, waiting, clock)


def _decide_anew(context: Context, rows: Rows, delivery_ids: Sequence[bytes], at_us: int) -> None:
    """Shrink these open deliveries to what the rules of now allow, and tell."""
    found = [row for row in rows.deliveries.get(delivery_ids).values() if row.state in {"PENDING", "HANDED"}]
    senders = rows.cases.seats({row.sender_seat for row in found})
    views = context.views.of(rows, senders.values())
    shrunk = shrink(rows, found, views, context.rules_of(rows), at_us)
    tell_shrunk(context, rows, shrunk, at_us, _CLOSED)


async def recheck(context: Context) -> int:
    """Decide anew what new rules hold back, piece by piece, and let go what is still covered; returns how many.

    Like every ledger write each piece moves the gates first, so that neither waits for the other in a circle.
    """
    done = 0
    while await context.store.read(lambda rows: rows.rules.waiting(1)):
        done += await _piece(context)  # each is a transaction: a withdrawal that came meanwhile goes between
    return done


async def _piece(context: Context) -> int:

    def work(rows: Rows) -> int:
        at_us = _bump_all(rows, context.now_us())
        ids = rows.rules.waiting(_PIECE)
        _decide_anew(context, rows, ids, at_us)
        kept = rows.deliveries.get(ids).values()
        free = [row.delivery_id for row in kept if row.held and not held_otherwise(rows, row)]
        rows.deliveries.let_go(free)
        rows.rules.looked_at(ids)
        return len(ids)

    return await context.store.write(work)


async def state(context: Context, unit: str, request: RulesStateRequest) -> RulesStateAnswer:
    """Answer `POST /v1/rules:state`: record the unit's approvals that are new, then say where its rules stand.

    Raises `HS-RULES-UNKNOWN` for a rule set that nobody proposed, `HS-RULES-OTHER` for another unit or log,
    `HS-SIGNATURE-INVALID`, `HS-TOO-LARGE`.
    """
    if len(request.approvals) > limits.APPROVALS:
        raise HandslagError("HS-TOO-LARGE", limit=limits.APPROVALS)
    for signed in request.approvals:
        await _approve(context, unit, signed)
    return await context.store.read(lambda rows: _stands(context, rows, unit))


def _stands(context: Context, rows: Rows, unit: str) -> RulesStateAnswer:
    return RulesStateAnswer(
        base=context.rules.hash32,
        steps=tuple(parse(file).hash32 for file in rows.rules.steps(context.rules.hash32)),
        proposed=tuple(rows.rules.proposed()),
        effective=context.rules_of(rows)(unit).hash32,
        approvals=tuple(
            RecordedApproval(rules_hash=row.rules_hash, entry_id=row.entry_id, leaf_hash=row.leaf_hash)
            for row in counting(rows, unit)
        ),
    )


async def _approve(context: Context, unit: str, signed: SignedApproval) -> None:
    """Record one approval, once: the entry is the unit's own."""
    approval = RulesApproval.from_bytes(signed.approval, limits.ACT)
    # INVARIANT: test_only_the_unit_itself_approves_for_its_releases
    if (approval.unit, approval.origin) != (unit, context.origin):
        raise HandslagError("HS-RULES-OTHER")
    signed_by(context.directory.get(unit).signing_key, signed.signature, signed.approval)
    at_us = context.now_us()
    payload = Payload(
        act=signed.approval,
        act_signature=signed.signature,
        rules_hash=approval.rules_hash,
        actor_ref=approval.actor_ref,
        assurance=approval.assurance,
        decided_at_us=at_us,
    )
    controller = context.directory.controller(unit)
    entry: SealedEntry = context.recorder.about_unit(unit, controller, "ADMIN", payload, at_us)

    def work(rows: Rows) -> None:
        _bump_all(rows, at_us)
        if rows.rules.file(approval.rules_hash) is None:
            raise HandslagError("HS-RULES-UNKNOWN")
        if _known(rows, unit, approval):
            return
        rows.entries.insert([entry])
        rows.rules.approve(ApprovalRow(unit, approval.rules_hash, entry.entry_id, entry.leaf_hash, at_us))

    if not await context.store.read(lambda rows: _known(rows, unit, approval)):  # said again, it moves no gate
        await context.store.write(work)


def _known(rows: Rows, unit: str, approval: RulesApproval) -> bool:
    return any(row.rules_hash == approval.rules_hash for row in rows.rules.approvals(unit))


def _bump_all(rows: Rows, at_us: int) -> int:
    """Move every gate, in their order; returns the furthest ledger clock."""
    bumps: list[Bump] = [rows.gate.bump(bucket, 1, at_us) for bucket in range(BUCKETS)]
    return max(bump.clock_us for bump in bumps)
