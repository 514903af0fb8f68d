"""The port between the gateway and the broker's core: what every /v1 call needs, and nothing of HTTP."""

from __future__ import annotations

from typing import Protocol

from schemas.admin import AdminActsAnswer
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
from schemas.statute import ApprovalRequest, RecordedAnswer, SecondRequest, StatuteAnswer, StatuteRequest
from schemas.trust_calls import TrustAnswer, TrustRequest


class Core(Protocol):
    """The broker behind the gateway. Every method raises HandslagError; `unit` is the authenticated unit code."""

    async def submit(self, unit: str, request: SubmitRequest) -> SubmitAnswer:
        """POST /v1/submissions."""
        ...

    async def fetch(self, unit: str, request: FetchRequest) -> FetchAnswer:
        """POST /v1/inbox:fetch."""
        ...

    async def ack(self, unit: str, request: AckRequest) -> AckAnswer:
        """POST /v1/inbox:ack."""
        ...

    async def consents(self, unit: str, request: ConsentsRequest) -> ConsentsAnswer:
        """POST /v1/consents; answers after commit."""
        ...

    async def record_disclosure(self, unit: str, request: DisclosureRequest) -> DisclosureAnswer:
        """POST /v1/disclosures:record: what was said, whatever the consents say about it."""
        ...

    async def approve_provision(self, unit: str, request: ApprovalRequest) -> RecordedAnswer:
        """POST /v1/provisions:approve: an agency's lawyer has approved a provision."""
        ...

    async def disclose(self, unit: str, request: StatuteRequest) -> StatuteAnswer:
        """POST /v1/disclosures:statutory: one disclosure that people decided without consent, to one role."""
        ...

    async def confirm_disclosure(self, unit: str, request: SecondRequest) -> RecordedAnswer:
        """POST /v1/disclosures:confirm: a second person's word about a disclosure in acute danger."""
        ...

    async def annulments(self, unit: str, request: AnnulmentsRequest) -> AnnulmentsPage:
        """POST /v1/annulments:list: every release under an annulled consent, with its recipient's answer."""
        ...

    async def annul_answer(self, unit: str, request: AnnulAnswerRequest) -> AnnulAnswer:
        """POST /v1/annulments:answer: what a recipient did with what an annulled consent released."""
        ...

    async def open_case(self, unit: str, request: OpenRequest) -> SeatAnswer:
        """POST /v1/cases:open."""
        ...

    async def join_cases(self, unit: str, request: JoinRequest) -> JoinAnswer:
        """POST /v1/cases:join: two cases that the unit sits in are one person's."""
        ...

    async def separate_cases(self, unit: str, request: SeparateRequest) -> SeparateAnswer:
        """POST /v1/cases:separate: two cases that the unit joined are two persons'."""
        ...

    async def invite(self, unit: str, request: InviteRequest) -> InviteAnswer:
        """POST /v1/seats:invite."""
        ...

    async def accept(self, unit: str, request: AcceptRequest) -> SeatAnswer:
        """POST /v1/seats:accept."""
        ...

    async def state(self, unit: str, request: StateRequest) -> SeatAnswer:
        """POST /v1/seats:state."""
        ...

    async def close(self, unit: str, request: CloseRequest) -> SeatAnswer:
        """POST /v1/seats:close."""
        ...

    async def lost_seats(self, unit: str, request: LostSeatsRequest) -> LostSeatsAnswer:
        """POST /v1/seats:lost: the unit's active seats, for a connector that lost them."""
        ...

    async def rekey(self, unit: str, request: RekeyRequest) -> SeatAnswer:
        """POST /v1/seats:rekey: a lost seat asks two others to vouch for new keys."""
        ...

    async def look(self, unit: str, request: LookRequest) -> LookAnswer:
        """POST /v1/capsules:look."""
        ...

    async def correct(self, unit: str, request: CorrectRequest) -> CorrectAnswer:
        """POST /v1/corrections."""
        ...

    async def recipient(self, unit: str, request: RecipientRequest) -> RecipientAnswer:
        """POST /v1/recipients:name."""
        ...

    async def pass_on(self, unit: str, request: PassRequest) -> SeatAnswer:
        """POST /v1/seats:pass."""
        ...

    async def destroyed(self, unit: str, request: DestroyedRequest) -> SeatAnswer:
        """POST /v1/seats:destroyed."""
        ...

    async def announce(self, unit: str, request: InstanceRequest) -> InstanceAnswer:
        """POST /v1/instances: a restored connector takes its number."""
        ...

    async def compromised(self, unit: str, request: CompromisedRequest) -> CompromisedAnswer:
        """POST /v1/compromised: the unit is closed by its own word."""
        ...

    async def explain(self, unit: str, request: ExplainRequest) -> ExplainAnswer:
        """POST /v1/decisions:explain."""
        ...

    async def simulate(self, unit: str, request: SimulateRequest) -> SimulateAnswer:
        """POST /v1/decisions:simulate."""
        ...

    async def ledger_fetch(self, unit: str, request: LedgerFetchRequest) -> LedgerPage:
        """POST /v1/ledger:fetch."""
        ...

    async def audit_fetch(self, unit: str, request: AuditFetchRequest) -> AuditPage:
        """POST /v1/audit:fetch."""
        ...

    async def proofs(self, unit: str, request: ProofsRequest) -> ProofsAnswer:
        """POST /v1/proofs."""
        ...

    async def trust(self, unit: str, request: TrustRequest) -> TrustAnswer:
        """POST /v1/trust; carries the agencies' signatures under the trust list and vouches for none."""
        ...

    async def acts(self, after: int) -> AdminActsAnswer:
        """GET /v1/acts/N: the operator's acts after number N, the same for everybody."""
        ...

    async def hold(self) -> HoldAnswer:
        """GET /v1/hold."""
        ...

    async def replay(self, unit: str, request: ReplayRequest) -> HoldSeatAnswer:
        """POST /v1/hold:replay."""
        ...

    async def hold_acts(self, unit: str, request: HoldActsRequest) -> HoldActsAnswer:
        """POST /v1/hold:acts."""
        ...

    async def confirm(self, unit: str, request: ConfirmRequest) -> HoldSeatAnswer:
        """POST /v1/hold:confirm."""
        ...

    async def units(self) -> UnitsAnswer:
        """GET /v1/units: the whole directory, the same for everybody."""
        ...

    async def rules_state(self, unit: str, request: RulesStateRequest) -> RulesStateAnswer:
        """POST /v1/rules:state: records the unit's approvals that are new, and tells where its rules stand."""
        ...

    async def rules(self) -> bytes:
        """GET /v1/rules: the rule file as it lies on the disk (TOML)."""
        ...

    async def checkpoint(self) -> str:
        """GET /v1/checkpoint: the newest signed note."""
        ...

    async def tile(self, level: int, n: int, width: int) -> bytes:
        """GET /v1/tile/*: `width` (1-256) hashes of 32 bytes; raises `HS-TILE-UNKNOWN` where there is none."""
        ...

    async def readiness(self) -> tuple[str, ...]:
        """Codes of what stands in the way of service; empty when ready."""
        ...

    async def seen(self, unit: str, instance: int, note: str | None) -> None:
        """Compare the connector's instance number and newest checkpoint with the broker's own.

        Raises `HS-INSTANCE-OLD`, `HS-INSTANCE-NEW`, `HS-BROKER-BEHIND` or `HS-CHECKPOINT-INVALID`.
        """
        ...

    async def refused(self, unit: str, code: str) -> None:
        """Record that a call of an authenticated unit was refused with a code that will not go away by itself."""
        ...

    async def contacted(self, unit: str, version: str | None, clock_us: int | None) -> None:
        """A connector called; its version and clock (microseconds UTC) as it told them, None where it did not."""
        ...

    async def unit_of(self, cert_sha256: bytes) -> str | None:
        """The admitted, not revoked unit whose client certificate (DER) has this SHA-256, or None."""
        ...
