"""The two named officers of a unit: their public keys here, their private keys in a file of their own.

An officer's file is sealed under its passphrase (scrypt, RFC 7914, then AES-256-GCM) and belongs on the officer's own
stick, not on this machine. Whom the unit names is in `keys/officers.json`, two names at most.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from connectors import files
from connectors.keys import PublicKeys, UnitKeyPair
from schemas.errors import HandslagError

FILE = "officers.json"
MOST = 2
_N, _R, _P = 2**15, 8, 1  # RFC 7914: about a tenth of a second and 32 MiB a guess
_NONCE = bytes(12)  # the salt is fresh, so the key seals one file


def named(keys_dir: Path) -> dict[str, PublicKeys]:
    """The named officers with their public keys; empty before the first. Raises `HS-KEY-FILE`."""
    path = keys_dir / FILE
    if not path.exists():
        return {}
    try:
        rows = json.loads(files.read_secret(path))
        return {
            name: PublicKeys(bytes.fromhex(row["signing"]), bytes.fromhex(row["hpke"])) for name, row in rows.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise HandslagError("HS-KEY-FILE", field="officers") from None


def both(keys_dir: Path) -> Mapping[str, PublicKeys]:
    """The two named officers; raises `HS-OFFICERS-TWO` unless there are exactly two."""
    found = named(keys_dir)
    if len(found) != MOST:
        raise HandslagError("HS-OFFICERS-TWO")
    return found


def name_officer(
    keys_dir: Path, name: str, file: Path, passphrase: str, random: Callable[[int], bytes], instead_of: str | None
) -> None:
    """Draw an officer's keys, write them sealed to `file` (0600, new), and name the officer here.

    Raises `HS-OFFICERS-TWO` for a third, `HS-NAME-TAKEN` for a name that is taken, and as `drawn`.
    """
    rows = named(keys_dir)
    if instead_of is not None and rows.pop(instead_of, None) is None:
        raise HandslagError("HS-OFFICER-NOT-NAMED")
    if name in rows:
        raise HandslagError("HS-NAME-TAKEN")
    if len(rows) >= MOST:
        raise HandslagError("HS-OFFICERS-TWO")
    rows[name] = drawn(name, file, passphrase, random)
    shown = {each: {"signing": keys.signing.hex(), "hpke": keys.hpke.hex()} for each, keys in sorted(rows.items())}
    files.write_atomic(keys_dir / FILE, json.dumps(shown).encode())


def unlocked(keys_dir: Path, name: str, file: Path, passphrase: str) -> UnitKeyPair:
    """The keys of a named officer; raises `HS-OFFICER-NOT-NAMED` for anybody else, whatever is wrong."""
    # INVARIANT: test_a_third_officer_is_refused_and_it_is_in_the_trail
    pair = opened(name, file, passphrase)
    if pair is None or named(keys_dir).get(name) != pair.public:
        raise HandslagError("HS-OFFICER-NOT-NAMED")
    return pair


def drawn(name: str, file: Path, passphrase: str, random: Callable[[int], bytes]) -> PublicKeys:
    """Draw one person's keys and write them sealed to `file` (0600, new); returns the public half.

    Raises as `files.write_new`.
    """
    pair, salt = UnitKeyPair.generate(), random(16)
    sealed = AESGCM(_key(passphrase, salt)).encrypt(_NONCE, pair.private_bytes(), name.encode())
    value = {"version": 1, "officer": name, "salt": salt.hex(), "sealed": sealed.hex()}
    files.write_new(file, json.dumps(value).encode())
    return pair.public


def opened(name: str, file: Path, passphrase: str) -> UnitKeyPair | None:
    """The keys in one person's file, None for another person's file or passphrase."""
    try:
        value = json.loads(files.read_secret(file))
        salt, sealed = bytes.fromhex(value["salt"]), bytes.fromhex(value["sealed"])
        return UnitKeyPair.from_private_bytes(AESGCM(_key(passphrase, salt)).decrypt(_NONCE, sealed, name.encode()))
    except (HandslagError, InvalidTag, ValueError, KeyError, TypeError):
        return None


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_N, r=_R, p=_P).derive(passphrase.encode())
