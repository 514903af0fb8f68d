"""The sealed capsule of an ordinary transfer: pure sealing and opening of the place where a person moves to.

One fresh key seals the place; that key is sealed to the receiving unit, which is what travels, and to each of the two
named officers of the sender, which stays. Neither the connector nor anybody else at the sender opens it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from connectors.keys import PublicKeys, UnitKeyPair
from schemas import limits
from schemas.capsule import CapsuleInfo, Place, SealedCapsule
from schemas.errors import HandslagError, PayloadRejected

KEY_BYTES = 32
_NONCE = bytes(12)  # the key seals one place
_LENGTH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Capsule:
    """What is made of a place: `sealed` travels, `wraps` (officer's name -> sealed key) stays with its sender."""

    sealed: SealedCapsule
    wraps: Mapping[str, bytes] = field(repr=False)


def seal(
    place: Place,
    *,
    capsule_id: bytes,
    case_tag: bytes,
    to: PublicKeys,
    officers: Mapping[str, PublicKeys],
    random: Callable[[int], bytes],
) -> Capsule:
    """Seal a place for a unit, and for these officers; raises `HS-TOO-LARGE`, `HS-KEY-UNTRUSTED`."""
    data = place.to_bytes()
    if len(data) > limits.CAPSULE - _LENGTH:
        raise HandslagError("HS-TOO-LARGE", limit=limits.CAPSULE)
    info = CapsuleInfo(capsule_id=capsule_id, case_tag=case_tag).to_bytes()
    key = random(KEY_BYTES)
    plain = (len(data).to_bytes(_LENGTH, "big") + data).ljust(limits.CAPSULE, b"\0")
    sealed = SealedCapsule(
        capsule_id=capsule_id,
        case_tag=case_tag,
        ciphertext=AESGCM(key).encrypt(_NONCE, plain, info),
        enc=to.seal(key, info),
    )
    return Capsule(sealed=sealed, wraps={name: keys.seal(key, info) for name, keys in officers.items()})


def opened(sealed: SealedCapsule, wrap: bytes, keys: UnitKeyPair) -> Place:
    """The place, with the key that `wrap` holds for `keys`; raises `HS-SEAL-INVALID`, PayloadRejected."""
    # INVARIANT: test_the_place_opens_for_the_receiving_unit_and_two_named_officers_only
    info = CapsuleInfo(capsule_id=sealed.capsule_id, case_tag=sealed.case_tag).to_bytes()
    try:
        plain = AESGCM(keys.open(wrap, info)).decrypt(_NONCE, sealed.ciphertext, info)
    except (InvalidTag, ValueError):
        raise HandslagError("HS-SEAL-INVALID", check="capsule") from None
    size = int.from_bytes(plain[:_LENGTH], "big")
    if plain[_LENGTH + size :].strip(b"\0"):
        raise PayloadRejected(field="capsule")
    return Place.from_bytes(plain[_LENGTH : _LENGTH + size])
