"""What may be handed over: the conditions of one delivery, and the order among several."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, or_, select, tuple_

from broker.store.dialect import locked
from broker.store.tables import delivery
from schemas.codes import DeliveryState


def handable(now_us: int | ColumnElement[int]) -> ColumnElement[bool]:
    """Every condition of a hand-over, all of them columns of the row (docs/concurrency.md, "Hand-over")."""
    return and_(
        or_(
            delivery.c.state == DeliveryState.PENDING.value,
            and_(delivery.c.state == DeliveryState.HANDED.value, delivery.c.lease_until_us <= now_us),
        ),
        delivery.c.held.is_(False),
        delivery.c.holds_until_us > now_us,
        delivery.c.valid_until_us > now_us,
    )


def unchanged(connection: Connection, seen: Sequence[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    """Those of `seen` (delivery id, row version) that are so still, locked; of a sender only what is before the rest.

    Locked in their order and without waiting: an UPDATE that follows reads the clock on rows that are its own. What
    changed, or is being changed, is left out, and so is what its sender sent after it.
    INVARIANT: test_two_hand_overs_and_a_withdrawal_never_wait_for_each_other_in_a_circle
    INVARIANT: test_what_was_sent_later_does_not_pass_what_changed_before_its_hand_over
    """
    of = delivery.c
    same = select(of.delivery_id, of.row_version).where(tuple_(of.delivery_id, of.row_version).in_(list(seen)))
    found = connection.execute(locked(connection, same.order_by(of.delivery_id), skip_locked=True))
    ours = {row.delivery_id: row.row_version for row in found}
    passed = [delivery_id for delivery_id, _version in seen if delivery_id not in ours]
    if not passed:
        return list(ours.items())
    rows = connection.execute(select(of.delivery_id, of.sender_seat).where(of.delivery_id.in_([*ours, *passed])))
    sender = {row.delivery_id: row.sender_seat for row in rows}
    first: dict[bytes, bytes] = {}
    for delivery_id in sorted(one for one in passed if one in sender):
        first.setdefault(sender[delivery_id], delivery_id)
    behind = {one for one in ours if sender[one] in first and one > first[sender[one]]}
    return [pair for pair in ours.items() if pair[0] not in behind]
