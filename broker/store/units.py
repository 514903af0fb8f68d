"""Admitted units, their certificates and the answers given to their synchronous calls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from broker.store.cipher import ColumnCipher
from broker.store.shared import moved
from broker.store.tables import call, unit
from schemas.errors import HandslagError


@dataclass(frozen=True, slots=True)
class UnitRow:
    """One admitted unit."""

    unit: str
    agency: str
    controller: str
    certificate: bytes
    entry: bytes
    agency_signature: bytes
    signing_key: bytes
    hpke_key: bytes
    instance: int
    admitted_at_us: int
    revoked_at_us: int | None
    probe: bool = False


class UnitRows:
    """Verbs on `unit` and `call`."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher

    def put(self, row: UnitRow) -> None:
        """Admit a unit, or admit it anew with another certificate."""
        self._c.execute(delete(unit).where(unit.c.unit == row.unit))
        values = {field: getattr(row, field) for field in UnitRow.__slots__}
        self._c.execute(insert(unit).values(**values))
        moved(self._c)

    def all(self) -> list[UnitRow]:
        """Every unit that is not revoked, by unit code."""
        rows = self._c.execute(select(unit).where(unit.c.revoked_at_us.is_(None)).order_by(unit.c.unit))
        return [UnitRow(*row) for row in rows]

    def get(self, code: str) -> UnitRow:
        """One unit that is not revoked; raises `HS-UNIT-UNKNOWN`."""
        row = self._c.execute(select(unit).where(unit.c.unit == code, unit.c.revoked_at_us.is_(None))).one_or_none()
        if row is None:
            raise HandslagError("HS-UNIT-UNKNOWN")
        return UnitRow(*row)

    def whatever(self, code: str) -> UnitRow | None:
        """One unit, shut out or not; None when it was never admitted."""
        row = self._c.execute(select(unit).where(unit.c.unit == code)).one_or_none()
        return UnitRow(*row) if row else None

    def raise_instance(self, code: str, instance: int) -> None:
        """Remember the highest instance number of a unit's connector."""
        self._c.execute(update(unit).where(unit.c.unit == code, unit.c.instance < instance).values(instance=instance))
        moved(self._c)

    def revoke(self, code: str, at_us: int) -> bool:
        """Shut a unit out; returns whether it was admitted."""
        done = self._c.execute(
            update(unit).where(unit.c.unit == code, unit.c.revoked_at_us.is_(None)).values(revoked_at_us=at_us)
        )
        moved(self._c)
        return done.rowcount == 1

    def closed(self, codes: Iterable[str]) -> dict[str, bytes]:
        """The certificate hash of each of these units that was shut out."""
        rows = self._c.execute(
            select(unit.c.unit, unit.c.certificate).where(
                unit.c.unit.in_(list(codes)), unit.c.revoked_at_us.is_not(None)
            )
        )
        return {row.unit: row.certificate for row in rows}

    def answered(self, code: str, call_id: bytes, request_hash: bytes) -> bytes | None:
        """The answer given to this call before, or None; raises `HS-CALL-CHANGED` for another request."""
        row = self._c.execute(
            select(call.c.request_hash, call.c.answer).where(
                call.c.unit == self._cipher.handle("call", code), call.c.call_id == call_id
            )
        ).one_or_none()
        if row is None:
            return None
        if row.request_hash != request_hash:
            raise HandslagError("HS-CALL-CHANGED")
        return bytes(row.answer)

    def answer(self, code: str, call_id: bytes, request_hash: bytes, answer: bytes, at_us: int) -> None:
        """Keep the answer of a call in the transaction of its effect."""
        of = self._cipher.handle("call", code)
        self._c.execute(
            insert(call).values(unit=of, call_id=call_id, request_hash=request_hash, answer=answer, at_us=at_us)
        )
