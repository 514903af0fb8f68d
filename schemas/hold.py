"""A broker restored from a copy: what the operator states, what seats confirm, what connectors give back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.acts import LedgerEvent
from schemas.admin import SignedAdminAct
from schemas.records import Record
from schemas.statements import SignedStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation(Record):
    """The operator states that the log goes on under a new origin after a loss: what was known, what was kept.

    Sizes in leaves, roots 32 bytes; `new_note` is the kept tree signed under the new origin (C2SP tlog-checkpoint).
    """

    SCHEMA: ClassVar[str] = "handslag.hold.Continuation"
    LABEL: ClassVar[str] = "HS1 continuation"

    hold_id: bytes
    cause: str
    old_origin: str
    old_size: int
    old_root: bytes
    old_note: bytes | None = None
    new_origin: str
    kept_size: int
    kept_root: bytes
    new_note: bytes
    administrator: str
    reason: str
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedContinuation(Record):
    """A continuation with the signature of the log's key."""

    SCHEMA: ClassVar[str] = "handslag.hold.SignedContinuation"

    statement: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadConfirmation(Record):
    """A seat confirms that the broker's copy of its consent ledger is the one it holds itself."""

    SCHEMA: ClassVar[str] = "handslag.hold.HeadConfirmation"
    LABEL: ClassVar[str] = "HS1 head confirmation"

    origin: str
    hold_id: bytes
    seat_id: bytes
    ledger_seq: int
    head: bytes
    members: tuple[bytes, ...]
    removed: tuple[bytes, ...]
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedWithdrawal(Record):
    """The person's withdrawal of everything, as it was signed and when it was recorded."""

    SCHEMA: ClassVar[str] = "handslag.hold.RecordedWithdrawal"

    act: bytes
    signature: bytes
    recorded_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldAnswer(Record):
    """GET /v1/hold: whether the broker holds releases back, and every continuation of its log."""

    SCHEMA: ClassVar[str] = "handslag.api.HoldAnswer"

    active: bool
    hold_id: bytes | None = None
    cause: str | None = None
    origin: str
    statements: tuple[SignedContinuation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest(Record):
    """POST /v1/hold:replay: what the restored broker lacks, as the connector kept it: keys of the case, own acts."""

    SCHEMA: ClassVar[str] = "handslag.api.ReplayRequest"

    hold_id: bytes
    seat_id: bytes
    statements: tuple[SignedStatement, ...] = ()
    events: tuple[LedgerEvent, ...]
    withdrawals: tuple[RecordedWithdrawal, ...]
    last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmRequest(Record):
    """POST /v1/hold:confirm."""

    SCHEMA: ClassVar[str] = "handslag.api.ConfirmRequest"

    statement: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyNumber(Record):
    """Which of a member's key statements is the broker's newest."""

    SCHEMA: ClassVar[str] = "handslag.hold.KeyNumber"

    member: bytes
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldSeatAnswer(Record):
    """Where a seat stands in a hold: HELD, REPLAYED, CONFIRMED or RELEASED; `keys` of members it may know of."""

    SCHEMA: ClassVar[str] = "handslag.api.HoldSeatAnswer"

    seat_id: bytes
    state: str
    ledger_seq: int
    head: bytes
    keys: tuple[KeyNumber, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldActsRequest(Record):
    """POST /v1/hold:acts: the operator's acts that a restored broker lacks, as this connector was shown them."""

    SCHEMA: ClassVar[str] = "handslag.api.HoldActsRequest"

    hold_id: bytes
    acts: tuple[SignedAdminAct, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldActsAnswer(Record):
    """How many of the operator's acts the broker knows."""

    SCHEMA: ClassVar[str] = "handslag.api.HoldActsAnswer"

    count: int
