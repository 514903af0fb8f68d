"""Annulling a consent of this unit, and answering when another unit annulled one under which something came here."""

from __future__ import annotations

from typing import Any

from connectors import acts, incidents, reports
from connectors.cases import drawn, keep
from connectors.context import Context
from connectors.fields import shown_moment
from connectors.identity import Seat
from connectors.spool.commands import Waiting
from schemas import codes, limits
from schemas.envelope import Delivery, SectionItem
from schemas.errors import HandslagError
from schemas.identifiers import ZERO16, parsed, shown
from schemas.inbox import InboxItem
from schemas.said import AnnulAnswer, AnnulAnswerRequest, AnnulNotice

_BODY = limits.SUBMISSION + 64 * 1024


async def record(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Have the act recorded, then list every release; repeated until both are done, and the case stays stopped."""
    result = await acts.record(ctx, command)
    told = await incidents.listed(ctx, command.command_id)
    return {**result, "incident": told["incident"], "steps": told["steps"], "released": told["counts"]}


def take(ctx: Context, item: InboxItem, seat: Seat | None) -> None:
    """A notice that a consent was annulled: told to the agency's system at once, and kept until it is answered.

    What had not been given to the agency's system yet is dropped by the recall that comes with it.
    """
    told = AnnulNotice.from_bytes(item.body)
    # A ground of a newer broker is not known here: the strictest is followed, and nothing of the item is repeated.
    ground = told.ground if told.ground in codes.table()["annul_ground"] else "WRONG_PERSON"
    codes.known("role", told.from_role, "from_role")
    value = {
        "kind": "annulled",
        "notice": shown(told.notice_id),
        "ref": seat.ref if seat else "",
        "ground": reports.words("annul_ground", ground),
        "from_role": told.from_role,
        "event_id": shown(told.event_id),
        "delivery_id": shown(told.delivery_id),
        "invitation": shown(told.invitation_id) if told.invitation_id else None,
        "categories": _categories(ctx, told),
        "at": shown_moment(told.at_us),
    }
    before = ctx.spool.annulled.notice(told.notice_id)
    if before is not None and before["at"] != value["at"]:
        _answer_again(ctx, told.notice_id)
    ctx.spool.annulled.keep_notice(told.notice_id, told.seat_id, value)
    ctx.spool.incoming.put(f"annulled-{told.notice_id.hex()}", "out", value)
    # An invitation's entries lie with the unit, not with the seat that came of it.
    about = None if told.invitation_id or told.seat_id == ZERO16 else told.seat_id
    ctx.spool.memory.want_proof(told.leaf_hash, "annulled", ctx.now(), about)
    ctx.spool.incoming.want_ack(item.item_id, 0, "ACK")


def _answer_again(ctx: Context, notice_id: bytes) -> None:
    """A restored broker tells once more what was answered here: the agency is not asked again, the answer is given."""
    # INVARIANT: test_an_annulment_told_again_is_answered_again_and_shown_once
    calls = ctx.spool.memory.calls("/v1/annulments:answer")
    said = [AnnulAnswerRequest.from_bytes(request) for request, answer in calls if answer is not None]
    for one in [each for each in said if each.notice_id == notice_id][-1:]:
        value = {"notice": shown(notice_id), "verdict": one.verdict, "reason": one.reason, "actor_ref": one.actor_ref}
        command = {"do": "answer_annulment", "ref": "", **value}
        ctx.spool.commands.accept(ctx.random(16), None, "answer_annulment", command, narrowing=False)


def _categories(ctx: Context, told: AnnulNotice) -> list[str]:
    """Which categories the digests stand for: only whoever got the delivery can say."""
    held = ctx.spool.incoming.evidence(told.delivery_id)
    if held is None:
        return []
    delivery = Delivery.from_bytes(held, _BODY)
    found = {
        delivery.digests[32 * section.index : 32 * section.index + 32]: SectionItem.from_bytes(section.item, _BODY)
        for section in delivery.sections
    }
    return sorted(found[digest].category for digest in told.digests if digest in found)


def known(ctx: Context, notice_id: bytes) -> None:
    """Raise `HS-ITEM-GONE` for a notice that never came here."""
    if ctx.spool.annulled.notice(notice_id) is None:
        raise HandslagError("HS-ITEM-GONE", field="notice")


async def answer(ctx: Context, command: Waiting) -> dict[str, Any]:
    """Tell the broker, and through it the discloser, what this unit did with what it was given."""
    value = command.value
    made = drawn(command) or keep(ctx, command, {"call_id": ctx.random(16).hex()})
    call_id = bytes.fromhex(made["call_id"])
    request = AnnulAnswerRequest(
        call_id=call_id,
        notice_id=parsed(value["notice"]),
        verdict=value["verdict"],
        reason=value["reason"],
        actor_ref=value.get("actor_ref") or ctx.settings.actor_ref,
        assurance="ASSERTED",  # until staff sign in at the connector
    )
    got = await ctx.kept_call("/v1/annulments:answer", call_id, request, AnnulAnswer)
    ctx.spool.memory.want_proof(got.leaf_hash, "annul answer", ctx.now())
    return {"notice": value["notice"], "verdict": value["verdict"], "recorded_at": shown_moment(got.recorded_at_us)}
