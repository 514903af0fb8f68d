"""Events on their way out, kept until every recipient acknowledged: states, sections, receipts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from connectors import waiting
from connectors.spool.store import Store
from connectors.waiting import OutgoingState, SectionState
from schemas.errors import HandslagError

_PAGE = 200  # events opened at once
_COLUMNS = (
    "event_id, ref, event_type, state, attempt, posted, basis, tries, accepted_at_us, shelf_until_us, event,"
    " sealed, submission"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingEvent:
    """One event: `event` is the input as JSON, `sealed` the secrets of the seal, `submission` the last attempt."""

    event_id: bytes
    ref: bytes
    event_type: str
    state: OutgoingState
    attempt: int
    posted: bool
    basis: str
    tries: int
    accepted_at_us: int
    shelf_until_us: int
    event: dict[str, Any]
    sealed: bytes | None
    submission: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionRow:
    """One section for one role: its state, the attempt that released it last (0: none), the last decision's reasons."""

    role: str
    category: str
    state: SectionState
    attempt: int
    reasons: tuple[str, ...]


class Outgoing:
    """Outgoing events."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def accept(
        self,
        event_id: bytes,
        ref: bytes,
        event_type: str,
        event: dict[str, Any],
        sections: Iterable[tuple[str, str]],
        *,
        now_us: int,
        shelf_until_us: int,
    ) -> None:
        """Make an event durable, content encrypted; `sections` are its (role, category) pairs."""
        self._store.run(
            "INSERT INTO outgoing(event_id, ref, event_type, state, accepted_at_us, shelf_until_us, event)"
            " VALUES(?,?,?,'ACCEPTED',?,?,?)",
            event_id, ref, event_type, now_us, shelf_until_us, self._store.seal_json("outgoing.event", event),
        )  # fmt: skip
        self._store.many(
            "INSERT INTO outgoing_section(event_id, role, category, state) VALUES(?,?,?,'OPEN')",
            ((event_id, role, category) for role, category in sections),
        )

    def get(self, event_id: bytes) -> OutgoingEvent:
        """One event; raises `HS-EVENT-UNKNOWN`."""
        row = self._store.one(f"SELECT {_COLUMNS} FROM outgoing WHERE event_id=?", event_id)  # noqa: S608
        if row is None:
            raise HandslagError("HS-EVENT-UNKNOWN")
        return self._event(row)

    def standing(self, event_id: bytes) -> tuple[OutgoingState, int]:
        """(state, attempt) of one event, without opening its content; raises `HS-EVENT-UNKNOWN`."""
        row = self._store.one("SELECT state, attempt FROM outgoing WHERE event_id=?", event_id)
        if row is None:
            raise HandslagError("HS-EVENT-UNKNOWN")
        return OutgoingState(row[0]), row[1]

    def accepted_since(self, refs: Iterable[bytes], at_us: int) -> list[tuple[bytes, bytes, str]]:
        """(event id, handle of its case, event type) of what was accepted in these cases since a moment, in order."""
        found = self._store.all(
            "SELECT event_id, ref, event_type FROM outgoing WHERE accepted_at_us>=? ORDER BY number", at_us
        )
        wanted = set(refs)
        return [(row[0], row[1], row[2]) for row in found if row[1] in wanted]

    def in_state(self, *states: OutgoingState, due_us: int | None = None) -> Iterator[OutgoingEvent]:
        """Events in any of the states, oldest first; with `due_us` only those whose next try is not later.

        Read in pages to the end: what many events of one stopped case wait for must not hold back another case.
        """
        # INVARIANT: test_a_stopped_case_holds_back_no_other
        marks = ",".join("?" * len(states))
        due = 2**62 if due_us is None else due_us
        sql = (
            f"SELECT number, {_COLUMNS} FROM outgoing WHERE state IN ({marks}) AND next_at_us<=? AND number>?"  # noqa: S608
            " ORDER BY number LIMIT ?"
        )
        last, rows = 0, _PAGE
        while rows == _PAGE:
            page = self._store.all(sql, *states, due, last, _PAGE)
            rows = len(page)
            for row in page:
                last = row[0]
                yield self._event(row[1:])

    def on_its_way(self, ref: bytes, role: str) -> bool:
        """Whether something of a case to a role has left or is about to, and no end of it is known yet."""
        sql = (
            "SELECT 1 FROM outgoing AS o JOIN outgoing_section AS s ON s.event_id=o.event_id WHERE o.ref=? AND s.role=?"
            " AND o.state IN ('ACCEPTED','SEALED','SENT','DECIDED') AND s.state IN ('OPEN','KEYLESS','LIVE') LIMIT 1"
        )
        return self._store.one(sql, ref, role) is not None

    def _event(self, row: tuple[Any, ...]) -> OutgoingEvent:
        key = self._store.key
        return OutgoingEvent(
            event_id=row[0], ref=row[1], event_type=row[2], state=OutgoingState(row[3]), attempt=row[4],
            posted=bool(row[5]), basis=row[6], tries=row[7], accepted_at_us=row[8], shelf_until_us=row[9],
            event=self._store.open_json("outgoing.event", row[10]) if row[10] else {},
            sealed=key.open("outgoing.sealed", row[11]) if row[11] else None,
            submission=key.open("outgoing.submission", row[12]) if row[12] else None,
        )  # fmt: skip

    def move(self, event_id: bytes, to: OutgoingState) -> None:
        """Change the state as the table allows; content is deleted when nobody waits for it any more."""
        with self._store.transaction():
            row = self._store.one("SELECT state FROM outgoing WHERE event_id=?", event_id)
            if row is None:
                raise HandslagError("HS-EVENT-UNKNOWN")
            waiting.moved(OutgoingState(row[0]), to)
            gone = "" if to in waiting.KEEPS_CONTENT else ", event=NULL, sealed=NULL, submission=NULL"
            self._store.run(f"UPDATE outgoing SET state=?{gone} WHERE event_id=?", to, event_id)  # noqa: S608

    def sealed(self, event_id: bytes, attempt: int, secrets: bytes, submission: bytes, basis: str) -> None:
        """Keep a sealed attempt and what it was decided on (ledger position, keys); nothing of it has left yet."""
        with self._store.transaction():
            self.move(event_id, OutgoingState.SEALED)
            self._store.run(
                "UPDATE outgoing SET attempt=?, posted=0, tries=0, next_at_us=0, basis=?, sealed=?, submission=?"
                " WHERE event_id=?",
                attempt, basis, self._store.key.seal("outgoing.sealed", secrets),
                self._store.key.seal("outgoing.submission", submission), event_id,
            )  # fmt: skip

    def posting(self, event_ids: Iterable[bytes]) -> None:
        """Mark attempts as perhaps arrived, before the first byte leaves: these bytes stay these bytes."""
        self._store.many("UPDATE outgoing SET posted=1 WHERE event_id=?", ((event_id,) for event_id in event_ids))

    def later(self, event_id: bytes, next_at_us: int) -> None:
        """Try again not before the given time."""
        self._store.run("UPDATE outgoing SET tries=tries+1, next_at_us=? WHERE event_id=?", next_at_us, event_id)

    def unsure(self, gap: int) -> int:
        """After a restore: what may have left goes on `gap` attempts higher, decided anew; returns how many events.

        A number that the lost connector may have used for other bytes is never used again.
        """
        return self._store.run(
            "UPDATE outgoing SET attempt=attempt+?, posted=1, basis='', tries=0, next_at_us=0 WHERE attempt>0 AND"
            " state IN ('SEALED','SENT','WAITING')",
            gap,
        )

    def soon(self) -> None:
        """Send at once what is sealed; what was sent waits for its receipt as before."""
        self._store.run("UPDATE outgoing SET next_at_us=0 WHERE state='SEALED' AND next_at_us>0")

    def sections(self, event_id: bytes) -> list[SectionRow]:
        """All sections of an event, by role and category."""
        rows = self._store.all(
            "SELECT role, category, state, attempt, reasons FROM outgoing_section WHERE event_id=?"
            " ORDER BY role, category",
            event_id,
        )
        return [
            SectionRow(
                role=r, category=c, state=SectionState(s), attempt=n, reasons=tuple(filter(None, why.split(",")))
            )
            for r, c, s, n, why in rows
        ]

    def open_now(self, event_id: bytes) -> dict[str, set[str]]:
        """Per role the categories that nobody in it was given yet."""
        found: dict[str, set[str]] = {}
        for row in self.sections(event_id):
            if row.state in {SectionState.OPEN, SectionState.KEYLESS}:
                found.setdefault(row.role, set()).add(row.category)
        return found

    def set_section(
        self, event_id: bytes, role: str, category: str, state: SectionState, reasons: Iterable[str] = ()
    ) -> None:
        """Note what became of one section; what was acknowledged or rejected stays so."""
        self._store.run(
            "UPDATE outgoing_section SET state=?, reasons=? WHERE event_id=? AND role=? AND category=?"
            " AND state NOT IN ('ACKED','REJECTED')",
            state, ",".join(reasons), event_id, role, category,
        )  # fmt: skip

    def reopen(self, event_id: bytes) -> bool:
        """Take back that sections were released and wait to be acknowledged; whether there were any.

        The attempt that released them is forgotten with it: the broker may name it again as the one that carries them.
        """
        sql = "UPDATE outgoing_section SET state='OPEN', attempt=0 WHERE event_id=? AND state='LIVE'"
        return self._store.run(sql, event_id) > 0

    def released(self, event_id: bytes, role: str, category: str, attempt: int) -> None:
        """Note that an attempt released a section; a receipt that comes late says nothing against a later one's."""
        self._store.run(
            "UPDATE outgoing_section SET state='LIVE', attempt=?, reasons='' WHERE event_id=? AND role=? AND category=?"
            " AND attempt<? AND state NOT IN ('ACKED','REJECTED')",
            attempt, event_id, role, category, attempt,
        )  # fmt: skip

    def keep_receipt(self, event_id: bytes, attempt: int, receipt: bytes) -> bool:
        """Keep a receipt as received; False when it was here before."""
        sealed = self._store.key.seal("receipt.value", receipt)
        return self._store.run("INSERT OR IGNORE INTO receipt VALUES(?,?,?)", event_id, attempt, sealed) == 1

    def has_receipt(self, event_id: bytes, attempt: int) -> bool:
        """Whether the receipt of an attempt is here."""
        return self._store.one("SELECT 1 FROM receipt WHERE event_id=? AND attempt=?", event_id, attempt) is not None

    def receipts(self, event_id: bytes) -> list[bytes]:
        """Receipts of an event by attempt, as received."""
        rows = self._store.all("SELECT value FROM receipt WHERE event_id=? ORDER BY attempt", event_id)
        return [self._store.key.open("receipt.value", row[0]) for row in rows]

    def overtaken(self, event_id: bytes) -> bool:
        """Whether the case has a later event of the same type, sent after this one was accepted."""
        sql = (
            "SELECT 1 FROM outgoing AS o JOIN outgoing AS l ON l.ref=o.ref AND l.event_type=o.event_type AND"
            " l.number>o.number AND l.state NOT IN ('ACCEPTED','REFUSED') WHERE o.event_id=? LIMIT 1"
        )
        return self._store.one(sql, event_id) is not None

    def of_case(self, ref: bytes) -> list[bytes]:
        """Event ids of a case, oldest first."""
        return [row[0] for row in self._store.all("SELECT event_id FROM outgoing WHERE ref=? ORDER BY number", ref)]

    def counts(self) -> dict[str, int]:
        """Number of events by state."""
        return dict(self._store.all("SELECT state, count(*) FROM outgoing GROUP BY state"))
