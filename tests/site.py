"""A broker's verbs on a real store, and units with real keys and seals, all in one process.

The gateway is left out so that a test can stop between any two verbs; everything else is the product. Time is a
number that the test moves.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import Connection

from broker import acks, acts, cases, handover, invitations, pipeline, submit
from broker.context import Context
from broker.directory import Directory
from broker.metrics import Metrics
from broker.recorder import Recorder
from broker.store.cipher import ColumnCipher
from broker.store.gate import GateMoved
from broker.store.keys import KeyVault
from broker.store.migrate import migrate
from broker.store.port import Rows, Store
from broker.store.sqlite import SqliteStore
from broker.store.units import UnitRow
from broker.stream.embedded import EmbeddedStream
from broker.views import Views
from connectors import inviting, membership, opening, sealing
from connectors.keys import PublicKeys, UnitKeyPair
from connectors.membership import CaseMembers
from connectors.trust import Directory as TrustedDirectory
from consent.rules import shipped
from schemas import projection
from schemas.acts import LedgerEvent, RecipientRef, Scope, Terms
from schemas.calls import (
    AcceptRequest,
    Ack,
    AckAnswer,
    AckRequest,
    ConsentsAnswer,
    FetchRequest,
    InviteRequest,
    OpenRequest,
    SeatAnswer,
    StateRequest,
    SubmitAnswer,
)
from schemas.envelope import Delivery
from schemas.identifiers import ZERO16, uuid7
from schemas.inbox import InboxItem, InvitationDelivery, Receipt, StatementNotice
from schemas.statements import UnitEntry
from tests.engines import Database
from tests.units import (
    DAY,
    LEAD,
    ORIGIN,
    POLICE,
    PROBATION,
    START,
    UNITS,
    Clock,
    Unit,
    assessment,
    terms_of,
    to_role,
    to_unit,
)

MakeStore = Callable[[ColumnCipher, Callable[[Connection, ColumnCipher], Rows]], Store]


class Site:
    """The operator's side plus three units of one case; `databases` makes a database each where no file is wanted."""

    databases: ClassVar[Callable[[], Database] | None] = None
    left_open: ClassVar[list[Site]] = []

    def __init__(
        self,
        folder: Path,
        rows: Callable[[Connection, ColumnCipher], Rows] = Rows,
        *,
        lease_us: int = 60_000_000,
        store: MakeStore | None = None,
    ) -> None:
        """`store` makes another driver than the embedded one, on tables that are there."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        make = type(self).databases
        self.database = make() if make is not None else None
        self.clock = Clock()
        self.vault = KeyVault.open(folder / "keys.db", folder / "root.key")
        self.cipher = ColumnCipher(self.vault.columns())
        self.store: Store = store(self.cipher, rows) if store is not None else self.opened(folder, rows)
        rules_file, self.rules = shipped()
        supervisor = UnitKeyPair.generate()
        self.faults: list[BaseException] = []
        self.context = Context(
            store=self.store,
            stream=EmbeddedStream(self.store),
            recorder=Recorder(self.vault, os.urandom, 1),
            directory=Directory(),
            views=Views(),
            rules=self.rules,
            rules_file=rules_file,
            origin=ORIGIN,
            supervisor_key=supervisor.public.hpke,
            metrics=Metrics(),
            now_us=self.clock,
            random=os.urandom,
            faults=self.faults.append,
            lease_us=lease_us,
        )
        self.lead, self.police, self.probation = (Unit(code, role) for role, code in UNITS.items())
        self.units = {unit.role: unit for unit in (self.lead, self.police, self.probation)}
        self._agency = UnitKeyPair.generate()
        Site.left_open.append(self)

    def opened(self, folder: Path, rows: Callable[[Connection, ColumnCipher], Rows] = Rows) -> Store:
        """A store on the file or database; on a database there may be several at once, as several nodes have."""
        if self.database is not None:
            return self.database.store(self.cipher, rows)
        migrate(folder / "broker.db")
        return SqliteStore(folder / "broker.db", self.cipher, rows)

    async def admit(self) -> None:
        """All three units, as the operator admits them."""
        for unit in self.units.values():
            entry = self.entry_of(unit)
            row = UnitRow(
                unit=unit.code,
                agency=entry.agency,
                controller=entry.controller,
                certificate=os.urandom(32),
                entry=entry.to_bytes(),
                agency_signature=self._agency.sign(entry.to_bytes()),
                signing_key=unit.keys.public.signing,
                hpke_key=unit.keys.public.hpke,
                instance=0,
                admitted_at_us=START,
                revoked_at_us=None,
            )
            await self.store.write(lambda rows, row=row: rows.units.put(row))
        self.context.directory.replace(await self.store.read(lambda rows: rows.units.all()))

    def entry_of(self, unit: Unit) -> UnitEntry:
        return UnitEntry(
            unit=unit.code,
            agency=unit.code.rsplit("/", 1)[0],
            controller=unit.code.rsplit("/", 1)[0],
            roles=(unit.role,),
            signing_key=unit.keys.public.signing,
            hpke_key=unit.keys.public.hpke,
            valid_from_us=START - DAY,
            valid_until_us=START + 365 * DAY,
        )

    def trusted(self) -> TrustedDirectory:
        entries = {unit.code: self.entry_of(unit) for unit in self.units.values()}
        return TrustedDirectory({code: (entry,) for code, entry in entries.items()}, 0)

    async def open_case(self) -> SeatAnswer:
        lead = self.lead
        lead.member = os.urandom(16)
        signed = membership.open_statement(
            case_tag=os.urandom(16), member=lead.member, role=LEAD, keys=lead.seat,
            not_before_us=START - DAY, not_after_us=START + 90 * DAY,
        )  # fmt: skip
        lead.members = CaseMembers.pinned(signed, hashlib.sha256(signed.statement).digest())
        answer = await cases.open_case(
            self.context, lead.code, OpenRequest(call_id=os.urandom(16), unit_role=LEAD, statement=signed)
        )
        lead.seat_id = answer.seat_id
        return answer

    async def grant(self, unit: Unit, refs: list[RecipientRef], categories: list[str], purposes: list[str],
                    *, days: int = 30, until_us: int | None = None, actions: tuple[str, ...] = ("DISCLOSE",),
                    ) -> bytes:  # fmt: skip
        """One grant of a unit's seat; returns its consent id."""
        consent_id = self.new_id()
        now = self.clock()
        until_us = until_us or now + days * DAY
        terms = terms_of(refs, categories, purposes, actions, now, until_us)
        await self.act(unit, "GRANT", consent_id, terms=terms)
        return consent_id

    async def act(
        self,
        unit: Unit,
        act: str,
        consent_id: bytes,
        *,
        terms: Terms | None = None,
        scope: Scope | None = None,
        effective_at_us: int | None = None,
        call_id: bytes | None = None,
        actor_ref: str = "handläggare 1",
    ) -> ConsentsAnswer:
        body = unit.consent_act(
            act,
            consent_id,
            self.clock(),
            terms=terms,
            scope=scope,
            effective_at_us=effective_at_us,
            actor_ref=actor_ref,
        )
        request = unit.consents_request(body, call_id)
        answer = await acts.consents(self.context, unit.code, request)
        unit.head = answer.head
        unit.consents[consent_id] = unit.consents.get(consent_id, -1) + 1
        return answer

    async def withdraw_case(self, unit: Unit, *, effective_at_us: int | None = None) -> ConsentsAnswer:
        request = unit.consents_request(unit.withdrawal(self.clock(), effective_at_us))
        answer = await acts.consents(self.context, unit.code, request)
        unit.head = answer.head
        return answer

    async def invite(self, unit: Unit, **plan: Any) -> Receipt:
        """The lead invites a unit; a grant to the unit must be there."""
        lead = self.lead
        assert lead.members is not None
        opened = await self.store.read(
            lambda rows: rows.cases.statements(rows.cases.seat(lead.seat_id).case_id, lead.member)  # type: ignore[union-attr]
        )
        sections = projection.split(
            "seat_invited",
            {"person_name": "Tolvan Tolvansson", "inviter_contact": "Konsult EXEMPEL", "lead_statements": opened},
        )
        sealed = self.sealed(lead, "seat_invited", sections, (unit.role,), "INTAKE", **plan)
        invitation_id = os.urandom(16)
        signed = inviting.invite(
            sealed=sealed, invitation_id=invitation_id, members=lead.members, inviter=lead.member,
            inviter_unit=lead.code, unit=unit.code, created_at_us=self.clock(),
            expires_at_us=self.clock.us + DAY, seat=lead.seat, keys=lead.keys,
        )  # fmt: skip
        given = {unit.role: sealing.Given(unit.keys.public, frozenset(sections))}
        request = InviteRequest(
            call_id=os.urandom(16),
            seat_id=lead.seat_id,
            invitation=signed.invitation,
            seat_signature=signed.seat_signature,
            unit_signature=signed.unit_signature,
            submission=sealing.attempt(sealed, 1, self.rules.hash32, None, given),
        )
        answer = await invitations.invite(self.context, lead.code, request)
        self._invitation = signed.invitation
        return answer.receipt

    async def join(self, unit: Unit) -> None:
        """Fetch the invitation, accept, let the lead vouch, take the statements."""
        item = next(i for i in await self.fetch(unit) if i.kind == "INVITATION")
        await self.ack(unit, item.item_id)
        await self.join_with(unit, item)

    async def join_with(
        self, unit: Unit, item: InboxItem, between: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Accept an invitation that was fetched, and let the lead vouch."""
        invited = inviting.open_invitation(
            InvitationDelivery.from_bytes(item.body, 1 << 20),
            unit=unit.code,
            keys={unit.keys.key_id: unit.keys},
            directory=self.trusted(),
            may_send=lambda *_: True,
            now_us=self.clock(),
        )
        unit.member = os.urandom(16)
        acceptance, signature = inviting.accept(invited, member=unit.member, seat=unit.seat.public, keys=unit.keys)
        answer = await cases.accept(
            self.context,
            unit.code,
            AcceptRequest(
                call_id=os.urandom(16),
                invitation_id=invited.invitation.invitation_id,
                acceptance=acceptance,
                unit_signature=signature,
                hpke_key=unit.seat.public.hpke,
            ),
        )
        unit.seat_id = answer.seat_id
        notice = next(StatementNotice.from_bytes(i.body) for i in await self.fetch(self.lead) if i.kind == "STATEMENT")
        assert notice.acceptance is not None
        assert notice.unit_signature is not None
        assert notice.hpke_key is not None
        assert self.lead.members is not None
        accepted = inviting.checked_acceptance(
            notice.acceptance, notice.unit_signature, notice.hpke_key,
            invitation=self._invitation, directory=self.trusted(), now_us=self.clock(),
        )  # fmt: skip
        joined = membership.join_statement(
            members=self.lead.members, lead=self.lead.seat, acceptance=accepted, hpke_key=notice.hpke_key,
            not_before_us=START - DAY, not_after_us=START + 90 * DAY,
        )  # fmt: skip
        if between:
            await between()
        await cases.state(
            self.context,
            self.lead.code,
            StateRequest(call_id=os.urandom(16), seat_id=self.lead.seat_id, statement=joined),
        )
        self.lead.members = self.lead.members.applied(joined)
        unit.members = inviting.own_join(invited.members, joined, accepted)
        await self.take_statements(unit)

    async def whole_case(self) -> None:
        """A case in which all three hold a seat; intake grants only."""
        await self.admit()
        await self.open_case()
        for unit in (self.police, self.probation):
            await self.grant(self.lead, [to_unit(unit.code)], ["IC01", "IC12"], ["INTAKE"])
            await self.invite(unit)
            await self.join(unit)

    async def take_statements(self, unit: Unit) -> None:
        for item in await self.fetch(unit):
            if item.kind == "STATEMENT":
                for signed in StatementNotice.from_bytes(item.body).statements:
                    assert unit.members is not None
                    unit.members = unit.members.applied(signed)
            await self.ack(unit, item.item_id)

    def sealed(
        self, unit: Unit, event_type: str, sections: Mapping[str, bytes], roles: tuple[str, ...], purpose: str,
        *, released: frozenset[str] = frozenset(), valid_until_us: int | None = None, event_id: bytes | None = None,
        action: str = "DISCLOSE",
        persons: Mapping[str, tuple[int, ...]] | None = None,
        periods: Mapping[str, tuple[int | None, int | None]] | None = None,
    ) -> sealing.SealedEvent:  # fmt: skip
        assert unit.members is not None
        plan = sealing.SealPlan(
            case_tag=unit.members.case_tag,
            seat_id=unit.seat_id or ZERO16,
            event_id=event_id or self.new_id(),
            event_type=event_type,
            occurred_at_us=self.clock.us,
            sent_at_us=self.clock.us,
            valid_until_us=valid_until_us,
            purpose=purpose,
            action=action,
            statement_kind="FACT",
            roles=roles,
            sections=sections,
            public_interest_released=released,
            is_minor=False,
            protected_handling=False,
            regime="GDPR",
            persons=persons or {},
            periods=periods or {},
        )
        return sealing.seal_event(plan, unit.seat, os.urandom)

    async def submit(
        self,
        unit: Unit,
        sealed: sealing.SealedEvent,
        *,
        number: int = 1,
        give: frozenset[str] | None = None,
        deadline_at_us: int | None = None,
        keys: Mapping[str, PublicKeys] | None = None,
    ) -> SubmitAnswer:
        """One attempt in a bundle of its own; gives every section to every role unless told otherwise."""
        everything = frozenset(section.category for section in sealed.sections)
        given = {
            role.role: sealing.Given(
                (keys or {}).get(role.role) or self.units[role.role].seat.public, everything if give is None else give
            )
            for role in sealed.roles
        }
        attempt = sealing.attempt(sealed, number, self.rules.hash32, deadline_at_us, given)
        request = sealing.bundle([attempt], origin=ORIGIN, unit=unit.code, bundle_id=os.urandom(16), keys=unit.keys)
        return await submit.submit(self.context, unit.code, request)

    async def decide(self) -> int:
        """Decide everything that waits."""
        total = 0
        for bucket in await self.context.stream.waiting():
            while True:
                try:
                    done = await pipeline.decide_next(self.context, bucket)
                except GateMoved:
                    continue
                if not done:
                    break
                total += done
        return total

    async def fetch(self, unit: Unit) -> list[InboxItem]:
        answer = await handover.fetch(self.context, unit.code, FetchRequest(limit=100))
        unit.items.extend(answer.items)
        for item in answer.items:
            if item.kind == "RECEIPT":
                unit.receipts.append(Receipt.from_bytes(item.body))
            elif item.kind == "DELIVERY":
                unit.deliveries.append(Delivery.from_bytes(item.body, 1 << 20))
        return list(answer.items)

    async def ack(self, unit: Unit, item_id: bytes, verdict: str = "ACK", code: str | None = None) -> AckAnswer:
        request = AckRequest(acks=(Ack(item_id=item_id, hand_number=1, verdict=verdict, code=code),))
        return await acks.ack(self.context, unit.code, request)

    def open(self, unit: Unit, delivery: Delivery) -> opening.OpenedEvent:
        """Open a delivery as the recipient's connector does."""
        return unit.opening_of(delivery, self.clock())

    async def ledger_of(self, unit: Unit) -> list[LedgerEvent]:
        raw = await self.store.read(lambda rows: rows.ledger.after(unit.seat_id, 0))
        return [LedgerEvent.from_bytes(event) for event in raw]

    def new_id(self) -> bytes:
        return uuid7(self.clock(), os.urandom(10))

    def close(self) -> None:
        if self in Site.left_open:
            Site.left_open.remove(self)
        self.store.close()
        self.vault.close()

    @classmethod
    def close_all(cls) -> None:
        """Every site that a test made and did not close, because it failed."""
        for site in list(cls.left_open):
            site.close()


__all__ = ["DAY", "LEAD", "ORIGIN", "POLICE", "PROBATION", "START", "UNITS", "Clock", "Site", "Store", "Unit",
           "assessment", "to_role", "to_unit"]  # fmt: skip
