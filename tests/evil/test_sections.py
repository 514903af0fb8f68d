"""A broker that hands sections over as parts of something else: another event, category, sender."""

from __future__ import annotations

import dataclasses
import os

from connectors.keys import SeatKeyPair
from schemas.checks import digest_table, sha256
from schemas.envelope import Core, Delivery, EventStatement, SectionItem
from schemas.inbox import InboxItem
from tests.evil.house import assessment, changed

LIMIT = 1 << 20


class Holding:
    """Keeps the lead's deliveries back and hands over what it is told instead."""

    def __init__(self, case) -> None:
        self.case, self.held, self.instead = case, [], []
        case.liar.lies["fetch"] = self._fetch

    async def _fetch(self, honest, unit, _request):
        answer = await honest()
        if unit != self.case.social.ctx.settings.unit:
            return answer
        self.held += [Delivery.from_bytes(item.body, LIMIT) for item in answer.items if item.kind == "DELIVERY"]
        given, self.instead = self.instead, []
        return changed(answer, lambda items: [*(i for i in items if i.kind != "DELIVERY"), *given])

    async def hand_over(self, delivery: Delivery) -> str | None:
        """The code under which it was rejected, None when it was given to the agency's system."""
        delivery = dataclasses.replace(delivery, delivery_id=os.urandom(16))
        self.instead = [InboxItem(item_id=delivery.delivery_id, kind="DELIVERY", body=delivery.to_bytes())]
        before = self.case.social.files("receipts", kind="rejected")
        await self.case.settle(2)
        after = self.case.social.files("receipts", kind="rejected")
        return after[-1]["code"] if len(after) > len(before) else None


def renamed(delivery: Delivery, category: str) -> Delivery:
    """The same sections under another category."""
    sections = []
    for section in delivery.sections:
        item = dataclasses.replace(SectionItem.from_bytes(section.item, LIMIT), category=category)
        sections.append(dataclasses.replace(section, item=item.to_bytes()))
    return dataclasses.replace(delivery, sections=tuple(sections))


def resigned(delivery: Delivery, keys: SeatKeyPair, core: Core, digests: bytes | None = None) -> Delivery:
    """As `keys` would have signed it."""
    data, table = core.to_bytes(), digests or delivery.digests
    signed = EventStatement(core_hash=sha256(data), digests_hash=sha256(table))
    return dataclasses.replace(delivery, core=data, digests=table, seat_signature=keys.sign(signed.to_bytes()))


async def test_a_section_belongs_to_its_event_category_and_sender(case):
    holding = Holding(case)
    for level in ("HIGH", "LOW"):
        case.police.command(**assessment("PM-1", level))
        await case.settle(2)
    high, low = holding.held
    core = Core.from_bytes(low.core)
    lead, police = (a.ctx.identities.get(r).keys for a, r in ((case.social, "EX-1"), (case.police, "PM-1")))
    evil = SeatKeyPair.generate()

    moved = dataclasses.replace(low, sections=high.sections)
    assert await holding.hand_over(moved) == "HS-SEAL-INVALID"
    at = dataclasses.replace(high.sections[0], index=low.sections[0].index)
    assert await holding.hand_over(dataclasses.replace(low, sections=(at,))) == "HS-SEAL-INVALID"
    # Digests that do name the section: then the sender's signature is another's.
    table = sorted([*digest_table(low.digests)[1:], sha256(high.sections[0].item)])
    other = dataclasses.replace(high.sections[0], index=table.index(sha256(high.sections[0].item)))
    listed = dataclasses.replace(moved, sections=(other,), digests=b"".join(table))
    assert await holding.hand_over(listed) == "HS-SIGNATURE-INVALID"
    # Even a sender that helps, signing whatever the broker wants, moves no section: it is bound to its own core.
    helped = resigned(listed, police, core, b"".join(table))
    assert await holding.hand_over(helped) == "HS-SEAL-INVALID"

    assert await holding.hand_over(renamed(high, "IC06")) == "HS-SEAL-INVALID"
    assert await holding.hand_over(renamed(high, "IC01")) == "HS-SEAL-INVALID"

    assert await holding.hand_over(resigned(high, evil, core)) == "HS-SIGNATURE-INVALID"
    as_evil = dataclasses.replace(Core.from_bytes(high.core), seat_key_id=evil.key_id)
    stranger = dataclasses.replace(resigned(high, evil, as_evil), hand_number=2)  # at the first it could be a late word
    assert await holding.hand_over(stranger) == "HS-KEY-UNTRUSTED"
    as_lead = dataclasses.replace(Core.from_bytes(high.core), seat_key_id=lead.key_id)
    assert await holding.hand_over(resigned(high, evil, as_lead)) in {"HS-SENDER-NOT-ALLOWED", "HS-SIGNATURE-INVALID"}

    assert case.social.files("out", kind="delivery") == []
    # Positive control: each section as its own sender sealed it, also when the delivery has another name.
    assert await holding.hand_over(high) is None
    assert await holding.hand_over(low) is None
    told = [file["data"]["threat_level"] for file in case.social.files("out", kind="delivery")]
    assert told == ["HIGH", "LOW"]
