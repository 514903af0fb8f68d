"""The statements of a rotation: a member's next key, and the word of the lead or deputy for it; pure."""

from __future__ import annotations

from connectors.keys import PublicKeys, SeatKeyPair
from connectors.membership import CaseMembers
from connectors.standing import Member
from schemas.checks import sha256
from schemas.errors import HandslagError
from schemas.identifiers import ZERO32
from schemas.statements import MemberStatement, SignedStatement


def rotate_statement(
    *, members: CaseMembers, member: bytes, old: SeatKeyPair, new: PublicKeys, at_us: int
) -> SignedStatement:
    """The member's ROTATE to a new pair of keys from `at_us` on, signed with the pair before.

    The new key counts, once confirmed, in the slot of `at_us` and the next, and no statement gives it longer. Raises
    `HS-SEAT-UNKNOWN` for no such member, `HS-KEY-UNTRUSTED` when `old` is not the newest key of the member.
    """
    newest = members.members.get(member)
    if newest is None:
        raise HandslagError("HS-SEAT-UNKNOWN")
    if newest.signing != old.public.signing:
        raise HandslagError("HS-KEY-UNTRUSTED", check="rotate-signature")
    # A clock set back must not make a key that begins before the one it follows.
    since = max(at_us, newest.not_before_us)
    data = MemberStatement(
        case_tag=members.case_tag,
        member=member,
        role=newest.role,
        kind="ROTATE",
        seq=newest.seq + 1,
        signing_key=new.signing,
        hpke_key_hash=new.hpke_hash,
        not_before_us=since,
        not_after_us=members.slots.start(members.slots.number(since) + 2) - 1,
        previous=sha256(newest.statement),
        invitation_hash=ZERO32,
        signer=member,
    ).to_bytes()
    return SignedStatement(statement=data, signature=old.sign(data), hpke_key=new.hpke)


def confirm_statement(
    *, members: CaseMembers, signer: bytes, keys: SeatKeyPair, rotated: Member, at_us: int
) -> SignedStatement:
    """The CONFIRM of a member's ROTATE by the lead or the deputy (`signer`, with its current `keys`)."""
    data = MemberStatement(
        case_tag=members.case_tag,
        member=rotated.member,
        role=rotated.role,
        kind="CONFIRM",
        seq=rotated.seq,
        signing_key=rotated.signing,
        hpke_key_hash=rotated.hpke_hash,
        not_before_us=at_us,
        not_after_us=max(at_us, rotated.not_after_us),
        previous=sha256(rotated.statement),
        invitation_hash=ZERO32,
        signer=signer,
    ).to_bytes()
    return SignedStatement(statement=data, signature=keys.sign(data), hpke_key=None)
