"""Deliveries, acknowledgements and the adapter's outbox: each section is given to the agency's system once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from connectors.opening import Remembered
from connectors.spool.store import Store
from schemas.calls import Ack


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxItem:
    """Something the adapter must give to the agency's system under a name that is random or a delivery's id."""

    number: int
    name: str
    folder: str
    delivery_id: bytes | None
    value: dict[str, Any]


class Incoming:
    """What came in. Every method that stores content stores its identifiers in the same transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def known(self, delivery_id: bytes) -> str | None:
        """State of a delivery seen before (STORED, GIVEN, RECALLED, REJECTED), or None."""
        row = self._store.one("SELECT state FROM incoming WHERE delivery_id=?", delivery_id)
        return str(row[0]) if row else None

    def seat_of(self, delivery_id: bytes) -> bytes | None:
        """The seat a delivery was for; None for what is no delivery to a seat."""
        row = self._store.one("SELECT seat_id FROM incoming WHERE delivery_id=?", delivery_id)
        return row[0] if row else None

    def remembered(self, event_id: bytes) -> dict[bytes, Remembered]:
        """What was kept of an event seen before, under its id; empty for a new one."""
        row = self._store.one("SELECT value FROM event_hash WHERE event_id=?", event_id)
        if row is None:
            return {}
        core_hash, digests_hash, sections = self._store.open_json("event_hash.value", row[0])
        known = {category: bytes.fromhex(digest) for category, digest in sections.items()}
        return {event_id: Remembered(bytes.fromhex(core_hash), bytes.fromhex(digests_hash), known)}

    def held_digests(self, event_id: bytes, delivery_id: bytes) -> set[bytes]:
        """Digests of the event's sections that this delivery does not bring: given, about to be, or recalled from it.

        What was recalled from an earlier delivery before anybody was given it comes with a later one: a new consent
        released it again.
        """
        # INVARIANT: test_a_section_recalled_unread_comes_with_a_later_delivery
        sql = "SELECT digest FROM incoming_section WHERE event_id=? AND (state<>'DROPPED' OR delivery_id=?)"
        return {row[0] for row in self._store.all(sql, event_id, delivery_id)}

    def never_given(self, event_id: bytes, digests: Iterable[bytes]) -> bool:
        """Whether the agency's system was given none of these sections and waits for none."""
        sql = "SELECT 1 FROM incoming_section WHERE event_id=? AND digest=? AND state<>'DROPPED'"
        return all(self._store.one(sql, event_id, digest) is None for digest in digests)

    def recalled_of(self, event_id: bytes) -> dict[bytes, bytes]:
        """Sections that the agency's system was given and told not to use: by digest, the delivery that brought it."""
        sql = "SELECT digest, delivery_id FROM incoming_section WHERE event_id=? AND state='RECALLED'"
        return dict(self._store.all(sql, event_id))

    def usable_again(self, event_id: bytes, delivery_id: bytes, digests: Iterable[bytes]) -> None:
        """A later delivery brings sections that were recalled: they count as given by it."""
        self._store.many(
            "UPDATE incoming_section SET state='GIVEN', delivery_id=? WHERE event_id=? AND digest=?"
            " AND state='RECALLED'",
            ((delivery_id, event_id, digest) for digest in digests),
        )

    def store_delivery(
        self,
        delivery_id: bytes,
        seat_id: bytes,
        event_id: bytes,
        remembered: Remembered,
        fresh: Iterable[bytes],
        evidence: bytes,
        at_us: int,
    ) -> None:
        """Keep a delivery that opened: its ids, the digests of its sections not seen before, the bytes as received."""
        # INVARIANT: test_a_section_is_given_once
        with self._store.transaction():
            self._store.run(
                "INSERT INTO incoming VALUES(?,?,?,'STORED',?,?)",
                delivery_id, seat_id, event_id, at_us, self._store.key.seal("incoming.value", evidence),
            )  # fmt: skip
            known = {category: digest.hex() for category, digest in remembered.sections.items()}
            value = [remembered.core_hash.hex(), remembered.digests_hash.hex(), known]
            sealed = self._store.seal_json("event_hash.value", value)
            self._store.run("INSERT OR REPLACE INTO event_hash VALUES(?,?)", event_id, sealed)
            self._store.many(
                "INSERT INTO incoming_section VALUES(?,?,?,'STORED')"
                " ON CONFLICT(event_id, digest) DO UPDATE SET delivery_id=excluded.delivery_id, state='STORED'",
                ((event_id, d, delivery_id) for d in fresh),
            )

    def reject(self, delivery_id: bytes, seat_id: bytes, event_id: bytes, at_us: int) -> None:
        """Remember a delivery that did not open."""
        sql = "INSERT OR IGNORE INTO incoming VALUES(?,?,?,'REJECTED',?,NULL)"
        self._store.run(sql, delivery_id, seat_id, event_id, at_us)

    def put(self, name: str, folder: str, value: dict[str, Any], delivery_id: bytes | None = None) -> None:
        """Queue something for the adapter; a name that was queued before is left as it is."""
        sealed = self._store.seal_json("outbox.value", value)
        self._store.run(
            "INSERT OR IGNORE INTO outbox(name, folder, delivery_id, value) VALUES(?,?,?,?)",
            name,
            folder,
            delivery_id,
            sealed,
        )

    def queued(self, name: str) -> bool:
        """Whether something was ever queued under this name."""
        return self._store.one("SELECT 1 FROM outbox WHERE name=?", name) is not None

    def to_write(self, limit: int = 500) -> list[OutboxItem]:
        """What the adapter has not been given, oldest first."""
        rows = self._store.all(
            "SELECT number, name, folder, delivery_id, value FROM outbox WHERE NOT written AND NOT held"
            " ORDER BY number LIMIT ?",
            limit,
        )
        return [
            OutboxItem(number=n, name=m, folder=f, delivery_id=d, value=self._store.open_json("outbox.value", v))
            for n, m, f, d, v in rows
        ]

    def written(self, item: OutboxItem) -> None:
        """The adapter has it: its content is deleted here, and a delivery can be acknowledged."""
        with self._store.transaction():
            self._store.run("UPDATE outbox SET written=1, value=NULL WHERE number=?", item.number)
            if item.delivery_id is not None:
                sql = "UPDATE incoming SET state='GIVEN' WHERE delivery_id=? AND state='STORED'"
                self._store.run(sql, item.delivery_id)
                self._store.run(
                    "UPDATE incoming_section SET state='GIVEN' WHERE delivery_id=? AND state='STORED'", item.delivery_id
                )

    def hold(self, delivery_id: bytes) -> None:
        """Keep a delivery from the adapter: it may have been given before a restore, and a person must look."""
        self._store.run("UPDATE outbox SET held=1 WHERE delivery_id=? AND NOT written", delivery_id)

    def held(self) -> list[OutboxItem]:
        """What is held, oldest first."""
        rows = self._store.all(
            "SELECT number, name, folder, delivery_id, value FROM outbox WHERE NOT written AND held ORDER BY number"
        )
        return [
            OutboxItem(number=n, name=m, folder=f, delivery_id=d, value=self._store.open_json("outbox.value", v))
            for n, m, f, d, v in rows
        ]

    def let_go(self, delivery_id: bytes) -> bool:
        """Give a held delivery to the adapter after all; returns whether it was held."""
        return self._store.run("UPDATE outbox SET held=0 WHERE delivery_id=? AND held AND NOT written", delivery_id) > 0

    def found(self, name: str) -> None:
        """Remember a file that the agency's folder holds already, so that it is not written again."""
        self._store.run("INSERT OR IGNORE INTO outbox(name, folder, written) VALUES(?,'out',1)", name)

    def given(self, delivery_id: bytes) -> None:
        """A delivery whose file the agency's folder held already counts as given."""
        with self._store.transaction():
            for table in ("incoming", "incoming_section"):
                sql = f"UPDATE {table} SET state='GIVEN' WHERE delivery_id=? AND state='STORED'"  # noqa: S608
                self._store.run(sql, delivery_id)

    def is_written(self, name: str) -> bool:
        """Whether the item of this name was given to the adapter for good."""
        row = self._store.one("SELECT written FROM outbox WHERE name=?", name)
        return row is not None and bool(row[0])

    def waits_for_adapter(self, delivery_id: bytes) -> OutboxItem | None:
        """The delivery's outbox item, if the adapter has not been given it."""
        row = self._store.one(
            "SELECT number, name, folder, delivery_id, value FROM outbox WHERE delivery_id=? AND NOT written",
            delivery_id,
        )
        if row is None:
            return None
        value = self._store.open_json("outbox.value", row[4])
        return OutboxItem(number=row[0], name=row[1], folder=row[2], delivery_id=row[3], value=value)

    def replace(self, item: OutboxItem, value: dict[str, Any] | None) -> None:
        """Shrink what the adapter will be given, or drop it with None."""
        if value is None:
            self._store.run("UPDATE outbox SET written=1, value=NULL WHERE number=?", item.number)
        else:
            sealed = self._store.seal_json("outbox.value", value)
            self._store.run("UPDATE outbox SET value=? WHERE number=?", sealed, item.number)

    def recalled(self, event_id: bytes, delivery_id: bytes, digests: Iterable[bytes]) -> set[bytes]:
        """Mark a delivery's sections as recalled; returns the digests that the agency's system had been given.

        RECALLED: given before. DROPPED: never given, also one never seen, so that a late copy of this delivery is not
        given either. What a later delivery brought and the adapter still waits for is not this recall's to stop.
        """
        given: set[bytes] = set()
        with self._store.transaction():
            for digest in digests:
                row = self._store.one(
                    "SELECT state FROM incoming_section WHERE event_id=? AND digest=?", event_id, digest
                )
                # Recalled before, for a block say, it is there still: the word that its consent ended is about it too.
                if row is not None and row[0] in {"GIVEN", "RECALLED"}:
                    given.add(digest)
                self._store.run(
                    "INSERT INTO incoming_section VALUES(?,?,?,'DROPPED') ON CONFLICT(event_id, digest) DO UPDATE SET"
                    " state=CASE state WHEN 'GIVEN' THEN 'RECALLED' ELSE 'DROPPED' END"
                    " WHERE state='GIVEN' OR (state='STORED' AND delivery_id=excluded.delivery_id)",
                    event_id, digest, delivery_id,
                )  # fmt: skip
        return given

    def drop(self, delivery_id: bytes) -> None:
        """A delivery whose sections were all recalled before the adapter was given any."""
        self._store.run("UPDATE incoming SET state='RECALLED', value=NULL WHERE delivery_id=?", delivery_id)

    def want_ack(self, item_id: bytes, hand_number: int, verdict: str, code: str | None = None) -> None:
        """Queue an acknowledgement; a later hand-over of the same item replaces the number."""
        self._store.run("INSERT OR REPLACE INTO ack VALUES(?,?,?,?)", item_id, hand_number, verdict, code)

    def acks(self, limit: int = 200) -> list[Ack]:
        """Acknowledgements to send: those whose delivery, if it is one, has been given to the adapter."""
        rows = self._store.all(
            "SELECT a.item_id, a.hand_number, a.verdict, a.code FROM ack AS a LEFT JOIN incoming AS i ON"
            " i.delivery_id=a.item_id WHERE i.state IS NULL OR i.state<>'STORED' LIMIT ?", limit,
        )  # fmt: skip
        return [Ack(item_id=i, hand_number=h, verdict=v, code=c) for i, h, v, c in rows]

    def acked(self, ack: Ack) -> None:
        """The broker answered for this acknowledgement."""
        self._store.run("DELETE FROM ack WHERE item_id=? AND hand_number=?", ack.item_id, ack.hand_number)

    def evidence(self, delivery_id: bytes) -> bytes | None:
        """The delivery as received, kept as evidence of the disclosure."""
        row = self._store.one("SELECT value FROM incoming WHERE delivery_id=?", delivery_id)
        return self._store.key.open("incoming.value", row[0]) if row and row[0] else None

    def evidence_of(self, seat_id: bytes, since_us: int) -> Iterator[bytes]:
        """Deliveries of one seat as received, from a moment on."""
        rows = self._store.all(
            "SELECT value FROM incoming WHERE seat_id=? AND at_us>=? AND value IS NOT NULL", seat_id, since_us
        )
        for row in rows:
            yield self._store.key.open("incoming.value", row[0])

    def stored(self, seat_id: bytes) -> list[bytes]:
        """Deliveries to a seat that the adapter has not been given, as received."""
        rows = self._store.all("SELECT value FROM incoming WHERE seat_id=? AND state='STORED'", seat_id)
        return [self._store.key.open("incoming.value", row[0]) for row in rows if row[0]]

    def counts(self) -> dict[str, int]:
        """Number of deliveries by state."""
        return dict(self._store.all("SELECT state, count(*) FROM incoming GROUP BY state"))
