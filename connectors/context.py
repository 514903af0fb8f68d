"""What every part of a running connector works with, put together in one place."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from connectors import instance, ruled, trust
from connectors.box import DataKey
from connectors.identity import Identities, Seat, load_unit_keys
from connectors.keys import UnitKeyPair
from connectors.link import Link
from connectors.membership import CaseMembers
from connectors.settings import Settings
from connectors.spool import Spool
from connectors.witness import Witness
from consent.ledger import LedgerView, view_of
from consent.rules import Rules
from schemas.acts import ConsentAct
from schemas.calls import UnitsAnswer
from schemas.errors import HandslagError
from schemas.records import Record
from schemas.statements import SignedStatement, SignedUnit

Answer = TypeVar("Answer", bound=Record)
_UNITS = "units"
_UNITS_BYTES = 16 * 1024 * 1024
_NEWEST = "units-newest"


def clock() -> int:
    """Microseconds since the epoch, UTC, by this machine."""
    return time.time_ns() // 1000


@dataclass(slots=True, kw_only=True)
class Context:
    """A connector's parts. `rules` are those that its unit's releases are decided by, `in_force` what they are made of.

    `directory` is None until the list of units was fetched once.

    `drained_us` is when this run last saw its inbox empty, `deferred` how many deliveries were left for later since it
    was asked, `pauses` until when a seat's rotation is not tried again, by the handle of its reference.
    """

    settings: Settings
    spool: Spool
    identities: Identities
    unit_keys: UnitKeyPair
    trusted: trust.Trust
    rules: Rules
    witness: Witness
    link: Link
    in_force: tuple[Rules, ...] = ()
    directory: trust.Directory | None = None
    now: Callable[[], int] = clock
    random: Callable[[int], bytes] = os.urandom
    backing_up: asyncio.Lock = field(default_factory=asyncio.Lock)
    started_us: int = 0
    drained_us: int = 0
    deferred: int = 0
    pauses: dict[bytes, int] = field(default_factory=dict)
    _members: dict[bytes, tuple[tuple[bytes, ...], CaseMembers]] = field(default_factory=dict)
    _ledgers: dict[bytes, tuple[tuple[int, bytes], LedgerView]] = field(default_factory=dict)

    @classmethod
    def load(cls, settings: Settings) -> Context:
        """Open everything a configuration names; raises HandslagError naming what is missing or not trusted."""
        listed = load_trust(settings)
        if listed.origin != settings.origin:
            raise HandslagError("HS-TRUST-INVALID", field="origin")
        spool = Spool(settings.database, DataKey.load(settings.data_key))
        in_force, rules = ruled.kept(spool.memory)
        witness = Witness(spool, origin=listed.origin, log_key=listed.log_key)
        context = cls(
            settings=settings,
            spool=spool,
            identities=Identities(spool.store),
            unit_keys=load_unit_keys(settings.unit_signing_key, settings.unit_hpke_key),
            trusted=listed,
            rules=rules,
            in_force=in_force,
            witness=witness,
            link=Link(settings, witness.newest),
            started_us=clock(),
        )
        instance.introduce(context.link, settings, spool)
        held = spool.memory.get(_UNITS)
        if held is not None:
            context.take_units(UnitsAnswer.from_bytes(held, _UNITS_BYTES))
        return context

    def take_units(self, answer: UnitsAnswer) -> None:
        """Use a directory whose every entry verified and none is older than one seen, and keep it for the next start.

        Raises what `trust.directory` raises, and `HS-DIRECTORY-OLD`; the one before stays in use.
        """
        found = trust.directory(answer.units, self.trusted)
        held = self.spool.memory.get(_NEWEST)
        seen: dict[str, int] = json.loads(held) if held else {}
        trust.check_not_older(found, seen)
        with self.spool.transaction():
            self.spool.memory.put(_UNITS, answer.to_bytes())
            self.spool.memory.put(_NEWEST, json.dumps({**seen, **trust.newest(found)}).encode())
        self.directory = found

    def listed_units(self) -> tuple[SignedUnit, ...]:
        """The directory's entries as they came; empty before the first."""
        held = self.spool.memory.get(_UNITS)
        return () if held is None else UnitsAnswer.from_bytes(held, _UNITS_BYTES).units

    def units(self) -> trust.Directory:
        """The directory; raises `HS-NOT-READY` before the first one came."""
        if self.directory is None:
            raise HandslagError("HS-NOT-READY", field="units")
        return self.directory

    def members(self, seat: Seat) -> CaseMembers:
        """The case as far as its statements chain to this seat's pin."""
        handle = self.identities.case_handle(seat.case_tag)
        hashes = self.spool.memory.statement_hashes(handle)
        cached = self._members.get(handle)
        if cached is not None and cached[0] == hashes:
            return cached[1]
        if cached is not None and cached[0] == hashes[: len(cached[0])]:
            known, view = cached
        else:
            known = ()
            signed = SignedStatement.from_bytes(seat.lead_statement)
            view = CaseMembers.pinned(signed, seat.pin, self.settings.slots)
        for statement in self.spool.memory.statements(handle, len(known)):
            view = view.applied(SignedStatement.from_bytes(statement))
        self._members[handle] = (hashes, view)
        return view

    def ledger(self, seat: Seat) -> LedgerView:
        """What may be decided on: our copy of the seat's ledger, without consents that only the broker remembers."""
        # INVARIANT: test_a_consent_from_the_broker_alone_permits_nothing
        whole = self.whole_ledger(seat)
        left = borrowed(seat, whole) - {bytes.fromhex(one) for one in seat.reaffirmed}
        return replace(whole, grants=tuple(g for g in whole.grants if g.consent_id not in left)) if left else whole

    def whole_ledger(self, seat: Seat) -> LedgerView:
        """What our copy of the seat's ledger says; its head names every act before it."""
        head = self.spool.memory.head(seat.sid)
        cached = self._ledgers.get(seat.sid)
        if cached is not None and cached[0] == head:
            return cached[1]
        view = view_of(self.spool.memory.ledger(seat.sid))
        self._ledgers[seat.sid] = (head, view)
        return view

    def may_send(self, own_role: str) -> Callable[[str, str], bool]:
        """Whether the rules let a role send an event type to `own_role`; it is the sender who approves them, not we."""

        def allowed(role: str, event_type: str) -> bool:
            lanes = (rules.lane(event_type, role, own_role) for rules in (self.rules, *self.in_force))
            return any("SENDER_NOT_ALLOWED" not in lane.refusals for lane in lanes)

        return allowed

    async def kept_call(
        self, path: str, call_id: bytes, request: Record, answer: type[Answer], *, pressing: bool = False
    ) -> Answer:
        """A consent, case or seat call: kept before it is made, its answer kept for ever; `pressing` as in the link."""
        memory = self.spool.memory
        memory.add_call(call_id, path, request.to_bytes(), self.now())
        got = await self.link.call(path, request, answer, pressing=pressing)
        if getattr(got, "call_id", call_id) != call_id:
            raise HandslagError("HS-ANSWER-INVALID", field="call_id")
        memory.answer_call(call_id, got.to_bytes())
        return got


def borrowed(seat: Seat, view: LedgerView) -> frozenset[bytes]:
    """Ids of the consents that came back from the broker after this connector had lost its own memory of them."""
    if not seat.borrowed_seq:
        return frozenset()
    acts = (ConsentAct.from_bytes(event.act) for event in view.events if event.ledger_seq <= seat.borrowed_seq)
    return frozenset(act.consent_id for act in acts if act.act in {"GRANT", "AMEND"})


def load_trust(settings: Settings) -> trust.Trust:
    """The trust list the configuration names by its fingerprint; raises `HS-TRUST-INVALID`."""
    try:
        text = settings.trust_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise HandslagError("HS-TRUST-INVALID", field="file") from None
    return trust.trusted(trust.parse(text), settings.trust_fingerprint)
