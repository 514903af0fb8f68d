"""Inviting a unit into a case, accepting, and the lead's check of an acceptance (protocol, "Invitation").

The invitation is a sealed event of type `seat_invited` to one role, wrapped to the invited unit's own key, with an
Invitation record that the inviter's seat and unit both sign. The invitee pins the lead statement inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors import opening
from connectors.keys import PublicKeys, SeatKeyPair, UnitKeyPair, verify
from connectors.membership import CaseMembers
from connectors.opening import Keyring, MaySend, OpenedEvent
from connectors.sealing import SealedEvent
from connectors.slots import WEEKLY, Slots
from connectors.trust import Directory
from schemas import limits
from schemas.checks import sha256
from schemas.codes import base_role
from schemas.envelope import Core
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16
from schemas.inbox import InvitationDelivery
from schemas.statements import Acceptance, Invitation, SignedStatement

EVENT_TYPE = "seat_invited"


@dataclass(frozen=True, slots=True)
class SignedInvitation:
    """An encoded Invitation with the signatures (64 bytes) of the inviter's seat and unit over it."""

    invitation: bytes
    seat_signature: bytes
    unit_signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedInvitation:
    """An invitation that passed every check, its event, and the case as its lead's statement pins it."""

    invitation: Invitation
    invitation_hash: bytes
    event: OpenedEvent
    members: CaseMembers


def invite(
    *,
    sealed: SealedEvent,
    invitation_id: bytes,
    members: CaseMembers,
    inviter: bytes,
    inviter_unit: str,
    unit: str,
    created_at_us: int,
    expires_at_us: int,
    seat: SeatKeyPair,
    keys: UnitKeyPair,
) -> SignedInvitation:
    """Sign an invitation over a sealed `seat_invited` event; its one recipient role is the role offered.

    Raises HandslagError `HS-INVITATION-INVALID` for an event that is no invitation to exactly one role.
    """
    core = Core.from_bytes(sealed.core)
    if core.event_type != EVENT_TYPE or len(sealed.roles) != 1 or sealed.case_tag != members.case_tag:
        raise HandslagError("HS-INVITATION-INVALID", check="event")
    data = Invitation(
        invitation_id=invitation_id,
        case_tag=members.case_tag,
        inviter=inviter,
        inviter_unit=inviter_unit,
        unit=unit,
        role=sealed.roles[0].role,
        core_hash=sha256(sealed.core),
        digests_hash=sha256(sealed.digests),
        lead_statement_hash=members.pin,
        created_at_us=created_at_us,
        expires_at_us=expires_at_us,
    ).to_bytes()
    return SignedInvitation(data, seat.sign(data), keys.sign(data))


def open_invitation(
    item: InvitationDelivery,
    *,
    unit: str,
    keys: Mapping[bytes, UnitKeyPair],
    directory: Directory,
    may_send: MaySend,
    now_us: int,
    slots: Slots = WEEKLY,
) -> OpenedInvitation:
    """Check and open an invitation to this unit; `keys` are its key pairs by key id.

    Order: the invitation's own terms, the inviting unit's signature, the sealed event as `opening.open_delivery`
    checks it, the lead statement against the invitation's pin, the inviter's seat and its two signatures. Raises
    `HS-INVITATION-INVALID` (another unit, lapsed, another event, role not the unit's) and what `open_delivery`,
    `CaseMembers` and `Directory` raise.
    """
    # INVARIANT: test_every_check_of_an_invitation_refuses
    invitation = Invitation.from_bytes(item.invitation)
    _check_terms(invitation, unit, directory, now_us)
    inviting = directory.unit(invitation.inviter_unit, invitation.created_at_us)
    verify(inviting.signing_key, item.unit_signature, item.invitation)
    delivery = item.delivery
    opening.check_sizes(delivery)
    core = opening.core_of(delivery)
    _require(core.event_type == EVENT_TYPE, "event")
    opening.check_sent_at(core, now_us)
    hashes = (sha256(delivery.core), sha256(delivery.digests))
    _require(hashes == (invitation.core_hash, invitation.digests_hash), "event")
    keyring = Keyring(seat_id=ZERO16, role=invitation.role, case_tag=invitation.case_tag, keys=keys)
    w = opening.open_w(delivery, core, keyring)
    sections = opening.open_sections(delivery, core, invitation.case_tag, w, None)
    members = _pinned_case(invitation, {k: v for section in sections for k, v in section.fields.items()}, slots)
    sender = members.sender(core.seat_key_id, core.sent_at_us)
    _require(sender.member == invitation.inviter and base_role(sender.role) in inviting.roles, "inviter")
    if not may_send(sender.role, core.event_type):
        raise HandslagError("HS-SENDER-NOT-ALLOWED")
    opening.check_signature(delivery, sender)
    sender.keys.verify(item.seat_signature, item.invitation)
    remembered = opening.remembered_of(delivery, sections, None)
    event = OpenedEvent(core=core, sender=sender, sections=sections, remembered=remembered)
    return OpenedInvitation(
        invitation=invitation, invitation_hash=sha256(item.invitation), event=event, members=members
    )


def accept(opened: OpenedInvitation, *, member: bytes, seat: PublicKeys, keys: UnitKeyPair) -> tuple[bytes, bytes]:
    """Encoded Acceptance with these seat keys, and the unit's signature over it; `member` is 16 fresh random bytes."""
    data = Acceptance(
        invitation_hash=opened.invitation_hash,
        unit=opened.invitation.unit,
        role=opened.invitation.role,
        member=member,
        signing_key=seat.signing,
        hpke_key_hash=seat.hpke_hash,
    ).to_bytes()
    return data, keys.sign(data)


def checked_acceptance(
    data: bytes, unit_signature: bytes, hpke_key: bytes, *, invitation: bytes, directory: Directory, now_us: int
) -> Acceptance:
    """The acceptance, when the invited unit itself signed it for this encoded Invitation, role and keys, in time.

    What the lead's connector checks before it signs a JOIN. Raises `HS-INVITATION-INVALID`, `HS-SIGNATURE-INVALID`,
    `HS-KEY-UNTRUSTED` and what `Directory.unit` raises.
    """
    # INVARIANT: test_the_lead_joins_only_what_the_invited_unit_signed
    invited, accepted = Invitation.from_bytes(invitation), Acceptance.from_bytes(data)
    _require(accepted.invitation_hash == sha256(invitation), "invitation")
    _require((accepted.unit, accepted.role) == (invited.unit, invited.role), "invitation")
    _require(now_us <= invited.expires_at_us, "expired")
    entry = directory.unit(invited.unit, now_us)
    _require(base_role(invited.role) in entry.roles, "role")
    verify(entry.signing_key, unit_signature, data)
    if PublicKeys(accepted.signing_key, hpke_key).hpke_hash != accepted.hpke_key_hash:
        raise HandslagError("HS-KEY-UNTRUSTED", check="hpke-key")
    return accepted


def own_join(members: CaseMembers, join: SignedStatement, accepted: Acceptance) -> CaseMembers:
    """The case with the invitee's own JOIN in it, when it says exactly what the invitee accepted.

    Raises `HS-KEY-UNTRUSTED` when member, role, keys or invitation differ, and what `CaseMembers.applied` raises.
    """
    view = members.applied(join)
    found = next((key for key in view.chains.get(accepted.member, ()) if key.statement == join.statement), None)
    if found is None:
        raise HandslagError("HS-KEY-UNTRUSTED", check="own-join")
    said = (found.role, found.signing, found.hpke_hash, found.invitation_hash)
    if said != (accepted.role, accepted.signing_key, accepted.hpke_key_hash, accepted.invitation_hash):
        raise HandslagError("HS-KEY-UNTRUSTED", check="own-join")
    return view


def _check_terms(invitation: Invitation, unit: str, directory: Directory, now_us: int) -> None:
    _require(invitation.unit == unit, "unit")
    _require(invitation.created_at_us <= now_us + limits.SENT_AHEAD_US, "expired")
    _require(invitation.created_at_us >= now_us - limits.SENT_BACK_US, "expired")
    _require(now_us <= invitation.expires_at_us, "expired")
    _require(base_role(invitation.role) in directory.unit(unit, now_us).roles, "role")


def _pinned_case(invitation: Invitation, fields: Mapping[str, Any], slots: Slots) -> CaseMembers:
    statements = [SignedStatement.from_bytes(data) for data in fields.get("lead_statements", ())]
    _require(bool(statements), "lead-statement")
    members = CaseMembers.pinned(statements[0], invitation.lead_statement_hash, slots)
    _require(members.case_tag == invitation.case_tag, "lead-statement")
    for statement in statements[1:]:
        members = members.applied(statement)
    return members


def _require(holds: bool, check: str) -> None:
    if not holds:
        raise HandslagError("HS-INVITATION-INVALID", check=check)
