"""Who holds which keys in a case: statements signed by the lead, and the view a connector builds of them.

A connector seals only to, and accepts signatures only of, keys that chain to its pin: the lead's own OPEN statement,
whose hash it got when it opened the case or inside its invitation. The broker stores and forwards statements and
cannot make one (protocol, "Who vouches for a key"). Kinds OPEN, JOIN and REMOVE exist; the others are `HS-NOT-YET`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from connectors.keys import PublicKeys, SeatKeyPair, verify
from schemas.checks import sha256
from schemas.errors import HandslagError, PayloadRejected
from schemas.identifiers import ZERO32
from schemas.statements import Acceptance, MemberStatement, SignedStatement

_LATER_KINDS = frozenset({"ROTATE", "CONFIRM", "REPLACE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of a case: id (16 bytes), role, keys, first and last moment of the keys in microseconds UTC.

    `statement` is the encoded MemberStatement that made it a member.
    """

    member: bytes
    role: str
    keys: PublicKeys
    not_before_us: int
    not_after_us: int
    invitation_hash: bytes
    statement: bytes

    def covers(self, at_us: int) -> bool:
        """Whether the keys are valid at a moment; removal stands outside this."""
        return self.not_before_us <= at_us <= self.not_after_us


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseMembers:
    """An immutable view of a case's members, everything in it chained to the pin.

    `removed` gives the moment of removal by member id, kept also for ids not met yet: REMOVE is final, whatever the
    order in which the broker hands statements out. `disputed` are ids whose keys are used for nothing: two valid
    statements with one (member, seq), or two members at once in one role. A non-empty `disputed` is an alarm.
    """

    case_tag: bytes
    lead: bytes
    members: Mapping[bytes, Member]
    by_key: Mapping[bytes, bytes]
    removed: Mapping[bytes, int]
    conflicted: frozenset[bytes]
    disputed: frozenset[bytes]

    @classmethod
    def pinned(cls, signed: SignedStatement, pin: bytes) -> CaseMembers:
        """The view that starts at the lead's OPEN statement, whose SHA-256 must be the pin.

        Raises HandslagError `HS-KEY-UNTRUSTED` for another statement or a malformed one, `HS-SIGNATURE-INVALID`.
        """
        _require(sha256(signed.statement) == pin, "pin")
        statement = MemberStatement.from_bytes(signed.statement)
        _require(statement.kind == "OPEN" and statement.signer == statement.member, "pin-kind")
        _require(statement.invitation_hash == ZERO32, "pin-kind")
        lead = _member_of(signed, statement)
        verify(lead.keys.signing, signed.signature, signed.statement)
        return cls(
            case_tag=statement.case_tag,
            lead=lead.member,
            members=MappingProxyType({lead.member: lead}),
            by_key=MappingProxyType({lead.keys.key_id: lead.member}),
            removed=MappingProxyType({}),
            conflicted=frozenset(),
            disputed=frozenset(),
        )

    @property
    def pin(self) -> bytes:
        """SHA-256 of the lead's OPEN statement, the root of every chain of the case."""
        return sha256(self.members[self.lead].statement)

    def applied(self, signed: SignedStatement) -> CaseMembers:
        """The view with one more statement; the same statement again changes nothing.

        A conflict does not raise here: it is recorded, and every look-up of those concerned raises `HS-EQUIVOCATION`.
        Raises `HS-KEY-UNTRUSTED` or `HS-SIGNATURE-INVALID` for what does not chain to the pin, `HS-EQUIVOCATION` for
        a statement by a lead that contradicted itself, `HS-NOT-YET` for kinds of later versions, PayloadRejected.
        """
        # INVARIANT: test_a_statement_that_does_not_chain_to_the_pin_changes_nothing
        statement = MemberStatement.from_bytes(signed.statement)
        if statement.kind in _LATER_KINDS:
            raise HandslagError("HS-NOT-YET", field="kind")
        _require(statement.kind in {"OPEN", "JOIN", "REMOVE"}, "kind")
        known = self.members.get(statement.member)
        if known is not None and known.statement == signed.statement:
            return self
        # Signatures come before any conflict: an unsigned claim must not be able to put a member in dispute.
        self._check_signed_by_lead(signed, statement)
        if statement.kind == "REMOVE":
            return self._with_removal(statement)
        return self._with_member(signed, statement)

    def sender(self, seat_key_id: bytes, at_us: int) -> Member:
        """The member whose keys have this id (32 bytes) and were valid at a moment.

        Raises `HS-KEY-UNTRUSTED` (no such key in the case), `HS-EQUIVOCATION` (disputed), `HS-KEY-EXPIRED` (outside
        its time, or removed by then).
        """
        member = self.by_key.get(seat_key_id)
        if member is None:
            raise HandslagError("HS-KEY-UNTRUSTED", check="seat-key")
        if member in self.disputed:
            raise HandslagError("HS-EQUIVOCATION", check="member")
        found = self.members[member]
        if not found.covers(at_us) or at_us >= self.removed.get(member, at_us + 1):
            raise HandslagError("HS-KEY-EXPIRED")
        return found

    def holder(self, role: str, at_us: int) -> Member:
        """The member to seal to for a role; never one that was removed, whenever the removal takes effect.

        Raises `HS-NO-HOLDER`, `HS-EQUIVOCATION` (disputed), `HS-KEY-EXPIRED` (its keys are not valid at `at_us`).
        """
        # INVARIANT: test_the_brokers_own_key_for_a_role_is_refused
        held = [each for each in self.members.values() if each.role == role and each.member not in self.removed]
        if not held:
            raise HandslagError("HS-NO-HOLDER")
        valid = [each for each in held if each.covers(at_us)]
        if not valid:
            raise HandslagError("HS-KEY-EXPIRED")
        if len(valid) > 1 or valid[0].member in self.disputed:
            raise HandslagError("HS-EQUIVOCATION", check="member")
        return valid[0]

    def _check_signed_by_lead(self, signed: SignedStatement, statement: MemberStatement) -> None:
        lead = self.members[self.lead]
        _require(statement.case_tag == self.case_tag and statement.signer == self.lead, "chain")
        _require(lead.covers(statement.not_before_us), "chain-time")
        # A lead that was removed vouches for nobody any more, whatever moment it writes into a statement.
        _require(self.lead not in self.removed, "chain-removed")
        try:
            verify(lead.keys.signing, signed.signature, signed.statement)
        except HandslagError:
            raise HandslagError("HS-KEY-UNTRUSTED", check="chain-signature") from None

    def _with_removal(self, statement: MemberStatement) -> CaseMembers:
        earliest = min(statement.not_before_us, self.removed.get(statement.member, statement.not_before_us))
        removed = MappingProxyType({**self.removed, statement.member: earliest})
        return _settled(replace(self, removed=removed))

    def _with_member(self, signed: SignedStatement, statement: MemberStatement) -> CaseMembers:
        if self.lead in self.disputed:
            raise HandslagError("HS-EQUIVOCATION", check="lead")
        found = _member_of(signed, statement)
        if found.member in self.members:
            by_key = {found.keys.key_id: found.member, **self.by_key}
            conflicted = self.conflicted | {found.member}
            return _settled(replace(self, by_key=MappingProxyType(by_key), conflicted=conflicted))
        _require(statement.kind == "JOIN" and statement.invitation_hash != ZERO32, "kind")
        # Nobody proves possession of keys it takes: those of another member would speak in two names.
        taken = {key for each in self.members.values() for key in (each.keys.signing, each.keys.hpke)}
        _require(not taken & {found.keys.signing, found.keys.hpke}, "key-of-another")
        members = MappingProxyType({**self.members, found.member: found})
        by_key = {**self.by_key, found.keys.key_id: found.member}
        return _settled(replace(self, members=members, by_key=MappingProxyType(by_key)))


def open_statement(
    *, case_tag: bytes, member: bytes, role: str, keys: SeatKeyPair, not_before_us: int, not_after_us: int
) -> SignedStatement:
    """The lead's OPEN statement of a new case, signed by its own key; its SHA-256 is the pin of everybody."""
    statement = MemberStatement(
        case_tag=case_tag,
        member=member,
        role=role,
        kind="OPEN",
        seq=0,
        signing_key=keys.public.signing,
        hpke_key_hash=keys.public.hpke_hash,
        not_before_us=not_before_us,
        not_after_us=not_after_us,
        previous=ZERO32,
        invitation_hash=ZERO32,
        signer=member,
    )
    return _signed(statement, keys, keys.public.hpke)


def join_statement(
    *,
    members: CaseMembers,
    lead: SeatKeyPair,
    acceptance: Acceptance,
    hpke_key: bytes,
    not_before_us: int,
    not_after_us: int,
) -> SignedStatement:
    """The lead's JOIN of an acceptance that `connectors.inviting.checked_acceptance` let through.

    Raises what `CaseMembers.applied` raises, and `HS-STATE-INVALID` when the role has a holder already: a lead does
    not sign what everybody would refuse.
    """
    statement = MemberStatement(
        case_tag=members.case_tag,
        member=acceptance.member,
        role=acceptance.role,
        kind="JOIN",
        seq=0,
        signing_key=acceptance.signing_key,
        hpke_key_hash=acceptance.hpke_key_hash,
        not_before_us=not_before_us,
        not_after_us=not_after_us,
        previous=ZERO32,
        invitation_hash=acceptance.invitation_hash,
        signer=members.lead,
    )
    signed = _signed(statement, lead, hpke_key)
    if members.applied(signed).disputed - members.disputed:
        raise HandslagError("HS-STATE-INVALID", field="role")
    return signed


def remove_statement(*, members: CaseMembers, lead: SeatKeyPair, member: bytes, at_us: int) -> SignedStatement:
    """The lead's REMOVE of a member from `at_us` on; final. Raises `HS-SEAT-UNKNOWN` for no such member."""
    found = members.members.get(member)
    if found is None:
        raise HandslagError("HS-SEAT-UNKNOWN")
    statement = MemberStatement(
        case_tag=members.case_tag,
        member=member,
        role=found.role,
        kind="REMOVE",
        seq=0,
        signing_key=found.keys.signing,
        hpke_key_hash=found.keys.hpke_hash,
        not_before_us=at_us,
        not_after_us=max(at_us, found.not_after_us),
        previous=sha256(found.statement),
        invitation_hash=ZERO32,
        signer=members.lead,
    )
    return _signed(statement, lead, None)


def _signed(statement: MemberStatement, keys: SeatKeyPair, hpke_key: bytes | None) -> SignedStatement:
    data = statement.to_bytes()
    return SignedStatement(statement=data, signature=keys.sign(data), hpke_key=hpke_key)


def _member_of(signed: SignedStatement, statement: MemberStatement) -> Member:
    _require(statement.seq == 0 and statement.previous == ZERO32, "seq")
    _require(statement.not_before_us <= statement.not_after_us, "validity")
    if signed.hpke_key is None:
        raise PayloadRejected(field="hpke_key")
    keys = PublicKeys(statement.signing_key, signed.hpke_key)
    _require(keys.hpke_hash == statement.hpke_key_hash, "hpke-key")
    return Member(
        member=statement.member,
        role=statement.role,
        keys=keys,
        not_before_us=statement.not_before_us,
        not_after_us=statement.not_after_us,
        invitation_hash=statement.invitation_hash,
        statement=signed.statement,
    )


def _settled(view: CaseMembers) -> CaseMembers:
    """The view with its disputes worked out anew; a removal ends a dispute about a role, never one about a seq."""
    disputed = set(view.conflicted)
    active = [each for each in view.members.values() if each.member not in view.removed]
    for index, one in enumerate(active):
        for other in active[index + 1 :]:
            together = one.not_before_us <= other.not_after_us and other.not_before_us <= one.not_after_us
            if one.role == other.role and together:
                disputed |= {one.member, other.member}
    return replace(view, disputed=frozenset(disputed))


def _require(holds: bool, check: str) -> None:
    if not holds:
        raise HandslagError("HS-KEY-UNTRUSTED", check=check)
