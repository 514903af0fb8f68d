"""The agency's offline recovery key: drawn once, its private half split into three paper shares, never stored.

Two shares give it back, one tells nothing. The split is SLIP-39 (SatoshiLabs Improvement Proposal 39) by the
`shamir-mnemonic` library, with the reasons in docs/adr/0015: 32 secret bytes, 33 words a share, each with its own
checksum. The keys are derived from the 32 bytes by HKDF-SHA256 (RFC 5869): one Ed25519 pair, which vouches for a
restored connector, and one hybrid HPKE pair of the suite of `keys.py`, to which backups are sealed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from shamir_mnemonic import combine_mnemonics, generate_mnemonics
from shamir_mnemonic.share import Share
from shamir_mnemonic.utils import MnemonicError

from connectors import files
from connectors.keys import HPKE_PUBLIC_BYTES, PRIVATE_BYTES, SIGNING_BYTES, PublicKeys, UnitKeyPair
from schemas.errors import HandslagError

FILE = "recovery.pub"
SHARES, NEEDED = 3, 2
WORDS = 33

_SEED = 32
_WHERE = (
    ("hos chefen, i kassaskåp", "with the head of the unit, in a safe"),
    ("hos IT, i ett annat hus", "with IT, in another building"),
    ("hos arkivet eller jouren, i förseglat kuvert", "with the archive or the duty officer, in a sealed envelope"),
)


def create() -> tuple[PublicKeys, tuple[str, ...]]:
    """A new recovery key: its public half, and three shares of 33 words of which two give the private half back."""
    # INVARIANT: test_the_private_half_of_the_recovery_key_is_nowhere_on_the_disk
    seed = os.urandom(_SEED)
    [shares] = generate_mnemonics(group_threshold=1, groups=[(NEEDED, SHARES)], master_secret=seed)
    return _derived(seed).public, tuple(shares)


def opened(shares: Sequence[str]) -> UnitKeyPair:
    """The recovery key from two shares as they were typed, in either order.

    Raises `HS-SHARES-INVALID` with `check`: `first share` or `second share` (a word or the checksum is wrong), `count`
    (another number than two, or one share twice), `mixed` (shares of two different keys).
    """
    # INVARIANT: test_one_share_or_shares_of_two_keys_open_nothing
    words = [" ".join(share.lower().split()) for share in shares]
    if len(words) != NEEDED:
        raise HandslagError("HS-SHARES-INVALID", check="count")
    read: list[Share] = []
    for text in words:
        place = "second share" if read else "first share"
        try:
            read.append(Share.from_mnemonic(text))
        except (MnemonicError, ValueError):
            raise HandslagError("HS-SHARES-INVALID", check=place) from None
    if read[0].common_parameters() != read[1].common_parameters():
        raise HandslagError("HS-SHARES-INVALID", check="mixed")
    if read[0].index == read[1].index:
        raise HandslagError("HS-SHARES-INVALID", check="count")
    try:
        seed = combine_mnemonics(words)
    except (MnemonicError, ValueError):
        # Two keys may share an identifier by chance (1 in 32768); then the digest inside the shares tells.
        raise HandslagError("HS-SHARES-INVALID", check="mixed") from None
    if len(seed) != _SEED:
        raise HandslagError("HS-SHARES-INVALID", check="count")
    return _derived(seed)


def _derived(seed: bytes) -> UnitKeyPair:
    stretch = HKDF(algorithm=hashes.SHA256(), length=PRIVATE_BYTES, salt=None, info=b"HS1 recovery keys")
    return UnitKeyPair.from_private_bytes(stretch.derive(seed))


def sheet(unit: str, public: PublicKeys, shares: Sequence[str]) -> str:
    """The paper: three shares in numbered rows of words, each with its check and where to keep it."""
    parts = [
        f"HANDSLAG, {unit}: återställningsnyckel / recovery key {_short(public)}",
        "Skriv ut tre blad, lämna dem åt tre håll, radera filen. Två blad återställer anslutningen; ett säger inget.",
        "Print three sheets, give them three ways, delete the file. Two restore the connector; one tells nothing.",
    ]
    for number, share in enumerate(shares, start=1):
        head = f"--- BLAD / SHARE {number} av/of {SHARES}   kontroll/check {check_of(share)}"
        words = share.split()
        rows = [
            "  ".join(f"{at + 1:2d} {word:<9}" for at, word in enumerate(words[row : row + 6], start=row)).rstrip()
            for row in range(0, len(words), 6)
        ]
        swedish, english = _WHERE[number - 1]
        parts += [
            "",
            f"{head}   nyckel/key {_short(public)}",
            *rows,
            f"Förvara detta blad {swedish}.",
            f"Keep this sheet {english}.",
        ]
    return "\n".join(parts) + "\n"


def from_sheet(text: str) -> list[str]:
    """Shares out of a file: of a sheet as printed, or one share on each line; what is neither is left out."""
    found: list[str] = []
    rows: list[str] = []
    for line in [*text.splitlines(), "---"]:
        words = [word for word in line.lower().split() if not word.isdigit()]
        numbered = line.split()[:1] != [] and line.split()[0].isdigit()
        if numbered:
            rows += words
            continue
        if rows:
            found.append(" ".join(rows))
            rows = []
        if len(words) == WORDS and all(word.isalpha() for word in words):
            found.append(" ".join(words))
    return found


def check_of(share: str) -> str:
    """Four hexadecimal digits of a share, to compare a typed copy with the paper; one share tells nothing anyhow."""
    return hashlib.sha256(" ".join(share.lower().split()).encode()).hexdigest()[:4]


def _short(public: PublicKeys) -> str:
    text = public.key_id.hex()[:16]
    return " ".join(text[at : at + 4] for at in range(0, 16, 4))


def write_public(keys_dir: Path, public: PublicKeys) -> Path:
    """Keep the public half, 32 + 1216 bytes, in place of an earlier one; returns the file."""
    path = keys_dir / FILE
    files.write_atomic(path, public.signing + public.hpke)
    return path


def public_of(keys_dir: Path) -> PublicKeys:
    """The public half that backups are sealed to; raises `HS-RECOVERY-KEY-MISSING`."""
    return read_public(keys_dir / FILE)


def read_public(path: Path) -> PublicKeys:
    """The public half in a file; raises `HS-RECOVERY-KEY-MISSING` when it is not there or is none."""
    try:
        data = path.read_bytes()
        if len(data) != SIGNING_BYTES + HPKE_PUBLIC_BYTES:
            raise HandslagError("HS-RECOVERY-KEY-MISSING", check="length")
        return PublicKeys(data[:SIGNING_BYTES], data[SIGNING_BYTES:])
    except OSError:
        raise HandslagError("HS-RECOVERY-KEY-MISSING") from None
    except HandslagError as error:
        if error.code == "HS-RECOVERY-KEY-MISSING":
            raise
        raise HandslagError("HS-RECOVERY-KEY-MISSING", check="key") from None
