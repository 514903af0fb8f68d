"""Whether an entry's bytes say exactly what the columns beside them say, without decoding them.

The Avro encoding of an `AuditEntry` is one way only. So the columns are laid beside the bytes in the shape that the
codec itself gives them; when they agree, only salt, payload commitment and cause are left, at known places. When they
do not, the caller decodes and says what differs. About four times faster than decoding every entry.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from audit.trailfile import EntryRow
from schemas.errors import HandslagError
from schemas.trail import AuditEntry

# Bytes that no UTF-8 text contains: where they stand in an encoded entry, salt, ids and handle stand.
_SALT, _ID, _HANDLE, _COMMIT = b"\xff" * 16, b"\xfe" * 16, b"\xfd" * 16, b"\xfc" * 32
_NO_CAUSE, _CAUSE = b"\x00", b"\x02"  # branches 0 and 1 of Avro's union [null, fixed16]


class Rest(NamedTuple):
    """What the columns do not say: the commitment to the payload (32 bytes), and whether there is a cause."""

    payload_commit: bytes
    caused: bool


def agreed(row: EntryRow) -> Rest | None:
    """Return the rest of an entry whose bytes say what its columns say, else None; never raises.

    None is no verdict: whoever gets it decodes.
    """
    # INVARIANT: test_the_fast_way_agrees_with_the_codec
    try:
        head, names, codes = _shape(row.operation, row.owner, row.outcome, row.reason_class)
        if len(row.entry_id) != len(_ID) or len(row.handle) != len(_HANDLE) or type(row.at_us) is not int:
            return None
        known = row.entry_id + _long(row.at_us) + names + row.handle + codes
    except (TypeError, HandslagError):
        return None
    data: bytes = row.entry_bytes
    start = len(head) + len(_SALT)
    end = start + len(known)
    if not data.startswith(head) or data[start:end] != known:
        return None
    cause = data[end + len(_COMMIT) :]
    if cause != _NO_CAUSE and (len(cause) != 1 + len(_ID) or not cause.startswith(_CAUSE)):
        return None
    return Rest(data[end : end + len(_COMMIT)], cause != _NO_CAUSE)


@lru_cache(maxsize=4096)
def _shape(operation: str, owner: str, outcome: str | None, reason_class: str | None) -> tuple[bytes, bytes, bytes]:
    """The bytes before the salt, between time and handle, and between handle and commitment, as the codec writes them.

    Raises PayloadRejected for values that no entry can hold.
    """
    entry = AuditEntry(
        salt=_SALT, entry_id=_ID, at_us=0, operation=operation, owner=owner, handle=_HANDLE, outcome=outcome,
        reason_class=reason_class, payload_commit=_COMMIT, cause=None,
    ).to_bytes()  # fmt: skip
    head, rest = entry.split(_SALT + _ID + _long(0))
    names, rest = rest.split(_HANDLE)
    codes, _ = rest.split(_COMMIT)
    return head, names, codes


def _long(value: int) -> bytes:
    """A long as Avro writes it: zigzag, then seven bits a byte, lowest first (Avro, binary encoding)."""
    left = (value << 1) ^ (value >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)
