"""What a connector remembers so that it can contradict the broker: ledgers, statements, calls, proofs, checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from connectors.spool.store import Store
from schemas.acts import LedgerEvent
from schemas.identifiers import ZERO32


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedProof:
    """A leaf whose tlog-proof is still missing."""

    leaf_hash: bytes
    kind: str
    since_us: int
    alarmed: bool


class Memory:
    """Kept for ever and small, except where a method says otherwise."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, name: str) -> bytes | None:
        """A named value, as put."""
        row = self._store.one("SELECT value FROM meta WHERE name=?", name)
        return self._store.key.open(f"meta.{name}", row[0]) if row else None

    def put(self, name: str, value: bytes) -> None:
        """Keep a named value; replaces the one before."""
        self._store.run("INSERT OR REPLACE INTO meta VALUES(?,?)", name, self._store.key.seal(f"meta.{name}", value))

    def drop(self, name: str) -> None:
        """Forget a named value."""
        self._store.run("DELETE FROM meta WHERE name=?", name)

    def add_ledger(self, seat_id: bytes, events: Iterable[LedgerEvent]) -> None:
        """Append verified acts of one seat's ledger and move its head, in one transaction."""
        with self._store.transaction():
            for event in events:
                sealed = self._store.key.seal("ledger.value", event.to_bytes())
                self._store.run("INSERT INTO ledger VALUES(?,?,?)", seat_id, event.ledger_seq, sealed)
                self._store.run(
                    "INSERT OR REPLACE INTO ledger_head VALUES(?,?,?)", seat_id, event.ledger_seq, event.head
                )

    def ledger(self, seat_id: bytes, after: int = 0) -> list[LedgerEvent]:
        """Acts of the seat's ledger after number `after`, in order."""
        rows = self._store.all("SELECT value FROM ledger WHERE seat_id=? AND seq>? ORDER BY seq", seat_id, after)
        return [LedgerEvent.from_bytes(self._store.key.open("ledger.value", row[0])) for row in rows]

    def head(self, seat_id: bytes) -> tuple[int, bytes]:
        """(last number, head); (0, zeros) for an empty ledger."""
        row = self._store.one("SELECT seq, head FROM ledger_head WHERE seat_id=?", seat_id)
        return (row[0], row[1]) if row else (0, ZERO32)

    def add_statement(self, case_handle: bytes, digest: bytes, statement: bytes) -> None:
        """Keep an encoded SignedStatement of a case under its hash; nothing is trusted by being here."""
        sealed = self._store.key.seal("statement.value", statement)
        self._store.run(
            "INSERT OR IGNORE INTO statement(case_handle, hash, value) VALUES(?,?,?)", case_handle, digest, sealed
        )

    def statement_hashes(self, case_handle: bytes) -> tuple[bytes, ...]:
        """Hashes of a case's statements, in the order in which they were kept."""
        rows = self._store.all("SELECT hash FROM statement WHERE case_handle=? ORDER BY number", case_handle)
        return tuple(row[0] for row in rows)

    def statements(self, case_handle: bytes, after: int = 0) -> list[bytes]:
        """Encoded SignedStatements of a case, in the order in which they were kept, without the first `after`."""
        sql = "SELECT value FROM statement WHERE case_handle=? ORDER BY number LIMIT -1 OFFSET ?"
        rows = self._store.all(sql, case_handle, after)
        return [self._store.key.open("statement.value", row[0]) for row in rows]

    def add_invitation(self, invitation_id: bytes, value: dict[str, Any], state: str) -> None:
        """Keep an invitation sent (state SENT) or received (state OFFERED)."""
        sealed = self._store.seal_json("invitation.value", value)
        self._store.run("INSERT OR IGNORE INTO invitation VALUES(?,?,?)", invitation_id, state, sealed)

    def invitations(self, state: str) -> list[tuple[bytes, dict[str, Any]]]:
        """Invitations in a state."""
        rows = self._store.all("SELECT invitation_id, value FROM invitation WHERE state=?", state)
        return [(row[0], self._store.open_json("invitation.value", row[1])) for row in rows]

    def invitation(self, invitation_id: bytes) -> tuple[str, dict[str, Any]] | None:
        """(state, value) of one invitation."""
        row = self._store.one("SELECT state, value FROM invitation WHERE invitation_id=?", invitation_id)
        return (row[0], self._store.open_json("invitation.value", row[1])) if row else None

    def set_invitation(self, invitation_id: bytes, state: str) -> None:
        """Move an invitation to SENT, OFFERED, ACCEPTED, JOINED or LAPSED."""
        self._store.run("UPDATE invitation SET state=? WHERE invitation_id=?", state, invitation_id)

    def add_call(self, call_id: bytes, path: str, request: bytes, at_us: int) -> None:
        """Keep a consent, case or seat call for ever, before it is made."""
        sealed = self._store.key.seal("call.request", request)
        self._store.run("INSERT OR REPLACE INTO call VALUES(?,?,?,?,NULL)", call_id, path, at_us, sealed)

    def answer_call(self, call_id: bytes, answer: bytes) -> None:
        """Keep the answer for ever."""
        self._store.run(
            "UPDATE call SET answer=? WHERE call_id=?", self._store.key.seal("call.answer", answer), call_id
        )

    def calls(self, path: str) -> list[tuple[bytes, bytes | None]]:
        """(request, answer or None) of every call of one kind, oldest first."""
        rows = self._store.all("SELECT request, answer FROM call WHERE path=? ORDER BY at_us", path)
        key = self._store.key
        return [(key.open("call.request", r), key.open("call.answer", a) if a else None) for r, a in rows]

    def want_proof(self, leaf_hash: bytes | None, kind: str, now_us: int, seat_id: bytes | None = None) -> None:
        """A leaf that the broker named: it must be shown in the log, and in every export about `seat_id`."""
        if leaf_hash is not None:
            self._store.run(
                "INSERT OR IGNORE INTO proof(leaf_hash, kind, since_us, seat_id) VALUES(?,?,?,?)",
                leaf_hash,
                kind,
                now_us,
                seat_id,
            )

    def told_of(self, seat_id: bytes) -> list[tuple[bytes, str, int]]:
        """(leaf hash, kind, time) of every entry about a seat that the broker ever named, oldest first."""
        rows = self._store.all("SELECT leaf_hash, kind, since_us FROM proof WHERE seat_id=? ORDER BY since_us", seat_id)
        return [(row[0], row[1], row[2]) for row in rows]

    def wanted_proofs(self, limit: int) -> list[WantedProof]:
        """Leaves without a proof, oldest first."""
        rows = self._store.all(
            "SELECT leaf_hash, kind, since_us, alarmed FROM proof WHERE value IS NULL AND alarmed<2"
            " ORDER BY since_us LIMIT ?",
            limit,
        )
        return [WantedProof(leaf_hash=h, kind=k, since_us=s, alarmed=bool(a)) for h, k, s, a in rows]

    def got_proof(self, leaf_hash: bytes, proof: bytes) -> None:
        """Keep a verified proof file."""
        sealed = self._store.key.seal("proof.value", proof)
        self._store.run("UPDATE proof SET value=? WHERE leaf_hash=?", sealed, leaf_hash)

    def proof(self, leaf_hash: bytes) -> bytes | None:
        """The verified proof file of a leaf, if it is here."""
        row = self._store.one("SELECT value FROM proof WHERE leaf_hash=?", leaf_hash)
        return self._store.key.open("proof.value", row[0]) if row and row[0] else None

    def alarm(self, leaf_hash: bytes) -> None:
        """The alarm for a late proof was raised; once is enough."""
        self._store.run("UPDATE proof SET alarmed=1 WHERE leaf_hash=?", leaf_hash)

    def proofs(self) -> list[bytes]:
        """Every proof file held."""
        rows = self._store.all("SELECT value FROM proof WHERE value IS NOT NULL")
        return [self._store.key.open("proof.value", row[0]) for row in rows]

    def lose_proofs(self) -> None:
        """Proofs that never came are of a log that is lost: they stay known and are asked for no more."""
        self._store.run("UPDATE proof SET alarmed=2 WHERE value IS NULL")

    def proof_counts(self) -> tuple[int, int]:
        """(proofs held, proofs wanted)."""
        row = self._store.one("SELECT count(value), count(*) FROM proof WHERE value IS NOT NULL OR alarmed<2")
        assert row is not None
        return row[0], row[1] - row[0]

    def add_evidence(self, code: str, value: bytes, at_us: int) -> None:
        """Keep what contradicts the broker (a note, an answer) for the investigation."""
        sealed = self._store.key.seal("evidence.value", value)
        self._store.run("INSERT INTO evidence(at_us, code, value) VALUES(?,?,?)", at_us, code, sealed)

    def evidence(self) -> list[tuple[int, str, bytes]]:
        """(time, code, bytes) of everything kept as evidence, oldest first."""
        rows = self._store.all("SELECT at_us, code, value FROM evidence ORDER BY number")
        return [(row[0], row[1], self._store.key.open("evidence.value", row[2])) for row in rows]

    def log_reading(self, value: dict[str, Any], at_us: int) -> None:
        """The connector's own log of who looked at what, written before anything is shown."""
        self._store.run(
            "INSERT INTO reading(at_us, value) VALUES(?,?)", at_us, self._store.seal_json("reading.value", value)
        )

    def readings(self) -> list[tuple[int, dict[str, Any]]]:
        """(time, who and why) of every look, oldest first."""
        rows = self._store.all("SELECT at_us, value FROM reading ORDER BY number")
        return [(row[0], self._store.open_json("reading.value", row[1])) for row in rows]
