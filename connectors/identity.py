"""Who is who at this agency: local reference <-> seat, with the seat's private keys; and the unit's own keys.

The only place in Handslag that ties a person's file to a seat. Looked up by HMAC of the reference under the data key;
everything else lies in one sealed column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from connectors import files
from connectors.keys import RetiredKey, SeatKeyPair, UnitKeyPair
from connectors.spool.store import Store
from schemas.codes import SEAT_TRANSITIONS, SeatState
from schemas.errors import HandslagError

OPENING = "OPENING"  # keys are drawn and durable, the broker has not answered yet
_SIGNING = 32
_OPENED = 256  # seats held open in memory


@dataclass(frozen=True, kw_only=True)
class Retired:
    """A key that was rotated away: `signing` public (hexadecimal), `hpke` private (hexadecimal, 96 bytes).

    From `until_us` on nobody who follows the rules seals to it any more.
    """

    signing: str
    hpke: str = field(repr=False)
    until_us: int

    @cached_property
    def key(self) -> RetiredKey:
        """The key that still opens."""
        return RetiredKey(bytes.fromhex(self.signing), bytes.fromhex(self.hpke))


@dataclass(frozen=True, kw_only=True)
class Seat:
    """This unit's seat in one case.

    `state` is OPENING or a SeatState. `pin` is SHA-256 of the lead's OPEN statement, `lead_statement` that statement as
    an encoded SignedStatement, `acceptance` what this unit signed (empty for an opener). `units` names the unit of a
    member (hexadecimal id) where this seat knows it; `introduced` are roles whose contact card came. `coming` are the
    private keys of a rotation that nobody has confirmed yet, `retired` those before, as far as something may still come
    that is sealed to them. `succeeding` are private keys with which the seat will hold the lead's role, `chain` the
    member id in its statements once it does (else empty: its own). `holders` gives by role the id (hexadecimal) that
    stands for its holder in consents, where it is another than the member id in its statements.

    Of a seat that was lost with no backup: `identified` is False until a person has said again whose it is, `key_floor`
    is the number of the statement that replaced its keys, `borrowed_seq` up to where its ledger came from the broker
    alone, `reaffirmed` are the consents before that (hexadecimal) which a named person has confirmed.
    """

    ref: str
    seat_id: bytes | None
    state: str
    role: str
    case_tag: bytes
    member: bytes
    private: bytes = field(repr=False)
    pin: bytes
    lead_statement: bytes
    acceptance: bytes
    units: Mapping[str, str]
    introduced: tuple[str, ...] = ()
    coming: bytes = field(default=b"", repr=False)
    retired: tuple[Retired, ...] = ()
    identified: bool = True
    key_floor: int = 0
    borrowed_seq: int = 0
    reaffirmed: tuple[str, ...] = ()
    succeeding: bytes = field(default=b"", repr=False)
    chain: bytes = b""
    holders: Mapping[str, str] = field(default_factory=dict)

    @property
    def chain_id(self) -> bytes:
        """The member id in the seat's statements: its own, or that of the lead whose chain of keys it goes on in."""
        return self.chain or self.member

    @cached_property
    def keyring(self) -> Mapping[bytes, SeatKeyPair | RetiredKey]:
        """Every key that may open something, by key id: the present one, the coming one and those retired."""
        found: dict[bytes, SeatKeyPair | RetiredKey] = {one.key.key_id: one.key for one in self.retired}
        if self.coming:
            pair = SeatKeyPair.from_private_bytes(self.coming)
            found[pair.key_id] = pair
        return {**found, self.keys.key_id: self.keys}

    @cached_property
    def keys(self) -> SeatKeyPair:
        """The seat's key pairs; making them from their bytes costs as much as a signature."""
        return SeatKeyPair.from_private_bytes(self.private)

    @property
    def sid(self) -> bytes:
        """The seat's id at the broker; raises `HS-STATE-INVALID` before the broker gave one."""
        if self.seat_id is None:
            raise HandslagError("HS-STATE-INVALID", field="ref")
        return self.seat_id

    @property
    def active(self) -> bool:
        """Whether the seat may send and be handed content."""
        return self.state == SeatState.ACTIVE


_HEX = ("case_tag", "member", "private", "coming", "pin", "lead_statement", "acceptance", "succeeding", "chain")
# What a seat kept by an earlier version lacks.
_SINCE: dict[str, Any] = {"coming": "", "retired": (), "succeeding": "", "chain": "", "holders": {}}


class Identities:
    """The map, in the same SQLite file as the spool, so that both change in one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # The same sealed row is the same seat; a changed one is another key.
        self._opened = lru_cache(maxsize=_OPENED)(self._open)

    def handle(self, ref: str) -> bytes:
        """The look-up handle of a local reference."""
        return self._store.key.handle("seat.ref", ref.encode())

    def case_handle(self, case_tag: bytes) -> bytes:
        """The look-up handle of a case."""
        return self._store.key.handle("seat.case", case_tag)

    def add(self, seat: Seat) -> None:
        """Keep a new seat; raises `HS-REF-TAKEN` when the reference names another one."""
        if self.find(seat.ref) is not None:
            raise HandslagError("HS-REF-TAKEN", field="ref")
        row = (self.handle(seat.ref), seat.seat_id, seat.state, self.case_handle(seat.case_tag), self._sealed(seat))
        self._store.run("INSERT INTO seat VALUES(?,?,?,?,?)", *row)

    def update(self, seat: Seat) -> Seat:
        """Replace what is kept of a seat; its state must follow the table. Returns it."""
        before = self.get(seat.ref)
        if (
            before.state not in {OPENING, seat.state}
            and SeatState(seat.state) not in SEAT_TRANSITIONS[SeatState(before.state)]
        ):
            raise HandslagError("HS-STATE-INVALID", field="seat")
        sql = "UPDATE seat SET seat_id=?, state=?, value=? WHERE ref=?"
        self._store.run(sql, seat.seat_id, seat.state, self._sealed(seat), self.handle(seat.ref))
        if (before.private, before.retired) != (seat.private, seat.retired):
            self._opened.cache_clear()  # a key that is gone from the file must not live on in memory
        return seat

    def forget_opening(self, ref: str) -> None:
        """Drop a seat the broker refused to open, so that the reference is free again."""
        self._store.run("DELETE FROM seat WHERE ref=? AND state=?", self.handle(ref), OPENING)

    def introduced(self, seat: Seat, role: str) -> Seat:
        """Note that a role's contact card came."""
        if role in seat.introduced:
            return seat
        return self.update(replace(seat, introduced=(*seat.introduced, role)))

    def left(self, ref: str, role: str) -> None:
        """Note that a role's holder left: whoever takes it next has not introduced itself."""
        # INVARIANT: test_who_takes_a_role_has_not_introduced_itself
        seat = self.get(ref)
        if role in seat.introduced:
            self.update(replace(seat, introduced=tuple(each for each in seat.introduced if each != role)))

    def identified(self, seat: Seat, ref: str) -> None:
        """Name a seat, whose person nobody knew, by the agency's own reference; raises `HS-REF-TAKEN`."""
        if self.find(ref) is not None:
            raise HandslagError("HS-REF-TAKEN", field="ref")
        named = replace(seat, ref=ref, identified=True)
        sql = "UPDATE seat SET ref=?, value=? WHERE ref=?"
        self._store.run(sql, self.handle(ref), self._sealed(named), self.handle(seat.ref))

    def changed(self, ref: str, role: str, member: bytes, lead: bytes) -> None:
        """Note that another holds a role in the same chain of keys; who it is now, and which unit, is not known."""
        # INVARIANT: test_a_consent_that_does_not_follow_waits_for_the_person
        seat = self.get(ref)
        units = {each: unit for each, unit in seat.units.items() if each != lead.hex()}
        met = tuple(each for each in seat.introduced if each != role)
        self.update(replace(seat, holders={**seat.holders, role: member.hex()}, units=units, introduced=met))

    def find(self, ref: str) -> Seat | None:
        """The seat of a local reference."""
        return self.by_handle(self.handle(ref))

    def get(self, ref: str) -> Seat:
        """The seat of a local reference; raises `HS-REF-UNKNOWN`."""
        found = self.find(ref)
        if found is None:
            raise HandslagError("HS-REF-UNKNOWN", field="ref")
        return found

    def by_handle(self, handle: bytes) -> Seat | None:
        """The seat behind a look-up handle."""
        row = self._store.one("SELECT seat_id, state, value FROM seat WHERE ref=?", handle)
        return self._opened(*row) if row else None

    def by_seat_id(self, seat_id: bytes) -> Seat | None:
        """The seat with an id of the broker."""
        row = self._store.one("SELECT seat_id, state, value FROM seat WHERE seat_id=?", seat_id)
        return self._opened(*row) if row else None

    def all(self) -> list[Seat]:
        """Every seat of this unit."""
        return [self._opened(*row) for row in self._store.all("SELECT seat_id, state, value FROM seat ORDER BY ref")]

    def _sealed(self, seat: Seat) -> bytes:
        value: dict[str, Any] = {**asdict(seat), **{name: getattr(seat, name).hex() for name in _HEX}}
        del value["seat_id"], value["state"]
        return self._store.seal_json("seat.value", value)

    def _open(self, seat_id: bytes | None, state: str, sealed: bytes) -> Seat:
        value = {**_SINCE, **self._store.open_json("seat.value", sealed)}
        value.update({name: bytes.fromhex(value[name]) for name in _HEX}, introduced=tuple(value["introduced"]))
        value["retired"] = tuple(Retired(**one) for one in value["retired"])
        value["reaffirmed"] = tuple(value.get("reaffirmed", ()))
        return Seat(seat_id=seat_id, state=state, **value)


def load_unit_keys(signing: Path, hpke: Path) -> UnitKeyPair:
    """The unit's keys from their two files (32 and 96 bytes); raises `HS-KEY-FILE`, `HS-FOLDER-UNSAFE`."""
    try:
        return UnitKeyPair.from_private_bytes(files.read_secret(signing) + files.read_secret(hpke))
    except HandslagError as error:
        if error.code == "HS-FOLDER-UNSAFE":
            raise
        raise HandslagError("HS-KEY-FILE", field="unit keys") from None


def create_unit_keys(signing: Path, hpke: Path) -> UnitKeyPair:
    """Draw the unit's keys and write them once, mode 0600; raises `HS-KEY-FILE` when a file exists."""
    keys = UnitKeyPair.generate()
    private = keys.private_bytes()
    files.write_secret(signing, private[:_SIGNING])
    files.write_secret(hpke, private[_SIGNING:])
    return keys
