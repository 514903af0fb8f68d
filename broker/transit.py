"""Transit keys: what waits in the stream is encrypted under the key of its day, and keys of days gone by are destroyed.

A forward ratchet: `K(d+1) = HKDF-SHA-256(K(d))`. Whoever holds the key of a day reaches every later one and none
before. The key file holds the oldest key that is still needed; moving it forward is what destroys. The core is pure;
`KeyFile` alone touches the disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from broker.keyfiles import read_private, write_atomic, write_new
from schemas.errors import HandslagError

DAY_US = 24 * 3600 * 1_000_000
KEPT_DAYS = 1  # besides today: a key lives from the start of its day for two days
_AHEAD_DAYS = 366  # bounds the steps that a damaged record costs
_SIZE = 32
_NONCE = 12
_DAY = 4
OVERHEAD = _DAY + _NONCE + 16
LAST_DAY = 65_535  # in the year 2149; no chain goes beyond it, so that its end can be its name
_HEAD = b"handslag transit key 1"
_INSTEAD = b"instead of a lost chain\n"
FIELD = "transit_key_file"


def day_of(at_us: int) -> int:
    """Number of the UTC day of a moment, counted from 1970-01-01."""
    return at_us // DAY_US


def _derived(key: bytes, label: bytes) -> bytes:
    return HKDFExpand(algorithm=SHA256(), length=_SIZE, info=b"handslag transit " + label).derive(key)


@dataclass(frozen=True, slots=True)
class Ratchet:
    """The oldest day whose key is kept, and that key (32 bytes)."""

    day: int
    key: bytes

    def forward(self, day: int) -> Ratchet:
        """The ratchet that begins at a later day; raises `HS-TRANSIT-GONE` for an earlier one."""
        # INVARIANT: test_no_later_key_leads_back
        if day < self.day:
            raise HandslagError("HS-TRANSIT-GONE")
        if day > LAST_DAY:
            raise HandslagError("HS-TRANSIT-DAMAGED")
        key = self.key
        for _ in range(day - self.day):
            key = _derived(key, b"next")
        return Ratchet(day, key)

    def name(self) -> bytes:
        """16 bytes by which two nodes know that they hold one chain, from its last day; no key follows from them."""
        return _derived(self.forward(LAST_DAY).key, b"name")[:16]


def oldest_needed(today: int, waiting: int | None) -> int:
    """The oldest day to keep: yesterday, or the day of what has waited longest if that is earlier."""
    # INVARIANT: test_a_key_lives_two_days_unless_something_still_waits_for_it
    kept = today - KEPT_DAYS
    return kept if waiting is None else min(kept, waiting)


def sealed_day(sealed: bytes) -> int | None:
    """The day under whose key a record was sealed; None of what is no record."""
    return int.from_bytes(sealed[:_DAY], "big") if len(sealed) >= OVERHEAD else None


def cipher_of(ratchet: Ratchet, day: int) -> AESGCM:
    """AES-256-GCM under the key of a day; raises as `Ratchet.forward`."""
    return AESGCM(_derived(ratchet.forward(day).key, b"seal"))


def seal(cipher: AESGCM, day: int, place: bytes, record: bytes, nonce: bytes) -> bytes:
    """`day || nonce || AES-256-GCM(K(day), record)`; `place` (a bucket, a column) is bound as associated data."""
    head = day.to_bytes(_DAY, "big")
    return head + nonce + cipher.encrypt(nonce, record, head + place)


def opened(cipher: AESGCM, place: bytes, sealed: bytes) -> bytes:
    """The record back; raises `HS-TRANSIT-DAMAGED` for what this key did not seal for this place."""
    nonce = sealed[_DAY : _DAY + _NONCE]
    try:
        return cipher.decrypt(nonce, sealed[_DAY + _NONCE :], sealed[:_DAY] + place)
    except InvalidTag:
        raise HandslagError("HS-TRANSIT-DAMAGED") from None


class KeyFile:
    """The ratchet of one node in its file (0600). Every node has a file of its own, made from the same first key."""

    def __init__(self, path: Path, random: Callable[[int], bytes] = os.urandom) -> None:
        self._path = path
        self._random = random
        self.ratchet, self.instead = _parsed(read_private(path, FIELD))
        self._ciphers: dict[int, AESGCM] = {}

    @staticmethod
    def create(path: Path, today: int, random: Callable[[int], bytes] = os.urandom, *, instead: bool = False) -> None:
        """Write a fresh chain that begins today; raises `HS-INIT-EXISTS`. Further nodes get a copy, never another.

        `instead` says that it takes the place of a chain that every node has lost.
        """
        write_new(path, _bytes(Ratchet(today, random(_SIZE)), instead), private=True)

    def seal(self, place: bytes, record: bytes, today: int) -> bytes:
        """Seal under today's key; under the oldest there is when the clock was set back behind it."""
        # INVARIANT: test_a_clock_that_was_wrong_costs_nothing
        day = max(today, self.ratchet.day)
        return seal(self._at(day), day, place, record, self._random(_NONCE))

    def open(self, place: bytes, sealed: bytes, today: int) -> bytes:
        """Open what any node sealed, also one whose clock was ahead by less than a year.

        Raises `HS-TRANSIT-GONE` when the key of its day was destroyed and `HS-TRANSIT-DAMAGED` for anything else.
        """
        day = sealed_day(sealed)
        if day is None or day > max(today, self.ratchet.day) + _AHEAD_DAYS:
            raise HandslagError("HS-TRANSIT-DAMAGED")
        return opened(self._at(day), place, sealed)

    def destroy_before(self, day: int) -> bool:
        """Forget every key of a day before `day`, in memory and in the file; whether there was any.

        The new file is durable before the old one's bytes are overwritten. What the disk or its controller keeps of
        overwritten blocks is beyond a program.
        """
        # INVARIANT: test_the_file_holds_no_key_of_a_day_that_is_over
        if day <= self.ratchet.day:
            return False
        later = self.ratchet.forward(day)
        with self._path.open("r+b") as old:
            write_atomic(self._path, _bytes(later, self.instead))
            size = old.seek(0, os.SEEK_END)
            old.seek(0)
            old.write(bytes(size))
            old.flush()
            os.fsync(old.fileno())
        self.ratchet = later
        self._ciphers = {}
        return True

    def _at(self, day: int) -> AESGCM:
        """The cipher of a day, remembered: a day's first record pays for the steps. Called from several threads."""
        found = self._ciphers.get(day)
        if found is None:
            found = cipher_of(self.ratchet, day)
            self._ciphers = {kept: one for kept, one in self._ciphers.items() if kept > day - 8} | {day: found}
        return found


class Days:
    """A key file and a clock (microseconds since 1970 UTC), for whoever seals what lies somewhere else."""

    def __init__(self, keys: KeyFile, now_us: Callable[[], int]) -> None:
        self.keys = keys
        self.now_us = now_us
        self.tag = keys.ratchet.name()[:4]

    def today(self) -> int:
        """Number of this UTC day."""
        return day_of(self.now_us())

    def first(self) -> int:
        """Number of the oldest day whose key is not destroyed."""
        return self.keys.ratchet.day

    def seal(self, place: bytes, record: bytes) -> bytes:
        """As `KeyFile.seal`, today."""
        return self.keys.seal(place, record, self.today())

    def open(self, place: bytes, sealed: bytes) -> bytes:
        """As `KeyFile.open`."""
        return self.keys.open(place, sealed, self.today())


def _bytes(ratchet: Ratchet, instead: bool) -> bytes:
    return b"%s\n%d\n%s\n%s" % (_HEAD, ratchet.day, ratchet.key.hex().encode(), _INSTEAD * instead)


def _parsed(data: bytes) -> tuple[Ratchet, bool]:
    lines = data.split(b"\n")
    try:
        head, day, key = lines[0], int(lines[1]), bytes.fromhex(lines[2].decode("ascii"))
    except (IndexError, ValueError):
        raise HandslagError("HS-SECRET-FILE", field=FIELD, rule="form") from None
    if head != _HEAD or len(key) != _SIZE or not 0 <= day <= LAST_DAY:
        raise HandslagError("HS-SECRET-FILE", field=FIELD, rule="form")
    return Ratchet(day, key), _INSTEAD.strip() in lines[3:]
