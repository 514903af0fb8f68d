"""The broker behind the gateway: one method per call, each handed to the verb that answers it."""

from __future__ import annotations

import asyncio

from broker import acks, acts, cases, handover, invitations, queries, submit
from broker.admissions import Admission
from broker.context import Context
from broker.sealer import Sealer
from broker.store.port import Rows
from broker.store.units import UnitRow
from broker.trail import Trail, Witnessed
from schemas import limits
from schemas.calls import (
    AcceptRequest,
    AckAnswer,
    AckRequest,
    AuditFetchRequest,
    AuditPage,
    CloseRequest,
    ConsentsAnswer,
    ConsentsRequest,
    FetchAnswer,
    FetchRequest,
    InviteAnswer,
    InviteRequest,
    LeafProof,
    LedgerFetchRequest,
    LedgerPage,
    OpenRequest,
    ProofsAnswer,
    ProofsRequest,
    SeatAnswer,
    StateRequest,
    SubmitAnswer,
    SubmitRequest,
    UnitsAnswer,
)
from schemas.errors import HandslagError
from schemas.statements import UnitEntry
from schemas.trail import Payload

_ANSWER_S = 0.9  # a consent call is repeated inside until then, and after it answered "not yet recorded, repeat"


class BrokerCore:
    """Implements the gateway's port."""

    def __init__(self, context: Context, sealer: Sealer, trail: Trail, witnessed: Witnessed) -> None:
        self._context = context
        self._sealer = sealer
        self._trail = trail
        self._witnessed = witnessed

    async def submit(self, unit: str, request: SubmitRequest) -> SubmitAnswer:
        """POST /v1/submissions."""
        return await submit.submit(self._context, unit, request)

    async def fetch(self, unit: str, request: FetchRequest) -> FetchAnswer:
        """POST /v1/inbox:fetch; a broker that is behind what a connector has seen hands over nothing."""
        reasons = await self.readiness()
        if reasons:
            raise HandslagError(reasons[0])
        return await handover.fetch(self._context, unit, request)

    async def ack(self, unit: str, request: AckRequest) -> AckAnswer:
        """POST /v1/inbox:ack."""
        return await acks.ack(self._context, unit, request)

    async def consents(self, unit: str, request: ConsentsRequest) -> ConsentsAnswer:
        """POST /v1/consents; answers after commit, or `HS-NOT-RECORDED` after 900 ms.

        A broker that is behind what a connector has seen takes what narrows and nothing that widens.
        """
        if acts.widens(request) and (reasons := await self.readiness()):
            raise HandslagError(reasons[0])

        async def repeated() -> ConsentsAnswer:
            while True:
                try:
                    return await acts.consents(self._context, unit, request)
                except HandslagError as error:
                    if error.code != "HS-NOT-RECORDED":
                        raise
                await asyncio.sleep(0.02)

        async def bounded() -> ConsentsAnswer:
            try:
                return await asyncio.wait_for(repeated(), _ANSWER_S)
            except TimeoutError:
                raise HandslagError("HS-NOT-RECORDED") from None

        return await bounded()

    async def open_case(self, unit: str, request: OpenRequest) -> SeatAnswer:
        """POST /v1/cases:open."""
        return await cases.open_case(self._context, unit, request)

    async def invite(self, unit: str, request: InviteRequest) -> InviteAnswer:
        """POST /v1/seats:invite."""
        return await invitations.invite(self._context, unit, request)

    async def accept(self, unit: str, request: AcceptRequest) -> SeatAnswer:
        """POST /v1/seats:accept."""
        return await cases.accept(self._context, unit, request)

    async def state(self, unit: str, request: StateRequest) -> SeatAnswer:
        """POST /v1/seats:state."""
        return await cases.state(self._context, unit, request)

    async def close(self, unit: str, request: CloseRequest) -> SeatAnswer:
        """POST /v1/seats:close."""
        return await cases.close(self._context, unit, request)

    async def ledger_fetch(self, unit: str, request: LedgerFetchRequest) -> LedgerPage:
        """POST /v1/ledger:fetch."""
        return await queries.ledger_fetch(self._context, unit, request)

    async def audit_fetch(self, unit: str, request: AuditFetchRequest) -> AuditPage:
        """POST /v1/audit:fetch."""
        return await queries.audit_fetch(self._context, unit, request)

    async def proofs(self, unit: str, request: ProofsRequest) -> ProofsAnswer:
        """POST /v1/proofs; a leaf is named by its hash, which only who was told it knows."""
        _ = unit
        if len(request.leaf_hashes) > limits.PROOFS:
            raise HandslagError("HS-TOO-LARGE", limit=limits.PROOFS)
        found = await self._trail.proofs(request.leaf_hashes)
        return ProofsAnswer(proofs=tuple(LeafProof(leaf_hash=leaf, proof=proof) for leaf, proof in found))

    async def units(self) -> UnitsAnswer:
        """GET /v1/units."""
        return queries.units(self._context)

    async def rules(self) -> bytes:
        """GET /v1/rules."""
        return self._context.rules_file

    async def checkpoint(self) -> str:
        """GET /v1/checkpoint."""
        return await self._trail.checkpoint_note()

    async def tile(self, level: int, n: int, width: int) -> bytes:
        """GET /v1/tile/*."""
        return await self._trail.tile_bytes(level, n, width)

    async def readiness(self) -> tuple[str, ...]:
        """Codes of what stands in the way of service; empty when ready."""
        if self._witnessed.reason is not None:
            return (self._witnessed.reason,)
        return ("HS-BROKER-BEHIND",) if self._sealer.behind else ()

    async def seen(self, unit: str, instance: int, note: str | None) -> None:
        """Compare the connector's instance number and newest checkpoint with the broker's own."""
        row = self._context.directory.get(unit)
        if instance < row.instance:
            raise HandslagError("HS-INSTANCE-OLD")
        if instance > row.instance:
            await self._context.store.write(lambda rows: rows.units.raise_instance(unit, instance))
            await self.reload_units()
        if note is not None:
            await self._witnessed.check_seen(note)

    async def unit_of(self, cert_sha256: bytes) -> str | None:
        """The admitted unit of a client certificate."""
        return self._context.directory.unit_of(cert_sha256)

    async def admit(self, admission: Admission) -> None:
        """Take a unit into the store, or shut a revoked one out; an entry of the operator records it."""
        entry = UnitEntry.from_bytes(admission.entry)
        known = {row.unit: row for row in await self._context.store.read(lambda rows: rows.units.all())}
        before = known.get(admission.unit)
        if admission.revoked_at_us is not None:
            if before:
                await self.revoke(admission.unit)
            return
        if before and before.certificate == admission.certificate_sha256:
            return
        at_us = self._context.now_us()
        row = UnitRow(
            unit=entry.unit,
            agency=entry.agency,
            controller=entry.controller,
            certificate=admission.certificate_sha256,
            entry=admission.entry,
            agency_signature=admission.signature,
            signing_key=entry.signing_key,
            hpke_key=entry.hpke_key,
            instance=before.instance if before else 0,
            admitted_at_us=at_us,
            revoked_at_us=None,
        )
        recorded = self._context.recorder.about_unit(
            entry.unit,
            entry.controller,
            "ADMIN",
            Payload(act=admission.entry, act_signature=admission.signature),
            at_us,
        )

        def work(rows: Rows) -> None:
            rows.units.put(row)
            rows.entries.insert([recorded])

        await self._context.store.write(work)
        await self.reload_units()

    async def revoke(self, unit: str) -> bool:
        """Shut a unit out from now on; returns whether it was admitted. An entry of the operator records it."""
        at_us = self._context.now_us()
        controller = self._context.directory.controller(unit)
        recorded = self._context.recorder.about_unit(unit, controller, "ADMIN", Payload(code="HS-UNIT-UNKNOWN"), at_us)

        def work(rows: Rows) -> bool:
            revoked = rows.units.revoke(unit, at_us)
            if revoked:
                rows.entries.insert([recorded])
            return revoked

        done = await self._context.store.write(work)
        await self.reload_units()
        return done

    async def reload_units(self) -> None:
        """Take over the units as they stand in the store."""
        self._context.directory.replace(await self._context.store.read(lambda rows: rows.units.all()))

    async def refused(self, unit: str, code: str) -> None:
        """A refusal after authentication is itself an entry."""
        controller = self._context.directory.controller(unit)
        entry = self._context.recorder.about_unit(
            unit, controller, "REFUSAL", Payload(code=code), self._context.now_us()
        )
        await self._context.store.write(lambda rows: rows.entries.insert([entry]))
