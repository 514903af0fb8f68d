"""The broker behind the gateway: one method per call, each handed to the verb that answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from audit.continuation import origin_of
from broker import (
    acks,
    acts,
    acute,
    administration,
    annulments,
    cases,
    corrections,
    entering,
    explaining,
    foreseeing,
    handover,
    instances,
    invitations,
    joins,
    queries,
    recipients,
    rekey,
    replay,
    rotation,
    ruling,
    said,
    statute,
    submit,
    succession,
)
from broker.admissions import Admission
from broker.context import Context
from broker.hold import WITNESS, Keeper, Seen
from broker.room import ordinary
from broker.sealer import Sealer
from broker.trail import Trail, Witnessed
from broker.trustdesk import TrustDesk
from schemas import limits
from schemas.admin import AdminActsAnswer, SignedAdminAct
from schemas.calls import (
    AcceptRequest,
    AckAnswer,
    AckRequest,
    AuditFetchRequest,
    AuditPage,
    CloseRequest,
    ConsentsAnswer,
    ConsentsRequest,
    DestroyedRequest,
    FetchAnswer,
    FetchRequest,
    InviteAnswer,
    InviteRequest,
    LeafProof,
    LedgerFetchRequest,
    LedgerPage,
    OpenRequest,
    PassRequest,
    ProofsAnswer,
    ProofsRequest,
    RecipientAnswer,
    RecipientRequest,
    SeatAnswer,
    StateRequest,
    SubmitAnswer,
    SubmitRequest,
    UnitsAnswer,
)
from schemas.capsule import LookAnswer, LookRequest
from schemas.errors import HandslagError
from schemas.explain import ExplainAnswer, ExplainRequest, SimulateAnswer, SimulateRequest
from schemas.hold import ConfirmRequest, HoldActsAnswer, HoldActsRequest, HoldAnswer, HoldSeatAnswer, ReplayRequest
from schemas.instances import CompromisedAnswer, CompromisedRequest, InstanceAnswer, InstanceRequest
from schemas.joins import JoinAnswer, JoinRequest, SeparateAnswer, SeparateRequest
from schemas.rekey import LostSeatsAnswer, LostSeatsRequest, RekeyRequest
from schemas.rules import RulesStateAnswer, RulesStateRequest
from schemas.said import (
    AnnulAnswer,
    AnnulAnswerRequest,
    AnnulmentsPage,
    AnnulmentsRequest,
    CorrectAnswer,
    CorrectRequest,
    DisclosureAnswer,
    DisclosureRequest,
)
from schemas.statements import MemberStatement
from schemas.statute import ApprovalRequest, RecordedAnswer, SecondRequest, StatuteAnswer, StatuteRequest
from schemas.trail import Payload
from schemas.trust_calls import TrustAnswer, TrustRequest


class BrokerCore:
    """Implements the gateway's port."""

    def __init__(
        self, context: Context, sealer: Sealer, trail: Trail, witnessed: Witnessed, desk: TrustDesk | None = None
    ) -> None:
        self._desk = desk
        self._context = context
        self._sealer = sealer
        self._trail = trail
        self._witnessed = witnessed
        self._shown = instances.Shown(context.store)
        self.acts_seen = 0  # of the operator's own acts, how many a connector says it was shown
        self.keeper = Keeper(context)
        # Of several nodes: this one's memory becomes the store's, and its folder's files everybody's.
        self.current: Callable[[], Awaitable[None]] | None = None
        self.carry: Callable[[], Awaitable[None]] | None = None
        self.acts_back: Callable[[HoldActsRequest], Awaitable[HoldActsAnswer]] | None = None  # a node's, with its files

    async def submit(self, unit: str, request: SubmitRequest) -> SubmitAnswer:
        """POST /v1/submissions."""
        return await submit.submit(self._context, unit, request)

    async def fetch(self, unit: str, request: FetchRequest) -> FetchAnswer:
        """POST /v1/inbox:fetch; in HOLD nothing at first, and then nothing of the seats that are still held."""
        self._require_going_on()
        return await handover.fetch(self._context, unit, request)

    async def ack(self, unit: str, request: AckRequest) -> AckAnswer:
        """POST /v1/inbox:ack."""
        return await acks.ack(self._context, unit, request)

    async def consents(self, unit: str, request: ConsentsRequest) -> ConsentsAnswer:
        """POST /v1/consents; answers after commit, or `HS-NOT-RECORDED` after 900 ms.

        In HOLD it takes what narrows and nothing that widens.
        """
        if acts.widens(request):
            self._require_going_on()
            ordinary(self._context)
        return await acts.in_time(self._context, unit, request)

    async def acts(self, after: int) -> AdminActsAnswer:
        """GET /v1/acts/N."""
        self.acts_seen = max(self.acts_seen, after)
        return await administration.acts(self._context, after)

    async def record_acts(self, signed: Sequence[SignedAdminAct]) -> int:
        """Record the operator's acts that the trail has not yet; returns how many were new."""
        if self.carry is not None:
            await self.carry()  # before it is recorded: another node must be able to read what it is
        return await administration.recorded(self._context, signed)

    async def record_disclosure(self, unit: str, request: DisclosureRequest) -> DisclosureAnswer:
        """POST /v1/disclosures:record."""
        return await said.record(self._context, unit, request)

    async def approve_provision(self, unit: str, request: ApprovalRequest) -> RecordedAnswer:
        """POST /v1/provisions:approve."""
        ordinary(self._context)
        return await statute.approve(self._context, unit, request)

    async def disclose(self, unit: str, request: StatuteRequest) -> StatuteAnswer:
        """POST /v1/disclosures:statutory; room is kept for it as for everything that concerns acute danger."""
        self._require_going_on()
        return await statute.disclose(self._context, unit, request)

    async def confirm_disclosure(self, unit: str, request: SecondRequest) -> RecordedAnswer:
        """POST /v1/disclosures:confirm."""
        return await acute.confirm(self._context, unit, request)

    async def annulments(self, unit: str, request: AnnulmentsRequest) -> AnnulmentsPage:
        """POST /v1/annulments:list."""
        return await annulments.listed(self._context, unit, request)

    async def annul_answer(self, unit: str, request: AnnulAnswerRequest) -> AnnulAnswer:
        """POST /v1/annulments:answer."""
        return await annulments.answer(self._context, unit, request)

    async def open_case(self, unit: str, request: OpenRequest) -> SeatAnswer:
        """POST /v1/cases:open."""
        self._require_going_on()
        ordinary(self._context)
        return await cases.open_case(self._context, unit, request)

    async def join_cases(self, unit: str, request: JoinRequest) -> JoinAnswer:
        """POST /v1/cases:join."""
        ordinary(self._context)
        return await joins.join(self._context, unit, request)

    async def separate_cases(self, unit: str, request: SeparateRequest) -> SeparateAnswer:
        """POST /v1/cases:separate."""
        return await joins.separate(self._context, unit, request)

    async def invite(self, unit: str, request: InviteRequest) -> InviteAnswer:
        """POST /v1/seats:invite."""
        self._require_going_on()
        ordinary(self._context)
        return await invitations.invite(self._context, unit, request)

    async def accept(self, unit: str, request: AcceptRequest) -> SeatAnswer:
        """POST /v1/seats:accept."""
        self._require_going_on()
        ordinary(self._context)
        return await cases.accept(self._context, unit, request)

    async def state(self, unit: str, request: StateRequest) -> SeatAnswer:
        """POST /v1/seats:state; a removal is taken also in HOLD."""
        if MemberStatement.from_bytes(request.statement.statement).kind != "REMOVE":
            self._require_going_on()
        return await rekey.state(self._context, unit, request)

    async def close(self, unit: str, request: CloseRequest) -> SeatAnswer:
        """POST /v1/seats:close."""
        return await cases.close(self._context, unit, request)

    async def lost_seats(self, unit: str, request: LostSeatsRequest) -> LostSeatsAnswer:
        """POST /v1/seats:lost."""
        return await rekey.lost(self._context, unit, request)

    async def rekey(self, unit: str, request: RekeyRequest) -> SeatAnswer:
        """POST /v1/seats:rekey."""
        self._require_going_on()
        return await rekey.asked(self._context, unit, request)

    async def destroyed(self, unit: str, request: DestroyedRequest) -> SeatAnswer:
        """POST /v1/seats:destroyed."""
        return await rotation.destroyed(self._context, unit, request)

    async def correct(self, unit: str, request: CorrectRequest) -> CorrectAnswer:
        """POST /v1/corrections."""
        return await corrections.correct(self._context, unit, request)

    async def recipient(self, unit: str, request: RecipientRequest) -> RecipientAnswer:
        """POST /v1/recipients:name."""
        ordinary(self._context)
        return await recipients.name(self._context, unit, request)

    async def pass_on(self, unit: str, request: PassRequest) -> SeatAnswer:
        """POST /v1/seats:pass."""
        ordinary(self._context)
        return await succession.pass_on(self._context, unit, request)

    async def look(self, unit: str, request: LookRequest) -> LookAnswer:
        """POST /v1/capsules:look."""
        return await queries.look(self._context, unit, request)

    async def ledger_fetch(self, unit: str, request: LedgerFetchRequest) -> LedgerPage:
        """POST /v1/ledger:fetch."""
        return await queries.ledger_fetch(self._context, unit, request)

    async def explain(self, unit: str, request: ExplainRequest) -> ExplainAnswer:
        """POST /v1/decisions:explain."""
        ordinary(self._context)
        return await explaining.explain(self._context, unit, request)

    async def simulate(self, unit: str, request: SimulateRequest) -> SimulateAnswer:
        """POST /v1/decisions:simulate."""
        ordinary(self._context)
        return await foreseeing.simulate(self._context, unit, request)

    async def audit_fetch(self, unit: str, request: AuditFetchRequest) -> AuditPage:
        """POST /v1/audit:fetch."""
        ordinary(self._context)
        return await queries.audit_fetch(self._context, unit, request)

    async def proofs(self, unit: str, request: ProofsRequest) -> ProofsAnswer:
        """POST /v1/proofs; a leaf is named by its hash, which only who was told it knows."""
        _ = unit
        if len(request.leaf_hashes) > limits.PROOFS:
            raise HandslagError("HS-TOO-LARGE", limit=limits.PROOFS)
        found = await self._trail.proofs(request.leaf_hashes)
        return ProofsAnswer(proofs=tuple(LeafProof(leaf_hash=leaf, proof=proof) for leaf, proof in found))

    async def trust(self, unit: str, request: TrustRequest) -> TrustAnswer:
        """POST /v1/trust; a core without a desk has no admissions to make a list of."""
        if self._desk is None:
            raise HandslagError("HS-CALL-UNKNOWN")
        return await asyncio.to_thread(self._desk.take, unit, request.signature)

    async def units(self) -> UnitsAnswer:
        """GET /v1/units."""
        return queries.units(self._context)

    async def rules(self) -> bytes:
        """GET /v1/rules."""
        return self._context.rules_file

    async def rules_state(self, unit: str, request: RulesStateRequest) -> RulesStateAnswer:
        """POST /v1/rules:state; in HOLD it only tells."""
        if request.approvals:
            self._require_going_on()
            ordinary(self._context)
        return await ruling.state(self._context, unit, request)

    async def checkpoint(self) -> str:
        """GET /v1/checkpoint."""
        return await self._trail.checkpoint_note()

    async def tile(self, level: int, n: int, width: int) -> bytes:
        """GET /v1/tile/*."""
        return await self._trail.tile_bytes(level, n, width)

    async def hold(self) -> HoldAnswer:
        """GET /v1/hold: whether any seat is held, and every continuation of the log."""
        return self.keeper.answer()

    async def replay(self, unit: str, request: ReplayRequest) -> HoldSeatAnswer:
        """POST /v1/hold:replay."""
        return await replay.replay(self._context, unit, request)

    async def hold_acts(self, unit: str, request: HoldActsRequest) -> HoldActsAnswer:
        """POST /v1/hold:acts."""
        if not unit or self.acts_back is None:
            raise HandslagError("HS-CALL-UNKNOWN")
        return await self.acts_back(request)

    async def confirm(self, unit: str, request: ConfirmRequest) -> HoldSeatAnswer:
        """POST /v1/hold:confirm."""
        origin = origin_of(self._context.origin, self.keeper.number)
        return await replay.confirm(self._context, self.keeper, origin, unit, request)

    async def begin_hold(self, cause: str, seen: Seen) -> None:
        """Seal no more, then hold every seat; nothing for what the operator has stated meanwhile."""
        # INVARIANT: test_what_was_stated_begins_no_second_hold
        async with self.keeper.turn:
            if seen.number >= self.keeper.number:
                await self._sealer.freeze()
                await self.keeper.begin(cause, seen)

    def _require_going_on(self) -> None:
        """Raise HS-HOLD while the operator has not stated how the log goes on, HS-BROKER-BEHIND for a store behind."""
        self.keeper.require_open()
        if self._sealer.behind:
            raise HandslagError("HS-BROKER-BEHIND")

    async def readiness(self) -> tuple[str, ...]:
        """Codes of what stands in the way of service; empty when ready. In HOLD it is not, to the last seat.

        Raises HandslagError where this node's memory cannot be brought to the store's.
        """
        if self.current is not None:
            await self.current()
        reasons = self._behind()
        if self._context.room is not None and await asyncio.to_thread(self._context.room.look):
            reasons = (*reasons, "HS-DISK-LOW")  # what has reserved room is served all the same
        trouble = self._context.stream.trouble()
        return reasons if trouble is None else (*reasons, trouble)

    def _behind(self) -> tuple[str, ...]:
        if self.keeper.active:
            return ("HS-HOLD",)
        return ("HS-BROKER-BEHIND",) if self._sealer.behind else ()

    async def seen(self, unit: str, instance: int, note: str | None) -> None:
        """Compare the connector's instance number and newest checkpoint with the broker's own."""
        row = self._context.directory.get(unit)
        # INVARIANT: test_only_the_highest_instance_is_served
        if instance < row.instance:
            raise HandslagError("HS-INSTANCE-OLD", instance=row.instance)
        if instance > row.instance:
            if row.instance or instance != 1:  # a number comes from a restore; only the first comes by itself
                raise HandslagError("HS-INSTANCE-NEW", instance=row.instance)
            await self._context.store.write(lambda rows: rows.units.raise_instance(unit, instance))
            await self.reload_units()
        size = await self._check_seen(note) if note is not None else 0
        if not await self._shown.check(unit, size, row.instance):
            raise HandslagError("HS-INSTANCE-OLD", instance=row.instance)

    async def _check_seen(self, note: str) -> int:
        """Compare memories; what shows that this store is behind begins a hold. Raises HS-HOLD then."""
        # INVARIANT: test_a_note_larger_than_the_log_begins_a_hold
        try:
            return await self._witnessed.check_seen(note)
        except HandslagError as error:
            if error.code != "HS-BROKER-BEHIND":
                raise
            if self._witnessed.seen is not None and (not self.keeper.silent or "check" in error.context):
                number, head = self._witnessed.seen
                await self.begin_hold(WITNESS, Seen(number, head, self._witnessed.evidence))
            raise HandslagError("HS-HOLD") from None

    async def contacted(self, unit: str, version: str | None, clock_us: int | None) -> None:
        """A connector called: in memory at once, in the store within a minute (`contacts.keep`)."""
        self._context.contacts.note(unit, self._context.now_us(), version, clock_us)

    async def unit_of(self, cert_sha256: bytes) -> str | None:
        """The admitted unit of a client certificate, as the store has it now; the first step of every call."""
        if self.current is not None:
            await self.current()
        return self._context.directory.unit_of(cert_sha256)

    async def admit_together(self, admissions: Sequence[Admission]) -> None:
        """Take several units in, or none: the directory shows all of them from one moment on."""
        for admission in admissions:
            await entering.require_unstolen(self._context, admission)
        for admission in admissions:
            await self.admit(admission, publish=False)
        await self.reload_units()

    async def admit(self, admission: Admission, *, publish: bool = True) -> None:
        """Take a unit into the store, or shut a revoked one out; an entry of the operator records it.

        Without `publish` the directory in memory stays as it is until `reload_units`.
        """
        if admission.revoked_at_us is not None:
            before, _stolen = await self._context.store.read(lambda rows: entering.known(rows, admission.unit))
            if before and before.revoked_at_us is None:
                await self.revoke(admission.unit)
            return
        if await entering.take_in(self._context, admission):
            self._shown.forget(admission.unit)
            if publish:
                await self.reload_units()

    async def announce(self, unit: str, request: InstanceRequest) -> InstanceAnswer:
        """POST /v1/instances; from its answer on every lower number is refused."""
        answer = await instances.announce(self._context, unit, request)
        self._shown.forget(unit)
        await self.reload_units()
        return answer

    async def compromised(self, unit: str, request: CompromisedRequest) -> CompromisedAnswer:
        """POST /v1/compromised; from its answer on every call of the unit is refused."""
        answer = await instances.compromised(self._context, unit, request)
        await self.reload_units()
        return answer

    async def instances(self) -> dict[str, tuple[int, int]]:
        """(number, microseconds UTC) of the newest restore of every unit that had one, for the operator."""
        return await self._context.store.read(lambda rows: rows.instances.announced())

    async def revoke(self, unit: str) -> bool:
        """Shut a unit out from now on and hold back what is open from it and to it; returns whether it was admitted.

        An entry of the operator records it.
        """
        at_us = self._context.now_us()
        controller = self._context.directory.controller(unit)
        recorded = self._context.recorder.about_unit(unit, controller, "ADMIN", Payload(code="HS-UNIT-UNKNOWN"), at_us)

        held = await instances.shut_out(self._context, unit, recorded)
        await self.reload_units()
        return held is not None

    def forget_shown(self, unit: str) -> None:
        """Another node took another instance of this unit into service."""
        self._shown.forget(unit)

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
