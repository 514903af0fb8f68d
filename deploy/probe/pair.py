"""Two connectors of the operator and the one case they share; opened with empty spools once a day.

A spool keeps what it must remember for as long as its seats live. A test case that lived for a year would fill the
disk, so this one is closed and opened anew; only the newest checkpoint is carried over, because a witness that forgets
is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from cryptography import x509

from connectors.client import Connector, Message
from deploy.probe.settings import ProbeSettings
from deploy.probe.setup import ROLES
from schemas.errors import HandslagError

REF = "SOND"
GRANTED, NEVER_GRANTED = "PLANNING", "REENTRY"
_STEP_S = 0.1
_TERMS = {"text_version": "SOND-1", "terms_version": "SOND-1", "processing_acknowledged": True, "method": "WRITTEN"}

Took = Callable[[str, Message], None]
"""Called for each message with the side, `sender` or `recipient`, that got it."""


class Pair:
    """Both connectors, open; `beat` turns them once and hands over what came."""

    def __init__(self, settings: ProbeSettings, took: Took) -> None:
        self.settings = settings
        self._took = took
        self._held = AsyncExitStack()
        self._invitation: str | None = None
        self._joined = False

    async def __aenter__(self) -> Self:
        try:
            self.sender = await self._held.enter_async_context(Connector(self.settings.sender))
            self.recipient = await self._held.enter_async_context(Connector(self.settings.recipient))
        except BaseException:
            await self._held.aclose()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._held.aclose()

    @property
    def contradicted(self) -> bool:
        """Whether one of the two saw the log go back."""
        return self.sender.context.witness.stopped or self.recipient.context.witness.stopped

    async def beat(self, *sides: str) -> None:
        """One beat of each side named, of both when none is; raises what a beat raises."""
        for side in sides or tuple(ROLES):
            connector: Connector = getattr(self, side)
            await connector.beat()
            came = connector.came()
            for message in came:
                self._note(side, message)
                self._took(side, message)
            connector.ack(*came)  # afterwards: what nobody has looked at comes again after a crash

    def _note(self, side: str, message: Message) -> None:
        if side == "recipient" and message.kind == "invitation":
            self._invitation = str(message.value["invitation"])
        if side == "recipient" and message.kind == "seat" and message.value.get("state") == "ACTIVE":
            self._joined = True

    async def until(self, met: Callable[[], bool], *sides: str) -> None:
        """Beat until `met`; raises `HS-PROBE-LATE` after the patience of the settings, and what a beat raises."""
        try:
            async with asyncio.timeout(self.settings.patience_s):
                while not met():
                    await self.beat(*sides)
                    await asyncio.sleep(_STEP_S)
        except TimeoutError:
            raise HandslagError("HS-PROBE-LATE") from None

    def tidy(self) -> None:
        """Fold both spools' write-ahead logs back: what was deleted leaves the disk, and they do not grow."""
        for connector in (self.sender, self.recipient):
            connector.context.spool.store.tidy()

    # --- the case

    @property
    def ready(self) -> bool:
        """Whether the case stands on both sides."""
        found = [connector.context.identities.find(REF) for connector in (self.sender, self.recipient)]
        return all(seat is not None and seat.active for seat in found)

    async def open(self) -> None:
        """Open the case, invite, accept, wait for the seat; by the public verbs, in their usual order."""
        await self.beat()
        await self.sender.open_case(REF, ROLES["sender"])
        unit = self.recipient.context.settings.unit
        await self.sender.grant(REF, recipients=[{"unit": unit}], categories=["IC01", "IC12"], purposes=["INTAKE"],
                                valid_until=_in(days=1), **_TERMS)  # fmt: skip
        await self.sender.invite(REF, unit, ROLES["recipient"], "SOND", {"local_reference": REF})
        await self.until(lambda: self._invitation is not None)
        await self.recipient.accept(str(self._invitation), REF)
        await self.until(lambda: self._joined and self.ready)
        self._opened.touch()

    @property
    def _opened(self) -> Path:
        return self.settings.sender.parent / "data" / "opened"

    @property
    def age_s(self) -> float:
        """Seconds since the case was opened, also across restarts; 0 while there is none."""
        return max(0.0, time.time() - self._opened.stat().st_mtime) if self._opened.exists() else 0.0

    async def grant(self) -> None:
        """The consent under which a test message may go; a withdrawal ends it, then it is given anew."""
        await self.sender.grant(REF, recipients=[{"role": ROLES["recipient"]}], categories=["IC13"],
                                purposes=[GRANTED], valid_until=_in(days=30), **_TERMS)  # fmt: skip

    async def send(self, marker: str, purpose: str) -> str:
        """Send one meeting that nobody will hold; returns its event id. It is worth nothing after two minutes."""
        data: dict[str, Any] = {"meeting_id": marker, "at": _in(days=1), "mode": "DIGITAL", "agenda_codes": ["OTHER"],
                                "requires_consent_ref": REF}  # fmt: skip
        return await self.sender.send(
            REF, "coordination_meeting_scheduled", [ROLES["recipient"]], data,
            purpose=purpose, confirmed=True, valid_until=_in(minutes=2),
        )  # fmt: skip

    async def forget_waiting(self) -> None:
        """What waits for consent is discarded: a test message that is late must not go by itself later."""
        for row in self.sender.waiting_list():
            await self.sender.do(do="discard", event=row["event_id"])

    async def close(self) -> None:
        """Close both seats as far as the broker lets us; what is left is closed to everybody but us."""
        for connector in (self.recipient, self.sender):
            with contextlib.suppress(HandslagError, TimeoutError):
                async with asyncio.timeout(self.settings.patience_s):
                    await connector.do(do="close", ref=REF)

    def notes(self) -> dict[str, bytes]:
        """The newest checkpoint that each side has verified."""
        sides = {"sender": self.sender, "recipient": self.recipient}
        newest = {side: connector.context.witness.newest() for side, connector in sides.items()}
        return {side: note for side, note in newest.items() if note is not None}

    def adopt(self, notes: dict[str, bytes]) -> None:
        """Begin as witnesses where the spools before these stopped."""
        for side, note in notes.items():
            getattr(self, side).context.witness.adopt(note)


def put_aside(settings: ProbeSettings) -> None:
    """Both spools make room for empty ones; the last generation stays for whoever looks into yesterday."""
    for config in (settings.sender, settings.recipient):
        data, old = config.parent / "data", config.parent / "data.old"
        shutil.rmtree(old, ignore_errors=True)
        if data.exists():
            data.rename(old)


def certificate_end_s(settings: ProbeSettings) -> float:
    """When the first of the two own certificates ends, seconds since 1970; raises `HS-KEY-FILE`."""
    ends = []
    for config in (settings.sender, settings.recipient):
        try:
            pem = (config.parent / "keys" / "certificate.pem").read_bytes()
            ends.append(x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp())
        except (OSError, ValueError):
            raise HandslagError("HS-KEY-FILE", field="certificate") from None
    return min(ends)


def disk_bytes(folder: Path) -> int:
    """Size of everything below a folder."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


def _in(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat(timespec="milliseconds")
