"""A submission as the stream carries it from gateway to decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from schemas.envelope import Submission
from schemas.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRecord(Record):
    """One submission with the evidence that ties it to its bundle."""

    SCHEMA: ClassVar[str] = "handslag.broker.StreamRecord"

    unit: str
    received_at_us: int
    bundle: bytes
    unit_signature: bytes
    index: int
    path: tuple[bytes, ...]
    submission: Submission
