"""A file of entry keys: what an agency, or the operator, gives to whoever may read these entries and no others.

    handslag entry keys 1
    <entry id as UUID> <key, 64 hex digits>
    ...

Each key opens one entry, so a file says exactly how far it reaches. It is as secret as the entries are.
"""

from __future__ import annotations

from collections.abc import Mapping

from audit.vault import DEK_BYTES
from schemas.errors import HandslagError
from schemas.identifiers import parsed, shown

HEADER = "handslag entry keys 1"


def written(keys: Mapping[bytes, bytes]) -> str:
    """Return the file's text for keys (32 bytes) by entry id (16 bytes)."""
    return "".join(f"{line}\n" for line in (HEADER, *(f"{shown(id_)} {key.hex()}" for id_, key in keys.items())))


def read(text: str) -> dict[bytes, bytes]:
    """Return keys by entry id; raises HS-TRAIL-UNREADABLE (`part` = keys) for anything `written` would not write."""
    header, *lines = text.splitlines() or [""]
    keys = {}
    try:
        for line in lines:
            name, _, key = line.partition(" ")
            keys[parsed(name)] = bytes.fromhex(key)
    except (HandslagError, ValueError):
        raise HandslagError("HS-TRAIL-UNREADABLE", part="keys") from None
    if header != HEADER or any(len(key) != DEK_BYTES for key in keys.values()):
        raise HandslagError("HS-TRAIL-UNREADABLE", part="keys")
    return keys
