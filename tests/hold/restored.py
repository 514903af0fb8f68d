"""A site, a copy of its store, and the site opened again on that copy: what a broker is after a restore."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from audit.checkpoint import Checkpoint
from broker import replay
from broker.hold import RESTORED, Keeper, Seen
from broker.store.hold import ContinuationRow
from schemas.hold import ConfirmRequest, HeadConfirmation, HoldSeatAnswer, RecordedWithdrawal, ReplayRequest
from schemas.statements import SignedStatement
from tests.site import ORIGIN, Site, Unit

GOING_ON = f"{ORIGIN}/2"


def copied(site: Site, folder: Path) -> Path:
    """The store's and the keys' files as they stand."""
    folder.mkdir()
    for name in ("broker.db", "keys.db"):
        with (
            closing(sqlite3.connect(site.store.path.with_name(name))) as old,
            closing(sqlite3.connect(folder / name)) as new,
        ):
            old.backup(new)
        (folder / name).chmod(0o600)
    shutil.copy2(site.store.path.with_name("root.key"), folder / "root.key")
    return folder


class Restored:
    """The broker on the copy, in HOLD; `units` are those of the site that was lost, with what they remember."""

    def __init__(self, lost: Site, folder: Path) -> None:
        self.lost = lost
        self.site = Site(folder)
        self.site.clock = lost.clock
        object.__setattr__(self.site.context, "now_us", lost.clock)
        for name in ("lead", "police", "probation", "units", "_agency"):
            setattr(self.site, name, getattr(lost, name))
        self.keeper = Keeper(self.site.context)

    async def hold(self) -> None:
        """Begin, as a restore does."""
        site = self.site
        site.context.directory.replace(await site.store.read(lambda rows: rows.units.all()))
        head = await site.store.read(lambda rows: rows.log.head())
        await self.keeper.begin(RESTORED, Seen(1, Checkpoint(ORIGIN, *head)))

    async def go_on(self) -> None:
        """The operator has stated how the log goes on; the log itself is not in these tests."""
        assert self.keeper.row is not None
        row = ContinuationRow(2, self.keeper.row.hold_id, b"statement", b"s" * 64, os.urandom(16))
        await self.site.store.write(lambda rows: rows.hold.add_continuation(row))
        await self.keeper.load()

    async def give_back(
        self,
        unit: Unit,
        *,
        events: tuple | None = None,
        withdrawals: tuple[RecordedWithdrawal, ...] = (),
        statements: tuple[SignedStatement, ...] = (),
    ) -> HoldSeatAnswer:
        """What the unit's connector kept and the broker lacks; by default all of the lost broker's ledger."""
        assert self.keeper.row is not None
        if events is None:
            events = tuple(await self.lost.ledger_of(unit))
        request = ReplayRequest(
            hold_id=self.keeper.row.hold_id,
            seat_id=unit.seat_id,
            statements=statements,
            events=events,
            withdrawals=withdrawals,
            last=True,
        )
        return await replay.replay(self.site.context, unit.code, request)

    async def confirm(self, unit: Unit, **said: object) -> HoldSeatAnswer:
        """The unit's connector says that the broker's ledger is its own."""
        assert self.keeper.row is not None
        assert unit.members is not None
        ledger = await self.lost.ledger_of(unit)
        plain = {
            "origin": GOING_ON,
            "hold_id": self.keeper.row.hold_id,
            "seat_id": unit.seat_id,
            "ledger_seq": len(ledger),
            "head": ledger[-1].head if ledger else bytes(32),
            "members": tuple(sorted(unit.members.members)),
            "removed": (),
            "at_us": self.site.clock(),
        }
        statement = HeadConfirmation(**{**plain, **said}).to_bytes()  # type: ignore[arg-type]
        request = ConfirmRequest(statement=statement, signature=unit.seat.sign(statement))
        return await replay.confirm(self.site.context, self.keeper, GOING_ON, unit.code, request)

    async def everybody(self) -> None:
        """All three give back and confirm."""
        for unit in self.site.units.values():
            await self.give_back(unit)
        for unit in self.site.units.values():
            await self.confirm(unit)
