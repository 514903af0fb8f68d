"""HOLD: a broker whose store is older than what was seen of it releases nothing until it was told what it lost.

It begins when a store was restored, is behind its anchor, or behind a checkpoint that a connector shows. Every open
seat and its open deliveries are held, what waits undecided is forgotten, and the log is neither sealed nor signed
until the operator states how it goes on (`continuing.py`). Then each seat's connector gives back and confirms
(`replay.py`); a case is free when all of its seats have, because any of them may have noted that the person takes
everything back. All of it is rows of the store: a restart changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from audit.checkpoint import Checkpoint
from audit.continuation import origin_of
from broker.context import Context
from broker.recorder import Recorder
from broker.store.cases import SeatRow
from broker.store.hold import ContinuationRow, HoldRow
from broker.store.port import Rows
from schemas.acts import ConsentAct
from schemas.errors import HandslagError
from schemas.hold import HoldAnswer, SignedContinuation
from schemas.identifiers import ZERO16, ZERO32
from schemas.trail import Payload

RESTORED, ANCHOR, WITNESS = "RESTORED", "ANCHOR", "WITNESS"


@dataclass(frozen=True, slots=True)
class Seen:
    """A tree head that somebody showed: part of the log (1 for the first origin), head, signed note if there is one."""

    number: int
    head: Checkpoint
    note: str | None = None


class Keeper:
    """What the node knows of its hold without asking the store: read at start and after every change."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.row: HoldRow | None = None
        self.continuations: list[ContinuationRow] = []
        self.turn = asyncio.Lock()
        """Held by whoever begins a hold or goes on: a contradiction found before is none after."""

    async def load(self) -> None:
        """Read the hold as it stands."""
        read = self._context.store.read
        self.row, self.continuations = await read(lambda rows: (rows.hold.active(), rows.hold.continuations()))

    @property
    def active(self) -> bool:
        """Whether any seat is held."""
        return self.row is not None

    @property
    def silent(self) -> bool:
        """Whether nothing at all is released: the operator has not stated yet how the log goes on."""
        return self.row is not None and all(one.hold_id != self.row.hold_id for one in self.continuations)

    @property
    def number(self) -> int:
        """The part of the log that is written now."""
        return max((one.number for one in self.continuations), default=1)

    def require_open(self) -> None:
        """Raise HS-HOLD while nothing at all is released, accepted or widened."""
        # INVARIANT: test_a_restored_broker_widens_nothing_before_its_log_goes_on
        if self.silent:
            raise HandslagError("HS-HOLD")

    def answer(self) -> HoldAnswer:
        """Whether any seat is held, and every continuation of the log, for whoever asks."""
        return HoldAnswer(
            active=self.row is not None,
            hold_id=self.row.hold_id if self.row else None,
            cause=self.row.cause if self.row else None,
            origin=origin_of(self._context.origin, self.number),
            statements=tuple(
                SignedContinuation(statement=one.statement, signature=one.signature) for one in self.continuations
            ),
        )

    async def begin(self, cause: str, seen: Seen) -> None:
        """Hold everything back from now on; a hold that has no continuation yet only keeps what it is shown."""
        context = self._context

        def work(rows: Rows) -> None:
            parts = rows.hold.continuations()
            if seen.number < max((one.number for one in parts), default=1):
                return  # another node was told meanwhile how the log goes on
            row, stated = rows.hold.active(), {one.hold_id for one in parts}
            if row is not None and row.hold_id not in stated:
                _note_seen(rows, row, seen)
            else:
                begin(rows, context.recorder, context.new_id(), cause, seen, context.now_us())

        await context.store.write(work)
        await self.load()

    async def status(self) -> dict[str, Any]:
        """Numbers for the operator: no seat, unit or case is named."""
        counts, cases = await self._context.store.read(lambda rows: (rows.hold.counts(), len(rows.hold.cases())))
        row = self.row
        if row is None:
            return {"active": False, "continuations": len(self.continuations)}
        return {
            "active": True,
            "cause": row.cause,
            "began_at_us": row.began_at_us,
            "continued": not self.silent,
            "seen_origin": row.seen_origin,
            "seen_size": row.seen_size,
            "seats": counts,
            "cases_held": cases,
            "continuations": len(self.continuations),
        }


def begin(rows: Rows, recorder: Recorder, hold_id: bytes, cause: str, seen: Seen, at_us: int) -> None:
    """The transaction that begins a hold, with its entry; also for a store that no node has opened yet."""
    # INVARIANT: test_a_restored_store_starts_in_hold_whatever_the_anchor_says
    rows.hold.begin(
        HoldRow(
            hold_id=hold_id,
            cause=cause,
            began_at_us=at_us,
            seen_origin=seen.head.origin,
            seen_size=seen.head.size,
            seen_root=seen.head.root,
            seen_note=seen.note,
        )
    )
    rows.entries.insert([recorder.about_operator("ADMIN", Payload(code="HS-HOLD"), at_us)])


def _note_seen(rows: Rows, row: HoldRow, seen: Seen) -> None:
    """Keep the newest head that was shown: a later part of the log is newer than any size of an earlier one."""
    if (len(seen.head.origin), seen.head.origin, seen.head.size) > (
        len(row.seen_origin),
        row.seen_origin,
        row.seen_size,
    ):
        rows.hold.saw(row.hold_id, seen.head.origin, seen.head.size, seen.head.root, seen.note or "")


def require_free(rows: Rows, seat_id: bytes) -> None:
    """Raise HS-HOLD when nothing of this discloser's seat is released; in the transaction that would."""
    # INVARIANT: test_no_invitation_of_a_held_seat
    if rows.hold.held([seat_id]):
        raise HandslagError("HS-HOLD")


def require_place(rows: Rows, seat_id: bytes, head: bytes, prev: bytes | None, *, widening: bool) -> None:
    """Whether an act may be recorded on a seat that may be held; raises HS-HOLD, HS-HEAD-LOST.

    Nothing widens while the seat is held. A withdrawal is taken, but at its place: a connector whose copy has another
    head (`prev`; None for a withdrawal of everything) gives its copy back first, or later acts would lie before it.
    """
    # INVARIANT: test_a_withdrawal_on_a_lost_head_waits_for_what_came_before_it
    state = rows.hold.state(seat_id)
    if state is None or state == "RELEASED":
        return
    if widening:
        raise HandslagError("HS-HOLD")
    if state == "HELD" and prev != head:
        raise HandslagError("HS-HEAD-LOST")


def require_keys(rows: Rows, case_id: bytes, members: Collection[bytes]) -> None:
    """Raise HS-HEAD-LOST while a member of these has not given back its keys: what follows them would be refused.

    The connector gives back and repeats; a refusal for good would make it draw other keys of the same number.
    """
    # INVARIANT: test_a_rotation_on_a_lost_one_waits_until_it_is_given_back
    unreplayed = rows.hold.unreplayed(case_id)
    ever = rows.cases.ever_of_case(case_id) if unreplayed else []
    if any(one.seat_id in unreplayed for one in ever if one.chain_id in members):
        raise HandslagError("HS-HEAD-LOST")


VOID_FROM_US = 0
"""When what a void case withdraws takes effect: no word of the person's."""


def everything(seat: SeatRow, effective_at_us: int | None, at_us: int) -> ConsentAct:
    """The broker's own act on a discloser's ledger: everything is withdrawn; it does not say who noted it.

    The same arguments give the same bytes, so that it can be written again after a restore.
    """
    return ConsentAct(
        case_tag=seat.case_tag,
        member=seat.member,
        consent_id=ZERO16,
        seq=0,
        prev=ZERO32,
        act="WITHDRAW_ALL",
        effective_at_us=effective_at_us,
        actor_ref="",
        assurance="ASSERTED",
        noted_at_us=at_us,
    )
