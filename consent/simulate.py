"""A ledger as it would be after one more act: the same reading as when the act is recorded, and nothing recorded."""

from __future__ import annotations

from dataclasses import replace

from consent.ledger import LedgerView, head_after
from schemas.acts import Holder, LedgerEvent

_SUPPOSED = bytes(64)  # a view reads whether an act was signed; whoever records one checks by whom


def event_of(view: LedgerView, act: bytes, at_us: int, holders: tuple[Holder, ...] = ()) -> LedgerEvent:
    """The ledger's next event if `act` (its bytes) were signed and recorded at `at_us` (microseconds UTC).

    Exists in memory only. `holders`: who would be noted to hold each role that the act names.
    """
    recorded_at_us, number = max(at_us, view.recorded_at_us), view.ledger_seq + 1
    return LedgerEvent(
        ledger_seq=number,
        act=act,
        signature=_SUPPOSED,
        holders=holders,
        recorded_at_us=recorded_at_us,
        head=head_after(view.head, number, act, holders, recorded_at_us),
    )


def after(view: LedgerView, act: bytes, at_us: int, holders: tuple[Holder, ...] = ()) -> LedgerView:
    """The view if `act` were signed and recorded at `at_us`."""
    return view.applied(event_of(view, act, at_us, holders))


def unsuspended(view: LedgerView) -> LedgerView:
    """The view as if no consent had ever been suspended: what a suspension alone holds back, and nothing else opens."""
    return replace(view, grants=tuple(replace(grant, pauses=()) for grant in view.grants))
