"""Whose words the acts of a consent ledger are: the seat's signing key, and every act's signature under it.

The key of a seat stands in its KEY_STATEMENT entries: a lead's OPEN, signed by that key itself, or an acceptance,
signed by the unit. An OPEN alone proves little, for anybody can make one; what ties it to the agency is the connector's
own key where it is given, else events whose seat signature the unit signed as well (`verify_evidence`). An operator
that puts another key in its place cannot make those agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from audit.anchors import Anchors, LeadKey, holds
from audit.report import Finding, Report
from schemas import codec
from schemas.acts import CaseWithdrawal, ConsentAct, LedgerEvent
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16
from schemas.statements import Acceptance, MemberStatement
from schemas.trail import AuditEntry, Payload


class Opened(NamedTuple):
    """An entry that was opened, with the number of its row."""

    number: int
    entry: AuditEntry
    payload: Payload

    def finding(self, check: str, part: str | None = None) -> Finding:
        """Return a finding that names this entry."""
        return Finding(check=check, number=self.number, entry_id=self.entry.entry_id, part=part)


class Speaker(NamedTuple):
    """Whose signature the acts of a seat must bear; `proven` when more than the trail vouches for the key."""

    member: bytes
    case_tag: bytes | None
    key: bytes
    hpke_key_hash: bytes
    proven: bool


Leads = dict[LeadKey, set[bytes]]


def lead_keys(statements: Iterable[Opened], anchors: Anchors) -> Leads:
    """Return the keys of leads by case and member: those pinned, else those of OPEN statements that sign themselves."""
    found: Leads = {}
    for one in statements:
        statement = _member_statement(one.payload)
        if statement is not None and statement.kind == "OPEN" and _opens(one.payload, statement):
            found.setdefault((statement.case_tag, statement.member), set()).add(statement.signing_key)
    return found | {lead: {key} for lead, key in anchors.leads.items()}


def speaker_of(
    seat_id: bytes, statements: Sequence[Opened], anchors: Anchors, leads: Leads, report: Report
) -> Speaker | None:
    """Return the seat's own key from its key statements, or None when they show none; what is wrong is reported."""
    # INVARIANT: test_a_key_statement_that_does_not_hold_is_named
    speaker: Speaker | None = None
    for one in statements:
        try:
            found = _own(one, anchors, report)
        except HandslagError:
            report.add(one.finding("seat-key", "form"))
            continue
        if found is None:
            continue
        if speaker is not None and speaker.key != found.key:
            report.add(one.finding("seat-key", "two"))
        speaker = speaker or found
    if speaker is None:
        return None
    expected = anchors.seats.get(seat_id)
    if expected is not None:
        if expected != speaker.key:
            report.add(statements[0].finding("seat-key", "other"))
        speaker = speaker._replace(proven=True)
    for one in statements:
        speaker = _vouched(one, speaker, leads, report)
    return speaker


def _own(one: Opened, anchors: Anchors, report: Report) -> Speaker | None:
    """The seat's own statement: an acceptance that the unit signed, or a lead's OPEN."""
    payload = one.payload
    if codec.name_of(payload.act or b"") == Acceptance.SCHEMA:
        accepted = Acceptance.from_bytes(payload.act or b"")
        signed = anchors.unit_signed(accepted.unit, one.entry.owner, payload.act_signature or b"", payload.act or b"")
        if signed is None:
            report.leave_open(["units"])
        elif not signed:
            report.add(one.finding("seat-key", "unit-signature"))
        return Speaker(accepted.member, None, accepted.signing_key, accepted.hpke_key_hash, signed is True)
    statement = MemberStatement.from_bytes(payload.act or b"")
    if statement.kind != "OPEN":
        return None
    if not _opens(payload, statement):
        report.add(one.finding("seat-key", "open"))
    return Speaker(statement.member, statement.case_tag, statement.signing_key, statement.hpke_key_hash, False)


def _opens(payload: Payload, statement: MemberStatement) -> bool:
    signed = holds(statement.signing_key, payload.act_signature or b"", payload.act or b"")
    return signed and statement.signer == statement.member


def _vouched(one: Opened, speaker: Speaker, leads: Leads, report: Report) -> Speaker:
    """A JOIN or REMOVE: the lead's signature, and for this seat's own JOIN the very keys that it accepted."""
    statement = _member_statement(one.payload)
    if statement is None or statement.kind not in {"JOIN", "REMOVE"}:
        return speaker
    keys = leads.get((statement.case_tag, statement.signer))
    if keys is None:
        report.leave_open(["lead"])
    elif not any(holds(key, one.payload.act_signature or b"", one.payload.act or b"") for key in keys):
        report.add(one.finding("seat-key", "lead-signature"))
    if speaker.case_tag is not None and statement.case_tag != speaker.case_tag:
        report.add(one.finding("seat-key", "case"))
    if statement.member != speaker.member:
        return speaker
    if (statement.signing_key, statement.hpke_key_hash) != (speaker.key, speaker.hpke_key_hash):
        report.add(one.finding("seat-key", "joined"))
    return speaker._replace(case_tag=statement.case_tag)


def _member_statement(payload: Payload) -> MemberStatement | None:
    try:
        return MemberStatement.from_bytes(payload.act or b"")
    except HandslagError:
        return None


def check_acts(acts: Iterable[Opened], speaker: Speaker, report: Report) -> None:
    """Check that the seat itself signed every act of its ledger.

    The one act that may stand unsigned is WITHDRAW_ALL, which the broker writes on every discloser's ledger when any
    seat notes that the person withdraws everything: it only narrows. In the noting seat's own entry lies what that seat
    signed.
    """
    # INVARIANT: test_a_consent_that_the_seat_did_not_sign_is_named
    for one in acts:
        try:
            part = _wrong_in_act(one.payload, speaker, report)
        except HandslagError:
            part = "form"
        if part is not None:
            report.add(one.finding("act-signature", part))
        report.signatures += 1


def _wrong_in_act(payload: Payload, speaker: Speaker, report: Report) -> str | None:
    event = LedgerEvent.from_bytes(payload.act or b"")
    act = ConsentAct.from_bytes(event.act)
    if act.member != speaker.member:
        return "member"
    if speaker.case_tag is not None and act.case_tag != speaker.case_tag:
        return "case"
    if event.signature is None:
        return _wrong_in_withdrawal(payload, act, speaker, report)
    if payload.act_signature != event.signature or not holds(speaker.key, event.signature, event.act):
        return "signature"
    return None


def _wrong_in_withdrawal(payload: Payload, act: ConsentAct, speaker: Speaker, report: Report) -> str | None:
    """An act without a signature: only the withdrawal of everything, and only where it says nothing else."""
    plain = act.consent_id == ZERO16 and act.terms is None and act.scope is None
    if act.act != "WITHDRAW_ALL" or not plain:
        return "unsigned"
    if payload.case_withdrawal is None:
        report.leave_open(["unsigned-withdrawal"])
        return None if payload.act_signature is None else "case-withdrawal"
    noted = CaseWithdrawal.from_bytes(payload.case_withdrawal)
    told = (noted.recorder, noted.case_tag, noted.effective_at_us)
    if told != (speaker.member, act.case_tag, act.effective_at_us):
        return "case-withdrawal"
    signed = holds(speaker.key, payload.act_signature or b"", payload.case_withdrawal)
    return None if signed else "signature"
