"""Whose words the acts of a consent ledger are: the seat's signing key, and every act's signature under it.

The key of a seat stands in its KEY_STATEMENT entries: a lead's OPEN, signed by that key itself, or an acceptance,
signed by the unit; then every ROTATE, signed by the key before it. An act bears the key of its day or the one before.
A REPLACE, for keys that were lost, stands once for each seat that signed it; whose signatures they are only the
connectors of the case can tell. No act after it bears an earlier key.
An OPEN alone proves little, for anybody can make one; what ties it to the agency is the connector's own key where it is
given, else events whose seat signature the unit signed as well (`verify_evidence`). An operator that puts another key
in its place cannot make those agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from audit.anchors import Anchors, LeadKey, holds
from audit.report import Finding, Report
from schemas import codec
from schemas.acts import CaseWithdrawal, ConsentAct, LedgerEvent
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16
from schemas.statements import Acceptance, MemberStatement, Succession, Vouch
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
    """Whose signature the acts of a seat must bear; `proven` when more than the trail vouches for the key.

    `key` and `hpke_key_hash` are those it began with, `rotated` the (number of the entry, key) of its rotations and
    replacements, `replaced` the numbers of the latter.
    """

    member: bytes
    case_tag: bytes | None
    key: bytes
    hpke_key_hash: bytes
    proven: bool
    rotated: tuple[tuple[int, bytes], ...] = ()
    replaced: tuple[int, ...] = ()

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Every signing key of the seat, the first one first."""
        return (self.key, *(key for _number, key in self.rotated))

    def signed(self, signature: bytes, data: bytes, number: int | None = None) -> bool:
        """Whether a key of the seat signed: any, or for entry `number` the key of that day or the one before."""
        keys = self.keys
        if number is not None:
            since = max((at for at in self.replaced if at < number), default=0)
            first = () if since else (self.key,)
            keys = (*first, *(key for at, key in self.rotated if since <= at < number))[-2:]
        return any(holds(key, signature, data) for key in keys)


_VOUCHERS = 2
Leads = dict[LeadKey, set[bytes]]


def lead_keys(statements: Iterable[Opened], anchors: Anchors) -> Leads:
    """Return the keys of leads by case and member: those pinned, else those of OPEN statements that sign themselves.

    And those that their ROTATEs lead to, as far as they are here or with the anchors.
    """
    found: Leads = {}
    ones = list(statements)
    for one in ones:
        statement = _member_statement(one.payload)
        if statement is not None and statement.kind == "OPEN" and _opens(one.payload, statement):
            found.setdefault((statement.case_tag, statement.member), set()).add(statement.signing_key)
    found |= {lead: {key} for lead, key in anchors.leads.items()}
    recorded = ((one.payload.act or b"", one.payload.act_signature or b"") for one in ones)
    for data, signature in [*anchors.rotations, *recorded]:
        statement = _statement_of(data)
        if statement is None or statement.kind not in {"ROTATE", "REPLACE"} or statement.signer != statement.member:
            continue
        if statement.kind == "REPLACE":  # counts as the connector's word only, which knows who signed
            if (data, signature) in anchors.rotations:
                found.setdefault((statement.case_tag, statement.member), set()).add(statement.signing_key)
            continue
        keys = found.get((statement.case_tag, statement.member), set())
        if any(holds(key, signature, data) for key in keys):
            keys.add(statement.signing_key)
    return found


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
    speaker = _rotated(statements, speaker, report)
    expected = anchors.seats.get(seat_id)
    if expected is not None:
        if expected not in speaker.keys:
            report.add(statements[0].finding("seat-key", "other"))
        speaker = speaker._replace(proven=True)
    for one in statements:
        speaker = _vouched(one, speaker, leads, report)
    return speaker


def _rotated(statements: Sequence[Opened], speaker: Speaker, report: Report) -> Speaker:
    """The speaker with the keys of its rotations: each signed by the key before and naming the statement before."""
    # INVARIANT: test_a_rotation_that_the_seat_did_not_sign_is_named
    before: bytes | None = None
    replacing: dict[bytes, set[bytes]] = {}
    chain, offered = speaker.member, set[bytes]()
    for one in statements:
        statement = _member_statement(one.payload)
        if statement is None:
            offered |= _offered(one, speaker, report)
            continue
        if statement.kind == "ROTATE" and statement.signing_key in offered:
            # The lead signed its chain over to the keys that this seat offered: it goes on in that chain.
            chain, before = statement.member, one.payload.act
            speaker = speaker._replace(rotated=(*speaker.rotated, (one.number, statement.signing_key)))
            continue
        if statement.member != chain:
            continue
        if statement.kind == "REPLACE":
            speaker, done = _replaced(one, statement, speaker, before, replacing, report)
            before = one.payload.act if done else before
            continue
        if statement.kind == "ROTATE":
            data = one.payload.act or b""
            follows = before is None or statement.previous == sha256(before).digest()
            if not follows or not holds(speaker.keys[-1], one.payload.act_signature or b"", data):
                report.add(one.finding("seat-key", "rotate"))
                continue
            speaker = speaker._replace(rotated=(*speaker.rotated, (one.number, statement.signing_key)))
        if statement.kind in {"OPEN", "JOIN", "ROTATE"}:
            before = one.payload.act
    return speaker


def _replaced(
    one: Opened,
    statement: MemberStatement,
    speaker: Speaker,
    before: bytes | None,
    replacing: dict[bytes, set[bytes]],
    report: Report,
) -> tuple[Speaker, bool]:
    """The speaker with keys that two others vouched for: two signatures of one statement, and none by its own keys."""
    # INVARIANT: test_a_replacement_that_two_did_not_sign_is_named
    data, signature = one.payload.act or b"", one.payload.act_signature or b""
    follows = before is None or statement.previous == sha256(before).digest()
    if not follows or any(holds(key, signature, data) for key in speaker.keys):
        report.add(one.finding("seat-key", "replace"))
        return speaker, False
    report.leave_open(["vouchers"])
    signatures = replacing.setdefault(data, set())
    signatures.add(signature)
    if len(signatures) != _VOUCHERS:
        return speaker, False
    rotated = (*speaker.rotated, (one.number, statement.signing_key))
    return speaker._replace(rotated=rotated, replaced=(*speaker.replaced, one.number)), True


def _offered(one: Opened, speaker: Speaker, report: Report) -> set[bytes]:
    """The key with which the seat offered to hold the lead's role, when it signed that itself."""
    data = one.payload.act or b""
    if codec.name_of(data) != Succession.SCHEMA:
        return set()
    if not speaker.signed(one.payload.act_signature or b"", data, one.number):
        report.add(one.finding("seat-key", "succession"))
        return set()
    return {Succession.from_bytes(data).signing_key}


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
    if codec.name_of(payload.act or b"") in {Vouch.SCHEMA, Succession.SCHEMA}:
        return None
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
    """A JOIN, CONFIRM or REMOVE: the lead's signature; for this seat's own JOIN the very keys that it accepted."""
    statement = _member_statement(one.payload)
    if statement is None or statement.kind not in {"JOIN", "CONFIRM", "REMOVE"}:
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
    if statement.kind == "CONFIRM" and statement.signing_key not in speaker.keys[1:]:
        report.add(one.finding("seat-key", "confirmed"))
    began = (statement.signing_key, statement.hpke_key_hash) == (speaker.key, speaker.hpke_key_hash)
    other = statement.kind == "REMOVE" and statement.signing_key not in speaker.keys
    if (statement.kind == "JOIN" and not began) or other:
        report.add(one.finding("seat-key", "joined"))
    return speaker._replace(case_tag=statement.case_tag)


def _member_statement(payload: Payload) -> MemberStatement | None:
    return _statement_of(payload.act or b"")


def _statement_of(data: bytes) -> MemberStatement | None:
    try:
        return MemberStatement.from_bytes(data)
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
            part = _wrong_in_act(one.number, one.payload, speaker, report)
        except HandslagError:
            part = "form"
        if part is not None:
            report.add(one.finding("act-signature", part))
        report.signatures += 1


def _wrong_in_act(number: int, payload: Payload, speaker: Speaker, report: Report) -> str | None:
    event = LedgerEvent.from_bytes(payload.act or b"")
    act = ConsentAct.from_bytes(event.act)
    if act.member != speaker.member:
        return "member"
    if speaker.case_tag is not None and act.case_tag != speaker.case_tag:
        return "case"
    if event.signature is None:
        return _wrong_in_withdrawal(number, payload, act, speaker, report)
    if payload.act_signature != event.signature or not speaker.signed(event.signature, event.act, number):
        return "signature"
    return None


def _wrong_in_withdrawal(
    number: int, payload: Payload, act: ConsentAct, speaker: Speaker, report: Report
) -> str | None:
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
    signed = speaker.signed(payload.act_signature or b"", payload.case_withdrawal, number)
    return None if signed else "signature"
