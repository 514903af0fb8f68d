"""What another rule set would have made of this unit's own decisions: each is decided again as of its own moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from audit.verify_replay import Ledger, request_of
from consent.decide import decide
from consent.rules import Rules
from consent.rules_change import narrower
from schemas.acts import LedgerEvent
from schemas.identifiers import shown
from schemas.trail import AuditEntry, Payload


class Flip(NamedTuple):
    """A section that would come out differently.

    `now`: released by the rules of today; `at_once`: by the new ones before this unit has approved them; `approved`:
    after it has. `reasons`: what speaks against it then, codes of list `reason`.
    """

    event: str
    event_type: str
    role: str
    category: str
    purpose: str
    now: bool
    at_once: bool
    approved: bool
    reasons: tuple[str, ...]


class Rated(NamedTuple):
    """The three rule sets that a decision is put to."""

    now: Rules
    at_once: Rules
    approved: Rules


def rated(now: Rules, new: Rules) -> Rated:
    """Today's rules of a unit, and what a new file makes of them without and with its approval."""
    return Rated(now, narrower(now, new), new)


def flips(
    entries: Iterable[tuple[AuditEntry, Payload]], events: list[LedgerEvent], rules: Rated, since_us: int
) -> Iterator[Flip | None]:
    """For every recorded DECISION since a moment (microseconds UTC), None once it was looked at, after its flips.

    The request is the recorded one, the ledger as far as the decision had looked; nothing is sent and nothing written.
    """
    ledger = Ledger({event.ledger_seq: (0, event, ()) for event in events})
    for entry, payload in entries:
        at_us = payload.decided_at_us
        if entry.operation != "DECISION" or at_us is None or at_us < since_us:
            continue
        request = request_of(entry, payload, ledger, at_us)
        view = ledger.view(min(payload.ledger_seq or 0, ledger.size))
        answers = [decide(request, view, each).sections for each in rules]
        for now, at_once, approved in zip(*answers, strict=True):
            if now.released == at_once.released == approved.released:
                continue
            yield Flip(
                event=shown(payload.event_id or bytes(16)),
                event_type=request.event_type,
                role=request.recipient.role,
                category=now.category,
                purpose=request.purpose,
                now=now.released,
                at_once=at_once.released,
                approved=approved.released,
                reasons=approved.reasons,
            )
        yield None
