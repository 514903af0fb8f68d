"""A programme that needs every agency's consent: who changes one of these brings a review, never a denial.

The lead alone is told, in a code: not by which agency, not what of it. Everything else goes on as decided; protection
does not wait for a programme's conditions (design judgement, consent ledger L4).
"""

from __future__ import annotations

from collections.abc import Sequence

from broker.affected import Write
from broker.context import Context
from broker.store.inbox import Item
from broker.store.port import Rows
from consent.admission import WIDENING
from consent.records import Grant
from schemas.inbox import Notice

_LEAD = "social_services_lead"
_OVER = frozenset({"AMEND", "GRANT"})  # they widen, and may end what was there before


def tell(context: Context, rows: Rows, writes: Sequence[Write], at_us: int) -> None:
    """Put the notice `programme_review` to the lead of every case in which such a consent was refused or narrowed."""
    # INVARIANT: test_who_leaves_out_an_agency_brings_a_review_and_no_denial
    for case_id in dict.fromkeys(write.seat.case_id for write in writes if touched(write)):
        lead = next((s for s in rows.cases.of_cases([case_id]) if s.active and s.role == _LEAD), None)
        if lead is not None:
            notice = Notice(seat_id=lead.seat_id, code="programme_review", role=_LEAD, categories=(), at_us=at_us)
            rows.inbox.put([Item(context.new_id(), lead.unit, "NOTICE", notice.to_bytes())])


def touched(write: Write) -> bool:
    """Whether an act refused a consent that every agency needs, or took anything from one."""
    act = write.act
    if act.act == "REFUSE":
        return bool(act.terms is not None and act.terms.all_agencies_required)
    needed = [grant for grant in write.view.grants if grant.all_agencies]
    if not needed or (act.act in WIDENING and act.act not in _OVER):
        return False
    if act.act == "BLOCK":
        return any(write.event.recorded_at_us < grant.end_us for grant in needed)
    before = write.view.as_known(ledger_seq=write.event.ledger_seq - 1).grants
    known = {(grant.consent_id, grant.since_us): _narrowed(grant) for grant in before}
    return any(known.get((grant.consent_id, grant.since_us), _narrowed(grant)) != _narrowed(grant) for grant in needed)


def _narrowed(grant: Grant) -> tuple[object, ...]:
    return grant.stops, grant.parts, grant.pauses, grant.replaced_us
