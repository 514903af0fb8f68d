"""REPLACE: new keys for a member whose own are lost, in the words of that member, signed by two others; pure.

The lost member draws the statement and cannot sign it. Two other members sign those very bytes, each for itself, after
a person at each agency compared their fingerprint by phone. The rule, the same in broker and connectors: two members,
of two authorities; one of them is the lead or its deputy, and where the lead itself is lost, the deputy. Whose
signature it is stands nowhere: it is found among the keys of the members. What such a key is worth says `standing.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from connectors.keys import PublicKeys, SeatKeyPair, verify
from connectors.slots import Slots
from connectors.standing import DEPUTY, Member, Voucher, key_of
from schemas.checks import sha256
from schemas.codes import table
from schemas.errors import HandslagError
from schemas.identifiers import ZERO32
from schemas.statements import MemberStatement, SignedStatement

SIGNERS = 2
Chains = Mapping[bytes, tuple[Member, ...]]


def statement_of(*, case_tag: bytes, newest: Member, keys: PublicKeys, slots: Slots, at_us: int) -> bytes:
    """The encoded REPLACE of a lost member whose newest known key is `newest`, for new `keys` from `at_us` on.

    Like a rotation it gives the keys this slot and the next; then they rotate and the lead confirms them.
    """
    since = max(at_us, newest.not_before_us)
    return MemberStatement(
        case_tag=case_tag,
        member=newest.member,
        role=newest.role,
        kind="REPLACE",
        seq=newest.seq + 1,
        signing_key=keys.signing,
        hpke_key_hash=keys.hpke_hash,
        not_before_us=since,
        not_after_us=slots.start(slots.number(since) + 2) - 1,
        previous=sha256(newest.statement),
        invitation_hash=ZERO32,
        signer=newest.member,
    ).to_bytes()


def countersigned_by(statement: bytes, hpke_key: bytes, keys: SeatKeyPair) -> SignedStatement:
    """The statement with one other member's signature; worth nothing alone."""
    return SignedStatement(statement=statement, signature=keys.sign(statement), hpke_key=hpke_key)


def enough(signers: Iterable[bytes], chains: Chains, lead: bytes, member: bytes) -> bool:
    """Whether these members together may replace the keys of `member`."""
    # INVARIANT: test_one_signature_replaces_nothing
    roles = {who: chains[who][0].role for who in signers if who != member and who in chains}
    speaks = any(who == lead or role == DEPUTY for who, role in roles.items())
    return speaks and len({table()["role"][role]["authority"] for role in roles.values()}) >= SIGNERS


def may_sign(chains: Chains, lead: bytes, member: bytes, removed: Iterable[bytes]) -> bool:
    """Whether the members that are here could do it at all: else the member is removed and its unit invited anew."""
    return enough(chains.keys() - set(removed) - {member}, chains, lead, member)


def offered(
    chains: Chains, removed: Iterable[bytes], slots: Slots, signed: SignedStatement, statement: MemberStatement
) -> Member:
    """The key of a REPLACE with its one signer found; raises `HS-KEY-UNTRUSTED` for what does not hold.

    `check` says what: `replace-own` (in its own name, as the old key would), `seq`, `previous`, `replace-signature`
    (nobody of this case signed), `chain-removed`, `chain-time`.
    """
    _require(statement.signer == statement.member and statement.invitation_hash == ZERO32, "chain")
    _require(statement.seq > 0, "seq")
    _require(statement.member not in set(removed), "chain-removed")
    chain = chains.get(statement.member, ())
    before = next((key for key in chain if sha256(key.statement) == statement.previous), None)
    if before is not None:
        _require(before.seq + 1 == statement.seq and before.role == statement.role, "seq")
        _require(before.not_before_us <= statement.not_before_us, "validity")
    else:
        _require(all(key.seq != statement.seq - 1 and key.role == statement.role for key in chain), "previous")
    _require(not any(holds(key.signing, signed) for key in chain), "replace-own")
    voucher, signer = _signer(chains, signed, statement)
    _require(voucher[0] not in set(removed), "chain-removed")
    _require(signer.covers(statement.not_before_us), "chain-time")
    made = key_of(signed, statement, slots, proven=False)
    return replace(made, vouchers=frozenset({voucher}), replacement=True)


def _signer(chains: Chains, signed: SignedStatement, statement: MemberStatement) -> tuple[Voucher, Member]:
    for member, chain in chains.items():
        for key in reversed(chain):
            if member != statement.member and holds(key.signing, signed):
                return (member, key.seq), key
    raise HandslagError("HS-KEY-UNTRUSTED", check="replace-signature")


def joined(offer: Member, before: Member | None) -> Member:
    """Two signatures of one statement as one key."""
    if before is None:
        return offer
    return replace(before, vouchers=before.vouchers | offer.vouchers, hpke=before.hpke or offer.hpke)


def taken(chains: Chains, key: Member) -> Chains:
    """The chains with a replacement in its place: what the lost keys began from its number on is gone.

    Whoever has the old signing key can make rotations with it, and must not dispute the new one by them.
    """
    # INVARIANT: test_a_rotation_by_the_lost_key_changes_nothing
    chain = [other for other in chains.get(key.member, ()) if other.statement != key.statement]
    good = descended([*chain, key])
    kept = [other for other in chain if other.seq < key.seq or other.statement in good]
    whole = tuple(sorted([*kept, key], key=lambda each: each.seq))
    return MappingProxyType({**chains, key.member: whole})


def disputes(conflicts: Iterable[Voucher], chains: Chains, key: Member) -> frozenset[Voucher]:
    """Conflicts after a replacement: what the lost keys disputed is over; two replacements of one number are one."""
    numbers = [each.seq for each in chains[key.member] if each.replacement]
    left = {one for one in conflicts if one[0] != key.member or one[1] < key.seq}
    return frozenset(left | {(key.member, seq) for seq in numbers if numbers.count(seq) > 1})


def descended(chain: Iterable[Member]) -> frozenset[bytes]:
    """The statements of replacements, and of the rotations that lead on from them."""
    ordered = sorted(chain, key=lambda each: each.seq)
    found = {key.statement for key in ordered if key.replacement}
    hashes = {sha256(one) for one in found}
    for key in ordered:
        if key.previous in hashes:
            found.add(key.statement)
            hashes.add(sha256(key.statement))
    return frozenset(found)


def overruled(chain: Iterable[Member], before: Member | None, seq: int) -> bool:
    """Whether a rotation number `seq` that follows `before` comes from a key that was replaced."""
    ones = list(chain)
    newest = max((key.seq for key in ones if key.replacement), default=-1)
    return before is not None and seq >= newest >= 0 and before.statement not in descended(ones)


def holds(key: bytes, signed: SignedStatement) -> bool:
    """Whether a signing key (32 bytes) signed a statement."""
    try:
        verify(key, signed.signature, signed.statement)
    except HandslagError:
        return False
    return True


def _require(holds: bool, check: str) -> None:
    if not holds:
        raise HandslagError("HS-KEY-UNTRUSTED", check=check)
