"""Commands about cases, seats and invitations, executed against the broker; each may be repeated without harm.

A command's value is its JSON plus `drawn`: what was drawn at random for it (keys, ids, signed bytes), kept before the
first call so that a repetition sends the same bytes under the same call id.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from connectors import identity, inviting, keeping, ledgers, membership, reports, sealing
from connectors.context import Context
from connectors.identity import Seat
from connectors.keys import SeatKeyPair
from connectors.sealing import Given, SealedEvent, SealPlan
from connectors.spool.commands import Waiting
from connectors.standing import DEPUTY
from schemas import limits, projection
from schemas.calls import (
    AcceptRequest,
    InviteAnswer,
    InviteRequest,
    OpenRequest,
    SeatAnswer,
    StateRequest,
)
from schemas.checks import sha256
from schemas.codes import SeatState, base_role
from schemas.envelope import Submission
from schemas.errors import HandslagError
from schemas.identifiers import shown, uuid7
from schemas.inbox import InvitationDelivery
from schemas.statements import Acceptance, Invitation, MemberStatement, SignedStatement

KEY_LIFE_US = 366 * 24 * 3600 * 1_000_000  # until seats rotate their keys; a case that lasts longer is opened anew
INVITATION_LIFE_US = 14 * 24 * 3600 * 1_000_000
_CALL_LIMIT = limits.SUBMISSION * 2


def drawn(command: Waiting) -> dict[str, Any]:
    """What was drawn for the command; an empty dictionary the first time."""
    found = command.value.get("drawn", {})
    assert isinstance(found, dict)
    return found


def keep(ctx: Context, command: Waiting, values: dict[str, Any]) -> dict[str, Any]:
    """Keep what was drawn, before it is used."""
    command.value["drawn"] = values
    ctx.spool.commands.prepare(command.command_id, command.value)
    return values


async def open_case(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Open a case: own keys, own OPEN statement; the seat is active when the broker answered."""
    ref, role = command.value["ref"], command.value["role"]
    made, slots = drawn(command), ctx.settings.slots
    if not made:
        keys, tag, member = SeatKeyPair.generate(), ctx.random(16), ctx.random(16)
        statement = membership.open_statement(
            case_tag=tag,
            member=member,
            role=role,
            keys=keys,
            # Back for clocks that differ, and not into another slot: the lead's key is of the slot that this names.
            not_before_us=max(ctx.now() - limits.SENT_AHEAD_US, slots.start(slots.number(ctx.now()))),
            not_after_us=ctx.now() + KEY_LIFE_US,
        )
        seat = Seat(
            ref=ref,
            seat_id=None,
            state=identity.OPENING,
            role=role,
            case_tag=tag,
            member=member,
            private=keys.private_bytes(),
            pin=sha256(statement.statement),
            lead_statement=statement.to_bytes(),
            acceptance=b"",
            units={member.hex(): ctx.settings.unit},
        )
        with ctx.spool.transaction():
            ctx.identities.add(seat)
            made = keep(ctx, command, {"call_id": ctx.random(16).hex()})
    await keeping.kept(ctx)
    seat = ctx.identities.get(ref)
    call_id = bytes.fromhex(made["call_id"])
    statement = SignedStatement.from_bytes(seat.lead_statement)
    request = OpenRequest(call_id=call_id, unit_role=role, statement=statement)
    answer = await ctx.kept_call("/v1/cases:open", call_id, request, SeatAnswer)
    with ctx.spool.transaction():
        ctx.identities.update(replace(seat, seat_id=answer.seat_id, state=answer.state))
        ctx.spool.memory.want_proof(answer.leaf_hash, "seat", ctx.now(), answer.seat_id)
    return {"seat": shown(answer.seat_id), "state": answer.state}


async def invite(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Invite a unit: sealed to its own key, checked by this sender and by the broker like anything else."""
    seat = ctx.identities.get(command.value["ref"])
    made, head = drawn(command), ctx.spool.memory.head(seat.sid)[1].hex()
    if ctx.spool.commands.overtaken(command):
        # Not one byte more leaves, also of what may have left before: the withdrawal's answer names what it stopped.
        raise HandslagError("HS-OVERTAKEN")
    if made.get("head") != head:  # decided on another ledger than today's: decide again before anything leaves
        made = keep(ctx, command, {**_invitation(ctx, seat, command.value), "head": head})
    call_id, invitation = bytes.fromhex(made["call_id"]), bytes.fromhex(made["invitation"])
    request = InviteRequest(
        call_id=call_id,
        seat_id=seat.sid,
        invitation=invitation,
        seat_signature=bytes.fromhex(made["seat_signature"]),
        unit_signature=bytes.fromhex(made["unit_signature"]),
        submission=Submission.from_bytes(bytes.fromhex(made["submission"]), _CALL_LIMIT),
    )
    invitation_id = Invitation.from_bytes(invitation).invitation_id
    # Known before the call: the acceptance may arrive before the answer does.
    ctx.spool.memory.add_invitation(invitation_id, {"ref": seat.ref, "invitation": made["invitation"]}, "SENT")
    answer = await ctx.kept_call("/v1/seats:invite", call_id, request, InviteAnswer)
    told = answer.receipt
    ctx.spool.memory.want_proof(told.leaf_hash, "invitation", ctx.now(), seat.sid)
    if told.refused_code is not None or not any(s.released for role in told.roles for s in role.sections):
        ctx.spool.memory.set_invitation(invitation_id, "LAPSED")
    return {"invitation": shown(invitation_id), "receipt": told}


def _invitation(ctx: Context, seat: Seat, value: dict[str, Any]) -> dict[str, Any]:
    unit, role, now = value["unit"], value["role"], ctx.now()
    _check_inviter(ctx, seat, role, value)
    keys = ctx.units().keys(unit, now)
    if base_role(role) not in ctx.units().unit(unit, now).roles:
        raise HandslagError("HS-INVITATION-INVALID", field="role")
    person = {f"person_{n}" if n == "name" else n: v for n, v in value["person"].items() if v is not None}
    data = {**person, "inviter_contact": value["contact"], "lead_statements": _chain(ctx, seat)}
    # A section exists when one of its fields is given; IC01 is mandatory even when the person is not named yet.
    sections = projection.split(inviting.EVENT_TYPE, {"person_name": None, **data})
    plan = SealPlan(
        case_tag=seat.case_tag,
        seat_id=seat.sid,
        event_id=uuid7(now, ctx.random(10)),
        event_type=inviting.EVENT_TYPE,
        occurred_at_us=now,
        sent_at_us=now,
        valid_until_us=now + INVITATION_LIFE_US,
        purpose="INTAKE",
        action="DISCLOSE",
        statement_kind="FACT",
        roles=(role,),
        sections=sections,
        is_minor=False,
        protected_handling=False,
        regime=ctx.settings.regime,
    )
    decision = ledgers.decided(
        ctx,
        seat,
        ledgers.invited(role, unit),
        event_type=inviting.EVENT_TYPE,
        categories=sorted(sections),
        purpose="INTAKE",
        action="DISCLOSE",
    )
    released = frozenset(section.category for section in decision.sections if section.released)
    sealed = sealing.seal_event(plan, seat.keys, ctx.random)
    submission = sealing.attempt(sealed, 1, ctx.rules.hash32, None, {role: Given(keys, released)})
    return _signed(ctx, seat, sealed, submission, unit)


def _check_inviter(ctx: Context, seat: Seat, role: str, value: dict[str, Any]) -> None:
    """Only the lead can state the JOIN that must follow; for the police's word about who takes over it does.

    Not a lead whose keys were replaced: the one invited could not verify who vouched for them without being shown who
    sits in the case.
    """
    members = ctx.members(seat)
    leads, over = members.lead == seat.chain_id, role == "social_services_lead_next"
    replaced = any(key.replacement for key in members.chains[members.lead])
    if replaced or (not leads and not (over and seat.role == DEPUTY)):
        raise HandslagError("HS-NOT-YET", field="invite")
    if leads and over and not value.get("officer"):
        raise HandslagError("HS-OFFICER-NOT-NAMED")  # `handslag connector relocation invite`, by a named officer


def _chain(ctx: Context, seat: Seat) -> list[bytes]:
    """The statements by which an invitee knows its inviter: the lead's, and the inviter's own where that is another."""
    own = ctx.members(seat).chains.get(seat.chain_id, ())
    if ctx.members(seat).lead == seat.chain_id:
        return _lead_chain(ctx, seat)
    kept = map(SignedStatement.from_bytes, ctx.spool.memory.statements(ctx.identities.case_handle(seat.case_tag)))
    lead, sent = ctx.members(seat).lead, [seat.lead_statement]
    for one in kept:
        statement = MemberStatement.from_bytes(one.statement)
        if statement.member == seat.chain_id or (statement.member == lead and statement.kind == "ROTATE"):
            old = statement.kind == "ROTATE" and statement.seq != own[-1].seq
            sent.append((replace(one, hpke_key=None) if old else one).to_bytes())
    return sent


def _lead_chain(ctx: Context, seat: Seat) -> list[bytes]:
    """The lead's statements from its OPEN to today; of the HPKE keys between only the newest: it signed this."""
    newer = lead_rotations(ctx, seat)
    sent = [replace(one, hpke_key=None) for one in newer[:-1]] + newer[-1:]
    return [seat.lead_statement, *(one.to_bytes() for one in sent)]


def lead_rotations(ctx: Context, seat: Seat) -> list[SignedStatement]:
    """The lead's ROTATEs that this seat has verified, oldest first."""
    members = ctx.members(seat)
    kept = ctx.spool.memory.statements(ctx.identities.case_handle(seat.case_tag))
    held = {one.statement: one for one in map(SignedStatement.from_bytes, kept)}
    return [held[key.statement] for key in members.chains[members.lead][1:]]


def _signed(ctx: Context, seat: Seat, sealed: SealedEvent, submission: Submission, unit: str) -> dict[str, Any]:
    signed = inviting.invite(
        sealed=sealed,
        invitation_id=ctx.random(16),
        members=ctx.members(seat),
        inviter=seat.chain_id,
        inviter_unit=ctx.settings.unit,
        unit=unit,
        created_at_us=ctx.now(),
        expires_at_us=ctx.now() + INVITATION_LIFE_US,
        seat=seat.keys,
        keys=ctx.unit_keys,
    )
    return {
        "call_id": ctx.random(16).hex(),
        "invitation": signed.invitation.hex(),
        "seat_signature": signed.seat_signature.hex(),
        "unit_signature": signed.unit_signature.hex(),
        "submission": submission.to_bytes().hex(),
    }


def opened_invitation(ctx: Context, item: InvitationDelivery) -> inviting.OpenedInvitation:
    """Every check of an invitation to this unit; raises as `inviting.open_invitation`."""
    role = Invitation.from_bytes(item.invitation).role
    return inviting.open_invitation(
        item,
        unit=ctx.settings.unit,
        keys={ctx.unit_keys.key_id: ctx.unit_keys},
        directory=ctx.units(),
        may_send=ctx.may_send(role),
        now_us=ctx.now(),
        slots=ctx.settings.slots,
    )


async def accept(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Accept an invitation: fresh seat keys, signed for by the unit. The seat waits for the lead's JOIN."""
    ref = command.value["ref"]
    invitation_id = bytes.fromhex(command.value["invitation"].replace("-", ""))
    found = ctx.spool.memory.invitation(invitation_id)
    if found is None or found[0] not in {"OFFERED", "ACCEPTED"}:
        raise HandslagError("HS-INVITATION-INVALID", field="invitation")
    made = drawn(command)
    if not made:
        opened = opened_invitation(ctx, InvitationDelivery.from_bytes(bytes.fromhex(found[1]["item"]), _CALL_LIMIT))
        keys, member = SeatKeyPair.generate(), ctx.random(16)
        acceptance, signature = inviting.accept(opened, member=member, seat=keys.public, keys=ctx.unit_keys)
        seat = Seat(
            ref=ref,
            seat_id=None,
            state=identity.OPENING,
            role=opened.invitation.role,
            case_tag=opened.invitation.case_tag,
            member=member,
            private=keys.private_bytes(),
            pin=opened.members.pin,
            lead_statement=opened.event.merged["lead_statements"][0],
            acceptance=acceptance,
            units={opened.invitation.inviter.hex(): opened.invitation.inviter_unit, member.hex(): ctx.settings.unit},
        )
        with ctx.spool.transaction():
            ctx.identities.add(seat)
            made = keep(ctx, command, {"call_id": ctx.random(16).hex(), "signature": signature.hex()})
    await keeping.kept(ctx)
    seat = ctx.identities.get(ref)
    call_id = bytes.fromhex(made["call_id"])
    request = AcceptRequest(
        call_id=call_id,
        invitation_id=invitation_id,
        acceptance=seat.acceptance,
        unit_signature=bytes.fromhex(made["signature"]),
        hpke_key=seat.keys.public.hpke,
    )
    answer = await ctx.kept_call("/v1/seats:accept", call_id, request, SeatAnswer)
    with ctx.spool.transaction():
        # ACTIVE is nobody's word but the lead's: the statement makes it so, not this answer.
        ctx.identities.update(replace(seat, seat_id=answer.seat_id, state=SeatState.ACCEPTED))
        ctx.spool.memory.set_invitation(invitation_id, "ACCEPTED")
        ctx.spool.memory.want_proof(answer.leaf_hash, "seat", ctx.now(), answer.seat_id)
    return {"seat": shown(answer.seat_id), "state": SeatState.ACCEPTED.value}


async def state(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Post a statement the lead signed: JOIN (after an acceptance was checked) or REMOVE."""
    seat = ctx.identities.get(command.value["ref"])
    made = drawn(command)
    if not made:
        members = ctx.members(seat)
        if members.lead != seat.chain_id:
            raise HandslagError("HS-NOT-YET", field="remove")
        member = members.holder(command.value["role"], ctx.now()).member
        statement = membership.remove_statement(members=members, lead=seat.keys, member=member, at_us=ctx.now())
        with ctx.spool.transaction():
            made = keep(ctx, command, {"call_id": ctx.random(16).hex(), "statement": statement.to_bytes().hex()})
            add_statement(ctx, seat, statement)  # counts here at once, whatever the broker answers
    call_id, signed = bytes.fromhex(made["call_id"]), SignedStatement.from_bytes(bytes.fromhex(made["statement"]))
    request = StateRequest(call_id=call_id, seat_id=seat.sid, statement=signed)
    answer = await ctx.kept_call("/v1/seats:state", call_id, request, SeatAnswer)
    with ctx.spool.transaction():
        ctx.spool.memory.want_proof(answer.leaf_hash, "statement", ctx.now(), seat.sid)
        add_statement(ctx, seat, signed)
        if "unit" in made:
            current = ctx.identities.get(seat.ref)
            ctx.identities.update(replace(current, units={**current.units, made["member"]: made["unit"]}))
    return {"role": command.value["role"], "state": answer.state}


def add_statement(ctx: Context, seat: Seat, signed: SignedStatement) -> None:
    """Keep a statement that chains to the pin; raises as `CaseMembers.applied` and keeps nothing else."""
    view = ctx.members(seat)
    grown = view.applied(signed)
    if grown is view:
        return
    data = signed.to_bytes()
    ctx.spool.memory.add_statement(ctx.identities.case_handle(seat.case_tag), sha256(data), data)
    for left in grown.removed.keys() - view.removed.keys():
        if left in grown.members:
            ctx.identities.left(seat.ref, grown.members[left].role)
    disputed = grown.disputed - view.disputed
    if disputed:
        # Only a lead, or whoever has its key, can make both: a person must look, whatever the broker says.
        # INVARIANT: test_two_statements_of_one_number_raise_the_alarm
        roles = sorted({key.role for member in disputed for key in grown.chains[member]})
        reports.alarm(ctx, HandslagError("HS-EQUIVOCATION"), sha256(data)[:16].hex(), ref=seat.ref, roles=roles)


def accepted_invitation(
    ctx: Context, seat: Seat, acceptance: bytes, unit_signature: bytes, hpke_key: bytes
) -> tuple[bytes, Acceptance] | None:
    """The id of this seat's invitation that an acceptance answers, and the acceptance, checked against the unit.

    None for a second copy. Raises what `inviting.checked_acceptance` raises.
    """
    wanted = Acceptance.from_bytes(acceptance).invitation_hash
    for invitation_id, value in ctx.spool.memory.invitations("SENT"):
        invitation = bytes.fromhex(value["invitation"])
        if sha256(invitation) != wanted or value["ref"] != seat.ref:
            continue
        checked = inviting.checked_acceptance(
            acceptance, unit_signature, hpke_key, invitation=invitation, directory=ctx.units(), now_us=ctx.now()
        )
        return invitation_id, checked
    return None


def queue_join(ctx: Context, seat: Seat, invitation_id: bytes, checked: Acceptance, hpke_key: bytes) -> None:
    """The lead's side of an acceptance that was checked: sign the JOIN, queue its posting."""
    members = ctx.members(seat)
    statement = membership.join_statement(
        members=members,
        lead=seat.keys,
        acceptance=checked,
        hpke_key=hpke_key,
        not_before_us=max(ctx.now() - limits.SENT_AHEAD_US, members.members[members.lead].not_before_us),
        not_after_us=ctx.now() + KEY_LIFE_US,
    )
    made = {
        "call_id": ctx.random(16).hex(),
        "statement": statement.to_bytes().hex(),
        "member": checked.member.hex(),
        "unit": checked.unit,
    }
    join = {"do": "join", "ref": seat.ref, "role": checked.role, "drawn": made}
    with ctx.spool.transaction():
        ctx.spool.memory.set_invitation(invitation_id, "ACCEPTED")
        handle = ctx.identities.handle(seat.ref)
        ctx.spool.commands.accept(ctx.random(16), handle, "join", join, narrowing=False)
