"""Who holds which keys in a case: signed statements, and the view a connector builds of them.

A connector seals only to, and accepts signatures only of, keys that chain to its pin: the lead's own OPEN statement,
whose hash it got when it opened the case or inside its invitation. The broker stores and forwards statements and
cannot make one (protocol, "Who vouches for a key"). What each key is worth at a moment says `standing.py`; what two
members together may replace, `replacing.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

from connectors import replacing
from connectors.keys import PublicKeys, SeatKeyPair, verify
from connectors.slots import WEEKLY, Slots
from connectors.standing import KeyState, Member, Standing, Voucher, first_key, key_of
from schemas.checks import sha256
from schemas.errors import HandslagError
from schemas.identifiers import ZERO32
from schemas.statements import Acceptance, MemberStatement, SignedStatement

_holds = replacing.holds


@dataclass(frozen=True, kw_only=True)
class CaseMembers:
    """An immutable view of a case's members, everything in it chained to the pin.

    `chains` are the keys of each member, ascending by seq. `removed` gives the moment of removal by member id, kept
    also for ids not met yet: REMOVE is final, whatever the order in which the broker hands statements out. `conflicts`
    are (member, seq) under which there are two valid statements; `disputed` the members whose keys are used for
    nothing: those, and two at once in one role. A non-empty `disputed` is an alarm. `offered` are, by the hash of their
    statement, new keys of lost members that one other member has signed for, which is not enough.
    """

    case_tag: bytes
    lead: bytes
    pin: bytes
    slots: Slots
    chains: Mapping[bytes, tuple[Member, ...]]
    removed: Mapping[bytes, int]
    conflicts: frozenset[Voucher]
    disputed: frozenset[bytes]
    offered: Mapping[bytes, Member] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def pinned(cls, signed: SignedStatement, pin: bytes, slots: Slots = WEEKLY) -> CaseMembers:
        """The view that starts at the lead's OPEN statement, whose SHA-256 must be the pin.

        Raises HandslagError `HS-KEY-UNTRUSTED` for another statement or a malformed one, `HS-SIGNATURE-INVALID`.
        """
        _require(sha256(signed.statement) == pin, "pin")
        statement = MemberStatement.from_bytes(signed.statement)
        _require(statement.kind == "OPEN" and statement.signer == statement.member, "pin-kind")
        _require(statement.invitation_hash == ZERO32, "pin-kind")
        lead = first_key(signed, statement, slots)
        verify(lead.signing, signed.signature, signed.statement)
        return cls(
            case_tag=statement.case_tag,
            lead=lead.member,
            pin=pin,
            slots=slots,
            chains=MappingProxyType({lead.member: (lead,)}),
            removed=MappingProxyType({}),
            conflicts=frozenset(),
            disputed=frozenset(),
        )

    @property
    def members(self) -> Mapping[bytes, Member]:
        """The newest key of each member that the view knows, whatever it is worth."""
        return {member: chain[-1] for member, chain in self.chains.items()}

    @cached_property
    def standing(self) -> Standing:
        """Up to when each key counts."""
        return Standing(
            slots=self.slots,
            lead=self.lead,
            chains=self.chains,
            removed=self.removed,
            conflicts=self.conflicts,
            disputed=self.disputed,
        )

    @cached_property
    def _by_key(self) -> Mapping[bytes, Member]:
        found: dict[bytes, Member] = {}
        for chain in self.chains.values():
            for key in chain:
                if key.hpke is not None:
                    found.setdefault(key.keys.key_id, key)
        return found

    def applied(self, signed: SignedStatement) -> CaseMembers:
        """The view with one more statement; the same statement again changes nothing.

        A conflict does not raise here: it is recorded, and every look-up of those concerned raises `HS-EQUIVOCATION`.
        Raises `HS-KEY-UNTRUSTED` or `HS-SIGNATURE-INVALID` for what does not chain to the pin, `HS-EQUIVOCATION` for
        a statement by a lead that contradicted itself, `HS-KEY-REPLACED` for a rotation by a key that two others have
        replaced, PayloadRejected.
        """
        # INVARIANT: test_a_statement_that_does_not_chain_to_the_pin_changes_nothing
        statement = MemberStatement.from_bytes(signed.statement)
        if statement.kind == "REPLACE":
            return self._with_replacement(signed, statement)
        _require(statement.kind in {"OPEN", "JOIN", "REMOVE", "ROTATE", "CONFIRM"}, "kind")
        known = self._known(signed, statement)
        if known is not None:
            return known
        # Signatures come before any conflict: an unsigned claim must not be able to put a member in dispute.
        if statement.kind == "ROTATE":
            return self._with_rotation(signed, statement)
        if statement.kind == "CONFIRM":
            return self._with_confirmation(signed, statement)
        voucher = self._signer(signed, statement, frozenset({self.lead}))
        if statement.kind == "REMOVE":
            return self._with_removal(statement)
        return self._with_member(signed, statement, voucher)

    def sender(self, seat_key_id: bytes, at_us: int) -> Member:
        """The member whose keys have this id (32 bytes) and counted at a moment.

        Raises `HS-KEY-UNTRUSTED` (no such key in the case, or nobody vouches for it yet), `HS-EQUIVOCATION` (disputed),
        `HS-KEY-EXPIRED` (outside its time, vouched for by too old a key, or removed by then).
        """
        found = self._by_key.get(seat_key_id)
        if found is None:
            raise HandslagError("HS-KEY-UNTRUSTED", check="seat-key")
        if found.member in self.disputed:
            raise HandslagError("HS-EQUIVOCATION", check="member")
        if self.standing.vouched(found) is None:
            raise HandslagError("HS-KEY-UNTRUSTED", check="unconfirmed")
        if not self.standing.counts(found, at_us) or at_us >= self.removed.get(found.member, at_us + 1):
            raise HandslagError("HS-KEY-EXPIRED")
        return found

    def holder(self, role: str, at_us: int) -> Member:
        """The member to seal to for a role; never one that was removed, whenever the removal takes effect.

        Raises `HS-NO-HOLDER`, `HS-EQUIVOCATION` (disputed), `HS-KEY-EXPIRED` (none of its keys counts at `at_us`).
        """
        # INVARIANT: test_the_brokers_own_key_for_a_role_is_refused
        held = [m for m, chain in self.chains.items() if chain[0].role == role and m not in self.removed]
        if not held:
            raise HandslagError("HS-NO-HOLDER")
        valid = [key for key in (self.newest(member, at_us) for member in held) if key is not None]
        if len(valid) > 1 or any(m in self.disputed for m in ([k.member for k in valid] or held)):
            raise HandslagError("HS-EQUIVOCATION", check="member")
        if not valid:
            raise HandslagError("HS-KEY-EXPIRED")
        return valid[0]

    def seated(self, role: str) -> bytes | None:
        """The id of a role's one member, whether or not any of its keys counts today; None when that is not clear."""
        held = [m for m, chain in self.chains.items() if chain[0].role == role and m not in self.removed]
        return held[0] if len(held) == 1 and held[0] not in self.disputed else None

    def newest(self, member: bytes, at_us: int) -> Member | None:
        """The newest key of a member that counts at a moment, disputes and removal left aside; None without one."""
        keys = self.chains.get(member, ())
        return next((k for k in reversed(keys) if k.hpke is not None and self.standing.counts(k, at_us)), None)

    def waiting(self, signer: bytes) -> tuple[Member, ...]:
        """Newest keys of others that wait for a member's word; removed and disputed ones are left out.

        The lead's word is missing also where a deputy speaks for itself, which ends with the lead's next rotation.
        """
        gone = self.removed.keys() | self.disputed | {signer}
        word = self.standing.by_lead if signer == self.lead else self.standing.vouched
        newest = ((member, key) for member, key in self.members.items() if not key.replacement)  # has its two words
        return tuple(key for member, key in newest if member not in gone and word(key) is None)

    def state(self, key: Member, at_us: int) -> KeyState:
        """What a key is worth at a moment."""
        return self.standing.state(key, at_us)

    def _known(self, signed: SignedStatement, statement: MemberStatement) -> CaseMembers | None:
        """The view when this very statement is in it already, with the HPKE key where that was missing; else None."""
        for key in self.chains.get(statement.member, ()):
            if key.statement != signed.statement:
                continue
            if key.hpke is None and signed.hpke_key is not None:
                _require(sha256(signed.hpke_key) == key.hpke_hash, "hpke-key")
                return self._with_key(replace(key, hpke=PublicKeys(key.signing, signed.hpke_key).hpke))
            return self
        return None

    def _signer(self, signed: SignedStatement, statement: MemberStatement, who: frozenset[bytes]) -> Voucher:
        """(member, seq) of the key that signed for another member; any key of the signer's chain, as old as it may be.

        Of how old a key a word still counts, `standing` decides.
        """
        _require(statement.case_tag == self.case_tag and statement.signer in who, "chain")
        # A lead that was removed vouches for nobody any more, whatever moment it writes into a statement.
        _require(statement.signer not in self.removed, "chain-removed")
        signers = [k for k in self.chains[statement.signer] if _holds(k.signing, signed)]
        _require(bool(signers), "chain-signature")
        _require(any(key.covers(statement.not_before_us) for key in signers), "chain-time")
        return statement.signer, signers[-1].seq

    def _with_removal(self, statement: MemberStatement) -> CaseMembers:
        earliest = min(statement.not_before_us, self.removed.get(statement.member, statement.not_before_us))
        removed = MappingProxyType({**self.removed, statement.member: earliest})
        return _settled(replace(self, removed=removed))

    def _with_member(self, signed: SignedStatement, statement: MemberStatement, voucher: Voucher) -> CaseMembers:
        if self.lead in self.disputed:
            raise HandslagError("HS-EQUIVOCATION", check="lead")
        found = replace(first_key(signed, statement, self.slots), vouchers=frozenset({voucher}))
        if any(key.seq == 0 for key in self.chains.get(found.member, ())):
            return self._in_conflict(found)
        _require(statement.kind == "JOIN" and statement.invitation_hash != ZERO32, "kind")
        self._require_own_keys(found)
        return self._with_key(found)

    def _with_rotation(self, signed: SignedStatement, statement: MemberStatement) -> CaseMembers:
        """A member's next key, signed with the one before; where that was never seen, its CONFIRM must do."""
        _require(statement.case_tag == self.case_tag and statement.signer == statement.member, "chain")
        _require(statement.seq > 0 and statement.invitation_hash == ZERO32, "seq")
        chain = self.chains.get(statement.member, ())
        before = next((key for key in chain if sha256(key.statement) == statement.previous), None)
        if replacing.overruled(chain, before, statement.seq):
            raise HandslagError("HS-KEY-REPLACED")
        found = key_of(signed, statement, self.slots, proven=before is not None)
        if before is not None:
            _require(before.seq + 1 == statement.seq and before.role == statement.role, "seq")
            _require(before.not_before_us <= statement.not_before_us, "validity")
            _require(_holds(before.signing, signed), "rotate-signature")
        else:
            _require(statement.member != self.lead, "chain")
            _require(all(key.seq != statement.seq - 1 and key.role == statement.role for key in chain), "previous")
        self._require_own_keys(found)
        same = next((key for key in chain if key.seq == statement.seq), None)
        if same is None or not (same.proven or same.vouchers):
            return self._with_key(found)
        _require(found.proven, "previous")
        return self._in_conflict(found)

    def _with_replacement(self, signed: SignedStatement, statement: MemberStatement) -> CaseMembers:
        """One more signature under a lost member's new keys; with the second that is needed they are its keys."""
        _require(statement.case_tag == self.case_tag, "chain")
        offer = replacing.offered(self.chains, self.removed, self.slots, signed, statement)
        if {who for who, _seq in offer.vouchers} & self.disputed:
            raise HandslagError("HS-EQUIVOCATION", check="member")
        self._require_own_keys(offer)
        chain = self.chains.get(offer.member, ())
        name = sha256(signed.statement)
        known = next((key for key in chain if key.statement == signed.statement), self.offered.get(name))
        if known is not None and offer.vouchers <= known.vouchers and (known.hpke or not offer.hpke):
            return self
        made = replacing.joined(offer, known)
        if not replacing.enough((who for who, _seq in made.vouchers), self.chains, self.lead, made.member):
            return replace(self, offered=MappingProxyType({**self.offered, name: made}))
        left = MappingProxyType({one: key for one, key in self.offered.items() if one != name})
        grown = replace(self, chains=replacing.taken(self.chains, made), offered=left)
        return _settled(replace(grown, conflicts=replacing.disputes(self.conflicts, grown.chains, made)))

    def _with_confirmation(self, signed: SignedStatement, statement: MemberStatement) -> CaseMembers:
        """The word of the lead or the deputy for one ROTATE that is in the view."""
        if self.lead in self.disputed:
            raise HandslagError("HS-EQUIVOCATION", check="lead")
        voucher = self._signer(signed, statement, frozenset({self.lead}) | self.standing.deputies)
        _require(voucher[0] != statement.member, "chain")
        chain = self.chains.get(statement.member, ())
        found = next((key for key in chain if sha256(key.statement) == statement.previous), None)
        if found is None:
            raise HandslagError("HS-KEY-UNTRUSTED", check="confirmed")
        said = (statement.role, statement.seq, statement.signing_key, statement.hpke_key_hash)
        _require(said == (found.role, found.seq, found.signing, found.hpke_hash), "confirmed")
        if voucher in found.vouchers:
            return self
        return self._with_key(replace(found, vouchers=found.vouchers | {voucher}))

    def _require_own_keys(self, found: Member) -> None:
        """Nobody proves possession of keys it takes: those of another key would speak in two names or times."""
        others = (key for chain in self.chains.values() for key in chain if key.statement != found.statement)
        clash = any(o.signing == found.signing or o.hpke_hash == found.hpke_hash for o in others)
        _require(not clash, "key-of-another")

    def _in_conflict(self, found: Member) -> CaseMembers:
        chain = self.chains[found.member]
        both = tuple(sorted((*chain, found), key=lambda key: key.seq))
        chains = MappingProxyType({**self.chains, found.member: both})
        return _settled(replace(self, chains=chains, conflicts=self.conflicts | {(found.member, found.seq)}))

    def _with_key(self, key: Member) -> CaseMembers:
        here = (other for other in self.chains.get(key.member, ()) if other.statement != key.statement)
        kept = [other for other in here if other.seq != key.seq or other.proven or other.vouchers]
        chain = tuple(sorted([*kept, key], key=lambda each: each.seq))
        return _settled(replace(self, chains=MappingProxyType({**self.chains, key.member: chain})))


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
        signing_key=found.signing,
        hpke_key_hash=found.hpke_hash,
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


def _settled(view: CaseMembers) -> CaseMembers:
    """The view with its disputes worked out anew; a removal ends a dispute about a role, never one about a seq."""
    disputed = {member for member, _seq in view.conflicts}
    active = [chain for member, chain in view.chains.items() if member not in view.removed]
    for index, one in enumerate(active):
        for other in active[index + 1 :]:
            together = one[0].not_before_us <= _end(other) and other[0].not_before_us <= _end(one)
            if one[0].role == other[0].role and together:
                disputed |= {one[0].member, other[0].member}
    return replace(view, disputed=frozenset(disputed))


def _end(chain: tuple[Member, ...]) -> int:
    return max(key.not_after_us for key in chain)


def _require(holds: bool, check: str) -> None:
    if not holds:
        raise HandslagError("HS-KEY-UNTRUSTED", check=check)
