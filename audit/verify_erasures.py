"""Step 8 of the verifier: what is missing is explained by an entry in the log, and that by an act.

An ERASURE entry stands under the handle of the entries whose content is gone. The first of a seat points to the ADMIN
entry of the act, the second ("erased") to the first. Only what has a leaf explains anything: an entry that waits could
have been put into the copy by whoever took the content out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from audit.administration import ACT, SIGNERS
from audit.entry import open_payload
from audit.report import Finding, Report
from audit.trailfile import EntryRow, TrailFile
from schemas import limits
from schemas.admin import ERASE, AdminAct, SignedAdminAct
from schemas.errors import HandslagError
from schemas.identifiers import shown
from schemas.trail import AuditEntry

_OPERATION = "ERASURE"
_SIGNED = ACT + 4096


@dataclass(slots=True)
class _Erased:
    """One erasure: the number of its first entry, that of the act's, when, and what the act says where it was read.

    `last` is the number of its newest entry: what was written under the handle between the two went as well.
    """

    number: int
    last: int
    act_number: int
    act_entry: bytes
    at_us: int
    said: AdminAct | None
    finished: bool = False
    entries: int = 0


class Erasures:
    """What the log says was erased, by handle (16 bytes)."""

    def __init__(self, by_handle: dict[bytes, _Erased]) -> None:
        self._by_handle = by_handle

    def explains(self, row: EntryRow) -> bool:
        """Whether the content of this entry may be missing; it is then counted."""
        # INVARIANT: test_a_hole_that_no_erasure_explains_is_broken
        found = self._by_handle.get(row.handle) if isinstance(row.handle, bytes) else None
        if found is None or row.operation == _OPERATION or type(row.number) is not int or row.number >= found.last:
            return False
        found.entries += 1
        return True

    def told(self) -> list[dict[str, Any]]:
        """Each erasure as plain data, in order."""
        return [
            {
                "number": one.number,
                "at_us": one.at_us,
                "entries": one.entries,
                "finished": one.finished,
                "act_number": one.act_number,
                "act_entry": shown(one.act_entry),
                **({"act": one.said.number, "ground": one.said.reason} if one.said else {}),
            }
            for one in sorted(self._by_handle.values(), key=lambda one: one.number)
        ]


def erasures_of(trail: TrailFile, keys: Mapping[bytes, bytes], report: Report) -> Erasures:
    """Read every ERASURE entry; one that points nowhere, or to no act that erases, is a finding and explains nothing.

    `keys` maps entry ids to entry keys: with that of the act's entry, ground and number of the act are told and that
    it erases is checked.
    """
    found: dict[bytes, _Erased] = {}
    begun: dict[bytes, bytes] = {}
    for row in trail.erasures():
        entry = _genuine(row)
        if entry is None or row.index is None or type(row.number) is not int:
            continue  # the other checks name it
        if entry.cause in begun and begun[entry.cause] == entry.handle:
            one = found[entry.handle]
            one.finished, one.at_us, one.last = True, entry.at_us, row.number
            continue
        part, one_begun = _begun(trail, row, entry, keys)
        if one_begun is None or entry.handle in found:
            report.add(Finding(check="erasure", number=row.number, entry_id=entry.entry_id, part=part))
            continue
        found[entry.handle], begun[entry.entry_id] = one_begun, entry.handle
    return Erasures(found)


def _begun(
    trail: TrailFile, row: EntryRow, entry: AuditEntry, keys: Mapping[bytes, bytes]
) -> tuple[str, _Erased | None]:
    """What a first entry says, or a word for what is wrong with it."""
    act_row = trail.row_of(entry.cause or b"")
    act_entry = None if act_row is None else _genuine(act_row)
    if act_row is None or act_entry is None or act_entry.operation != "ADMIN" or act_row.index is None:
        return "cause", None
    key = keys.get(act_entry.entry_id)
    said = None
    if key is not None:
        said = _act(act_entry, act_row.payload, key)
        # INVARIANT: test_an_erasure_without_an_act_is_broken
        if said is None or said.kind != ERASE:
            return "act", None
    return "twice", _Erased(row.number, row.number, act_row.number, act_entry.entry_id, entry.at_us, said)


def _genuine(row: EntryRow) -> AuditEntry | None:
    """The entry that a row holds, None when its bytes are not those of its leaf."""
    if not isinstance(row.entry_bytes, bytes) or sha256(b"\x00" + row.entry_bytes).digest() != row.leaf_hash:
        return None
    try:
        return AuditEntry.from_bytes(row.entry_bytes, limits.ENTRY)
    except HandslagError:
        return None


def _act(entry: AuditEntry, payload: Any, key: bytes) -> AdminAct | None:
    try:
        signed = SignedAdminAct.from_bytes(open_payload(entry, payload, key).act or b"", _SIGNED)
        names = {each.name for each in signed.signatures}
        return AdminAct.from_bytes(signed.act, ACT) if len(names) >= SIGNERS else None
    except (HandslagError, TypeError):
        return None
