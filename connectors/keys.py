"""Key pairs of seats and units: Ed25519 signatures (RFC 8032) and hybrid HPKE (RFC 9180, draft-ietf-hpke-pq).

Suite: KEM MLKEM768_X25519, KDF HKDF-SHA256, AEAD AES-256-GCM. Sizes in bytes: signing key 32 public, 32 private;
HPKE key 1184 (ML-KEM-768) + 32 (X25519) public, 64 (ML-KEM seed) + 32 private; signature 64; sealed 32 bytes 1168.
Errors of the library never leave this module: what does not open or verify becomes a HandslagError.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from schemas.envelope import SeatKey
from schemas.errors import HandslagError

SIGNING_BYTES = 32
HPKE_PUBLIC_BYTES = 1184 + 32
PRIVATE_BYTES = 32 + 64 + 32

_MLKEM_PUBLIC = 1184
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
# Parsing a key costs as much as using it; a connector meets the same few keys all day. Bounded, public bytes only.
_CACHED_KEYS = 1024


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """The two public keys of a seat or a unit: `signing` 32 bytes, `hpke` 1216 bytes.

    Raises HandslagError `HS-KEY-UNTRUSTED` for another length or bytes that are no key.
    """

    signing: bytes
    hpke: bytes

    def __post_init__(self) -> None:
        if len(self.signing) != SIGNING_BYTES or len(self.hpke) != HPKE_PUBLIC_BYTES:
            raise HandslagError("HS-KEY-UNTRUSTED", check="key-length")
        _signing_key(self.signing)
        _hpke_key(self.hpke)

    @property
    def key_id(self) -> bytes:
        """Key id, 32 bytes: SHA-256 of the SeatKey record (protocol, `seat_key_id`)."""
        return _key_id(self.signing, self.hpke)

    @property
    def hpke_hash(self) -> bytes:
        """SHA-256 of the HPKE public key, as a member statement names it."""
        return hashlib.sha256(self.hpke).digest()

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check a 64-byte Ed25519 signature over `message`; raises `HS-SIGNATURE-INVALID`."""
        verify(self.signing, signature, message)

    def seal(self, plaintext: bytes, info: bytes) -> bytes:
        """Seal to this key, HPKE single shot; returns encapsulated key (1120) + ciphertext + tag (16).

        The encapsulation draws its own randomness inside the library. Raises `HS-KEY-UNTRUSTED` for a key that cannot
        be sealed to (an X25519 point of low order).
        """
        try:
            return _SUITE.encrypt(plaintext, _hpke_key(self.hpke), info=info)
        except ValueError:
            raise HandslagError("HS-KEY-UNTRUSTED", check="hpke-key") from None


class _KeyPair:
    """Private keys with what they may do; never printed."""

    __slots__ = ("_hpke", "_mlkem", "_signing", "_x25519", "public")

    def __init__(self, signing: Ed25519PrivateKey, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        self._signing, self._mlkem, self._x25519 = signing, mlkem, x25519
        self._hpke = hpke.MLKEM768X25519PrivateKey(mlkem, x25519)
        self.public = PublicKeys(
            signing.public_key().public_bytes_raw(),
            mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw(),
        )

    @classmethod
    def generate(cls) -> Self:
        """Draw new keys from the operating system's generator."""
        return cls(Ed25519PrivateKey.generate(), MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def from_private_bytes(cls, data: bytes) -> Self:
        """The pair of 128 private bytes: Ed25519 (32), ML-KEM seed (64), X25519 (32).

        Raises HandslagError `HS-SEAL-INVALID` for another length.
        """
        if len(data) != PRIVATE_BYTES:
            raise HandslagError("HS-SEAL-INVALID", check="private-key")
        return cls(
            Ed25519PrivateKey.from_private_bytes(data[:32]),
            MLKEM768PrivateKey.from_seed_bytes(data[32:96]),
            X25519PrivateKey.from_private_bytes(data[96:]),
        )

    def private_bytes(self) -> bytes:
        """The 128 private bytes, for the encrypted spool and the backup only."""
        signing, mlkem = self._signing.private_bytes_raw(), self._mlkem.private_bytes_raw()
        return signing + mlkem + self._x25519.private_bytes_raw()

    @property
    def key_id(self) -> bytes:
        """Key id of the public half, 32 bytes."""
        return self.public.key_id

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature, 64 bytes, over the bytes of a labelled record."""
        return self._signing.sign(message)

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """What `PublicKeys.seal` sealed under the same info; raises HandslagError `HS-SEAL-INVALID`."""
        try:
            return _SUITE.decrypt(sealed, self._hpke, info=info)
        except (InvalidTag, ValueError):
            raise HandslagError("HS-SEAL-INVALID", check="hpke") from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key_id.hex()[:8]})"


class SeatKeyPair(_KeyPair):
    """Keys of one seat in one case: it signs events and acts, and opens what is sealed to its role."""

    __slots__ = ()

    def retired(self) -> RetiredKey:
        """What is left of the pair after a rotation: it opens what was sealed to it and signs nothing."""
        return RetiredKey(self.public.signing, self.private_bytes()[SIGNING_BYTES:])


class RetiredKey:
    """The HPKE half of a seat's former keys: `signing` is the public key (32 bytes), `private` 96 bytes."""

    __slots__ = ("_hpke", "key_id", "private", "signing")

    def __init__(self, signing: bytes, private: bytes) -> None:
        if len(private) != PRIVATE_BYTES - SIGNING_BYTES:
            raise HandslagError("HS-SEAL-INVALID", check="private-key")
        mlkem = MLKEM768PrivateKey.from_seed_bytes(private[:64])
        x25519 = X25519PrivateKey.from_private_bytes(private[64:])
        public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        self.signing, self.private = signing, private
        self.key_id = PublicKeys(signing, public).key_id
        self._hpke = hpke.MLKEM768X25519PrivateKey(mlkem, x25519)

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """What was sealed to this key under the same info; raises HandslagError `HS-SEAL-INVALID`."""
        try:
            return _SUITE.decrypt(sealed, self._hpke, info=info)
        except (InvalidTag, ValueError):
            raise HandslagError("HS-SEAL-INVALID", check="hpke") from None

    def __repr__(self) -> str:
        return f"RetiredKey({self.key_id.hex()[:8]})"


class UnitKeyPair(_KeyPair):
    """Keys of a unit: it signs bundles, invitations and acceptances, and opens invitations."""

    __slots__ = ()


def verify(signing_key: bytes, signature: bytes, message: bytes) -> None:
    """Check an Ed25519 signature with a 32-byte public key.

    Raises HandslagError `HS-SIGNATURE-INVALID`; `HS-KEY-UNTRUSTED` when the key is no key.
    """
    try:
        _signing_key(signing_key).verify(signature, message)
    except InvalidSignature:
        raise HandslagError("HS-SIGNATURE-INVALID") from None


@lru_cache(maxsize=_CACHED_KEYS)
def _signing_key(raw: bytes) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        raise HandslagError("HS-KEY-UNTRUSTED", check="signing-key") from None


@lru_cache(maxsize=_CACHED_KEYS)
def _hpke_key(raw: bytes) -> hpke.MLKEM768X25519PublicKey:
    try:
        return hpke.MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC]),
            X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC:]),
        )
    except ValueError:
        raise HandslagError("HS-KEY-UNTRUSTED", check="hpke-key") from None


@lru_cache(maxsize=_CACHED_KEYS)
def _key_id(signing: bytes, hpke_key: bytes) -> bytes:
    return hashlib.sha256(SeatKey(signing_key=signing, hpke_key=hpke_key).to_bytes()).digest()
