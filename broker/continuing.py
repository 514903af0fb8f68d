"""How the log goes on after a loss: under the next origin, after a statement that the operator signs.

The kept leaves stay the beginning of the tree. What was signed under the old origin beyond them is left as evidence:
nobody ever signs a second tree of that name. Two administrators sign an act for it first. The statement names the
newest head that anybody showed and the kept one, is an entry of the log, and is shown to every connector; each agency's
own people decide whether to follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.administration import ACT
from audit.checkpoint import Checkpoint, sign_checkpoint
from audit.continuation import number_of, origin_of, subject
from audit.note import Signer
from broker.actfiles import ActFiles
from broker.administration import recorded
from broker.anchor import Anchor
from broker.context import Context
from broker.erasing import Eraser
from broker.hold import RESTORED, Keeper
from broker.sealer import Sealer
from broker.store.hold import ContinuationRow
from broker.store.port import Rows
from broker.trail import Witnessed
from schemas.admin import HOLD, RESTORE, AdminAct
from schemas.errors import HandslagError
from schemas.hold import Continuation, SignedContinuation
from schemas.trail import Payload

_WORDS = 200  # characters of the names of those who signed


class LogKey:
    """The log's key under each of the names the log goes on under, and where each part's anchor lies."""

    def __init__(self, base: str, key: Ed25519PrivateKey, data_dir: Path) -> None:
        self.base = base
        self._key = key
        self._data_dir = data_dir

    def origin(self, number: int) -> str:
        """The origin of a part of the log."""
        return origin_of(self.base, number)

    def signer(self, number: int) -> Signer:
        """Signs checkpoints of a part of the log."""
        return Signer(self.origin(number), self._key)

    def anchor_path(self, number: int) -> Path:
        """The anchor of a part of the log; the one before it stays as evidence."""
        return self._data_dir / ("anchor" if number == 1 else f"anchor-{number}")

    def sign(self, statement: bytes) -> bytes:
        """Ed25519 over a labelled statement, which no note is."""
        return self._key.sign(statement)


class Continuing:
    """Carries out the operator's statement on a running node."""

    def __init__(
        self, context: Context, log: LogKey, sealer: Sealer, witnessed: Witnessed, keeper: Keeper, files: ActFiles
    ) -> None:
        self._context = context
        self._files = files
        self._log = log
        self._sealer = sealer
        self._witnessed = witnessed
        self._keeper = keeper
        self.eraser: Eraser | None = None
        self.carry: Callable[[], Awaitable[None]] | None = None  # of several nodes: an act here is everybody's first

    @property
    def origin(self) -> str:
        """The origin of the part of the log that is written now."""
        return self._log.origin(self._keeper.number)

    async def missing(self) -> dict[str, str] | None:
        """What two administrators have to sign before the log goes on: kind and subject; None when nothing waits."""
        row = self._keeper.row
        if row is None or not self._keeper.silent:
            return None
        head = await self._context.store.read(lambda rows: rows.log.head())
        seen = Checkpoint(row.seen_origin, row.seen_size, row.seen_root)
        about = subject(row.hold_id, Checkpoint(self._log.origin(1), *head), seen)
        return {"kind": RESTORE if row.cause == RESTORED else HOLD, "subject": about.hex()}

    async def go_on(self) -> SignedContinuation:
        """State how the log goes on, record it, and seal and sign again under the next origin.

        Raises HS-HOLD-NONE unless a hold waits for it, HS-ADMIN-UNSIGNED (`check` = hold) unless two administrators
        signed exactly this: what is kept, and the newest that anybody has shown by now.
        """
        async with self._keeper.turn:
            signed = await self._gone_on()
        await self._sealer.beat()
        return signed

    async def _act(self) -> tuple[str, str]:
        """Who signed that this hold ends so, and why; the act is an entry before the statement is."""
        missing = await self.missing()
        if missing is None:
            raise HandslagError("HS-HOLD-NONE")
        if self.carry is not None:
            await self.carry()
        signed = self._files.all()
        self._files.chain()  # every signature, and no gap
        await recorded(self._context, signed)
        for one in reversed(signed):
            act = AdminAct.from_bytes(one.act, ACT)
            if act.kind == missing["kind"] and act.subject == bytes.fromhex(missing["subject"]):
                return ", ".join(each.name for each in one.signatures)[:_WORDS], act.reason or ""
        raise HandslagError("HS-ADMIN-UNSIGNED", check="hold")

    async def _gone_on(self) -> SignedContinuation:
        administrator, reason = await self._act()
        # INVARIANT: test_a_restored_broker_erases_again_and_takes_nothing_back
        if self.eraser is not None:
            await self.eraser.go_on(wait=False)  # a node that is away keeps no log from going on
        head = await self._context.store.read(lambda rows: rows.log.head())
        number, said = self._statement(Checkpoint(self._log.origin(1), *head), administrator, reason)
        signed = SignedContinuation(statement=said.to_bytes(), signature=self._log.sign(said.to_bytes()))
        kept = Checkpoint(said.new_origin, *head)
        # The anchor first: a crash between leaves an anchor that no part of the log has, and the next try the same one.
        anchor = await asyncio.to_thread(Anchor.begin, self._log.anchor_path(number), kept)
        await self._context.store.write(lambda rows: self._record(rows, number, said, signed))
        await self._keeper.load()
        self._witnessed.go_on(number)
        await self._sealer.go_on(anchor, self._log.signer(number))
        return signed

    def _statement(self, head: Checkpoint, administrator: str, reason: str) -> tuple[int, Continuation]:
        row = self._keeper.row
        assert row is not None, "the hold was looked at before"
        number = max(self._keeper.number, number_of(self._log.base, row.seen_origin) or 1) + 1
        new_note = sign_checkpoint(Checkpoint(self._log.origin(number), head.size, head.root),
                                   (self._log.signer(number),))  # fmt: skip
        return number, Continuation(
            hold_id=row.hold_id,
            cause=row.cause,
            old_origin=row.seen_origin,
            old_size=row.seen_size,
            old_root=row.seen_root,
            old_note=row.seen_note.encode() if row.seen_note else None,
            new_origin=self._log.origin(number),
            kept_size=head.size,
            kept_root=head.root,
            new_note=new_note,
            administrator=administrator,
            reason=reason,
            at_us=self._context.now_us(),
        )

    def _record(self, rows: Rows, number: int, said: Continuation, signed: SignedContinuation) -> None:
        payload = Payload(act=signed.statement, act_signature=signed.signature, code="HS-LOG-CONTINUED")
        entry = self._context.recorder.about_operator("ADMIN", payload, said.at_us)
        rows.entries.insert([entry])
        rows.hold.add_continuation(
            ContinuationRow(number, said.hold_id, signed.statement, signed.signature, entry.entry_id)
        )
        if not rows.hold.cases():
            rows.hold.end(said.hold_id, said.at_us)
