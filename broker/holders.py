"""Who holds which role of a case: one answer for recording a consent, for explaining it, for what a law lets go."""

from __future__ import annotations

from collections.abc import Iterable

from broker.store.cases import SeatRow
from broker.store.port import Rows
from consent.ledger import LedgerView
from schemas.acts import ConsentAct, Holder, RecipientRef
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16


def holders(rows: Rows, case_id: bytes) -> dict[str, SeatRow]:
    """By role, the active seat of a case (16 bytes) that holds it; nobody whose unit was shut out."""
    # INVARIANT: test_a_unit_that_was_shut_out_is_no_holder_in_an_explanation_either
    # INVARIANT: test_a_unit_that_was_shut_out_is_no_holder_of_a_new_consent
    seats = rows.cases.of_cases([case_id])
    closed = rows.units.closed({seat.unit for seat in seats})
    return {seat.role: seat for seat in seats if seat.active and seat.unit not in closed}


def noted(rows: Rows, seat: SeatRow, act: ConsentAct) -> tuple[Holder, ...]:
    """Who holds each role that a grant names; a grant to nobody is refused, a block may name anybody.

    A lift of a block names them in its scope, and lifts nothing for who is not the one that was meant. Raises
    `HS-NO-HOLDER`, `HS-RECIPIENT-CHANGED`.
    """
    roles = list(_roles(act))
    held = holders(rows, seat.case_id) if roles else {}
    return tuple(_held(held.get(ref.id), ref) for ref in roles)


def supposed(rows: Rows, seat: SeatRow, act: ConsentAct, view: LedgerView) -> tuple[Holder, ...]:
    """As `noted`, for an act that is only tried; `view`: the ledger that it would stand on.

    A role that no recorded consent names counts as held by whoever is meant: that it is held is not to be had by
    trying. Whoever has a consent for the role knows that it was.
    """
    # INVARIANT: test_trying_an_act_does_not_tell_whether_a_role_is_held
    roles = list(_roles(act))
    held = holders(rows, seat.case_id) if roles else {}
    consented = {role for grant in view.grants for role in grant.roles}
    return tuple(
        _held(held.get(ref.id), ref) if ref.id in consented else _meant(held.get(ref.id), ref) for ref in roles
    )


def _roles(act: ConsentAct) -> Iterable[RecipientRef]:
    """The roles whose holders are noted with an act."""
    named = act.terms if act.act in {"GRANT", "AMEND"} else act.scope if act.act == "LIFT" else None
    return () if named is None else (ref for ref in named.recipients if ref.kind == "ROLE")


def _held(holder: SeatRow | None, ref: RecipientRef) -> Holder:
    if holder is None:
        raise HandslagError("HS-NO-HOLDER")
    if ref.member is not None and ref.member != holder.member:
        raise HandslagError("HS-RECIPIENT-CHANGED")
    return Holder(role=ref.id, member=holder.member)


def _meant(holder: SeatRow | None, ref: RecipientRef) -> Holder:
    return Holder(role=ref.id, member=ref.member or (ZERO16 if holder is None else holder.member))
