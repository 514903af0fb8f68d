"""Lost seats that asked for new keys, and who has vouched for them so far; gone once they have them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from broker.store.tables import rekey, rekey_signature


@dataclass(frozen=True, slots=True)
class RekeyRow:
    """The newest request of a seat: the encoded Rekey, the HPKE key beside it, when it was asked."""

    seat_id: bytes
    rekey: bytes
    hpke_key: bytes
    asked_at_us: int


class RekeyRows:
    """Verbs on `rekey` and `rekey_signature`."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    def ask(self, row: RekeyRow) -> None:
        """A request; takes the place of an earlier one, whose signatures are worth nothing for it."""
        self.forget(row.seat_id)
        self._c.execute(insert(rekey).values(**{name: getattr(row, name) for name in RekeyRow.__slots__}))

    def get(self, seat_id: bytes) -> RekeyRow | None:
        """The request of a seat, or None."""
        row = self._c.execute(select(rekey).where(rekey.c.seat_id == seat_id)).one_or_none()
        return RekeyRow(*row) if row else None

    def forget(self, seat_id: bytes) -> None:
        """The seat has its keys, or asked anew."""
        for table in (rekey, rekey_signature):
            self._c.execute(delete(table).where(table.c.seat_id == seat_id))

    def sign(self, seat_id: bytes, member: bytes, signature: bytes) -> None:
        """Keep one member's signature."""
        self._c.execute(insert(rekey_signature).values(seat_id=seat_id, member=member, signature=signature))

    def signatures(self, seat_id: bytes) -> dict[bytes, bytes]:
        """Signatures by member."""
        of = rekey_signature.c
        rows = self._c.execute(select(of.member, of.signature).where(of.seat_id == seat_id).order_by(of.member))
        return {row.member: row.signature for row in rows}
