"""Stories drawn by lot: whoever was handed something under a consent that ends is told of each end exactly once.

What is expected is worked out here, naively, from what was said and from what the store says was handed over.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import select

from broker import deadlines
from broker.store.tables import delivery, delivery_section
from schemas.acts import Scope
from schemas.inbox import ConsentEnded, Recall
from tests.promises.case import BOTH, HOUR, items, ready, sent
from tests.promises.test_consent_acts import act, whole
from tests.promises.test_endings_beside import blocked
from tests.promises.test_endings_left import removed
from tests.site import DAY

NAME = "IC04"  # what the event's name alone tells
STEPS = 12


@dataclass
class Said:
    """One consent as a person would retell it."""

    categories: set[str]
    until_us: int
    placement: bool
    rests: bool = False

    def carries(self, category: str, at_us: int) -> bool:
        return category in self.categories and at_us < self.until_us


@dataclass
class Told:
    """Everything that was said so far."""

    consents: dict[bytes, Said] = field(default_factory=dict)
    blocks: dict[bytes, set[str]] = field(default_factory=dict)

    def carried(self, category: str, at_us: int, *, resting: bool) -> bool:
        counted = [one for one in self.consents.values() if resting or not one.rests]
        return all(any(one.carries(each, at_us) for one in counted) for each in (category, NAME))

    def forbidden(self, category: str) -> bool:
        return any(not categories or {category, NAME} & categories for categories in self.blocks.values())

    def covers(self, category: str, at_us: int, *, resting: bool = False) -> bool:
        return self.carried(category, at_us, resting=resting) and not self.forbidden(category)

    def copy(self) -> Told:
        consents = {key: replace(one, categories=set(one.categories)) for key, one in self.consents.items()}
        return Told(consents, dict(self.blocks))


@dataclass(frozen=True)
class Held:
    """One section that was released: its delivery's state, and whether it was ever handed over."""

    state: str
    category: str
    live: bool
    handed: bool


async def held(site) -> dict[tuple[bytes, bytes], Held]:
    of, sec = delivery.c, delivery_section.c
    query = (
        select(of.delivery_id, sec.digest, of.state, sec.category, sec.live, of.hand_number, sec.grants)
        .join(delivery_section, sec.delivery_id == of.delivery_id)
        .where(of.sender_seat == site.police.seat_id)
    )
    rows = await site.store.read(lambda rows: rows.gate._c.execute(query).all())
    return {
        (row.delivery_id, row.digest): Held(
            row.state, row.category, bool(row.live), bool(row.hand_number and row.grants)
        )
        for row in rows
    }


def expected(kind: str, before: Told, after: Told, one: Held, at_us: int) -> bool:
    """Whether an act is told of this section."""
    if not one.handed or one.state == "REJECTED":
        return False
    if one.state in {"PENDING", "HANDED"} and one.live:
        return not after.covers(one.category, at_us)
    lost = before.covers(one.category, at_us) and not after.covers(one.category, at_us)
    if kind == "SUSPEND":
        return lost
    if kind == "BLOCK":
        beside = {"resting": True}
        return lost or (
            before.covers(one.category, at_us, **beside) and not after.covers(one.category, at_us, **beside)
        )
    return lost or any(
        before.carried(one.category, at_us, resting=resting) and not after.carried(one.category, at_us, resting=resting)
        for resting in (True, False)
    )


async def heard(site, known: dict[tuple[bytes, bytes], Held]) -> Counter[tuple[bytes, str]]:
    """Delivery and category of every word that waits for the lead, taken out of its inbox."""
    found: Counter[tuple[bytes, str]] = Counter()
    for item in await items(site, site.lead):
        if item.kind == "ENDED":
            ended = ConsentEnded.from_bytes(item.body)
            found.update((ended.delivery_id, category) for category in ended.categories)
        elif item.kind == "RECALL":
            back = Recall.from_bytes(item.body)
            found.update((back.delivery_id, known[back.delivery_id, digest].category) for digest in back.digests)
    return found


class Story:
    """One case, and what is drawn to happen in it."""

    def __init__(self, site, lot: random.Random) -> None:
        self.site, self.lot, self.said = site, lot, Told()

    async def goes_by(self) -> None:
        """Time, an event, and who fetches and acknowledges or does not."""
        site, lot = self.site, self.lot
        site.clock.us += lot.choice([0, 5 * HOUR, 40 * HOUR, 8 * DAY])
        await deadlines.sweep(site.context)
        if lot.random() < 0.6:
            await sent(site)
        for item in await site.fetch(site.lead):
            if item.kind != "DELIVERY" or lot.random() < 0.5:
                refuses = item.kind == "DELIVERY" and lot.random() < 0.1
                await site.ack(site.lead, item.item_id, *(("REJECT", "HS-SEAL-INVALID") if refuses else ("ACK",)))

    async def says(self, kind: str, consent: bytes) -> None:
        """One act, recorded and retold."""
        site, lot, said = self.site, self.lot, self.said
        one = said.consents.get(consent)
        if kind == "GRANT":
            await self._grant(None)
        elif kind == "SUPERSEDE" and one:
            await self._grant(consent)
        elif kind == "WITHDRAW" and one:
            await act(site, "WITHDRAW", consent)
            one.categories.clear()
        elif kind == "PART" and one:
            category = lot.choice(sorted(BOTH))
            await act(site, "WITHDRAW", consent, scope=Scope(recipients=(), categories=(category,), purposes=()))
            one.categories.discard(category)
        elif kind in {"SUSPEND", "RESUME"} and one:
            await act(site, kind, consent)
            one.rests = kind == "SUSPEND"
        elif kind == "BLOCK":
            categories = lot.choice([(), ("IC06",), ("IC04",)])
            block = site.new_id()
            await act(site, "BLOCK", block, terms=blocked(site, *categories))
            said.blocks[block] = set(categories)
        elif kind == "UNBLOCK" and said.blocks:
            block = lot.choice(sorted(said.blocks))
            await act(site, "UNBLOCK", block)
            del said.blocks[block]
        elif kind == "EXPIRE":
            await act(site, "EXPIRE", ended_event="PLACEMENT_ENDED")
            self._over(lambda each: each.placement)
        elif kind == "WITHDRAW_ALL":
            await site.withdraw_case(lot.choice([site.lead, site.probation]))
            site.police.head = (await site.store.read(lambda rows: rows.cases.seat(site.police.seat_id))).head
            self._over(lambda _each: True)

    async def _grant(self, instead: bytes | None) -> None:
        site, lot = self.site, self.lot
        categories = lot.choice([{"IC04"}, set(BOTH), set(BOTH)])
        until_us, placement, consent = site.clock() + lot.randint(1, 30) * DAY, lot.random() < 0.5, site.new_id()
        terms = whole(site, categories=tuple(sorted(categories)), valid_until_us=until_us, supersedes=instead,
                      until_event="PLACEMENT_ENDED" if placement else None)  # fmt: skip
        await act(site, "GRANT", consent, terms=terms)
        if instead is not None:
            self.said.consents[instead].categories.clear()
        self.said.consents[consent] = Said(categories, until_us, placement)

    def _over(self, which) -> None:
        for one in self.said.consents.values():
            if which(one):
                one.categories.clear()

    async def told_of(self, kind: str, consent: bytes) -> None:
        """Say it, and compare who was told with who should be; nothing grows."""
        site = self.site
        await heard(site, await held(site))
        before, had, at_us = self.said.copy(), await held(site), site.clock()
        await self.says(kind, consent)
        has = await held(site)
        meant = Counter(
            (key[0], one.category) for key, one in had.items() if expected(kind, before, self.said, one, at_us)
        )
        assert await heard(site, had) == meant, kind
        assert has.keys() == had.keys()
        assert not [key for key, one in has.items() if one.live and not had[key].live]


KINDS = ["GRANT", "GRANT", "SUPERSEDE", "WITHDRAW", "WITHDRAW", "PART", "SUSPEND", "RESUME", "BLOCK", "UNBLOCK",
         "EXPIRE", "WITHDRAW_ALL"]  # fmt: skip


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(n, marks=pytest.mark.long) for n in range(4, 24))])
async def test_whoever_holds_data_is_told_of_each_end_once(tmp_path, seed):
    lot = random.Random(seed)
    site = await ready(tmp_path)
    story = Story(site, lot)
    await story.told_of("GRANT", b"")
    for _ in range(STEPS):
        await story.goes_by()
        await story.told_of(lot.choice(KINDS), lot.choice(sorted(story.said.consents)))
    if lot.random() < 0.5:
        await removed(site)
    await story.told_of("WITHDRAW_ALL", b"")
    await story.told_of("WITHDRAW_ALL", b"")
