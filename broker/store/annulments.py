"""Annulled consents: who was told of it, what they answered, and what releases rested on before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, insert, select, update

from broker.store.cipher import ColumnCipher
from broker.store.deliveries import SectionRow
from broker.store.dialect import locked
from broker.store.tables import annul_notice, earlier_ground, void_case


@dataclass(frozen=True, slots=True)
class AnnulNoticeRow:
    """One recipient of one release, told that its consent was annulled; `verdict` None until it answers.

    `categories` are codes with commas between them: what was handed over under the consent.
    """

    notice_id: bytes
    seat_id: bytes
    consent_id: bytes
    delivery_id: bytes
    recipient_unit: str
    categories: str
    state_before: str
    ground: str
    noticed_at_us: int
    verdict: str | None = None
    reason: str | None = None
    answered_at_us: int | None = None


class AnnulRows:
    """Verbs on `annul_notice`, `earlier_ground` and `void_case`."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher

    def remember_grounds(self, sections: Sequence[SectionRow]) -> None:
        """Keep which consents sections rested on when they were handed over, before they rest on others."""
        for section in sections:
            for at in range(0, len(section.grants), 16):
                consent_id = section.grants[at : at + 16]
                if not self.rested_before(section.delivery_id, section.digest, consent_id):
                    values = {"delivery_id": section.delivery_id, "digest": section.digest, "consent_id": consent_id}
                    self._c.execute(insert(earlier_ground).values(**values))

    def rested_before(self, delivery_id: bytes, digest: bytes, consent_id: bytes) -> bool:
        """Whether a handed-over section rested on this consent before it came to rest on another."""
        of = earlier_ground.c
        query = select(of.digest).where(of.delivery_id == delivery_id, of.digest == digest, of.consent_id == consent_id)
        return self._c.execute(query).first() is not None

    def void(self, case_id: bytes, ground: str, at_us: int) -> None:
        """A case is void from now on, for good; of several grounds the first stays."""
        if not self.is_void(case_id):
            self._c.execute(insert(void_case).values(case_id=case_id, ground=ground, at_us=at_us))

    def is_void(self, case_id: bytes) -> bool:
        """Whether a case was declared void."""
        return self._c.execute(select(void_case.c.case_id).where(void_case.c.case_id == case_id)).first() is not None

    def ground(self, case_id: bytes) -> str | None:
        """On what ground a case was declared void; None for one that was not."""
        return self._c.execute(select(void_case.c.ground).where(void_case.c.case_id == case_id)).scalar()

    def told(self, seat_id: bytes, consent_id: bytes) -> list[AnnulNoticeRow]:
        """Every notice about one consent of a discloser, or with zeros about its void case, by delivery."""
        of = annul_notice.c
        query = select(annul_notice).where(of.seat_id == seat_id, of.consent_id == consent_id)
        return [self._row(row) for row in self._c.execute(query.order_by(of.delivery_id))]

    def put(self, rows: Iterable[AnnulNoticeRow]) -> None:
        """Keep that recipients were told."""
        values = [{name: getattr(row, name) for name in AnnulNoticeRow.__slots__} for row in rows]
        for each in values:
            each["recipient_unit"] = self._handle(each["recipient_unit"])
        if values:
            self._c.execute(insert(annul_notice), values)

    def get(self, notice_id: bytes, unit: str) -> AnnulNoticeRow | None:
        """One notice to a unit, locked; None for an unknown one and for another unit's alike."""
        of = annul_notice.c
        query = select(annul_notice).where(of.notice_id == notice_id, of.recipient_unit == self._handle(unit))
        row = self._c.execute(locked(self._c, query)).one_or_none()
        return None if row is None else self._row(row)

    def answer(self, notice_id: bytes, verdict: str, reason: str | None, at_us: int) -> None:
        """What the recipient answered; a later answer takes the place of an earlier one, the trail keeps both."""
        values = {"verdict": verdict, "reason": reason, "answered_at_us": at_us}
        self._c.execute(update(annul_notice).where(annul_notice.c.notice_id == notice_id).values(**values))

    def _handle(self, unit: str) -> str:
        return self._cipher.handle("annul_notice", unit)

    def _row(self, row: Any) -> AnnulNoticeRow:
        found = AnnulNoticeRow(*row)
        return replace(found, recipient_unit=self._cipher.code("annul_notice", found.recipient_unit))
