"""Opened entries against each other: who spoke, decisions computed again, consent before release; no clock is trusted.

Every act must bear the seat's signature (`verify_keys`), every decision the unit's (`verify_evidence`). Of each seat
the CONSENT_EVENT entries give the whole consent ledger. A recorded decision is computed again on the ledger as far as
it says it looked. A DISCLOSURE is computed again on the ledger as it stood where the entry lies, and must agree with
what acts say about the delivery: an act that took sections from a delivery handed over n times leaves fewer sections to
every hand-over after n.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from audit.anchors import Anchors
from audit.entry import open_beat, open_payload
from audit.report import Finding, Report
from audit.trailfile import BeatRow, EntryRow
from audit.verify_evidence import check_evidence
from audit.verify_joins import check_joins
from audit.verify_keys import Leads, Opened, check_acts, lead_keys, speaker_of
from audit.verify_release import Disclosed, check_release
from audit.verify_replay import Decided, Ledger, check_decision
from audit.verify_rules import broken_in_payload
from audit.verify_rulesets import RuleSets, read
from audit.verify_said import check_said_decided, check_said_signed, is_said
from audit.verify_statute import check_statutes, is_statutory
from consent.admission import WIDENING
from consent.ledger import LedgerView
from schemas import codec, limits
from schemas.acts import ConsentAct, LedgerEvent
from schemas.errors import HandslagError
from schemas.inbox import AffectedDelivery
from schemas.statements import SignedUnit, UnitEntry
from schemas.trail import AuditEntry


@dataclass(slots=True)
class _Seat:
    """What the opened entries about one seat say, in the order of their numbers."""

    handles: set[bytes] = field(default_factory=set)
    statements: list[Opened] = field(default_factory=list)
    acts: list[Opened] = field(default_factory=list)
    decisions: list[Opened] = field(default_factory=list)
    refusals: list[Opened] = field(default_factory=list)
    disclosures: list[Opened] = field(default_factory=list)
    said: list[Opened] = field(default_factory=list)
    joins: list[Opened] = field(default_factory=list)
    statutes: list[Opened] = field(default_factory=list)
    statute_handed: list[Opened] = field(default_factory=list)


def check_content(
    rows: Iterable[EntryRow],
    beats: Mapping[object, BeatRow],
    keys: Mapping[bytes, bytes],
    anchors: Anchors,
    report: Report,
    *,
    about: bytes | None = None,
) -> dict[bytes, Ledger]:
    """Open what the keys open and check it; return the ledgers that are whole, by seat id.

    `keys` maps entry ids (16 bytes) to entry keys (32 bytes), `beats` the beats' rows by the id of their entry;
    `about` is the one seat (16 bytes) that every entry must be about, None for any.
    """
    # INVARIANT: test_a_decision_that_comes_out_differently_is_named
    seats: dict[bytes, _Seat] = defaultdict(_Seat)
    closed: set[bytes] = set()
    units: list[Opened] = []
    for one in _opened(rows, beats, keys, closed, report):
        if about is not None and one.payload.seat_id != about:
            report.add(one.finding("schema", "seat_id"))
        _take(one, seats, units, report)
    if closed:
        report.leave_open(["other-keys"])
    anchors = _admitted(units, anchors, report)
    check_evidence([one for one in units if one.entry.operation == "REFUSAL"], None, anchors, report)
    leads = lead_keys((one for seat in seats.values() for one in seat.statements), anchors)
    sets = read(units, anchors, report)
    ledgers = {}
    for seat_id, seat in seats.items():
        partial = bool(seat.handles & closed)
        _check_signed(seat_id, seat, anchors, leads, sets, report, partial=partial)
        ledger = _check_seat(seat, sets, report, partial=partial)
        if ledger is not None:
            ledgers[seat_id] = ledger
    return ledgers


def _opened(
    rows: Iterable[EntryRow],
    beats: Mapping[object, BeatRow],
    keys: Mapping[bytes, bytes],
    closed: set[bytes],
    report: Report,
) -> Iterator[Opened]:
    """Yield what the keys open; beats are compared with their rows, handles of what stays closed are collected."""
    for row in rows:
        entry = _decoded(row)
        if entry is None or not isinstance(row.payload, bytes):
            continue
        key = keys.get(entry.entry_id)
        if key is None:
            closed.add(entry.handle)
            continue
        try:
            if entry.operation == "BEAT":
                _check_beat(row, entry, key, beats.get(entry.entry_id), report)
                continue
            payload = open_payload(entry, row.payload, key)
        except HandslagError as error:
            # Ciphertext of another entry was found already; what is left is a key or content that does not fit.
            if error.code != "HS-PROOF-INVALID":
                report.add(_finding("open", row.number, entry))
            continue
        yield Opened(row.number, entry, payload)


def _take(one: Opened, seats: dict[bytes, _Seat], units: list[Opened], report: Report) -> None:
    report.opened += 1
    broken = broken_in_payload(one.entry.operation, one.payload)
    if broken is not None:
        report.add(_finding("schema", one.number, one.entry, broken))
    elif one.payload.seat_id is not None:
        _sort(seats[one.payload.seat_id], one)
    else:
        units.append(one)


def _admitted(units: Iterable[Opened], anchors: Anchors, report: Report) -> Anchors:
    """The anchors with the units whose admission the trail records, where a listed agency signed them."""
    if anchors.agencies is None:
        return anchors
    for one in units:
        act, signature = one.payload.act, one.payload.act_signature
        if one.entry.operation != "ADMIN" or act is None or one.payload.code is not None:  # a code: no admission
            continue
        if codec.name_of(act) != UnitEntry.SCHEMA:
            continue
        try:
            anchors = anchors.with_units([SignedUnit(entry=act, signature=signature or b"")])
        except HandslagError:
            report.add(one.finding("unit-key"))
    return anchors


def _check_signed(
    seat_id: bytes, seat: _Seat, anchors: Anchors, leads: Leads, sets: RuleSets, report: Report, *, partial: bool
) -> None:
    """Who spoke: the seat's key, every act under it, and the unit's evidence of what was decided."""
    speaker = speaker_of(seat_id, seat.statements, anchors, leads, report)
    spoke = seat.acts or seat.decisions or seat.said or seat.joins or seat.statutes
    if speaker is None and spoke:
        if partial:
            report.leave_open(["ledger-part"])
        else:
            report.add(spoke[0].finding("seat-key", "none"))
    if speaker is not None:
        check_acts(seat.acts, speaker, report)
        check_said_signed(seat.said, speaker, report)
        check_joins(seat.joins, speaker, report)
    check_evidence([*seat.decisions, *seat.refusals], speaker, anchors, report)
    if not partial:
        check_statutes(seat.statutes, seat.statute_handed, speaker, anchors, sets, report)
    elif seat.statutes or seat.statute_handed:
        report.leave_open(["ledger-part"])


def _check_seat(seat: _Seat, sets: RuleSets, report: Report, *, partial: bool) -> Ledger | None:
    ledger = _ledger(seat.acts, report, partial=partial)
    if ledger is None:
        if seat.decisions or seat.disclosures or seat.said:
            report.leave_open(["ledger-part"])
        return None
    # INVARIANT: test_a_decision_is_executed_again_on_its_own_rules
    released = sets.known
    check_said_decided(seat.said, ledger, sets, report)
    recipients = {}
    for one in seat.decisions:
        decided = Decided(one.entry, one.payload)
        recipients[one.payload.event_id, one.payload.counter_role, one.payload.attempt] = one.payload
        rules = released.get(one.payload.rules_hash or b"")
        if rules is None:
            report.leave_open(["rules"])
            continue
        wrong = check_decision(decided, ledger, rules)
        if wrong is not None:
            report.add(_finding("decision", one.number, one.entry, wrong))
        if sets.wrong(one):
            report.add(one.finding("rules", "effective"))
        report.decided += 1
    for one in seat.disclosures:
        decision = recipients.get((one.payload.event_id, one.payload.counter_role, one.payload.attempt))
        now = sets.at(one.number, one.entry.owner) if sets.changed else []
        released_one = Disclosed(one.number, one.entry, one.payload)
        wrong = check_release(released_one, decision, ledger, released, report, now)
        if wrong is not None:
            report.add(_finding("release", one.number, one.entry, wrong))
    return ledger


def _ledger(acts: list[Opened], report: Report, *, partial: bool) -> Ledger | None:
    """Return the seat's ledger, or None when it is not whole; a gap is a finding only if every entry was opened."""
    numbered: dict[int, tuple[int, LedgerEvent, tuple[AffectedDelivery, ...]]] = {}
    view = LedgerView.empty()
    for one in sorted(acts, key=lambda one: one.payload.ledger_seq or 0):
        try:
            event = LedgerEvent.from_bytes(one.payload.act or b"")
        except HandslagError:
            report.add(_finding("ledger", one.number, one.entry, "act"))
            return None
        at = len(numbered) + 1
        if event.ledger_seq != one.payload.ledger_seq or event.ledger_seq != at:
            if not partial:
                report.add(_finding("ledger", one.number, one.entry, "gap"))
            return None
        numbered[at] = (one.number, event, one.payload.affected)
        if _played_late(event, view):
            report.add(_finding("ledger", one.number, one.entry, "prev"))
            return None
        view = view.applied(event)
        if view.broken:
            report.add(_finding("ledger", one.number, one.entry, "head"))
            return None
    return None if partial and not numbered else Ledger(numbered)


def _played_late(event: LedgerEvent, view: LedgerView) -> bool:
    """Whether an act that permits something was signed on another head than the one it was recorded on."""
    try:
        act = ConsentAct.from_bytes(event.act)
    except HandslagError:
        return False  # unreadable: the view is broken by it
    return act.act in WIDENING and act.prev != view.head


def _sort(seat: _Seat, one: Opened) -> None:
    seat.handles.add(one.entry.handle)
    match one.entry.operation:
        case "KEY_STATEMENT":
            seat.statements.append(one)
        case "REFUSAL":
            seat.refusals.append(one)
        case "CONSENT_EVENT":
            seat.acts.append(one)
        case "COMBINATION":
            seat.joins.append(one)
        case "DECISION":
            seat.decisions.append(one)
        case "STATUTORY_DISCLOSURE":
            seat.statutes.append(one)
        case "DISCLOSURE":
            _disclosed(seat, one)


def _disclosed(seat: _Seat, one: Opened) -> None:
    """What was said, what went with support in law, and what a consent must cover: three grounds, each by itself."""
    if is_said(one.payload):
        seat.said.append(one)
    elif is_statutory(one.payload):
        seat.statute_handed.append(one)
    else:
        seat.disclosures.append(one)


def _check_beat(row: EntryRow, entry: AuditEntry, key: bytes, stored: object, report: Report) -> None:
    """Compare the sealed record of a beat with the row in clear."""
    beat = open_beat(entry, row.payload, key)
    report.opened += 1
    if (*_plain(beat), entry.entry_id) != stored:
        report.add(_finding("beat-record", row.number, entry, "sealed"))


def _plain(beat: object) -> tuple[object, ...]:
    return tuple(getattr(beat, name) for name in ("first", "size", "count", "seed"))


def _decoded(row: EntryRow) -> AuditEntry | None:
    if not isinstance(row.entry_bytes, bytes) or type(row.number) is not int:
        return None
    try:
        return AuditEntry.from_bytes(row.entry_bytes, limits.ENTRY)
    except HandslagError:
        return None


def _finding(check: str, number: int, entry: AuditEntry, part: str | None = None) -> Finding:
    return Finding(check=check, number=number, entry_id=entry.entry_id, part=part)
