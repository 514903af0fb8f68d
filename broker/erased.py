"""What is answered about a seat that was erased: that it was, and by what."""

from __future__ import annotations

from datetime import UTC, datetime

from broker.context import Context
from schemas.errors import HandslagError


async def require_not_erased(context: Context, seat_id: bytes) -> None:
    """Raise `HS-SEAT-ERASED` (act, ground, at) for an erased seat; the caller knows that it may be told."""
    # INVARIANT: test_who_asks_for_an_erased_seat_is_told_by_which_act
    row = await context.store.read(lambda rows: rows.erasures.of_seat(seat_id))
    if row is not None:
        at = datetime.fromtimestamp(row.at_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        raise HandslagError("HS-SEAT-ERASED", act=row.act_number, ground=row.ground, at=at)
