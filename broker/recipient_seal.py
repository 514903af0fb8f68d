"""Sealing a unit code to those who may know which unit sits behind a role: the supervisor, and the unit itself.

One ciphertext per seat, copied into its entries: inside the discloser's encrypted payload equal ciphertexts say only
"the same seat as before", which the discloser knows. See docs/adr/0004.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_MLKEM_BYTES = 1184
INFO = b"HS1 recipient unit"
SIZE = 128  # longer than any unit code, or the ciphertext would tell one unit from another by its length


def seal_unit(unit: str, hpke_key: bytes) -> bytes:
    """HPKE ciphertext of the unit code, zeros after it, under a 1216-byte hybrid public key (draft-ietf-hpke-pq)."""
    public = hpke.MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(hpke_key[:_MLKEM_BYTES]),
        X25519PublicKey.from_public_bytes(hpke_key[_MLKEM_BYTES:]),
    )
    # INVARIANT: test_a_sealed_unit_has_one_size
    return _SUITE.encrypt(unit.encode().ljust(SIZE, b"\0"), public, info=INFO)
