"""The public class: an agency's system written in Python talks to Handslag through `Connector`.

Every method that changes something is durable before it is sent and safe to repeat; every failure is a HandslagError.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from connectors import (
    commands,
    executor,
    hold,
    inbox,
    incidents,
    ledgers,
    retry,
    returning,
    reviews,
    sending,
    settings,
    upkeep,
)
from connectors.context import Context
from connectors.spool.alone import sole_runner
from connectors.spool.commands import Waiting
from connectors.spool.incoming import OutboxItem
from consent.terms import Decision
from schemas import limits
from schemas.errors import HandslagError
from schemas.identifiers import parsed, shown


@dataclass(frozen=True, slots=True)
class Message:
    """Something for the agency's system: `kind` (delivery, invitation, recall, receipt, notice, ...) and its values."""

    kind: str
    value: dict[str, Any]
    item: OutboxItem


class Connector:
    """One unit's connector; an async context manager. Use one per configuration at a time."""

    def __init__(self, config: Path | str) -> None:
        """Read `connector.toml` and open its spool; raises HandslagError naming what is missing."""
        self._config = Path(config)
        self.context = Context.load(settings.load(self._config))
        self._held = ExitStack()

    async def __aenter__(self) -> Self:
        self._held.callback(self.context.spool.close)
        try:
            self._held.enter_context(sole_runner(self.context.settings.data_dir, self._config))
            await self.context.link.__aenter__()
        except HandslagError:
            self._held.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.context.link.__aexit__(kind, error, trace)
        self._held.close()

    async def do(self, **command: Any) -> dict[str, Any]:
        """Carry out one command of docs/folder-adapter.md and return its result; `do` is its name.

        A retriable failure is tried again until the broker answers; cancel the call to stop waiting: the command stays
        durable and goes on by itself. Raises HandslagError of the registry.
        """
        parsed_command = commands.read(json.dumps(command).encode())
        done = executor.submit(self.context, parsed_command)
        if isinstance(parsed_command, commands.Send | commands.Introduce | commands.Discard):
            return {"event_id": shown(done)}
        return await self._finished(done)

    async def _finished(self, command_id: bytes) -> dict[str, Any]:
        attempt = 0
        while True:
            waiting = self.context.spool.commands.get(command_id)
            if waiting.state != "ACCEPTED":
                return _result(waiting)
            if not await executor.run(self.context, waiting):
                attempt += 1
                # What the broker asked to wait is noted with the command.
                noted = self.context.spool.commands.due_in_us(command_id, self.context.now()) / 1e6
                await asyncio.sleep(max(noted, retry.delay_s(attempt, random.random())))  # noqa: S311 - no secret

    async def open_case(self, ref: str, role: str) -> dict[str, Any]:
        """Open a case under the agency's own reference and take the lead's seat."""
        return await self.do(do="open_case", ref=ref, role=role)

    async def invite(self, ref: str, unit: str, role: str, contact: str, person: dict[str, str]) -> dict[str, Any]:
        """Invite a unit; a grant to that unit (IC01, IC12, purpose INTAKE) must be in force."""
        return await self.do(do="invite", ref=ref, unit=unit, role=role, contact=contact, person=person)

    async def accept(self, invitation: str, ref: str) -> dict[str, Any]:
        """Accept an invitation and name its case; the seat is active when the lead's JOIN has come."""
        return await self.do(do="accept", invitation=invitation, ref=ref)

    async def grant(self, ref: str, **terms: Any) -> dict[str, Any]:
        """Record a consent to this unit's disclosure; `terms` as in docs/folder-adapter.md."""
        return await self.do(do="grant", ref=ref, **terms)

    async def block(self, ref: str, **terms: Any) -> dict[str, Any]:
        """Record that the person forbids something."""
        return await self.do(do="block", ref=ref, **terms)

    async def withdraw(self, ref: str, consent: str, **scope: Any) -> dict[str, Any]:
        """Record that the person takes a consent of this unit back; sending stops here before the broker answers."""
        return await self.do(do="withdraw", ref=ref, consent=consent, **scope)

    async def withdraw_case(self, ref: str, method: str, **when: Any) -> dict[str, Any]:
        """The person takes everything back, of every discloser; stopped here from this moment, also offline.

        The result's `in_force_everywhere_at` is the second fact: the broker's time.
        """
        return await self.do(do="withdraw_case", ref=ref, method=method, **when)

    async def introduce(self, ref: str, to: list[str], unit_name: str, function: str, **more: Any) -> dict[str, Any]:
        """Send this seat's contact card."""
        return await self.do(do="introduce", ref=ref, to=to, unit_name=unit_name, function=function, **more)

    async def send(self, ref: str, event_type: str, to: list[str], data: dict[str, Any], **more: Any) -> str:
        """Make an event durable and return its event id; `beat` or a runner seals and sends it."""
        result = await self.do(do="send", ref=ref, event_type=event_type, to=to, data=data, **more)
        return str(result["event_id"])

    def stopped(self, ref: str) -> bool:
        """Whether a withdrawal or block noted here waits to be in force everywhere; nothing of the case leaves."""
        return self.context.spool.commands.stopped(self.context.identities.handle(ref))

    def state(self, event_id: str) -> str:
        """Where an outgoing event stands (docs/folder-adapter.md, "states"); raises `HS-EVENT-UNKNOWN`."""
        return self.context.spool.outgoing.get(parsed(event_id)).state.value

    def waiting_list(self) -> list[dict[str, Any]]:
        """What waits for consent or for a named person."""
        return sending.waiting_list(self.context)

    def may_receive(self, ref: str, role: str, event_type: str, purpose: str, categories: list[str]) -> Decision:
        """This unit's own decision, with all reasons; the broker decides again when something is sent."""
        seat = self.context.identities.get(ref)
        return ledgers.decided(
            self.context,
            seat,
            ledgers.recipient(self.context, seat, role),
            event_type=event_type,
            categories=categories,
            purpose=purpose,
            action="DISCLOSE",
        )

    async def beat(self) -> bool:
        """Everything a connector does on one beat: directory, commands, sending, inbox, acknowledgements, proofs.

        Returns whether more waits to be sent or fetched, so that the next beat should follow at once.
        """
        ctx = self.context
        await returning.announce(ctx)
        if ctx.directory is None:
            await upkeep.directory(ctx)
        await hold.step(ctx)
        await upkeep.checkpoint(ctx)
        await executor.run_due(ctx)
        sending.review_waiting(ctx)
        more = await sending.out(ctx)
        came = await inbox.poll(ctx, wait_s=0)
        while await inbox.send_acks(ctx) == limits.INBOX_ITEMS:
            pass
        await incidents.follow(ctx)
        await reviews.tell_due(ctx)
        upkeep.alarm_late(ctx)
        await upkeep.proofs(ctx)
        return more or came == limits.INBOX_ITEMS

    def came(self) -> list[Message]:
        """What beats have brought and the agency's system has not acknowledged, oldest first, at most 500."""
        return [Message(str(item.value["kind"]), item.value, item) for item in self.context.spool.incoming.to_write()]

    async def receive(self) -> AsyncIterator[Message]:
        """Everything that came for the agency's system, oldest first, without end; `ack` each message.

        What was not acknowledged is yielded again by the next `receive`, also after a crash.
        """
        async for messages in self.receive_many():
            for message in messages:
                yield message

    async def receive_many(self) -> AsyncIterator[list[Message]]:
        """As `receive`, all that came with one beat together: acknowledged together it costs one commit."""
        yielded: set[int] = set()
        while True:
            more = await self.beat()
            waiting = self.came()
            fresh = [message for message in waiting if message.item.number not in yielded]
            yielded = {message.item.number for message in waiting}
            if fresh:
                yield fresh
            if not more:
                await asyncio.sleep(self.context.settings.poll_s)

    def ack(self, *messages: Message) -> None:
        """The agency's system has them: they are never yielded again, and their senders are told on the next beat."""
        with self.context.spool.transaction():
            for message in messages:
                self.context.spool.incoming.written(message.item)


def _result(waiting: Waiting) -> dict[str, Any]:
    if "error" in waiting.value:
        raise HandslagError(waiting.value["error"])
    result = waiting.value["result"]
    assert isinstance(result, dict)
    return result
