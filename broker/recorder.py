"""Sealing audit entries: ids, salts and keys meet the drafts here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from audit.entry import OPERATOR, Draft, SealedEntry, seal
from audit.vault import SeatKeys
from broker.store.cases import SeatRow
from broker.store.keyport import OwnerKind, Vault
from schemas.identifiers import uuid7
from schemas.trail import Beat, Payload

_AFTERWARDS = frozenset({"ACK", "REFUSAL"})
"""What another party can still bring about when a seat was erased."""


class Recorder:
    """Makes entries about seats, units and the operator under the keys of each."""

    def __init__(self, vault: Vault, random: Callable[[int], bytes], segment: int) -> None:
        self.vault = vault
        self._random = random
        self.segment = segment

    def seat_keys(self, seat_id: bytes) -> SeatKeys:
        """The keys of a seat, durable before they are returned for the first time."""
        return self._keys(OwnerKind.SEAT, seat_id)

    def ready(self, seat_ids: Iterable[bytes]) -> None:
        """Have the keys of these seats in memory, so that a transaction that seals under them asks nobody. Blocks."""
        for seat_id in seat_ids:
            self.vault.get(OwnerKind.SEAT, seat_id)

    def keeps(self, seat_id: bytes) -> bool:
        """Whether there are keys of a seat; of an erased one there are none, and never will be."""
        return self.vault.get(OwnerKind.SEAT, seat_id) is not None

    def _keys(self, kind: OwnerKind, owner: bytes) -> SeatKeys:
        return self.vault.get(kind, owner) or self.vault.create(kind, owner)

    def about_seat(
        self,
        seat: SeatRow,
        controller: str,
        operation: str,
        payload: Payload,
        at_us: int,
        *,
        outcome: str | None = None,
        reason_class: str | None = None,
        cause: bytes | None = None,
    ) -> SealedEntry:
        """An entry about a seat, owned by the controller of its unit.

        Of an erased seat an ACK or REFUSAL is about its unit alone, and does not name the seat; anything else raises
        `HS-SEAT-ERASED`.
        """
        # INVARIANT: test_what_others_gave_an_erased_seat_is_theirs_to_take_back
        if operation in _AFTERWARDS and not self.keeps(seat.seat_id):
            about = replace(payload, seat_id=None)
            return self.about_unit(seat.unit, controller, operation, about, at_us, outcome=outcome, cause=cause)
        draft = Draft(
            operation=operation,
            owner=controller,
            payload=payload,
            seat_id=seat.seat_id,
            outcome=outcome,
            reason_class=reason_class,
            cause=cause,
        )
        keys = self.seat_keys(seat.seat_id)
        return seal(draft, entry_id=self._id(at_us), salt=self._random(16), at_us=at_us, keys=keys,
                    segment=self.segment, random_handle=None)  # fmt: skip

    def about_unit(
        self,
        unit: str,
        controller: str,
        operation: str,
        payload: Payload,
        at_us: int,
        *,
        outcome: str | None = None,
        cause: bytes | None = None,
    ) -> SealedEntry:
        """An entry about a unit that holds no seat in what it is about; its handle is random."""
        draft = Draft(operation=operation, owner=controller, payload=payload, outcome=outcome, cause=cause)
        keys = self._keys(OwnerKind.UNIT, unit.encode())
        return seal(draft, entry_id=self._id(at_us), salt=self._random(16), at_us=at_us, keys=keys,
                    segment=self.segment, random_handle=self._random(16))  # fmt: skip

    def about_erasure(
        self, unit: str, controller: str, handle: bytes, payload: Payload, at_us: int, cause: bytes
    ) -> SealedEntry:
        """An entry that explains why the content under a seat's handle (16 bytes) is gone; under its unit's key."""
        draft = Draft(operation="ERASURE", owner=controller, payload=payload, cause=cause)
        keys = self._keys(OwnerKind.UNIT, unit.encode())
        return seal(draft, entry_id=self._id(at_us), salt=self._random(16), at_us=at_us, keys=keys,
                    segment=self.segment, random_handle=handle)  # fmt: skip

    def about_operator(self, operation: str, payload: Payload | Beat, at_us: int) -> SealedEntry:
        """An entry about the operator's own act."""
        draft = Draft(operation=operation, owner=OPERATOR, payload=payload)
        keys = self.vault.operator()
        return seal(draft, entry_id=self._id(at_us), salt=self._random(16), at_us=at_us, keys=keys,
                    segment=self.segment, random_handle=self._random(16))  # fmt: skip

    def _id(self, at_us: int) -> bytes:
        return uuid7(at_us, self._random(10))
