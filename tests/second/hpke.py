"""A second HPKE: base mode of RFC 9180 with KEM MLKEM768-X25519 (draft-ietf-hpke-pq), only the two primitives borrowed.

The library's own `hpke` module, which the product uses, is not touched: KEM combiner and key schedule are written here.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

KEM, KDF = 0x647A, 0x0001
AEADS = {2: (AESGCM, 32), 3: (ChaCha20Poly1305, 32)}
ENC = 1088 + 32
_LABEL = b"\\.//^\\"


def extract(salt: bytes, label: bytes, ikm: bytes, suite: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def expand(prk: bytes, label: bytes, info: bytes, size: int, suite: bytes) -> bytes:
    labelled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    out = block = b""
    while len(out) < size:
        block = hmac.digest(prk, block + labelled + bytes([len(out) // 32 + 1]), "sha256")
        out += block
    return out[:size]


def decapsulated(mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey, enc: bytes) -> bytes:
    """The shared secret: SHA3-256 over both secrets, the X25519 ciphertext and key, and a label."""
    first = mlkem.decapsulate(enc[:1088])
    second = x25519.exchange(X25519PublicKey.from_public_bytes(enc[1088:]))
    own = x25519.public_key().public_bytes_raw()
    return hashlib.sha3_256(first + second + enc[1088:] + own + _LABEL).digest()


def schedule(shared: bytes, info: bytes, aead: int) -> tuple[bytes, bytes]:
    """Key and base nonce (RFC 9180 section 5.1, mode 0)."""
    suite = b"HPKE" + KEM.to_bytes(2, "big") + KDF.to_bytes(2, "big") + aead.to_bytes(2, "big")
    context = b"\0" + extract(b"", b"psk_id_hash", b"", suite) + extract(b"", b"info_hash", info, suite)
    secret = extract(shared, b"secret", b"", suite)
    return expand(secret, b"key", context, AEADS[aead][1], suite), expand(secret, b"base_nonce", context, 12, suite)


def opened(mlkem_seed: bytes, x25519: bytes, sealed: bytes, info: bytes, *, aead: int = 2, aad: bytes = b"") -> bytes:
    """The plaintext of encapsulated key || ciphertext, its single message."""
    keys = MLKEM768PrivateKey.from_seed_bytes(mlkem_seed), X25519PrivateKey.from_private_bytes(x25519)
    key, nonce = schedule(decapsulated(*keys, sealed[:ENC]), info, aead)
    return AEADS[aead][0](key).decrypt(nonce, sealed[ENC:], aad)


def of_seed(seed: bytes) -> tuple[bytes, bytes]:
    """ML-KEM seed (64) and X25519 private key (32) of the draft's 32-byte private key."""
    spread = hashlib.shake_256(seed).digest(96)
    return spread[:64], spread[64:]
