"""Every entry by itself: its bytes, its columns, its ciphertext, and the rules of its format."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

from audit.entryshape import agreed
from audit.merkle import HASH_BYTES
from audit.report import Finding, Report
from audit.trailfile import EntryRow, TrailFile
from audit.verify_erasures import Erasures
from audit.verify_rules import broken_in_clear
from schemas import codec, limits
from schemas.errors import HandslagError
from schemas.records import VERSION
from schemas.trail import AuditEntry

UNSEALED_US = 10 * 60 * 1_000_000
"""An entry waits for one beat; one without a leaf that is this much older than a sealed one was left out."""


class EntryPass:
    """One pass over all entries in the order of their numbers.

    `beats` maps the entry id of every BEAT entry to (number, leaf index), for the comparison with the beat rows.
    """

    def __init__(self, trail: TrailFile, report: Report, erased: Erasures) -> None:
        """Take the trail; nothing is read yet. `erased` explains what is missing."""
        self._trail = trail
        self._erased = erased
        self._report = report
        self._previous: Any = None
        self._newest_sealed = 0
        self._waiting: list[tuple[int, bytes | None, int]] = []
        self.beats: dict[bytes, tuple[int, int | None]] = {}

    def run(self) -> None:
        """Check every entry and every payload."""
        for row in self._trail.entries():
            if row.number == self._previous:
                self._find(row, "leaf-map", "twice")
                continue
            self._previous = row.number
            self._report.entries += 1
            self._entry(row)
        for stray in self._trail.strays():
            self._report.add(Finding(check="payload", entry_id=_id(stray), part="stray"))
        self._unsealed()
        self._beat_rows()

    def _entry(self, row: EntryRow) -> None:
        data = row.entry_bytes
        if not isinstance(data, bytes):
            self._find(row, "hole", "bytes")
            return
        # What the tree holds must be the hash of these very bytes; the tree itself is checked from the stored hash.
        if sha256(b"\x00" + data).digest() != row.leaf_hash:
            self._find(row, "leaf-hash", None)
        rest = agreed(row)
        if rest is not None and HASH_BYTES < len(data) <= limits.ENTRY:
            broken = _broken(row.operation, row.owner, row.outcome, row.reason_class, rest.caused)
            if broken is not None:
                self._find(row, "schema", broken)
            self._payload(row, rest.payload_commit)
            self._place(row, row.operation, row.entry_id, row.at_us)
        else:
            self._decoded(row, data)

    def _decoded(self, row: EntryRow, data: bytes) -> None:
        """The same for bytes that say something else than the columns, naming what."""
        try:
            said = codec.decode(AuditEntry.SCHEMA, data, limits.ENTRY)
        except HandslagError:
            self._find(row, "schema", "bytes")
            return
        self._columns(row, said)
        broken = broken_in_clear(said)
        if broken is None and len(data) <= HASH_BYTES:
            broken = "size"
        if broken is not None:
            self._find(row, "schema", broken)
        self._payload(row, said["payload_commit"])
        self._place(row, said["operation"], said["entry_id"], said["at_us"])

    def _columns(self, row: EntryRow, said: Mapping[str, Any]) -> None:
        for name in ("entry_id", "owner", "handle", "at_us", "operation", "outcome", "reason_class"):
            if getattr(row, name) != said[name]:
                self._find(row, "columns", name)
                return

    def _payload(self, row: EntryRow, payload_commit: bytes) -> None:
        # INVARIANT: test_a_missing_payload_is_never_overlooked
        if row.payload is None and self._erased.explains(row):
            return
        if row.payload is None:
            self._find(row, "hole", "payload")
        elif not isinstance(row.payload, bytes) or sha256(row.payload).digest() != payload_commit:
            self._find(row, "payload", None)

    def _place(self, row: EntryRow, operation: str, entry_id: bytes, at_us: int) -> None:
        if operation == "BEAT":
            self.beats[entry_id] = (row.number, row.index)
        if row.index is None:
            self._waiting.append((row.number, _id(row.entry_id), at_us))
        elif at_us > self._newest_sealed:
            self._newest_sealed = at_us

    def _unsealed(self) -> None:
        """Entries without a leaf may be new, never old: a beat takes all that wait."""
        late = False
        for number, entry_id, at_us in self._waiting:
            if at_us + UNSEALED_US < self._newest_sealed:
                late = True
                self._report.add(Finding(check="unsealed", number=number, entry_id=entry_id))
        if self._waiting and not late:
            self._report.leave_open(["waiting"])

    def _beat_rows(self) -> None:
        """Each beat has one entry about it, and that lies in a later beat or in none yet."""
        known = dict(self.beats)
        rows = list(self._trail.beats())
        for at, row in enumerate(rows):
            newest = at + 1 == len(rows)
            number, index = known.pop(row.entry_id, (None, None)) if isinstance(row.entry_id, bytes) else (None, None)
            if number is None:
                if not (newest and row.entry_id is None):
                    self._report.add(Finding(check="beat-record", index=_int(row.first), part="entry"))
                continue
            # Under load several beats follow at once, so the entry lies in some later one, or waits.
            fits = index is None or index >= row.first + row.size
            if not fits:
                self._report.add(Finding(check="beat-record", number=number, entry_id=row.entry_id, index=index))
        if rows:
            self._report.leave_open(["newest-beat"])
        for entry_id, (number, index) in known.items():
            self._report.add(Finding(check="beat-record", number=number, entry_id=entry_id, index=index, part="row"))

    def _find(self, row: EntryRow, check: str, part: str | None) -> None:
        self._report.add(
            Finding(check=check, number=_int(row.number), entry_id=_id(row.entry_id), index=_int(row.index), part=part)
        )


@lru_cache(maxsize=4096)
def _broken(operation: str, owner: str, outcome: str | None, reason_class: str | None, caused: bool) -> str | None:
    """`broken_in_clear` for what few entries differ in; the label stands in the shape already."""
    return broken_in_clear(
        {
            "label": AuditEntry.LABEL,
            "version": VERSION,
            "operation": operation,
            "owner": owner,
            "outcome": outcome,
            "reason_class": reason_class,
            "cause": b"" if caused else None,
        }
    )


def _int(value: object) -> int | None:
    return value if type(value) is int else None


def _id(value: object) -> bytes | None:
    return value if isinstance(value, bytes) and len(value) == 16 else None
