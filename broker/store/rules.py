"""Rule sets proposed and in force, what units approved, and deliveries that wait to be decided by new rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from sqlalchemy import Connection, delete, func, insert, select, update

from broker.store.cipher import ColumnCipher
from broker.store.deliveries import OPEN
from broker.store.dialect import locked
from broker.store.rule_tables import rule_approval, rule_recheck, rule_set, rule_step
from broker.store.tables import admin_act, delivery, entry
from schemas.identifiers import ZERO32

_TABLE = "rule_approval"
_PIECE = 500  # values in one statement
_OPEN = [state.value for state in OPEN]


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """A unit's approval: the hash (32 bytes) it is about, its entry (16) and leaf (32), microseconds UTC."""

    unit: str
    rules_hash: bytes
    entry_id: bytes
    leaf_hash: bytes
    at_us: int


class RuleRows:
    """Verbs on `rule_set`, `rule_step`, `rule_approval` and `rule_recheck`; the first three only grow."""

    def __init__(self, connection: Connection, cipher: ColumnCipher) -> None:
        self._c = connection
        self._cipher = cipher

    def mark(self) -> tuple[int, int]:
        """How many steps and approvals there are: whoever has read them under the same mark need not read again."""
        steps = select(func.count()).select_from(rule_step).scalar_subquery()
        approvals = select(func.count()).select_from(rule_approval).scalar_subquery()
        row = self._c.execute(select(steps, approvals)).one()
        return int(row[0]), int(row[1])

    def propose(self, number: int, rules_hash: bytes, file: bytes) -> None:
        """Keep a proposed file under the number of its act; the same file a second time changes nothing."""
        if self.file(rules_hash) is None:
            self._c.execute(insert(rule_set).values(number=number, rules_hash=rules_hash, file=file))

    def file(self, rules_hash: bytes) -> bytes | None:
        """A proposed file by its hash."""
        found = self._c.execute(select(rule_set.c.file).where(rule_set.c.rules_hash == rules_hash)).scalar()
        return None if found is None else bytes(found)

    def proposed(self) -> list[bytes]:
        """Hashes of every proposed file, in order."""
        return [
            bytes(one) for one in self._c.execute(select(rule_set.c.rules_hash).order_by(rule_set.c.number)).scalars()
        ]

    def install(self, number: int, base_hash: bytes) -> None:
        """The rules of an installation take force: what took effect on top of any before does not lie on these."""
        self._c.execute(insert(rule_step).values(number=number, base_hash=base_hash, rules_hash=ZERO32))

    def installed(self) -> list[int]:
        """Numbers of the acts by which rules of an installation took force, in order."""
        query = select(rule_step.c.number).where(rule_step.c.rules_hash == ZERO32).order_by(rule_step.c.number)
        return list(self._c.execute(query).scalars())

    def step(self, number: int, base_hash: bytes, rules_hash: bytes) -> None:
        """A proposed rule set takes effect on top of those of the newest installation; of `base_hash` where none is."""
        newest = select(rule_step.c.base_hash).where(rule_step.c.rules_hash == ZERO32)
        below = self._c.execute(newest.order_by(rule_step.c.number.desc()).limit(1)).scalar()
        base = base_hash if below is None else bytes(below)
        self._c.execute(insert(rule_step).values(number=number, base_hash=base, rules_hash=rules_hash))

    def steps(self, base_hash: bytes) -> list[bytes]:
        """Files of the rule sets that took effect on top of those of an installation since it was last put in force."""
        # INVARIANT: test_what_lay_on_rules_does_not_lie_on_them_when_they_come_back
        newest = select(func.max(rule_step.c.number))
        newest = newest.where(rule_step.c.base_hash == base_hash, rule_step.c.rules_hash == ZERO32)
        since = self._c.execute(newest).scalar() or 0
        query = select(rule_set.c.file).join(rule_step, rule_step.c.rules_hash == rule_set.c.rules_hash)
        query = query.where(rule_step.c.base_hash == base_hash, rule_step.c.number > since)
        return [bytes(one) for one in self._c.execute(query.order_by(rule_step.c.number)).scalars()]

    def took(self) -> list[tuple[float, bytes]]:
        """Entry number and hash of all that took force, installations' rules too: what has no entry yet comes last."""
        query = select(entry.c.number, rule_step.c.rules_hash).select_from(rule_step)
        query = query.outerjoin(admin_act, admin_act.c.number == rule_step.c.number)
        query = query.outerjoin(entry, entry.c.entry_id == admin_act.c.entry_id).order_by(rule_step.c.number)
        return [(inf if at is None else at, bytes(each)) for at, each in self._c.execute(query)]

    def given(self) -> dict[bytes, int]:
        """Entry id of every approval -> the number of that entry."""
        query = select(entry.c.entry_id, entry.c.number)
        query = query.join(rule_approval, rule_approval.c.entry_id == entry.c.entry_id)
        return {bytes(each): number for each, number in self._c.execute(query)}

    def approve(self, row: ApprovalRow) -> None:
        """Keep a unit's approval, in the transaction of its entry."""
        values = {name: getattr(row, name) for name in ApprovalRow.__slots__}
        values["unit"] = self._cipher.handle(_TABLE, row.unit)
        self._c.execute(insert(rule_approval).values(**values))

    def approvals(self, unit: str | None = None) -> list[ApprovalRow]:
        """Every approval, or those of one unit, oldest first."""
        query = select(rule_approval).order_by(rule_approval.c.at_us, rule_approval.c.rules_hash)
        if unit is not None:
            query = query.where(rule_approval.c.unit == self._cipher.handle(_TABLE, unit))
        return [
            ApprovalRow(self._cipher.code(_TABLE, row.unit), row.rules_hash, row.entry_id, row.leaf_hash, row.at_us)
            for row in self._c.execute(query)
        ]

    def open_deliveries(self) -> list[bytes]:
        """Ids of the open deliveries that are not held, locked in their order."""
        query = select(delivery.c.delivery_id).where(delivery.c.state.in_(_OPEN), delivery.c.held.is_(False))
        return [bytes(row[0]) for row in self._c.execute(locked(self._c, query.order_by(delivery.c.delivery_id)))]

    def hold_all(self, delivery_ids: list[bytes]) -> None:
        """Hold back every open delivery in one statement; those named, which the caller has locked, wait for a look."""
        for at in range(0, len(delivery_ids), _PIECE):
            piece = [{"delivery_id": one} for one in delivery_ids[at : at + _PIECE]]
            self._c.execute(insert(rule_recheck), piece)
        self._c.execute(
            update(delivery)
            .where(delivery.c.state.in_(_OPEN), delivery.c.held.is_(False))
            .values(held=True, row_version=delivery.c.row_version + 1)
        )

    def waiting(self, limit: int) -> list[bytes]:
        """Ids of deliveries that wait to be decided anew."""
        query = select(rule_recheck.c.delivery_id).order_by(rule_recheck.c.delivery_id).limit(limit)
        return [bytes(one) for one in self._c.execute(query).scalars()]

    def looked_at(self, delivery_ids: Iterable[bytes]) -> None:
        """These wait no more."""
        self._c.execute(delete(rule_recheck).where(rule_recheck.c.delivery_id.in_(list(delivery_ids))))
