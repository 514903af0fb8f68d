"""Two cases of one person: the signed word that joins them, the one that separates them again, and their calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseJoin(Record):
    """A named officer of a unit that sits in both says that two cases are one person's; both its seats sign."""

    SCHEMA: ClassVar[str] = "handslag.join.CaseJoin"
    LABEL: ClassVar[str] = "HS1 case join"

    join_id: bytes
    case_tag: bytes
    member: bytes
    other_case_tag: bytes
    other_member: bytes
    actor_ref: str
    assurance: str
    noted_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSeparation(Record):
    """The join was wrong: the two cases are about two persons."""

    SCHEMA: ClassVar[str] = "handslag.join.CaseSeparation"
    LABEL: ClassVar[str] = "HS1 case separation"

    join_id: bytes
    case_tag: bytes
    member: bytes
    actor_ref: str
    assurance: str
    noted_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRequest(Record):
    """POST /v1/cases:join."""

    SCHEMA: ClassVar[str] = "handslag.join.JoinRequest"

    call_id: bytes
    seat_id: bytes
    other_seat_id: bytes
    act: bytes
    signature: bytes
    other_signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinAnswer(Record):
    """The join is recorded: one entry about each of the two seats."""

    SCHEMA: ClassVar[str] = "handslag.join.JoinAnswer"

    call_id: bytes
    recorded_at_us: int
    entry_id: bytes
    leaf_hash: bytes
    other_entry_id: bytes
    other_leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SeparateRequest(Record):
    """POST /v1/cases:separate."""

    SCHEMA: ClassVar[str] = "handslag.join.SeparateRequest"

    call_id: bytes
    seat_id: bytes
    act: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SeparateAnswer(Record):
    """The join is over, and recorded."""

    SCHEMA: ClassVar[str] = "handslag.join.SeparateAnswer"

    call_id: bytes
    recorded_at_us: int
    entry_id: bytes
    leaf_hash: bytes
