"""A case with its three seats and an event of the police to the lead: what most of these tests begin with."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from broker.store.tables import delivery
from connectors import sealing
from schemas.inbox import InboxItem, Notice, Receipt
from tests.site import LEAD, Site, Unit, assessment, to_role

PURPOSE = "THREAT_ASSESSMENT"
BOTH = frozenset({"IC04", "IC06"})
HOUR = 3600 * 1_000_000


async def ready(tmp_path: Any, **how: Any) -> Site:
    site = Site(tmp_path / "broker", **how)
    await site.whole_case()
    await site.take_statements(site.lead)
    await site.take_statements(site.police)
    return site


async def grant(site: Site, **terms: Any) -> bytes:
    return await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06"], [PURPOSE], **terms)


def event(site: Site, **plan: Any) -> sealing.SealedEvent:
    return site.sealed(
        site.police, "threat_assessment_completed", plan.pop("sections", None) or assessment(), (LEAD,), PURPOSE,
        released=plan.pop("released", BOTH), **plan,
    )  # fmt: skip


async def sent(site: Site, *, deadline_at_us: int | None = None, **plan: Any) -> sealing.SealedEvent:
    sealed = event(site, **plan)
    await site.submit(site.police, sealed, deadline_at_us=deadline_at_us)
    await site.decide()
    return sealed


async def deliveries(site: Site) -> list[InboxItem]:
    return [item for item in await site.fetch(site.lead) if item.kind == "DELIVERY"]


async def receipts(site: Site, unit: Unit | None = None) -> list[Receipt]:
    found = await items(site, unit or site.police)
    return [Receipt.from_bytes(item.body) for item in found if item.kind == "RECEIPT"]


async def notices(site: Site, code: str, unit: Unit | None = None) -> list[Notice]:
    found = [Notice.from_bytes(i.body) for i in await items(site, unit or site.police) if i.kind == "NOTICE"]
    return [one for one in found if one.code == code]


async def items(site: Site, unit: Unit) -> list[InboxItem]:
    """Everything that waits for a unit, taken out of its inbox; deliveries stay as they are."""
    found = [item for item in await site.fetch(unit) if item.kind not in {"DELIVERY", "INVITATION"}]
    for item in found:
        await site.ack(unit, item.item_id)
    return found


async def states(site: Site) -> list[str]:
    """States of the police's deliveries, oldest first."""
    query = (
        select(delivery.c.state).where(delivery.c.sender_seat == site.police.seat_id).order_by(delivery.c.delivery_id)
    )
    return list(await site.store.read(lambda rows: rows.gate._c.execute(query).scalars().all()))
