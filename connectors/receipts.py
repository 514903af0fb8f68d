"""Whether a receipt can be true: it speaks of what this seat sent, and of nothing that did not leave.

A receipt is the broker's word until its proof comes. What contradicts our own bytes need not wait for that.
"""

from __future__ import annotations

from connectors.context import Context
from connectors.identity import Seat
from connectors.instance import restored
from connectors.spool.outgoing import OutgoingEvent
from schemas import checks, limits
from schemas.envelope import Submission
from schemas.errors import HandslagError
from schemas.inbox import Receipt


def check(ctx: Context, seat: Seat, event: OutgoingEvent, told: Receipt) -> None:
    """Raise `HS-RECEIPT-INVALID` for a receipt of what never left.

    `check` names it: `seat` (another seat's event), `attempt` (one that was not sent), `sections` (that the event does
    not have), `withheld` (a release of what this attempt gave nobody a key for).
    """
    # INVARIANT: test_a_receipt_for_what_never_left_is_refused
    if ctx.identities.handle(seat.ref) != event.ref:
        raise HandslagError("HS-RECEIPT-INVALID", check="seat")
    newest = told.attempt == event.attempt
    sent = 1 <= told.attempt <= event.attempt and (event.posted or not newest)
    # After a restore the lost connector may have sent an attempt that its backup does not know.
    if not sent and restored(ctx.spool) is None:
        raise HandslagError("HS-RECEIPT-INVALID", check="attempt")
    known = {(row.role, row.category) for row in ctx.spool.outgoing.sections(event.event_id)}
    spoken = {(role.role, section.category) for role in told.roles for section in role.sections}
    if not spoken <= known:
        raise HandslagError("HS-RECEIPT-INVALID", check="sections")
    if newest and event.submission is not None:
        released = {
            (role.role, section.category)
            for role in told.roles
            for section in role.sections
            if section.released and section.carried_by in {None, told.attempt}
        }
        if not released <= _left(event.submission):
            raise HandslagError("HS-RECEIPT-INVALID", check="withheld")


def _left(submission: bytes) -> set[tuple[str, str]]:
    """(role, category) of every section that this attempt wraps a key for."""
    checked = checks.check_submission(Submission.from_bytes(submission, limits.SUBMISSION * 2))
    category = dict(zip(checked.section_digests, (section.category for section in checked.sections), strict=True))
    roles = (wrap.role for wrap in checked.attempt.wraps)
    return {(role, category[digest]) for role in roles for digest in checked.given(role)}
