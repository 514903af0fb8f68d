"""Who holds which role of a case: one answer for recording a consent, for explaining it, for what a law lets go."""

from __future__ import annotations

from broker.store.cases import SeatRow
from broker.store.port import Rows


def holders(rows: Rows, case_id: bytes) -> dict[str, SeatRow]:
    """By role, the active seat of a case (16 bytes) that holds it; nobody whose unit was shut out."""
    # INVARIANT: test_a_unit_that_was_shut_out_is_no_holder_in_an_explanation_either
    # INVARIANT: test_a_unit_that_was_shut_out_is_no_holder_of_a_new_consent
    seats = rows.cases.of_cases([case_id])
    closed = rows.units.closed({seat.unit for seat in seats})
    return {seat.role: seat for seat in seats if seat.active and seat.unit not in closed}
