"""The operator's administrative acts as files: `acts/NNNNNN.act` in the data folder, written once, in order.

Commands work while the broker is down, so the files come first; the node takes every act that it has not recorded yet
at start, or when a command tells it to look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.administration import ACT, Acts, missing, signature, together
from broker.keyfiles import read_private, write_new
from schemas.admin import AdminAct, Administrator, AdminTarget, SignedAdminAct
from schemas.errors import HandslagError

FOLDER = "acts"
SIGNED = ACT + 4096


@dataclass(frozen=True, slots=True)
class ActFiles:
    """The acts of one broker."""

    data_dir: Path
    origin: str

    def all(self, folder: str = FOLDER) -> list[SignedAdminAct]:
        """Every act in order, of another `folder` where one is named.

        Raises `HS-ADMIN-ACT-INVALID` for a file that cannot be read.
        """
        found = []
        for path in sorted((self.data_dir / folder).glob("*.act")):
            try:
                found.append(SignedAdminAct.from_bytes(path.read_bytes(), SIGNED))
            except (OSError, HandslagError):
                raise HandslagError("HS-ADMIN-ACT-INVALID", check="file") from None
        return found

    def chain(self) -> Acts:
        """What all acts together say; raises `HS-ADMIN-ACT-INVALID`."""
        acts = Acts.none(self.origin)
        for signed in self.all():
            acts = acts.applied(signed)
        return acts

    def draft(
        self,
        kind: str,
        made_at_us: int,
        *,
        targets: Sequence[AdminTarget] = (),
        administrators: Sequence[Administrator] = (),
        reason: str | None = None,
        subject: bytes | None = None,
        rules: bytes | None = None,
    ) -> SignedAdminAct:
        """The next act, unsigned; raises `HS-ADMIN-NONE` when nobody may sign it yet."""
        acts = self.chain()
        if not acts.count and not administrators:
            raise HandslagError("HS-ADMIN-NONE")
        act = AdminAct(
            origin=self.origin,
            number=acts.count + 1,
            previous=acts.head,
            kind=kind,
            made_at_us=made_at_us,
            targets=tuple(targets),
            administrators=tuple(administrators),
            reason=reason,
            subject=subject,
            rules=rules,
        )
        return SignedAdminAct(act=act.to_bytes(), signatures=())

    def append(self, signed: SignedAdminAct) -> Acts:
        """Keep a signed act as the newest; raises `HS-ADMIN-UNSIGNED`, `HS-ADMIN-ACT-INVALID`, and nothing is kept."""
        if missing(signed):
            raise HandslagError("HS-ADMIN-UNSIGNED")
        acts = self.chain().applied(signed)
        folder = self.data_dir / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            write_new(folder / f"{acts.count:06d}.act", signed.to_bytes(), private=True)
        except HandslagError:
            raise HandslagError("HS-ADMIN-ACT-INVALID", check="number") from None
        return acts


def private_key(path: Path) -> Ed25519PrivateKey:
    """An administrator's key, PKCS #8 in PEM (RFC 8410); raises `HS-SECRET-FILE`."""
    try:
        key = serialization.load_pem_private_key(read_private(path, "administrator key"), password=None)
    except (ValueError, TypeError):
        raise HandslagError("HS-SECRET-FILE", field="administrator key", rule="form") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise HandslagError("HS-SECRET-FILE", field="administrator key", rule="form")
    return key


def signed_by(signed: SignedAdminAct, key: Ed25519PrivateKey, administrators: Callable[[], Acts]) -> SignedAdminAct:
    """The act with one more signature, under the name that the chain gives this key; raises `HS-ADMIN-UNSIGNED`."""
    public = key.public_key().public_bytes_raw()
    may = administrators().administrators or {
        each.name: each.signing_key for each in AdminAct.from_bytes(signed.act, ACT).administrators
    }
    name = next((name for name, known in may.items() if known == public), None)
    if name is None:
        raise HandslagError("HS-ADMIN-UNSIGNED", check="key")
    return together(signed.act, *signed.signatures, signature(signed.act, name, key))
