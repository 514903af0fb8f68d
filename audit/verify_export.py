"""The offline verifier over one seat's export: what it proves without the broker's database.

    every entry hashes to a leaf under the one signed checkpoint                note, inclusion, leaf-map
    what an entry of each operation must and must not say                       schema, payload, open
    who spoke, what was decided, nothing released after a withdrawal            as `verify_decisions`
    nothing the connector was ever told of this seat is missing                 held, ledger

The last line is all that speaks for completeness: an export cannot show an entry that nobody was told of. The consent
ledger is numbered without gaps and chained by its heads, so that at least no act can be missing from its middle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from audit import tlogproof
from audit.anchors import Anchors
from audit.checkpoint import Checkpoint
from audit.continuation import number_of, open_part, verifier_of
from audit.exportfile import Export
from audit.note import Verifier
from audit.report import Finding, Report
from audit.trailfile import EntryRow
from audit.verify_decisions import check_content
from audit.verify_replay import Ledger
from audit.verify_rules import broken_in_clear
from schemas import limits
from schemas.calls import KeyedEntry
from schemas.errors import HandslagError
from schemas.statements import MemberStatement, SignedStatement
from schemas.trail import AuditEntry


def verify_export(
    export: Export, *, origin: str, log: Verifier, anchors: Anchors, remembered: bytes | None = None
) -> Report:
    """Check an export and return what was found; the arguments are as those of `audit.verify.verify`.

    Raises HS-KEY-UNTRUSTED for a unit list that its agencies did not sign, and HS-CHECKPOINT-INVALID when the
    *remembered* note is not genuine.
    """
    report = Report(origin=origin, export=True)
    report.leave_open(["cosignatures", "segments", "complete"])
    checkpoint = _checkpoint(export, origin, log, report)
    if checkpoint is not None:
        report.signed = checkpoint.size
        if checkpoint.origin != origin:
            report.leave_open(["continued"])
        _remembered(checkpoint, remembered, origin, log, report)
        _check_places(export, checkpoint, origin, log, report)
    rows, keys = [], {}
    for one in export.entries:
        row = _row(one, report)
        if row is not None:
            rows.append(row)
            keys[row.entry_id] = one.key
    ledgers = check_content(rows, {}, keys, _anchored(export, anchors), report, about=export.seat_id)
    _check_held(export, ledgers, report)
    return report


def _checkpoint(export: Export, origin: str, log: Verifier, report: Report) -> Checkpoint | None:
    report.checkpoints = 1
    try:
        return open_part(export.checkpoint, base=origin, log=log)[1]
    except HandslagError as error:
        report.add(Finding(check="note", part=str(error.context.get("check", "form"))))
        return None


def _remembered(checkpoint: Checkpoint, remembered: bytes | None, origin: str, log: Verifier, report: Report) -> None:
    """A note kept from earlier settles it at the same size only: an export holds no tree to compare others with."""
    kept = None if remembered is None else open_part(remembered, base=origin, log=log)[1]
    if kept is None or kept.size < checkpoint.size or kept.origin != checkpoint.origin:
        report.leave_open(["remembered-export" if kept else "remembered"])
    elif (kept.size, kept.root) != (checkpoint.size, checkpoint.root):
        report.add(Finding(check="remembered", size=kept.size))


def _check_places(export: Export, checkpoint: Checkpoint, origin: str, log: Verifier, report: Report) -> None:
    """Every entry has a place of its own under the checkpoint; only the newest may still wait for one."""
    number = number_of(origin, checkpoint.origin) or 1
    verifier = log if number == 1 else verifier_of(origin, number, log.public_key)
    # INVARIANT: test_an_entry_without_a_place_in_the_log_is_named
    proven = max(export.proofs, default=0)
    taken: set[int] = set()
    for one in export.entries:
        data = export.proofs.get(one.number)
        if data is None:
            if one.number > proven:
                report.leave_open(["waiting"])
            else:
                report.add(_finding(one, "inclusion", "none"))
            continue
        try:
            shown = tlogproof.verify(data, leaf_hash=one.leaf_hash, verifier=verifier, origin=checkpoint.origin)
        except HandslagError as error:
            report.add(_finding(one, "inclusion", str(error.context.get("check", "form"))))
            continue
        index = tlogproof.parse(data).index
        if shown != checkpoint:
            report.add(_finding(one, "inclusion", "checkpoint"))
        elif index in taken:
            report.add(_finding(one, "leaf-map", "twice"))
        taken.add(index)
    report.leaves = len(taken)


def _row(one: KeyedEntry, report: Report) -> EntryRow | None:
    report.entries += 1
    try:
        entry = AuditEntry.from_bytes(one.entry, limits.ENTRY)
    except HandslagError:
        report.add(_finding(one, "schema", "bytes"))
        return None
    broken = broken_in_clear(entry.to_dict())
    if broken is not None:
        report.add(_finding(one, "schema", broken))
    if sha256(one.payload).digest() != entry.payload_commit:
        report.add(_finding(one, "payload", "commit"))
    clear = (entry.entry_id, entry.owner, entry.handle, entry.at_us, entry.operation, entry.outcome, entry.reason_class)
    return EntryRow(one.number, *clear, one.entry, one.leaf_hash, one.payload, None)


def _anchored(export: Export, anchors: Anchors) -> Anchors:
    """The reader's anchors with the export's units, as far as listed agencies signed them, and its seat's keys."""
    anchors = anchors.with_units(export.units)
    signed = SignedStatement.from_bytes(export.lead_statement)
    lead = MemberStatement.from_bytes(signed.statement)
    leads = {**anchors.leads, (lead.case_tag, lead.member): lead.signing_key}
    later = (SignedStatement.from_bytes(data) for data in export.lead_rotations)
    rotations = tuple((one.statement, one.signature) for one in later)
    seats = {**anchors.seats, export.seat_id: export.signing_key}
    return replace(anchors, seats=seats, leads=leads, rotations=anchors.rotations + rotations)


def _check_held(export: Export, ledgers: Mapping[bytes, Ledger], report: Report) -> None:
    """Whatever the broker told the connector of this seat must be here."""
    # INVARIANT: test_an_entry_that_was_told_and_left_out_is_named
    here = {one.leaf_hash for one in export.entries}
    report.held = len(export.held)
    for one in export.held:
        if one.leaf_hash not in here:
            report.add(Finding(check="held", part=one.kind))
    ledger = ledgers.get(export.seat_id)
    if export.ledger_seq == 0:
        return
    known: Sequence[int] = () if ledger is None else tuple(ledger.acts)
    if ledger is None or export.ledger_seq not in known:
        report.add(Finding(check="held", part="ledger"))
    elif ledger.acts[export.ledger_seq][1].head != export.ledger_head:
        report.add(Finding(check="ledger", part="held"))


def _finding(one: KeyedEntry, check: str, part: str) -> Finding:
    return Finding(check=check, number=one.number, part=part)
