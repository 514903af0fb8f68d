"""Writes down what a connector does, from inside its process: each fact is one line, appended in one write.

The connector has no hooks for it. The launcher of a run wraps the functions named here; what is written is what the
connector itself was told, sent, was answered and gave, at the moment it knew. `received` is written before anything
else is done with a delivery, `answered` when the call returns: whoever compares the two errs against the product.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any

Note = Callable[..., None]
_EVENTS = ("send", "introduce")
_TERMS = ("recipients", "categories", "purposes", "consent", "scope")


class Recorder:
    """Appends facts of one unit to one file; lines survive a SIGKILL of the process."""

    def __init__(self, path: str, unit: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self._unit = unit
        self._lock = threading.Lock()
        with os.fdopen(os.dup(self._file), "rb") as before:
            before.seek(0)
            self._n = sum(1 for _ in before)

    def __call__(self, what: str, **values: Any) -> None:
        with self._lock:
            self._n += 1
            head = {"unit": self._unit, "n": self._n, "at": time.monotonic_ns() // 1000,
                    "wall": time.time_ns() // 1000, "what": what}  # fmt: skip
            os.write(self._file, json.dumps({**head, **values}).encode() + b"\n")


def named(identifier: bytes | None) -> str | None:
    """An identifier as histories spell it."""
    return None if identifier is None else identifier.hex()[-12:]


def install(note: Note) -> None:
    """Wrap the connector of this process."""
    _commands(note)
    _calls(note)
    _sending(note)
    _coming(note)
    _given(note)


def _commands(note: Note) -> None:
    from connectors import executor
    from schemas.identifiers import parsed

    submit, give_up = executor.submit, executor.give_up

    def submitted(ctx: Any, command: Any, mark: bytes | None = None) -> bytes:
        done = submit(ctx, command, mark)
        value = command.model_dump(exclude_none=True)
        told = {"id": value.get("id", ""), "do": value["do"]}
        if command.do in _EVENTS:
            event = ctx.spool.outgoing.get(done)
            parts = {row.category for row in ctx.spool.outgoing.sections(done)}
            note("accepted", **told, event=named(done), to=event.event["to"], purpose=event.event["purpose"],
                 categories=sorted(parts))  # fmt: skip
        else:
            terms = {name: value[name] for name in _TERMS if name in value}
            if "consent" in terms:
                terms["consent"] = named(parsed(terms["consent"]))
            note("accepted", **told, **terms)
        return done

    def ended(ctx: Any, command: Any, error: Any) -> None:
        give_up(ctx, command, error)
        note("ended", id=command.value.get("id", ""), do=command.kind, code=error.code)

    executor.submit, executor.give_up = submitted, ended  # type: ignore[assignment]


def _calls(note: Note) -> None:
    """Consent calls: which command asks is known one level up, when it asks one level down."""
    from connectors import acts
    from connectors.link import Link
    from schemas.acts import ConsentAct

    call, recorded = Link.call, acts._recorded
    asking: dict[bytes, dict[str, str]] = {}

    async def record(ctx: Any, command: Any) -> Any:
        asking[b"now"] = {"id": command.value.get("id", ""), "do": command.kind}
        return await recorded(ctx, command)

    async def called(self: Any, path: str, request: Any, answer: Any, **how: Any) -> Any:
        if path != "/v1/consents":
            return await call(self, path, request, answer, **how)
        who = asking.setdefault(request.call_id, asking.get(b"now", {"id": "", "do": ""}))
        note("asked", **who, call=named(request.call_id))
        got = await call(self, path, request, answer, **how)
        affected = [[named(a.delivery_id), named(a.event_id), a.role, a.hand_number, a.state_before]
                    for a in got.affected]  # fmt: skip
        consent = None if who["do"] == "withdraw_case" else named(ConsentAct.from_bytes(request.act).consent_id)
        note("answered", **who, call=named(request.call_id), seq=got.ledger_seq, consent=consent, affected=affected)
        return got

    acts._recorded, Link.call = record, called  # type: ignore[method-assign]


def _sending(note: Note) -> None:
    from connectors import outcomes, sending
    from connectors.spool.outgoing import Outgoing

    posting, noted, receipt, notice = Outgoing.posting, sending._noted, outcomes.receipt, outcomes.notice

    def posted(self: Any, event_ids: Any) -> None:
        chosen = list(event_ids)
        posting(self, chosen)
        note("posted", events=[[named(event), self.standing(event)[1]] for event in chosen])

    def taken(ctx: Any, chosen: Any, answer: Any) -> None:
        refused = {refusal.index for refusal in answer.refusals}
        note("taken", events=[[named(e.event_id), e.attempt] for i, e in enumerate(chosen) if i not in refused])
        noted(ctx, chosen, answer)

    def decided(ctx: Any, item: Any, told: Any) -> None:
        receipt(ctx, item, told)
        if told.refused_code != "HS-HOLD":
            roles = {role.role: {s.category: [s.released, s.carried_by] for s in role.sections} for role in told.roles}
            note("decided", event=named(told.event_id), attempt=told.attempt, decided_at=told.decided_at_us,
                 roles=roles, refused=told.refused_code)  # fmt: skip

    def noticed(ctx: Any, item: Any, told: Any) -> None:
        notice(ctx, item, told)
        note("notice", code=told.code, event=named(told.event_id), role=told.role, categories=list(told.categories),
             detail=told.detail)  # fmt: skip

    Outgoing.posting, sending._noted = posted, taken  # type: ignore[method-assign, assignment]
    outcomes.receipt, outcomes.notice = decided, noticed  # type: ignore[assignment]


def _coming(note: Note) -> None:
    from connectors import inbox
    from connectors.opening import core_of
    from schemas import limits
    from schemas.acts import ConsentAct
    from schemas.envelope import Delivery, SectionItem
    from schemas.inbox import LedgerNotice

    take, recall, ledger = inbox.take, inbox._recall, inbox._ledger

    def came(ctx: Any, item: Any) -> None:
        if item.kind == "DELIVERY":
            delivery = Delivery.from_bytes(item.body, 2 * limits.SUBMISSION)
            core = core_of(delivery)
            categories = [SectionItem.from_bytes(s.item, 2 * limits.SUBMISSION).category for s in delivery.sections]
            known = ctx.spool.incoming.known(delivery.delivery_id)
            note("received", delivery=named(delivery.delivery_id), hand=delivery.hand_number,
                 event=named(core.event_id), purpose=core.purpose, categories=sorted(categories),
                 known=known)  # fmt: skip
        take(ctx, item)

    def recalled(ctx: Any, item: Any, told: Any) -> None:
        note("recalled", delivery=named(told.delivery_id), event=named(told.event_id))
        recall(ctx, item, told)

    def told(ctx: Any, item: Any, notice: LedgerNotice) -> None:
        note("ledger", seq=notice.event.ledger_seq, act=ConsentAct.from_bytes(notice.event.act).act)
        ledger(ctx, item, notice)

    inbox.take, inbox._recall, inbox._ledger = came, recalled, told


def _given(note: Note) -> None:
    from connectors.adapters.folder import Folder
    from connectors.spool.incoming import Incoming
    from schemas.identifiers import parsed

    give, acked = Folder._give, Incoming.acked

    def given(self: Any, items: Any) -> None:
        give(self, items)
        for item in (each for each in items if each.delivery_id is not None):
            note("given", delivery=named(item.delivery_id), event=named(parsed(item.value["event_id"])),
                 categories=sorted(item.value["categories"]))  # fmt: skip

    def answered(self: Any, ack: Any) -> None:
        known = self.known(ack.item_id)
        acked(self, ack)
        if known is not None:
            note("acked", delivery=named(ack.item_id), verdict=ack.verdict)

    Folder._give, Incoming.acked = given, answered  # type: ignore[method-assign]
