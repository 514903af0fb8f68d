"""What every synchronous call has in common: the same call_id gets the same answer; signatures are checked."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Protocol, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from broker.context import Context
from broker.store.cases import SeatRow
from broker.store.hold import HELD
from broker.store.port import Rows
from schemas.codec import DEFAULT_LIMIT
from schemas.errors import HandslagError
from schemas.records import Record

T = TypeVar("T", bound=Record)


class Call(Protocol):
    """A request with a call id."""

    @property
    def call_id(self) -> bytes:
        """16 random bytes drawn by the caller."""
        ...

    def to_bytes(self) -> bytes:
        """The request as it is compared with an earlier one."""
        ...


def request_hash(request: Call) -> bytes:
    """What a repeated call must repeat."""
    return sha256(request.to_bytes()).digest()


async def answered(context: Context, unit: str, request: Call) -> bytes | None:
    """The encoded answer this call got before, or None; raises `HS-CALL-CHANGED`."""
    digest = request_hash(request)
    return await context.store.read(lambda rows: rows.units.answered(unit, request.call_id, digest))


async def recorded(
    context: Context,
    unit: str,
    request: Call,
    work: Callable[[Rows], T],
    answer: type[T],
    *,
    shared: bool = False,
    limit: int = DEFAULT_LIMIT,
) -> T:
    """Run the transaction of a call, `shared` as in `Store.write`, its answer of at most `limit` bytes; raises as it.

    Whatever went wrong, the call may have been recorded: by the same request at the same time, or by a commit whose
    result is unknown. Then its answer counts and not the error. INVARIANT:
    test_the_same_call_at_the_same_time_gets_the_same_answer.
    """
    try:
        return await context.store.write(work, shared=shared)
    except Exception:
        before = await answered(context, unit, request)
        if before is None:
            raise
        return answer.from_bytes(before, limit)


def signed_by_seat(seat: SeatRow, signature: bytes, message: bytes) -> None:
    """Check a signature of a seat, with its present key or the one before; raises `HS-SIGNATURE-INVALID`.

    What a seat signed just before its rotation arrives after it, and a withdrawal must not be lost to that.
    """
    for key in seat.signing_keys[1:]:
        try:
            signed_by(key, signature, message)
        except HandslagError:
            continue
        return
    signed_by(seat.signing_key, signature, message)


async def signed_by_known_seat(context: Context, seat: SeatRow, signature: bytes, message: bytes) -> None:
    """As `signed_by_seat`; raises `HS-HEAD-LOST` instead while a restored broker may lack the seat's newest keys.

    A withdrawal must not be refused for good because the broker forgot whose key it is.
    """
    # INVARIANT: test_a_withdrawal_signed_with_a_lost_key_waits_for_it
    try:
        signed_by_seat(seat, signature, message)
    except HandslagError:
        if await context.store.read(lambda rows: rows.hold.state(seat.seat_id)) == HELD:
            raise HandslagError("HS-HEAD-LOST") from None
        raise


def signed_by(key: bytes, signature: bytes, message: bytes) -> None:
    """Check an Ed25519 signature (RFC 8032) with a 32-byte public key; raises `HS-SIGNATURE-INVALID`."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise HandslagError("HS-SIGNATURE-INVALID") from None
