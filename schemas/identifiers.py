"""Unit codes and random identifiers."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable

from schemas.errors import HandslagError

# Bounds keep codes printable in certificates and tables; letters are those of Swedish agency codes.
_UNIT = re.compile(r"[A-ZÅÄÖ0-9]{2,12}(/[A-ZÅÄÖ0-9]{2,16}){1,3}")

# First parts of unit codes (table `role`): an agency code that begins with one claims the units under it.
_AUTHORITIES = frozenset({"SOC", "POL", "KV", "SIS", "REG", "UTF"})

ZERO16 = bytes(16)
ZERO32 = bytes(32)


def checked_unit(code: str) -> str:
    """Return a well-formed unit code such as `SOC/1280/KONSULT`; raises `HS-IDENTIFIER-INVALID` otherwise."""
    if not _UNIT.fullmatch(code):
        raise HandslagError("HS-IDENTIFIER-INVALID", field="unit")
    return code


def authority_of(unit: str) -> str:
    """The kind of authority, the first part of a unit code: `SOC`, `POL`, `KV`, `SIS`, `REG`, `UTF`."""
    return unit.split("/", 1)[0]


def vouches(agency: str, unit: str, listed: Iterable[str]) -> bool:
    """Whether an agency may sign for a unit code, `listed` being the codes of all agencies of the trust list.

    An agency code that is a beginning of unit codes (`SOC/1280`, `POL`) speaks for exactly the units under it, the
    longest such code of the list for each; any other code speaks for units that no code of the list begins.
    """
    # INVARIANT: test_no_agency_signs_for_a_unit_under_anothers_code
    under = [code for code in {*listed, agency} if unit == code or unit.startswith(f"{code}/")]
    if under:
        return agency == max(under, key=len)
    return authority_of(agency) not in _AUTHORITIES


def uuid7(now_us: int, random10: bytes) -> bytes:
    """UUIDv7 (RFC 9562 section 5.7) as 16 bytes from microseconds since the epoch and 10 random bytes.

    Raises `HS-IDENTIFIER-INVALID` for another number of random bytes and for a time its 48 bits cannot hold.
    """
    if len(random10) != 10:
        raise HandslagError("HS-IDENTIFIER-INVALID", field="random")
    if not 0 <= now_us // 1000 < 1 << 48:
        raise HandslagError("HS-IDENTIFIER-INVALID", field="time")
    head = (now_us // 1000).to_bytes(6, "big")
    a, b = random10[:2], random10[2:]
    return head + bytes([0x70 | (a[0] & 0x0F), a[1]]) + bytes([0x80 | (b[0] & 0x3F)]) + b[1:]


def shown(identifier: bytes) -> str:
    """A 16-byte identifier in the usual UUID spelling."""
    return str(uuid.UUID(bytes=identifier))


def parsed(text: str) -> bytes:
    """The 16 bytes of a spelled identifier; raises `HS-IDENTIFIER-INVALID`."""
    try:
        return uuid.UUID(text).bytes
    except ValueError:
        raise HandslagError("HS-IDENTIFIER-INVALID", field="identifier") from None
