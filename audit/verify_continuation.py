"""A log that went on after a loss: every change of its name is stated, and what was kept is where the statement says.

A statement excuses nothing else. Entries that lay beyond the kept size are gone, and whoever holds a proof of one can
show it; the report says so in every run, also when nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.checkpoint import Checkpoint
from audit.continuation import check_statement, number_of
from audit.entry import OPERATOR
from audit.note import Verifier
from audit.report import Finding, Report
from audit.trailfile import TrailFile
from audit.verify_log import opened_part
from schemas.errors import HandslagError
from schemas.hold import Continuation, SignedContinuation


@dataclass(frozen=True, slots=True)
class Stated:
    """A continuation that holds: the part of the log that it begins, and what it says."""

    number: int
    said: Continuation


def check_continuations(
    trail: TrailFile, published: Sequence[Checkpoint], *, origin: str, log_keys: Sequence[Verifier], report: Report
) -> list[Stated]:
    """Return the continuations whose statement holds, in order; what breaks the row of parts becomes a finding."""
    # INVARIANT: test_a_log_that_goes_on_without_a_statement_is_broken
    stated: list[Stated] = []
    for number, statement, signature, entry_id in trail.continuations():
        one = _stated(number, statement, signature, origin, log_keys)
        if one is None or (stated and one.said.kept_size < stated[-1].said.kept_size):
            report.add(Finding(check="continuation", part="statement"))
            continue
        place = trail.place_of(entry_id)
        early = place is not None and place[2] is not None and place[2] < one.said.kept_size
        if place is None or early or place[:2] != ("ADMIN", OPERATOR):
            report.add(Finding(check="continuation", part="entry", size=one.said.kept_size))
        stated.append(one)
        report.continuations.append(_told(one.said))
    for checkpoint in published:
        part = number_of(origin, checkpoint.origin)
        first = next((one.said.kept_size for one in stated if one.number == part), 0 if part == 1 else None)
        last = next((one.said.kept_size for one in stated if part is not None and one.number > part), None)
        if first is None or checkpoint.size < first or (last is not None and checkpoint.size > last):
            report.add(Finding(check="continuation", part="order", size=checkpoint.size))
    return stated


def check_remembered(
    note: bytes, stated: Sequence[Stated], *, origin: str, log_keys: Sequence[Verifier], report: Report
) -> Checkpoint | None:
    """The remembered checkpoint to compare with the tree; None when it lies in what a statement says was lost.

    Raises HS-CHECKPOINT-INVALID when the note is not genuine.
    """
    part, kept = opened_part(note, origin=origin, log_keys=log_keys)
    after = next((one.said for one in stated if one.number > part), None)
    if after is None or kept.size <= after.kept_size:
        return kept
    # INVARIANT: test_a_loss_larger_than_stated_is_a_finding
    if number_of(origin, after.old_origin) == part and kept.size <= after.old_size:
        report.leave_open(["remembered-lost"])
    else:
        report.add(Finding(check="remembered", part="lost", size=kept.size))
    return None


def _stated(
    number: object, statement: object, signature: object, origin: str, log_keys: Sequence[Verifier]
) -> Stated | None:
    if not isinstance(statement, bytes) or not isinstance(signature, bytes):
        return None
    for key in log_keys:
        try:
            said = check_statement(SignedContinuation(statement=statement, signature=signature), base=origin, log=key)
        except HandslagError:
            continue
        part = number_of(origin, said.new_origin)
        return Stated(part, said) if part is not None and part == number else None
    return None


def _told(said: Continuation) -> dict[str, object]:
    return {
        "from": said.old_origin,
        "to": said.new_origin,
        "cause": said.cause,
        "old_size": said.old_size,
        "kept_size": said.kept_size,
        "lost": max(0, said.old_size - said.kept_size),
        "administrator": said.administrator,
        "reason": said.reason,
        "at_us": said.at_us,
    }
