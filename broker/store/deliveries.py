"""Deliveries and their sections."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, and_, literal, or_, select, tuple_, update

from broker.store.bulk import insert_all, update_all
from broker.store.cipher import ColumnCipher
from broker.store.dialect import greatest, locked, moment
from broker.store.handable import handable, unchanged
from broker.store.ready import Ready, readied
from broker.store.tables import delivery, delivery_section
from schemas.codes import DeliveryState

GIVEN = (DeliveryState.ACKED, DeliveryState.REJECTED)  # ended, and not given again by a later attempt
OPEN = (DeliveryState.PENDING, DeliveryState.HANDED)


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One delivery; `body` is its encoded Delivery without sections, None once the content is gone."""

    delivery_id: bytes
    bucket: int
    case_id: bytes
    event_id: bytes
    event_type: str
    purpose: str
    action: str
    attempt: int
    sender_seat: bytes
    sender_unit: str
    recipient_seat: bytes | None
    recipient_unit: str
    role: str
    invitation_id: bytes | None
    state: str
    hand_number: int
    row_version: int
    lease_until_us: int
    holds_until_us: int
    valid_until_us: int
    deadline_at_us: int
    held: bool
    overdue_told: bool
    decided_at_us: int
    body: bytes | None
    ack_entry: bytes | None = None
    ack_leaf: bytes | None = None


BODY = "delivery.body"
CONTENT = ("item", "wrapped_key")  # what a section holds of what was sent
_UNITS = [DeliveryRow.__slots__.index(name) for name in ("sender_unit", "recipient_unit")]
_BODY = DeliveryRow.__slots__.index("body")


@dataclass(frozen=True, slots=True)
class SectionRow:
    """One section of a delivery with its wrapped key; `grants` are 16-byte consent ids one after the other."""

    delivery_id: bytes
    digest: bytes
    event_id: bytes
    recipient_seat: bytes
    category: str
    persons: str
    public_interest_released: bool
    grants: bytes
    digest_index: int
    item: bytes | None
    wrapped_key: bytes | None
    live: bool
    data_from_us: int | None = None
    data_until_us: int | None = None


def ready(cipher: ColumnCipher, row: DeliveryRow) -> Ready[DeliveryRow]:
    """A delivery as it lies in `delivery`."""
    values = _values(row)
    values["sender_unit"] = cipher.handle("delivery", row.sender_unit)
    values["recipient_unit"] = cipher.handle("delivery", row.recipient_unit)
    # The delivery of an invitation names the key that it is sealed to, and that is the unit's own.
    values["body"] = cipher.keep(BODY, cipher.maybe(cipher.seal, BODY, row.body))
    return Ready(row, values)


def ready_section(cipher: ColumnCipher, section: SectionRow) -> Ready[SectionRow]:
    """A section as it lies in `delivery_section`."""
    kept = {name: cipher.keep(f"delivery_section.{name}", getattr(section, name)) for name in CONTENT}
    return Ready(section, _values(section) | kept)


class DeliveryRows:
    """Verbs on `delivery` and `delivery_section`."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher
        self.news = False
        """Whether this transaction made a delivery."""

    def live_sections(self, event_ids: Iterable[bytes]) -> dict[tuple[bytes, bytes, bytes], int]:
        """Attempt by (event id, recipient seat, digest) that a delivery holds, has handed over or had acknowledged."""
        of = delivery_section.c
        rows = self._c.execute(
            select(of.event_id, of.recipient_seat, of.digest, delivery.c.attempt)
            .join(delivery, delivery.c.delivery_id == of.delivery_id)
            .where(of.event_id.in_(list(event_ids)), of.live)
        )
        return {(row.event_id, row.recipient_seat, row.digest): row.attempt for row in rows}

    def insert(
        self, rows: Sequence[DeliveryRow | Ready[DeliveryRow]], sections: Sequence[SectionRow | Ready[SectionRow]]
    ) -> None:
        """New deliveries with their sections."""
        if rows:
            self.news = True
            made = readied(sections, partial(ready_section, self._cipher))
            insert_all(self._c, delivery, [one.columns for one in readied(rows, partial(ready, self._cipher))])
            insert_all(self._c, delivery_section, [one.columns for one in made])

    def sections(self, delivery_ids: Iterable[bytes]) -> dict[bytes, list[SectionRow]]:
        """Live sections by delivery, in the order of their digests."""
        wanted = list(delivery_ids)
        found: dict[bytes, list[SectionRow]] = {delivery_id: [] for delivery_id in wanted}
        rows = self._c.execute(
            select(delivery_section)
            .where(delivery_section.c.delivery_id.in_(wanted), delivery_section.c.live)
            .order_by(delivery_section.c.delivery_id, delivery_section.c.digest_index)
        )
        for row in rows:
            found[row.delivery_id].append(self._section(row))
        return found

    def due_for(self, unit: str, now_us: int, limit: int, without: Iterable[bytes] = ()) -> list[DeliveryRow]:
        """Deliveries that may be handed to a unit now, oldest first; only a look, `hand` decides.

        Those to the seats `without` stay: the unit's connector cannot take them.
        """
        left = or_(delivery.c.recipient_seat.is_(None), delivery.c.recipient_seat.not_in(list(without)))
        rows = self._c.execute(
            select(delivery).where(self._to(unit), handable(now_us), left).order_by(delivery.c.delivery_id).limit(limit)
        )
        return [self._row(row) for row in rows]

    def hand(self, seen: Sequence[tuple[bytes, int]], now_us: int, lease_until_us: int) -> set[bytes]:
        """The hand-over: one UPDATE that repeats every condition for exactly the row versions that were read.

        What changed since then, or is being changed, waits for another look, and so does what the same sender sent
        after it: a later message never passes an earlier one.
        INVARIANT: test_no_release_after_ack. Returns the ids that were handed over; only those may leave.
        """
        wanted = unchanged(self._c, seen) if seen else []
        if not wanted:
            return set()
        clock = greatest(literal(now_us, BigInteger), moment(self._c, now_us))
        done = self._c.execute(
            update(delivery)
            .where(tuple_(delivery.c.delivery_id, delivery.c.row_version).in_(wanted), handable(clock))
            .values(
                state=DeliveryState.HANDED.value,
                hand_number=delivery.c.hand_number + 1,
                row_version=delivery.c.row_version + 1,
                lease_until_us=lease_until_us,
            )
            .returning(delivery.c.delivery_id)
        )
        return {row.delivery_id for row in done}

    def get(self, delivery_ids: Iterable[bytes]) -> dict[bytes, DeliveryRow]:
        """Deliveries by id."""
        query = select(delivery).where(delivery.c.delivery_id.in_(list(delivery_ids))).order_by(delivery.c.delivery_id)
        rows = self._c.execute(locked(self._c, query))
        return {row.delivery_id: self._row(row) for row in rows}

    def versions(self, delivery_ids: Iterable[bytes]) -> dict[bytes, int]:
        """Row versions by delivery, locked; what is in the rows was read, and opened, before."""
        of = delivery.c
        query = select(of.delivery_id, of.row_version).where(of.delivery_id.in_(list(delivery_ids)))
        rows = self._c.execute(locked(self._c, query.order_by(of.delivery_id)))
        return {row.delivery_id: row.row_version for row in rows}

    def open_of_senders(self, seat_ids: Iterable[bytes]) -> list[DeliveryRow]:
        """PENDING and HANDED deliveries of these disclosers, locked, by delivery id."""
        return self._open(delivery.c.sender_seat.in_(list(seat_ids)))

    def open_to_seats(self, seat_ids: Iterable[bytes]) -> list[DeliveryRow]:
        """PENDING and HANDED deliveries to these seats, locked, by delivery id."""
        return self._open(delivery.c.recipient_seat.in_(list(seat_ids)))

    def hold(self, unit: str, seat_ids: Iterable[bytes]) -> int:
        """Hold back what is open from these seats of a unit and to the unit; returns how many deliveries."""
        of_unit = self._open(or_(delivery.c.sender_seat.in_(list(seat_ids)), self._to(unit)))
        found = [row.delivery_id for row in of_unit if not row.held]
        self._held(found, held=True)
        return len(found)

    def held_back(self, unit: str, seat_ids: Iterable[bytes]) -> list[DeliveryRow]:
        """Open deliveries from these seats of a unit and to the unit that are held, locked, by delivery id."""
        return [row for row in self._open(or_(delivery.c.sender_seat.in_(list(seat_ids)), self._to(unit))) if row.held]

    def let_go(self, delivery_ids: Iterable[bytes]) -> None:
        """Hold these back no more; the caller has decided them anew."""
        self._held(delivery_ids, held=False)

    def _held(self, delivery_ids: Iterable[bytes], *, held: bool) -> None:
        query = update(delivery).where(delivery.c.delivery_id.in_(list(delivery_ids)))
        self._c.execute(query.values(held=held, row_version=delivery.c.row_version + 1))

    def acked_of_senders(self, seat_ids: Iterable[bytes]) -> list[tuple[DeliveryRow, tuple[SectionRow, ...]]]:
        """Acknowledged deliveries of these disclosers with their sections, for what a withdrawal cannot take back."""
        rows = self._c.execute(
            select(delivery).where(
                delivery.c.sender_seat.in_(list(seat_ids)), delivery.c.state == DeliveryState.ACKED.value
            )
        )
        acked = [self._row(row) for row in rows]
        sections = self.sections([row.delivery_id for row in acked])
        return [(row, tuple(sections[row.delivery_id])) for row in acked]

    def handed_since(self, seat_id: bytes, lease_until_us: int) -> list[tuple[DeliveryRow, tuple[SectionRow, ...]]]:
        """Deliveries of a discloser whose last lease ended at `lease_until_us` or later, whatever became of them.

        With every section they ever held, also those that were removed: their consents are still there.
        """
        return self._handed(and_(delivery.c.sender_seat == seat_id, delivery.c.lease_until_us >= lease_until_us))

    def handed_of_senders(self, seat_ids: Iterable[bytes]) -> list[tuple[DeliveryRow, tuple[SectionRow, ...]]]:
        """What these disclosers ever handed over and its recipient did not refuse, with every section it ever held."""
        given = delivery.c.state != DeliveryState.REJECTED.value
        return self._handed(and_(delivery.c.sender_seat.in_(list(seat_ids)), given))

    def _handed(self, condition: ColumnElement[bool]) -> list[tuple[DeliveryRow, tuple[SectionRow, ...]]]:
        once = and_(condition, delivery.c.hand_number > 0)
        handed = [
            self._row(row) for row in self._c.execute(select(delivery).where(once).order_by(delivery.c.delivery_id))
        ]
        of = delivery_section.c
        query = select(delivery_section).join(delivery, delivery.c.delivery_id == of.delivery_id).where(once)
        sections: dict[bytes, list[SectionRow]] = {row.delivery_id: [] for row in handed}
        for row in self._c.execute(query.order_by(of.delivery_id, of.digest_index)):
            sections[row.delivery_id].append(self._section(row))
        return [(row, tuple(sections[row.delivery_id])) for row in handed]

    def gave(self, seat_ids: Iterable[bytes]) -> set[bytes]:
        """Those of these disclosers of whom something was handed over that its recipient did not refuse."""
        rows = self._c.execute(
            select(delivery.c.sender_seat)
            .where(
                delivery.c.sender_seat.in_(list(seat_ids)),
                delivery.c.hand_number > 0,
                delivery.c.state != DeliveryState.REJECTED.value,
            )
            .distinct()
        )
        return {row.sender_seat for row in rows}

    def _open(self, condition: ColumnElement[bool]) -> list[DeliveryRow]:
        query = select(delivery).where(condition, delivery.c.state.in_([s.value for s in OPEN]))
        rows = self._c.execute(locked(self._c, query.order_by(delivery.c.delivery_id)))
        return [self._row(row) for row in rows]

    def remove_sections(self, delivery_id: bytes, digests: Iterable[bytes], *, never_handed: bool) -> None:
        """Take sections out of a delivery: their keys and ciphertext are gone from the store.

        What was never handed over is no release under any consent, and forgets which it rested on.
        """
        gone: dict[str, object] = {"live": False, "item": None, "wrapped_key": None}
        if never_handed:
            gone["grants"] = b""
        self._c.execute(
            update(delivery_section)
            .where(delivery_section.c.delivery_id == delivery_id, delivery_section.c.digest.in_(list(digests)))
            .values(**gone)
        )

    def rest_on(self, row: DeliveryRow, holds_until_us: int, sections: Sequence[SectionRow]) -> None:
        """Note what the sections of a locked, open delivery rest on from now, and until when that holds.

        A new row version: what was prepared from the old one names other consents.
        """
        for section in sections:
            self._c.execute(
                update(delivery_section)
                .where(
                    delivery_section.c.delivery_id == section.delivery_id, delivery_section.c.digest == section.digest
                )
                .values(grants=section.grants)
            )
        values = {"holds_until_us": holds_until_us, "row_version": row.row_version + 1}
        self._c.execute(update(delivery).where(delivery.c.delivery_id == row.delivery_id).values(**values))

    def move(self, row: DeliveryRow, state: DeliveryState) -> None:
        """Move a locked delivery; PENDING and HANDED keep their content, every other state drops it."""
        values: dict[str, object] = {"state": state.value, "row_version": row.row_version + 1}
        if state not in OPEN:
            values["body"] = None
            gone: dict[str, object] = dict.fromkeys(CONTENT)
            if state not in GIVEN:
                gone["live"] = False
            self._c.execute(
                update(delivery_section).where(delivery_section.c.delivery_id == row.delivery_id).values(**gone)
            )
        self._c.execute(update(delivery).where(delivery.c.delivery_id == row.delivery_id).values(**values))

    def end(self, ended: Sequence[tuple[DeliveryRow, DeliveryState, bytes, bytes]]) -> None:
        """Move locked deliveries to ACKED or REJECTED and drop their content; neither is ever given again.

        Each with the id and leaf hash of its entry, so that repeating the acknowledgement gets the same answer.
        """
        if not ended:
            return
        ids = [row.delivery_id for row, _state, _entry, _leaf in ended]
        section = delivery_section.c.delivery_id
        self._c.execute(update(delivery_section).where(section.in_(ids)).values(**dict.fromkeys(CONTENT)))
        values = [
            {"delivery_id": row.delivery_id, "state": state.value, "body": None, "row_version": row.row_version + 1,
             "ack_entry": entry, "ack_leaf": leaf}
            for row, state, entry, leaf in ended
        ]  # fmt: skip
        update_all(self._c, delivery, "delivery_id", values)

    # --- time

    def overdue(self, now_us: int, limit: int) -> list[DeliveryRow]:
        """Deliveries past their deadline that nobody has acknowledged and whose sender was not told."""
        return self._due(and_(delivery.c.deadline_at_us <= now_us, delivery.c.overdue_told.is_(False)), limit)

    def told_overdue(self, delivery_ids: Iterable[bytes]) -> None:
        """The sender is told once."""
        self._c.execute(
            update(delivery).where(delivery.c.delivery_id.in_(list(delivery_ids))).values(overdue_told=True)
        )

    def expired(self, now_us: int, limit: int) -> list[DeliveryRow]:
        """Deliveries past the moment after which they are not handed over."""
        return self._due(
            or_(
                delivery.c.valid_until_us <= now_us,
                and_(
                    delivery.c.holds_until_us <= now_us,
                    or_(
                        delivery.c.state == DeliveryState.PENDING.value,
                        # handed over, never acknowledged, and its consent has ended: it cannot go again
                        delivery.c.lease_until_us <= now_us,
                    ),
                ),
            ),
            limit,
        )

    def _due(self, condition: ColumnElement[bool], limit: int) -> list[DeliveryRow]:
        query = select(delivery).where(condition, delivery.c.state.in_([s.value for s in OPEN]))
        query = query.order_by(delivery.c.delivery_id).limit(limit)
        rows = self._c.execute(locked(self._c, query, skip_locked=True))
        return [self._row(row) for row in rows]

    def pending_summary(self, without: Collection[str] = ()) -> tuple[int, int | None]:
        """(number of deliveries waiting, moment the oldest was decided), those to the units `without` left out."""
        left_out = [self._cipher.handle("delivery", unit) for unit in sorted(without)]
        rows = self._c.execute(
            select(delivery.c.decided_at_us)
            .where(delivery.c.state == DeliveryState.PENDING.value, delivery.c.recipient_unit.not_in(left_out))
            .order_by(delivery.c.decided_at_us)
        ).scalars()
        times = list(rows)
        return len(times), (times[0] if times else None)

    def _to(self, unit: str) -> ColumnElement[bool]:
        return delivery.c.recipient_unit == self._cipher.handle("delivery", unit)

    def _row(self, row: Row[Any]) -> DeliveryRow:
        values, cipher = list(row), self._cipher
        for at in _UNITS:
            values[at] = cipher.code("delivery", values[at])
        values[_BODY] = cipher.maybe(cipher.open, BODY, cipher.kept(BODY, values[_BODY]))
        return DeliveryRow(*values)

    def _section(self, row: Row[Any]) -> SectionRow:
        opened = {name: self._cipher.kept(f"delivery_section.{name}", getattr(row, name)) for name in CONTENT}
        return SectionRow(**{**row._mapping, **opened})


def _values(row: DeliveryRow | SectionRow) -> dict[str, object]:
    return {field: getattr(row, field) for field in row.__slots__}
