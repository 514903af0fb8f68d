"""`consent_review_due`: 30, 14 and 3 days before a consent of this unit ends its agency's system is told, nobody else.

From this connector's own ledger and clock, once each: the name under which a file is queued is kept for ever, so a
restart tells nothing twice. A connector that was off on the day tells the nearest of what it missed when it is back.
"""

from __future__ import annotations

from connectors import reports
from connectors.context import Context
from connectors.fields import shown_moment
from connectors.identity import Seat
from consent import standing
from consent.ledger import LedgerView
from consent.records import ALWAYS, Grant
from schemas.identifiers import shown

DAYS = (3, 14, 30)
_DAY_US = 24 * 3600 * 1_000_000


async def tell_due(ctx: Context) -> None:
    """Queue a file for every consent in force that has come within another of the days."""
    # INVARIANT: test_a_consent_that_ends_is_told_of_once_for_each_day
    for seat in ctx.identities.all():
        # Where the person has just taken something back, what is left is known when the broker has recorded it.
        if seat.active and not ctx.spool.commands.stopped(ctx.identities.handle(seat.ref)):
            _tell_seat(ctx, seat, ctx.ledger(seat))


def _tell_seat(ctx: Context, seat: Seat, view: LedgerView) -> None:
    now_us = max(ctx.now(), view.recorded_at_us)
    live = [grant for grant in view.grants if _in_force(grant, now_us)]
    for grant in live:
        days = _due(grant, now_us)
        name = f"review-{grant.consent_id.hex()}-{days}{_anew(grant)}"
        if days is None or ctx.spool.incoming.queued(name) or any(_takes_over(other, grant) for other in live):
            continue
        value = {
            "kind": "consent_review_due",
            "ref": seat.ref,
            **reports.words("notice", "consent_review_due"),
            "consent": shown(grant.consent_id),
            "days": days,
            "days_left": -(-(_due_us(grant) - now_us) // _DAY_US),
            "ends_at": shown_moment(grant.end_us),
            "recipients": sorted(grant.units | grant.roles),
            "categories": sorted(grant.categories),
            "purposes": sorted(grant.purposes),
            "partly_withdrawn": bool(grant.parts),
        }
        ctx.spool.incoming.put(name, "receipts", value)


def _due_us(grant: Grant) -> int:
    """When the person must have been asked: before the consent ends, or when that was agreed on."""
    return grant.end_us if grant.review_us is None else min(grant.end_us, grant.review_us)


def _anew(grant: Grant) -> str:
    """Of a consent that was amended, or confirmed until a later day, the days begin anew."""
    return "" if grant.since_us == ALWAYS and grant.review_us is None else f"-{_due_us(grant)}"


def _in_force(grant: Grant, now_us: int) -> bool:
    return grant.start_us <= now_us < grant.end_us and not grant.fault & standing.INVALIDATED


def _due(grant: Grant, now_us: int) -> int | None:
    """The nearest day that has come; a consent that never had so many days left is not told of for them."""
    left, life = _due_us(grant) - now_us, _due_us(grant) - grant.start_us
    return next((days for days in DAYS if left <= days * _DAY_US < life), None)


def _takes_over(other: Grant, grant: Grant) -> bool:
    """Whether another consent in force covers all of this one and holds longer: the person was asked already."""
    return (
        other.end_us > grant.end_us
        and other.units >= grant.units
        and other.holders >= grant.holders
        and other.roles >= grant.roles
        and other.categories >= grant.categories
        and other.purposes >= grant.purposes
        and other.actions >= grant.actions
        and not other.fault
        and not other.parts
    )
