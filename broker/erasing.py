"""Carrying out what two administrators signed: everything the broker holds about one seat is destroyed.

    ERASURE "erase_begin"  an entry under the seat's own handle, in the log before anything is lost
    the key                its row in `keys.db` overwritten, the write-ahead log folded in and cut to nothing
    the rows               contents of entries, deliveries, ledger, inbox, in one transaction with ERASURE "erased"
    the files              the same for `broker.db`; on a server, which keeps what it deletes, every node lets go of
                           the root key under which the destroyed key lies there still

How far it is stands in the table `erasure`. A start goes on where the last one was cut off, and a broker restored from
an older copy does it again, before its log goes on: the act names the seat by a salt that lies in the seat's own key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from audit.administration import ACT
from audit.vault import erasure_subject
from broker.actfiles import ActFiles
from broker.context import Context
from broker.hold import Keeper
from broker.store.cases import SeatRow
from broker.store.erasures import ABSENT, BEGUN, DONE, ERASED, ErasureRow, InboxGrew, InboxLook
from broker.store.keyport import OwnerKind
from broker.store.port import Rows
from broker.sweeping import looked, swept
from schemas import codes
from schemas.admin import ERASE, AdminAct
from schemas.errors import HandslagError
from schemas.trail import Payload

BEGIN_CODE, ERASED_CODE = "erase_begin", "erased"
_TRIES, _PAUSE_S = 200, 0.05
"""How often a file is folded in again while somebody reads it: ten seconds, then the next start goes on."""


@dataclass(frozen=True, slots=True)
class Named:
    """What an act about a seat names: the seat, its salt and the subject (32 bytes) that both make."""

    seat_id: bytes
    salt: bytes

    @property
    def subject(self) -> bytes:
        """What everybody is shown instead."""
        return erasure_subject(self.seat_id, self.salt)


class Eraser:
    """Erases on a running node. `beat` seals and signs what was recorded; nothing is while a restored log waits."""

    def __init__(self, context: Context, files: ActFiles, keeper: Keeper, beat: Callable[[], Awaitable[Any]]) -> None:
        self._context = context
        self._files = files
        self._keeper = keeper
        self._beat = beat
        self._turn = asyncio.Lock()

    async def named(self, seat_id: bytes) -> Named:
        """What an act about this seat names; raises `HS-SEAT-UNKNOWN`, `HS-SEAT-ERASED`."""
        seat = await self._context.store.read(lambda rows: rows.cases.seat(seat_id))
        keys = self._context.recorder.vault.get(OwnerKind.SEAT, seat_id) if seat else None
        if seat is None:
            raise HandslagError("HS-SEAT-UNKNOWN")
        if keys is None:
            raise HandslagError("HS-SEAT-ERASED")
        return Named(seat_id, keys.erasure_salt())

    async def require_free(self, seat_id: bytes, ground: str) -> None:
        """Raise `HS-ERASE-REFUSED` (`check` names what stands against it), `HS-SEAT-UNKNOWN`."""
        _require_ground(ground)
        named = await self.named(seat_id)
        if named.subject in self._files.chain().restricted:
            raise _refused("restricted")
        part = await self._context.store.read(lambda rows: rows.erasures.open_part(seat_id))
        if part is None and (await looked(self._context, seat_id)).found:
            part = "inbox"
        if part is not None:
            raise _refused(part)

    async def go_on(self, *, wait: bool = True) -> list[ErasureRow]:
        """Carry out every act that erases and is not done; returns how far each of them is.

        An act that was signed had nothing against it when it was kept. So what a copy still has open is closed first.
        Raises what the store and the keys raise, `HS-ERASE-REFUSED` when something of the seat came up between, and
        `HS-ERASE-WAITS` when a node of a server can still open what was destroyed; without `wait` that is for later.
        """
        async with self._turn:
            known = await self._context.store.read(lambda rows: rows.erasures.all())
            for number, act in self._acts():
                row = known.get(number)
                if row is None or row.state not in {DONE, ABSENT}:
                    known[number] = await self._one(number, act, row)
            if not await self._settled(known, _TRIES if wait else 1) and wait:
                raise HandslagError("HS-ERASE-WAITS")
            return list(known.values())

    async def settle(self) -> bool:
        """Say of all that lies erased on a server that it is done; False while a node can still open it."""
        async with self._turn:
            return await self._settled(await self._context.store.read(lambda rows: rows.erasures.all()), 1)

    async def _settled(self, known: dict[int, ErasureRow], tries: int) -> bool:
        """All that is erased on a server is done together: each key that is left is wrapped again once."""
        waiting = [row for row in known.values() if row.state == ERASED]
        # INVARIANT: test_after_an_erasure_nothing_on_the_server_opens_with_what_the_nodes_have
        gone = not waiting
        for number in range(tries):
            await asyncio.sleep(_PAUSE_S if number else 0)
            gone = gone or await asyncio.to_thread(_let_go, self._context)
            if gone:
                break
        for row in waiting if gone else ():
            known[row.act_number] = await self._done(row)
        return gone

    def _acts(self) -> list[tuple[int, AdminAct]]:
        read = (AdminAct.from_bytes(each.act, ACT) for each in self._files.all())
        return [(act.number, act) for act in read if act.kind == ERASE]

    async def _one(self, number: int, act: AdminAct, row: ErasureRow | None) -> ErasureRow:
        if row is None:
            row = await self._begun(number, act)
        if row.state == BEGUN:
            if not self._keeper.silent:
                # INVARIANT: test_a_copy_taken_between_the_steps_is_whole
                await self._beat()
            row = await self._emptied(row)
        if row.state == ERASED and not self._context.store.keeps_deleted:
            row = await self._folded(row)
        return row

    # --- the steps

    async def _begun(self, number: int, act: AdminAct) -> ErasureRow:
        context, ground = self._context, act.reason or ""
        entries = await context.store.read(lambda rows: rows.admin.entries(number - 1, 1))
        act_entry, now = entries[0][1], context.now_us()
        seat = await self._found(act.subject or b"")
        if seat is None:
            absent = ErasureRow(number, ABSENT, None, ground, act_entry, None, None, now)
            return await context.store.write(lambda rows: rows.erasures.all().get(number) or _kept(rows, absent))
        _require_ground(ground)
        handle = context.recorder.seat_keys(seat.seat_id).handle(context.recorder.segment)
        restored = self._keeper.silent

        def work(rows: Rows, look: InboxLook) -> ErasureRow:
            at_us = rows.gate.bump(seat.bucket, 1, context.now_us()).clock_us
            # INVARIANT: test_two_nodes_that_erase_one_seat_write_each_step_once
            if (begun := rows.erasures.all().get(number)) is not None:
                return begun
            if not restored:
                _require_nothing_open(rows, seat.seat_id, look)
            rows.erasures.shut(seat.seat_id)
            entry = self._entry(seat.unit, handle, BEGIN_CODE, ground, at_us, act_entry)
            rows.entries.insert([entry])
            row = ErasureRow(number, BEGUN, seat.seat_id, ground, act_entry, handle, entry.entry_id, at_us)
            rows.erasures.put(row)
            return row

        return await self._after(looked, seat.seat_id, work)

    async def _emptied(self, row: ErasureRow) -> ErasureRow:
        context, seat_id, handle, begin = self._context, row.seat_id, row.handle, row.begin_entry
        assert seat_id is not None
        assert handle is not None
        assert begin is not None
        await self._repeated(lambda: _key_gone(context, seat_id))
        context.views.forget(seat_id)

        def work(rows: Rows, look: InboxLook) -> ErasureRow:
            seat = rows.cases.seat(seat_id)
            assert seat is not None, "its bare row stays"
            at_us = rows.gate.bump(seat.bucket, 1, context.now_us()).clock_us
            present = rows.erasures.all()[row.act_number]
            if present.state != BEGUN:
                return present
            gone = rows.erasures.wipe(seat_id, handle, look)
            rows.entries.insert([self._entry(seat.unit, handle, ERASED_CODE, row.ground, at_us, begin)])
            now = replace(row, state=ERASED, at_us=at_us, entries=gone)
            rows.erasures.put(now)
            return now

        return await self._after(swept, seat_id, work)

    async def _after(
        self,
        looking: Callable[[Context, bytes], Awaitable[InboxLook]],
        seat_id: bytes,
        work: Callable[[Rows, InboxLook], ErasureRow],
    ) -> ErasureRow:
        """Write once the inbox was looked through; again while more comes than the transaction may open."""
        for _ in range(_TRIES):
            look = await looking(self._context, seat_id)
            try:
                return await self._context.store.write(lambda rows, look=look: work(rows, look))  # type: ignore[misc]
            except InboxGrew:
                continue
        raise HandslagError("HS-NOT-READY")

    async def _folded(self, row: ErasureRow) -> ErasureRow:
        # INVARIANT: test_nothing_of_an_erased_seat_lies_in_any_file
        await self._repeated(self._context.store.emptied)
        return await self._done(row)

    async def _done(self, row: ErasureRow) -> ErasureRow:
        done = await self._context.store.write(lambda rows: rows.erasures.done(rows.erasures.all()[row.act_number]))
        if not self._keeper.silent:
            await self._beat()
        return done

    async def _repeated(self, work: Callable[[], bool]) -> None:
        for _ in range(_TRIES):
            if await asyncio.to_thread(work):
                return
            await asyncio.sleep(_PAUSE_S)
        raise HandslagError("HS-NOT-READY")

    async def _found(self, subject: bytes) -> SeatRow | None:
        """The seat that an act names, by the key of each seat that there is."""
        context = self._context
        seats = await context.store.read(lambda rows: rows.erasures.seats())

        def look() -> bytes | None:
            for seat_id in seats:
                keys = context.recorder.vault.get(OwnerKind.SEAT, seat_id)
                if keys is not None and erasure_subject(seat_id, keys.erasure_salt()) == subject:
                    return seat_id
            return None

        found = await asyncio.to_thread(look)
        return None if found is None else await context.store.read(lambda rows: rows.cases.seat(found))

    def _entry(self, unit: str, handle: bytes, code: str, ground: str, at_us: int, cause: bytes) -> Any:
        controller = self._context.directory.controller(unit)
        payload = Payload(code=code, basis=ground, decided_at_us=at_us)
        return self._context.recorder.about_erasure(unit, controller, handle, payload, at_us, cause)


def _require_nothing_open(rows: Rows, seat_id: bytes, look: InboxLook) -> None:
    part = rows.erasures.open_part(seat_id)
    if part is None and rows.erasures.about(seat_id, look):
        part = "inbox"
    if part is not None:
        raise _refused(part)


def _kept(rows: Rows, row: ErasureRow) -> ErasureRow:
    rows.erasures.put(row)
    return row


def _key_gone(context: Context, seat_id: bytes) -> bool:
    try:
        context.recorder.vault.erase(seat_id)
    except HandslagError as error:  # somebody reads the file, or makes a key at this moment
        if error.context.get("part") != "wal" and error.code != "HS-NOT-READY":
            raise
        return False
    return True


def _let_go(context: Context) -> bool:
    try:
        return context.recorder.vault.let_go()
    except HandslagError as error:
        if error.code != "HS-NOT-READY":
            raise
        return False


def _require_ground(ground: str) -> None:
    if ground not in codes.table()["erasure_ground"]:
        raise _refused("ground")


def _refused(check: str) -> HandslagError:
    return HandslagError("HS-ERASE-REFUSED", check=check)
