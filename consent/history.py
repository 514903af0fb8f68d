"""A ledger as people read it: what was in force at a moment, and every act in its order. Codes and moments only."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from consent.ledger import LedgerView
from consent.records import Block, Grant
from schemas.acts import ConsentAct


class Act(NamedTuple):
    """One act as recorded; moments in microseconds UTC. `signed`: the broker's own act bears no signature."""

    ledger_seq: int
    act: str
    consent_id: bytes
    recorded_at_us: int
    effective_at_us: int | None
    noted_at_us: int
    noted_by: str
    signed: bool


class Standing(NamedTuple):
    """The consents and blocks that were somebody's word at a moment, in force or not, in ledger order."""

    grants: tuple[tuple[Grant, bool], ...]
    blocks: tuple[tuple[Block, bool], ...]


def standing(view: LedgerView, at_us: int) -> Standing:
    """What a view says of a moment; an amended consent with the terms of that moment."""
    return Standing(
        tuple((grant, in_force(grant, at_us)) for grant in view.grants if grant.stands(at_us)),
        tuple((block, block.holds(at_us)) for block in view.blocks),
    )


def in_force(grant: Grant, at_us: int) -> bool:
    """Whether a consent is in force at a moment: begun, not ended, not suspended."""
    return grant.start_us <= at_us < grant.end_us and not grant.paused(at_us)


def acts(view: LedgerView) -> list[Act]:
    """Every act of a ledger, in the order in which it was recorded; raises PayloadRejected for one that is none."""
    found = []
    for event in view.events:
        act = _read(event.act)
        found.append(
            Act(
                event.ledger_seq,
                act.act,
                act.consent_id,
                event.recorded_at_us,
                act.effective_at_us,
                act.noted_at_us,
                act.actor_ref,
                event.signature is not None,
            )
        )
    return found


@lru_cache(maxsize=8192)
def _read(act: bytes) -> ConsentAct:
    """An act never changes: who looks a second time need not decode years of them again."""
    return ConsentAct.from_bytes(act)
