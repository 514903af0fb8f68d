"""Acts onto ledgers: one, or the same on several ledgers in several buckets, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import sha256

from broker.affected import Write
from broker.context import Context
from broker.hold import everything
from broker.store.cases import SeatRow
from broker.store.gate import Bump
from broker.store.joins import CrossingRow
from broker.store.port import Rows
from schemas.acts import ConsentAct, HeadLink, Holder, LedgerEvent


def positions(seats: Iterable[SeatRow]) -> Counter[int]:
    """How many positions a write on every one of these seats' ledgers takes, by bucket."""
    return Counter(seat.bucket for seat in seats)


def bumped(rows: Rows, wanted: Mapping[int, int], now_us: int) -> dict[int, Bump]:
    """The bumps of several buckets, ascending: the order in which everybody locks them."""
    return {bucket: rows.gate.bump(bucket, wanted[bucket], now_us) for bucket in sorted(wanted)}


def append(
    context: Context,
    rows: Rows,
    seat: SeatRow,
    act: ConsentAct,
    raw: bytes,
    signature: bytes | None,
    holders: tuple[Holder, ...],
    bump: Bump,
    place: int,
) -> Write:
    """Add an act to a seat's ledger at its own position on the knowledge axis."""
    link = HeadLink(
        prev=seat.head,
        ledger_seq=seat.ledger_seq + 1,
        act_hash=sha256(raw).digest(),
        holders=holders,
        recorded_at_us=bump.clock_us,
    )
    event = LedgerEvent(
        ledger_seq=link.ledger_seq,
        act=raw,
        signature=signature,
        holders=holders,
        recorded_at_us=bump.clock_us,
        head=sha256(link.to_bytes()).digest(),
    )
    before = context.views.of(rows, [seat])[seat.seat_id]
    rows.ledger.append(seat.seat_id, event.ledger_seq, seat.bucket, bump.first_version + place, event.to_bytes())
    rows.cases.set_head(seat.seat_id, event.ledger_seq, event.head)
    return Write(seat, act, event, before.applied(event), before)


def withdrawn(
    context: Context, rows: Rows, seats: Iterable[SeatRow], effective_at_us: int | None, bumps: Mapping[int, Bump]
) -> list[Write]:
    """WITHDRAW_ALL on the ledger of every one of these seats, each by the clock and positions of its own bucket."""
    writes: list[Write] = []
    for seat in seats:
        bump = bumps[seat.bucket]
        act = everything(seat, effective_at_us, bump.clock_us)
        place = sum(write.seat.bucket == seat.bucket for write in writes)
        writes.append(append(context, rows, seat, act, act.to_bytes(), None, (), bump, place))
    return writes


def crossed(rows: Rows, writes: Iterable[Write], origin_case: bytes) -> None:
    """Remember what came from another case: should the two be two persons', its disclosers are told."""
    for write in writes:
        if write.seat.case_id != origin_case:
            rows.joins.crossed(CrossingRow(write.seat.seat_id, write.event.ledger_seq, origin_case))
