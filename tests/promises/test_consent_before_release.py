"""Promise 1 as a property: whatever a recipient can open was covered, when it was handed over, by a consent in force.

Sequences of acts, events, hand-overs and time are played on a whole broker and beside it on a model that knows nothing
of the broker: a list of consents, and for each moment a plain question.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker import deadlines
from broker.store.deliveries import DeliveryRows
from broker.store.port import Rows
from schemas.acts import Scope, Terms
from schemas.envelope import Core
from schemas.inbox import Receipt
from schemas.statements import SignedStatement
from tests.promises.case import BOTH, HOUR, PURPOSE
from tests.site import LEAD, PROBATION, Site, assessment, to_role

NAME = "IC04"  # the category that the name of the event alone tells


@dataclass
class Consent:
    consent_id: bytes
    role: str
    categories: frozenset[str]
    purpose: str
    until: int
    taken: set[str] = field(default_factory=set)


@dataclass
class Model:
    consents: list[Consent] = field(default_factory=list)
    blocks: list[tuple[bytes, frozenset[str], int]] = field(default_factory=list)

    def covers(self, role: str, category: str, purpose: str, at: int) -> bool:
        given = any(
            one.role == role and category in one.categories - one.taken and one.purpose == purpose and at < one.until
            for one in self.consents
        )
        return given and not any(category in what and at <= until for _, what, until in self.blocks)

    def open(self, role: str, purpose: str, at: int) -> frozenset[str]:
        """What may be handed over of an event whose name tells IC04."""
        free = frozenset(c for c in BOTH if self.covers(role, c, purpose, at))
        return free if NAME in free else frozenset()


@dataclass
class Play:
    """One sequence; `wrong` is what broke the promise, `opened` what recipients opened."""

    site: Site
    model: Model = field(default_factory=Model)
    wrong: list[str] = field(default_factory=list)
    opened: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    handed: list[tuple[Any, bytes]] = field(default_factory=list)
    purposes: dict[bytes, tuple[str, frozenset[str]]] = field(default_factory=dict)

    async def grant(self, role: str, categories: frozenset[str], purpose: str, hours: int) -> None:
        until = self.site.clock.us + hours * HOUR
        consent = await self.site.grant(
            self.site.police, [to_role(role)], sorted(categories), [purpose], until_us=until
        )
        self.model.consents.append(Consent(consent, role, categories, purpose, until))

    async def withdraw(self, which: int, part: frozenset[str] | None) -> None:
        if not self.model.consents:
            return
        one = self.model.consents[which % len(self.model.consents)]
        scope = Scope(recipients=(), categories=tuple(sorted(part)), purposes=()) if part else None
        await self.site.act(self.site.police, "WITHDRAW", one.consent_id, scope=scope)
        one.taken |= part or BOTH

    async def withdraw_case(self, by_probation: bool) -> None:
        site = self.site
        await site.withdraw_case(site.probation if by_probation else site.police)
        site.police.head = (await site.ledger_of(site.police))[-1].head
        for one in self.model.consents:
            one.taken |= BOTH

    async def block(self, categories: frozenset[str], hours: int) -> None:
        now = self.site.clock()
        until, block_id = now + hours * HOUR, self.site.new_id()
        terms = Terms(
            recipients=(), categories=tuple(sorted(categories)), purposes=(), actions=(), valid_from_us=now,
            valid_until_us=until, reservations=(), text_version="", terms_version="", processing_acknowledged=False,
            given_by="SELF", method="WRITTEN",
        )  # fmt: skip
        await self.site.act(self.site.police, "BLOCK", block_id, terms=terms)
        self.model.blocks.append((block_id, categories, until))

    async def unblock(self, which: int) -> None:
        if self.model.blocks:
            block_id, _, _ = self.model.blocks.pop(which % len(self.model.blocks))
            await self.site.act(self.site.police, "UNBLOCK", block_id)

    async def submit(self, roles: frozenset[str], both: bool, purpose: str) -> None:
        given = BOTH if both else frozenset({NAME})  # the rest is withheld by the sender itself
        sealed = self.site.sealed(
            self.site.police, "threat_assessment_completed", assessment(), tuple(sorted(roles)), purpose, released=BOTH
        )
        event_id = sealing_id(sealed)
        self.purposes[event_id] = (purpose, given)
        await self.site.submit(self.site.police, sealed, give=given)

    async def decide(self) -> None:
        """The receipt says released of exactly what the model covers."""
        before = self.site.clock.us
        await self.site.decide()
        for item in await self.site.fetch(self.site.police):
            if item.kind == "RECEIPT":
                receipt = Receipt.from_bytes(item.body)
                purpose, sections = self.purposes[receipt.event_id]
                for role in receipt.roles:
                    said = {section.category for section in role.sections if section.released}
                    right = self.model.open(role.role, purpose, before) & sections
                    if said != right:
                        self.wrong.append(f"receipt of {role.role}: {sorted(said)} instead of {sorted(right)}")
            await self.site.ack(self.site.police, item.item_id)

    async def fetch(self, role: str) -> None:
        unit, before = self.site.units[role], self.site.clock.us
        first = len(unit.deliveries)
        await self.site.fetch(unit)
        for delivery in unit.deliveries[first:]:
            opened = self.site.open(unit, delivery)
            unit.remembered[opened.core.event_id] = opened.remembered
            purpose, _ = self.purposes[opened.core.event_id]
            categories = frozenset(opened.categories)
            self.opened.append((role, categories))
            self.handed.append((unit, delivery.delivery_id))
            if not categories <= self.model.open(role, purpose, before):
                self.wrong.append(f"{role} opened {sorted(categories)}")

    async def ack(self, which: int, verdict: str) -> None:
        if self.handed:
            unit, delivery_id = self.handed[which % len(self.handed)]
            await self.site.ack(unit, delivery_id, verdict, "HS-SEAL-INVALID" if verdict == "REJECT" else None)

    async def pass_time(self, minutes: int) -> None:
        self.site.clock.us += minutes * 60 * 1_000_000

    async def sweep(self) -> None:
        await deadlines.sweep(self.site.context)


def sealing_id(sealed: Any) -> bytes:
    return Core.from_bytes(sealed.core).event_id


async def played(steps: list[tuple[Any, ...]], rows: Any = Rows) -> Play:
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder) / "broker", rows)
        try:
            await site.whole_case()
            await vouched(site)
            play = Play(site)
            for verb, *arguments in steps:
                await getattr(play, verb)(*arguments)
            return play
        finally:
            site.close()


async def vouched(site: Site) -> None:
    """Everybody knows everybody's keys, so that no grant is needed for opening."""
    for unit in (site.lead, site.probation):
        for other in (site.lead, site.police, site.probation):
            for raw in await statements(site, other.member):
                assert unit.members is not None
                unit.members = unit.members.applied(SignedStatement.from_bytes(raw))


async def statements(site: Site, member: bytes) -> list[bytes]:
    seat = await site.store.read(lambda rows: rows.cases.seat(site.lead.seat_id))
    assert seat is not None
    return await site.store.read(lambda rows: rows.cases.statements(seat.case_id, member))


roles = st.sampled_from([LEAD, PROBATION])
some = st.sampled_from([BOTH, frozenset({"IC04"}), frozenset({"IC06"})])
purposes = st.sampled_from([PURPOSE, PURPOSE, "PROTECTION"])
hours = st.integers(1, 40)
number = st.integers(0, 5)
everything = st.one_of(
    st.tuples(st.just("grant"), roles, some, purposes, hours),
    st.tuples(st.just("grant"), roles, st.just(BOTH), st.just(PURPOSE), hours),
    st.tuples(st.just("withdraw"), number, st.one_of(st.none(), some)),
    st.tuples(st.just("withdraw_case"), st.booleans()),
    st.tuples(st.just("block"), some, hours),
    st.tuples(st.just("unblock"), number),
    st.tuples(
        st.just("submit"), st.sampled_from([frozenset({LEAD}), frozenset({LEAD, PROBATION})]), st.booleans(), purposes
    ),
    st.tuples(st.just("submit"), st.just(frozenset({LEAD, PROBATION})), st.just(True), st.just(PURPOSE)),
    st.tuples(st.just("decide")),
    st.tuples(st.just("fetch"), roles),
    st.tuples(st.just("ack"), number, st.sampled_from(["ACK", "REJECT"])),
    st.tuples(st.just("pass_time"), st.integers(1, 24 * 60)),
    st.tuples(st.just("sweep")),
)
# Sequences that begin with something to take back find more than those that begin with silence.
sequences = st.lists(everything, min_size=4, max_size=10).map(
    lambda steps: [
        ("grant", LEAD, BOTH, PURPOSE, 30), ("grant", PROBATION, BOTH, PURPOSE, 10),
        ("submit", frozenset({LEAD, PROBATION}), True, PURPOSE), *steps,
        ("decide",), ("fetch", LEAD), ("fetch", PROBATION),
    ]
)  # fmt: skip


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(sequences)
def test_what_a_recipient_opens_was_covered(steps):
    assert asyncio.run(played(steps)).wrong == []


SHORTER = [
    ("grant", LEAD, BOTH, PURPOSE, 40), ("grant", LEAD, BOTH, PURPOSE, 1),
    ("submit", frozenset({LEAD}), True, PURPOSE), ("decide",), ("withdraw", 0, None), ("pass_time", 61),
    ("fetch", LEAD),
]  # fmt: skip


async def test_what_is_covered_is_opened():
    """Positive control: the sequences do open something, and a released section is not lost."""
    play = await played([*SHORTER[:4], ("fetch", LEAD)])
    assert play.opened == [(LEAD, BOTH)]
    assert play.wrong == []


async def test_an_ended_consent_opens_nothing():
    assert (await played(SHORTER)).opened == []


class _NoBound(DeliveryRows):
    """The end of the consent that remains is not noted."""

    def rest_on(self, row: Any, holds_until_us: int, sections: Any) -> None:
        return


class NoBound(Rows):
    def __init__(self, connection: Any, cipher: Any) -> None:
        super().__init__(connection, cipher)
        self.deliveries = _NoBound(connection, cipher)


async def test_a_delivery_that_forgets_its_bound_breaks_the_promise():
    assert (await played(SHORTER, NoBound)).wrong


class _Unshrunk(DeliveryRows):
    def open_of_senders(self, seat_ids: Any) -> list[Any]:
        return []


class Unshrunk(Rows):
    def __init__(self, connection: Any, cipher: Any) -> None:
        super().__init__(connection, cipher)
        self.deliveries = _Unshrunk(connection, cipher)


async def test_a_withdrawal_that_looks_at_nothing_breaks_the_promise():
    steps = [*SHORTER[:4], ("withdraw", 0, None), ("withdraw", 1, None), ("fetch", LEAD)]
    assert (await played(steps, Unshrunk)).wrong
    assert (await played(steps)).wrong == []
