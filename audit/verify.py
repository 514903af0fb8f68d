"""The offline verifier: whether a trail is whole, and if not, where it breaks first.

    1  every published note parses and carries the log's signature              note
    3  every published checkpoint, and a remembered one, is a root of this log    consistency, truncated, remembered
    4  every entry's bytes hash to its leaf; leaves and entries answer one to one leaf-hash, leaf-map, unsealed
       fillers and order of every beat follow from its seed                       beat, beat-record
       a log that went on after a loss says so, and its part before is kept     continuation
    5  tiles and the stored head                                                  tile, root
    6  what an entry of each operation must and must not say                      columns, schema
    8  nothing is missing without an explanation in the log, by an act            hole, payload, erasure
   10  with keys: content opens; every act bears its seat's signature and every
       decision its unit's; decisions come out the same; nothing was released
       after a withdrawal          open, unit-key, seat-key, act-signature, evidence, ledger, decision, release

Step 2 (a quorum of other agencies' cosignatures), 7 (time bounds from them) and 9 (yearly segments) need what does not
exist yet; the report says so. Numbers are those of the audit trail's design, section 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audit.anchors import Anchors
from audit.note import Verifier
from audit.report import Finding, Report
from audit.trailfile import TrailFile
from audit.verify_continuation import check_continuations, check_remembered
from audit.verify_decisions import check_content
from audit.verify_entries import EntryPass
from audit.verify_erasures import erasures_of
from audit.verify_log import LogWalk, read_checkpoints
from schemas.errors import HandslagError


def verify(
    trail: TrailFile,
    *,
    origin: str,
    log_keys: Sequence[Verifier],
    remembered: bytes | None = None,
    keys: Mapping[bytes, bytes] | None = None,
    anchors: Anchors | None = None,
) -> Report:
    """Check a copied trail and return what was found.

    `log_keys` are the keys trusted for `origin`, from outside the copy. `remembered` is a signed note kept from
    earlier; `keys` maps entry ids to the entries' keys; `anchors` are keys of agencies, units and seats, also from
    outside the copy. Whatever is wrong with the trail is a finding; raises
    HS-TRAIL-UNREADABLE when SQLite cannot read the file, HS-CHECKPOINT-INVALID when the *remembered* note is not
    genuine.
    """
    report = Report(origin=origin)
    report.leave_open(["cosignatures", "segments"])
    published = read_checkpoints(trail, origin=origin, log_keys=log_keys, report=report)
    stated = check_continuations(trail, published, origin=origin, log_keys=log_keys, report=report)
    marks = [(checkpoint.size, checkpoint.root, "consistency") for checkpoint in published]
    marks += [(one.said.kept_size, one.said.kept_root, "continuation") for one in stated]
    report.signed = max((size for size, _, _ in marks), default=0)
    if remembered is None:
        report.leave_open(["remembered"])
    else:
        kept = check_remembered(remembered, stated, origin=origin, log_keys=log_keys, report=report)
        if kept is not None:
            marks.append((kept.size, kept.root, "remembered"))
    try:
        LogWalk(trail, report, sorted(marks)).run()
        erased = erasures_of(trail, keys or {}, report)
        entries = EntryPass(trail, report, erased)
        entries.run()
        report.erased = erased.told()
        if keys is None:
            report.leave_open(["keys"])
        else:
            beats = {row.entry_id: row for row in trail.beats()}
            check_content(trail.entries(), beats, keys, anchors or Anchors(), report)
    except HandslagError as error:
        # Rows that no check foresaw are still evidence; only an unreadable file is not.
        if error.code == "HS-TRAIL-UNREADABLE":
            raise
        report.add(Finding(check="schema", part=error.code))
    return report
