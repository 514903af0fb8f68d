"""The three things the probe does, each with its own judgement of what came of it.

*Released*: a message under a consent is in the recipient's hands and acknowledged. *Withheld*: the same message for a
purpose nobody consented to is refused, and does not arrive. *Withdrawal*: while one message is on its way, the
recipient's side records that the person takes everything back; that message must not be handed over any more, and one
that the sender, who has not heard of it, sends afterwards must be withheld by the broker alone.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from connectors.client import Message
from connectors.waiting import OutgoingState
from deploy.probe.pair import GRANTED, NEVER_GRANTED, REF, Pair
from schemas.codes import Outcome
from schemas.errors import HandslagError
from schemas.identifiers import parsed

_REMEMBERED = 512
_MARK = "SOND"

Wrong = Callable[[str, dict[str, Any]], None]
"""Told of a delivery that must not have come: its kind, `withheld` or `withdrawal`, and its value."""


class Rounds:
    """What was sent and what came of it; `took` is what the pair calls for each message."""

    def __init__(self, wrong: Wrong, clock: Callable[[], float] = time.monotonic) -> None:
        self._wrong = wrong
        self._clock = clock
        self._run = secrets.token_hex(4)
        self._came: OrderedDict[str, None] = OrderedDict()
        self._outcomes: OrderedDict[str, str] = OrderedDict()
        self._forbidden: OrderedDict[str, str] = OrderedDict()

    def took(self, side: str, message: Message) -> None:
        """Look at one message of either side."""
        value = message.value
        if side == "recipient" and message.kind == "delivery":
            self._delivered(value)
        elif side == "sender" and message.kind == "receipt" and value.get("roles"):
            _put(self._outcomes, str(value["event_id"]), str(value["roles"][0]["outcome"]["code"]))

    def _delivered(self, value: dict[str, Any]) -> None:
        # INVARIANT: test_a_withheld_message_that_arrives_is_seen
        event_id = str(value["event_id"])
        _put(self._came, event_id, None)
        marker = str(value.get("data", {}).get("meeting_id", ""))
        if event_id in self._forbidden:
            self._wrong(self._forbidden[event_id], value)
        elif value.get("purpose") == NEVER_GRANTED or marker.startswith(f"{_MARK}-withheld-"):
            self._wrong("withheld", value)  # also one of an earlier run: no run may get it

    def _marker(self, kind: str) -> str:
        return f"{_MARK}-{kind}-{self._run}"

    def _acknowledged(self, pair: Pair, event_id: str) -> bool:
        return event_id in self._came and pair.sender.context.spool.outgoing.standing(parsed(event_id))[0] is (
            OutgoingState.DONE
        )

    async def released(self, pair: Pair) -> float:
        """Seconds until the message was acknowledged; raises `HS-PROBE-LATE`, `HS-PROBE-REFUSED`."""
        started = self._clock()
        event_id = await pair.send(self._marker("released"), GRANTED)
        await pair.until(lambda: self._acknowledged(pair, event_id) or self._refused(event_id))
        if event_id not in self._came:
            raise HandslagError("HS-PROBE-REFUSED")
        return self._clock() - started

    def _refused(self, event_id: str) -> bool:
        return self._outcomes.get(event_id, Outcome.RELEASED) != Outcome.RELEASED

    async def withheld(self, pair: Pair) -> float:
        """Seconds until the answer said no; the recipient is asked once more. Raises `HS-PROBE-LATE`, `-WRONG`."""
        started = self._clock()
        event_id = await pair.send(self._marker("withheld"), NEVER_GRANTED)
        _put(self._forbidden, event_id, "withheld")
        await pair.until(lambda: event_id in self._outcomes)
        took = self._clock() - started
        await pair.beat("recipient")
        await pair.forget_waiting()
        self._check(event_id)
        return took

    async def withdrawal(self, pair: Pair) -> float:
        """Seconds from the person's word to its last effect; ends with a new grant. Raises as the others."""
        on_its_way = await pair.send(self._marker("withdrawn"), GRANTED)
        await pair.until(lambda: on_its_way in self._outcomes, "sender")
        if self._refused(on_its_way):
            raise HandslagError("HS-PROBE-REFUSED")
        started = self._clock()
        # INVARIANT: test_a_withdrawal_that_does_not_bite_is_seen
        await pair.recipient.withdraw_case(REF, "ORAL_DOCUMENTED")
        _put(self._forbidden, on_its_way, "withdrawal")
        await pair.beat("recipient")
        # The sender's own copy of the ledger still permits it: what stops this one is the broker alone.
        unheard = await pair.send(self._marker("withdrawn"), GRANTED)
        _put(self._forbidden, unheard, "withdrawal")
        await pair.until(lambda: unheard in self._outcomes and self._taken_back(pair, on_its_way))
        took = self._clock() - started
        await pair.beat("recipient")
        await pair.forget_waiting()
        self._check(unheard, on_its_way)
        await pair.grant()
        return took

    @staticmethod
    def _taken_back(pair: Pair, event_id: str) -> bool:
        state = pair.sender.context.spool.outgoing.standing(parsed(event_id))[0]
        return state not in {OutgoingState.SENT, OutgoingState.DECIDED}

    def _check(self, *event_ids: str) -> None:
        """Raise `HS-PROBE-WRONG` when one of these was released after all, or arrived."""
        if any(event_id in self._came for event_id in event_ids) or not self._refused(event_ids[0]):
            raise HandslagError("HS-PROBE-WRONG")


def _put(into: OrderedDict[str, Any], key: str, value: Any) -> None:
    into[key] = value
    while len(into) > _REMEMBERED:
        into.popitem(last=False)
