"""Which provisions agencies have approved, and disclosures in acute danger until a second person has spoken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

from sqlalchemy import Connection, delete, insert, select, update

from broker.store.cipher import ColumnCipher
from broker.store.dialect import locked
from broker.store.statute_tables import acute, approval

_APPROVAL, _DECIDER = "approval", ("decider_key", "decider_hash")
OPEN, CONFIRMED, NOT_CONFIRMED, TOLD = "OPEN", "CONFIRMED", "NOT_CONFIRMED", "TOLD"


@dataclass(frozen=True, slots=True)
class AcuteRow:
    """One disclosure that one person decided in acute danger; `state` OPEN until a second person speaks, or nobody did.

    The decider's key and reference stand as `one_time` of this disclosure, sealed: the second person must be another,
    and whoever takes the store does not learn which seats have the same decider.
    """

    disclosure_id: bytes
    seat_id: bytes
    recipient_seat: bytes
    event_id: bytes
    statement_hash: bytes
    decider_key: bytes
    decider_hash: bytes
    confirm_by_us: int
    state: str = OPEN


def one_time(disclosure_id: bytes, said: bytes) -> bytes:
    """What stands for a decider's key or reference in one disclosure (32 bytes): of no use beside another."""
    # INVARIANT: test_the_same_decider_does_not_show_in_a_stolen_store
    return sha256(disclosure_id + said).digest()


class StatuteRows:
    """Verbs on `approval` and `acute`."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher

    def approved(self, agency: str, provision_id: str) -> tuple[int, bytes] | None:
        """(reviewed at, SHA-256) of the newest approval that an agency recorded of a provision, or None."""
        query = select(approval.c.reviewed_at_us, approval.c.hash)
        query = query.where(approval.c.agency == self._agency(agency), approval.c.provision_id == provision_id)
        row = self._c.execute(locked(self._c, query)).first()
        return None if row is None else (row.reviewed_at_us, row.hash)

    def approve(self, agency: str, provision_id: str, reviewed_at_us: int, digest: bytes) -> None:
        """Keep the newest approval; the caller has seen that none is newer."""
        handle = self._agency(agency)
        same = (approval.c.agency == handle, approval.c.provision_id == provision_id)
        self._c.execute(delete(approval).where(*same))
        values = {"agency": handle, "provision_id": provision_id, "reviewed_at_us": reviewed_at_us, "hash": digest}
        self._c.execute(insert(approval).values(**values))

    def await_second(self, row: AcuteRow) -> None:
        """A second person has 24 hours from now on."""
        values = {name: getattr(row, name) for name in AcuteRow.__slots__}
        values |= {name: self._cipher.seal(f"acute.{name}", values[name]) for name in _DECIDER}
        self._c.execute(insert(acute).values(**values))

    def acute(self, disclosure_id: bytes) -> AcuteRow | None:
        """One disclosure in acute danger, locked."""
        query = select(acute).where(acute.c.disclosure_id == disclosure_id)
        row = self._c.execute(locked(self._c, query)).first()
        return None if row is None else self._opened(AcuteRow(*row))

    def unconfirmed(self, now_us: int, limit: int) -> list[AcuteRow]:
        """Disclosures whose time for a second person is over and about which nobody was told."""
        query = select(acute).where(acute.c.state == OPEN, acute.c.confirm_by_us <= now_us)
        rows = self._c.execute(locked(self._c, query.order_by(acute.c.disclosure_id).limit(limit)))
        return [self._opened(AcuteRow(*row)) for row in rows]

    def settle(self, disclosure_id: bytes, state: str) -> None:
        """It was confirmed, was not, or those who must know were told."""
        self._c.execute(update(acute).where(acute.c.disclosure_id == disclosure_id).values(state=state))

    def _agency(self, agency: str) -> str:
        return self._cipher.handle(_APPROVAL, agency)

    def _opened(self, row: AcuteRow) -> AcuteRow:
        by = self._cipher.open
        return replace(
            row,
            decider_key=by("acute.decider_key", row.decider_key),
            decider_hash=by("acute.decider_hash", row.decider_hash),
        )
