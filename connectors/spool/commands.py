"""Commands of the agency that were accepted and wait for their answer; and the marks of files already taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from connectors.spool.store import Store
from schemas.errors import HandslagError


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A command: number, id (16 bytes), handle of the local reference, kind, tries so far, its JSON, its state."""

    number: int
    command_id: bytes
    ref: bytes | None
    kind: str
    tries: int
    value: dict[str, Any]
    state: str


class Commands:
    """Accepted once, executed in order per case; a narrowing one stops the case's sending at its acceptance."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def accept(
        self, command_id: bytes, ref: bytes | None, kind: str, value: dict[str, Any], *, narrowing: bool
    ) -> None:
        """Make a command durable; from here on a narrowing one holds the seat's sending back."""
        # INVARIANT: test_a_noted_withdrawal_stops_at_once_also_offline
        self._store.run(
            "INSERT INTO command(command_id, ref, kind, narrowing, state, value) VALUES(?,?,?,?,'ACCEPTED',?)",
            command_id, ref, kind, int(narrowing), self._store.seal_json("command.value", value),
        )  # fmt: skip

    def due(self, now_us: int) -> list[Waiting]:
        """The next command of every case, withdrawals and blocks before all else, oldest first."""
        rows = self._store.all(
            "SELECT number, command_id, ref, kind, tries, value, state FROM command AS c WHERE state='ACCEPTED' AND"
            " next_at_us<=? AND (narrowing OR NOT EXISTS (SELECT 1 FROM command AS e WHERE e.ref IS c.ref AND"
            " e.state='ACCEPTED' AND e.number<c.number)) ORDER BY narrowing DESC, number",
            now_us,
        )
        return [self._waiting(row) for row in rows]

    def get(self, command_id: bytes) -> Waiting:
        """One command in whatever state; raises `HS-EVENT-UNKNOWN`."""
        row = self._store.one(
            "SELECT number, command_id, ref, kind, tries, value, state FROM command WHERE command_id=?", command_id
        )
        if row is None:
            raise HandslagError("HS-EVENT-UNKNOWN")
        return self._waiting(row)

    def _waiting(self, row: tuple[Any, ...]) -> Waiting:
        value = self._store.open_json("command.value", row[5])
        return Waiting(
            number=row[0], command_id=row[1], ref=row[2], kind=row[3], tries=row[4], value=value, state=row[6]
        )

    def prepare(self, command_id: bytes, value: dict[str, Any]) -> None:
        """Keep what was drawn for a command (keys, ids, signed bytes), so that a repetition sends the same."""
        sealed = self._store.seal_json("command.value", value)
        self._store.run("UPDATE command SET value=? WHERE command_id=?", sealed, command_id)

    def later(self, command_id: bytes, next_at_us: int) -> None:
        """Try again not before the given time."""
        self._store.run("UPDATE command SET tries=tries+1, next_at_us=? WHERE command_id=?", next_at_us, command_id)

    def due_in_us(self, command_id: bytes, now_us: int) -> int:
        """Microseconds until a command may be tried again, 0 when it may be."""
        row = self._store.one("SELECT next_at_us FROM command WHERE command_id=?", command_id)
        return 0 if row is None else max(0, int(row[0]) - now_us)

    def soon(self) -> None:
        """Try again at once what waits for its next try."""
        self._store.run("UPDATE command SET next_at_us=0 WHERE state='ACCEPTED'")

    def finish(self, command_id: bytes, *, failed: bool) -> None:
        """The broker answered for good. The row stays; its JSON is part of what is kept for ever."""
        self._store.run("UPDATE command SET state=? WHERE command_id=?", "FAILED" if failed else "DONE", command_id)

    def results(self, ref: bytes, kind: str) -> list[dict[str, Any]]:
        """What finished commands of one kind of a case came to, oldest first."""
        rows = self._store.all(
            "SELECT value FROM command WHERE ref=? AND kind=? AND state='DONE' ORDER BY number", ref, kind
        )
        return [self._store.open_json("command.value", row[0])["result"] for row in rows]

    def finished(self, kinds: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
        """(kind, what it came to) of every finished command of these kinds, whatever its case, oldest first."""
        marks = ",".join("?" * len(kinds))
        rows = self._store.all(
            f"SELECT kind, value FROM command WHERE state='DONE' AND kind IN ({marks}) ORDER BY number",  # noqa: S608
            *kinds,
        )
        return [(row[0], self._store.open_json("command.value", row[1])["result"]) for row in rows]

    def waiting(self) -> list[Waiting]:
        """Every command without an answer, oldest first."""
        rows = self._store.all(
            "SELECT number, command_id, ref, kind, tries, value, state FROM command WHERE state='ACCEPTED'"
            " ORDER BY number"
        )
        return [self._waiting(row) for row in rows]

    def widening(self, ref: bytes) -> list[Waiting]:
        """Commands of a case without an answer that would permit or tell something."""
        rows = self._store.all(
            "SELECT number, command_id, ref, kind, tries, value, state FROM command WHERE ref=? AND state='ACCEPTED'"
            " AND kind IN ('grant', 'amend', 'unblock', 'resume', 'lift', 'invite') ORDER BY number",
            ref,
        )
        return [self._waiting(row) for row in rows]

    def overtaken(self, command: Waiting) -> bool:
        """Whether the person's withdrawal of everything was noted after this command of the case."""
        sql = "SELECT 1 FROM command WHERE ref IS ? AND kind IN ('withdraw_case', 'void_case', 'crossing') AND number>?"
        return self._store.one(sql, command.ref, command.number) is not None

    def busy(self, ref: bytes) -> bool:
        """Whether an earlier command of this case still waits for its answer."""
        return self._store.one("SELECT 1 FROM command WHERE ref=? AND state='ACCEPTED'", ref) is not None

    def stopped(self, ref: bytes) -> bool:
        """Whether a withdrawal or block noted here has not yet been recorded by the broker."""
        sql = "SELECT 1 FROM command WHERE ref=? AND state='ACCEPTED' AND narrowing"
        return self._store.one(sql, ref) is not None

    def waits(self, ref: bytes, kinds: tuple[str, ...]) -> bool:
        """Whether a command of one of these kinds still waits for its answer in a case."""
        rows = self._store.all("SELECT kind FROM command WHERE ref=? AND state='ACCEPTED'", ref)
        return any(row[0] in kinds for row in rows)

    def counts(self) -> dict[str, int]:
        """Number of commands by state."""
        return dict(self._store.all("SELECT state, count(*) FROM command GROUP BY state"))

    def taken(self, mark: bytes) -> bool:
        """Whether the input with this mark was accepted before."""
        return self._store.one("SELECT 1 FROM intake WHERE mark=?", mark) is not None

    def take(self, mark: bytes) -> None:
        """Remember an input file, in the transaction that accepts what it holds."""
        self._store.run("INSERT INTO intake VALUES(?)", mark)

    def marks(self) -> list[bytes]:
        """Marks of files that were accepted and perhaps not removed."""
        return [row[0] for row in self._store.all("SELECT mark FROM intake")]

    def forget(self, mark: bytes) -> None:
        """The file is gone from the folder."""
        self._store.run("DELETE FROM intake WHERE mark=?", mark)
