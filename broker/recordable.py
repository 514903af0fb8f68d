"""Whether a consent act may be recorded now: the same checks, in the same order, when it is and when it is tried."""

from __future__ import annotations

from collections.abc import Callable

from broker.context import Context
from broker.hold import require_place
from broker.store.cases import SeatRow
from broker.store.port import Rows
from consent.admission import WIDENING, check_act, check_holders
from schemas.acts import ConsentAct, Holder
from schemas.errors import HandslagError

_ON_LEDGER = frozenset({"AMEND", "LAPSE"})  # whether they may be recorded depends on what the ledger holds
Noting = Callable[[Rows, SeatRow, ConsentAct], tuple[Holder, ...]]


def require_recordable(
    context: Context, rows: Rows, seat: SeatRow, act: ConsentAct, at_us: int, noting: Noting
) -> tuple[Holder, ...]:
    """Raise unless one act of a discloser's seat may be recorded at `at_us`; returns who holds each role it names.

    `noting` says who does. Raises the codes of `check_act` and `noting`, `HS-SIGNATURE-INVALID`, `HS-CASE-VOID`,
    `HS-STATE-INVALID`, `HS-HOLD`, `HS-HEAD-LOST`.
    """
    # INVARIANT: test_an_act_that_would_be_refused_says_with_what
    if act.case_tag != seat.case_tag or act.member != seat.member:
        raise HandslagError("HS-SIGNATURE-INVALID")
    widening = act.act in WIDENING
    if widening and rows.annulments.is_void(seat.case_id):
        raise HandslagError("HS-CASE-VOID")
    if widening and not seat.active:  # a grant introduces keys: not to whom the lead has not vouched for
        raise HandslagError("HS-STATE-INVALID", field="seat")
    require_place(rows, seat.seat_id, seat.head, act.prev, widening=widening)
    before = context.views.of(rows, [seat])[seat.seat_id] if act.act in _ON_LEDGER else None
    check_act(act, seat.head, at_us, before, context.texts)
    named = noting(rows, seat, act)
    if before is not None:
        check_holders(act, before, named)
    return named


def require_whole(
    rows: Rows, seat: SeatRow, case_tag: bytes, member: bytes, effective_at_us: int | None, at_us: int
) -> None:
    """Raise unless this seat may note the person's withdrawal of everything in its case at `at_us`.

    `effective_at_us`: when the person said it. Raises `HS-SIGNATURE-INVALID`, `HS-STATE-INVALID`,
    `HS-GRANT-INCOMPLETE`, `HS-HEAD-LOST`.
    """
    # INVARIANT: test_an_act_that_would_be_refused_says_with_what
    if case_tag != seat.case_tag or member != seat.member:
        raise HandslagError("HS-SIGNATURE-INVALID")
    if not seat.active:
        raise HandslagError("HS-STATE-INVALID", field="seat")
    if effective_at_us is not None and effective_at_us > at_us:
        raise HandslagError("HS-GRANT-INCOMPLETE", field="effective_at")
    require_place(rows, seat.seat_id, seat.head, None, widening=False)
