"""A case of three on real files with a log, administrators and what erases; and the same restored from a copy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.administration import signature, together
from audit.note import Signer
from audit.report import Report
from audit.trailfile import TrailFile
from audit.vault import erasure_subject
from audit.verify import verify
from broker import administration, cases
from broker.actfiles import ActFiles
from broker.anchor import Anchor
from broker.erasing import Eraser
from broker.hold import Keeper
from broker.sealer import Sealer
from broker.store import trailcopy
from schemas.admin import ADMINISTRATORS, ERASE, Administrator, SignedAdminAct
from schemas.calls import CloseRequest
from tests.promises.case import deliveries, grant, items, ready, sent
from tests.site import ORIGIN, Site, Unit

KEYS = {name: Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32)) for name in ("duty", "deputy")}
LOG = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
GROUND = "RETENTION_OVER"


class Home:
    """A site with its log and its acts."""

    def __init__(self, site: Site, keeper: Keeper | None = None) -> None:
        self.site = site
        self.folder = site.folder
        self.files = ActFiles(self.folder, ORIGIN)
        self.keeper = keeper or Keeper(site.context)
        path = self.folder / "anchor"
        self.sealer = Sealer(
            store=site.store, recorder=site.context.recorder,
            anchor=Anchor(path, ORIGIN) if path.exists() else Anchor.open(path, ORIGIN, store_size=0),
            signer=LOG, origin=ORIGIN, now_us=site.clock, random=os.urandom,
        )  # fmt: skip
        self.eraser = Eraser(site.context, self.files, self.keeper, self.sealer.beat)

    def signed(self, kind: str, *names: str, **about: Any) -> SignedAdminAct:
        """The next act under these names."""
        draft = self.files.draft(kind, self.site.clock(), **about)
        return together(draft.act, *(signature(draft.act, name, KEYS[name]) for name in names))

    async def keep(self, kind: str, **about: Any) -> None:
        """The next act, signed by both and recorded."""
        self.files.append(self.signed(kind, "duty", "deputy", **about))
        await administration.recorded(self.site.context, self.files.all())

    async def administrators(self) -> None:
        named = [
            Administrator(name=name, signing_key=key.public_key().public_bytes_raw()) for name, key in KEYS.items()
        ]
        await self.keep(ADMINISTRATORS, administrators=named)

    async def subject(self, unit: Unit) -> bytes:
        named = await self.eraser.named(unit.seat_id)
        assert named.subject == erasure_subject(unit.seat_id, named.salt)
        return named.subject

    async def signed_for(self, unit: Unit, kind: str = ERASE, reason: str | None = GROUND) -> bytes:
        """Keep an act about a unit's seat; returns its subject."""
        subject = await self.subject(unit)
        await self.keep(kind, subject=subject, reason=reason)
        return subject

    async def erased(self, unit: Unit) -> None:
        """Everything `handslag erase` does."""
        await self.eraser.require_free(unit.seat_id, GROUND)
        await self.signed_for(unit)
        await self.eraser.go_on()

    def bytes_on_disk(self) -> dict[str, bytes]:
        """The store's and the keys' files with what lies beside them."""
        names = (f"{db}.db{rest}" for db in ("broker", "keys") for rest in ("", "-wal"))
        return {name: (self.folder / name).read_bytes() for name in names if (self.folder / name).exists()}

    def trail(self, out: Path) -> Path:
        trailcopy.copy(self.site.store.path, self.site.cipher, out)
        return out

    def verified(self, out: Path, **how: Any) -> Report:
        with TrailFile(self.trail(out)) as trail:
            return verify(trail, origin=ORIGIN, log_keys=[LOG.verifier], **how)


async def begun(folder: Path) -> Home:
    """A case in which the police has sent something, given and acknowledged; the log covers it."""
    site = await ready(folder)
    home = Home(site)
    await home.administrators()
    await grant(site)
    await sent(site)
    for item in await deliveries(site):
        await site.ack(site.lead, item.item_id)
    await home.sealer.beat()
    return home


async def closed(home: Home, unit: Unit | None = None) -> None:
    """The police leaves the case, and everybody takes what waits."""
    site = home.site
    unit = unit or site.police
    await cases.close(site.context, unit.code, CloseRequest(call_id=os.urandom(16), seat_id=unit.seat_id))
    for one in site.units.values():
        await items(site, one)
    await home.sealer.beat()
