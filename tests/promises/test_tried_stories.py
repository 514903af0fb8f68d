"""Random stories: every act is tried first and then done, and what trying it told is what the gates then show.

What is stopped, taken back, told as ended or annulled, released at once, and with what it would be refused. A story is
made from its seed; the first tier tells two, the second ten times as many and longer ones.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from sqlalchemy import select

from broker import acts, foreseeing
from broker.store.tables import delivery, delivery_section
from consent import simulate
from consent.decide import decide
from consent.ledger import LedgerView, view_of
from consent.terms import DecisionRequest, Party, SectionAsk
from schemas.acts import ConsentAct, Holder, RecipientRef, Scope, Terms
from schemas.calls import ConsentsAnswer
from schemas.errors import HandslagError
from schemas.explain import SimulateAnswer, SimulateRequest
from schemas.identifiers import authority_of
from schemas.inbox import ConsentEnded, Recall
from schemas.said import AnnulNotice
from tests.promises.case import BOTH, HOUR, PURPOSE, ready
from tests.promises.test_endings import by_guardians
from tests.promises.test_explain import QUERY
from tests.site import DAY, LEAD, PROBATION, Site, Unit, assessment, terms_of, to_role, to_unit

TO = (LEAD, PROBATION)
EVENT = "threat_assessment_completed"
OPEN = {"PENDING", "HANDED"}
BEGINS = ("GRANT", "GRANT", "GRANT", "GRANT", "SUPERSEDE", "AMEND", "AGAIN", "BLOCK")
KINDS = (*BEGINS, "WITHDRAW", "PART", "SUSPEND", "RESUME", "LIFT", "UNBLOCK", "EXPIRE", "LAPSE", "CONFIRM", "ANNUL",
         "ANNUL_WRONG_PERSON", "WITHDRAW_ALL")  # fmt: skip
ACTS = {"SUPERSEDE": "GRANT", "AGAIN": "GRANT", "PART": "WITHDRAW"}
SAID_BEFORE = {"WITHDRAW", "PART", "SUSPEND", "BLOCK", "WITHDRAW_ALL"}  # what the person may have said hours ago


class Held(NamedTuple):
    """One delivery of the police at the gate: its state, and the categories that are still in it."""

    event_id: bytes
    role: str
    state: str
    live: frozenset[str]


class Told(NamedTuple):
    """What a recipient was told of one delivery: `kind` of the inbox item, and the categories that it names."""

    delivery_id: bytes
    kind: str
    categories: frozenset[str]


class Story:
    """The police disclose to two roles; consents come and go."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.chance = random.Random(seed)
        self.consents: list[bytes] = []
        self.blocks: list[bytes] = []
        self.units: list[str] = []  # named by a recorded consent: of others trying does not tell
        self.log: list[tuple[str, str | None]] = []

    # --- what the person says

    def recipients(self, units: list[str]) -> list[RecipientRef]:
        refs = [to_role(role) for role in TO if self.chance.random() < 0.7] or [to_role(LEAD)]
        if units and self.chance.random() < 0.3:
            refs = [to_unit(self.chance.choice(units)), *refs[1:]]
        return [self.with_member(ref) for ref in refs]

    def with_member(self, ref: RecipientRef) -> RecipientRef:
        """Half the time with the id of who holds the role, as a discloser that has met it says it."""
        known = ref.kind == "ROLE" and self.chance.random() < 0.5
        return replace(ref, member=self.site.units[ref.id].member) if known else ref

    def terms(self, units: list[str], **changes: Any) -> Terms:
        now = self.site.clock()
        categories = sorted(self.chance.choice([{"IC04"}, BOTH, BOTH]))
        until = now + self.chance.randint(1, 20) * DAY
        said = terms_of(self.recipients(units), categories, [PURPOSE], ("DISCLOSE",), now, until)
        event = self.chance.choice([None, "PLACEMENT_ENDED"])
        by = by_guardians(self.site) if self.chance.random() < 0.15 else {}
        evidence = os.urandom(32) if self.chance.random() < 0.9 else None  # an amendment that widens is refused then
        method = "WRITTEN" if self.chance.random() < 0.95 else "IMPLIED"  # which is no consent
        return replace(said, until_event=event, evidence_hash=evidence, method=method, **by, **changes)

    def block(self) -> Terms:
        now = self.site.clock()
        refs = self.recipients(self.units) if self.chance.random() < 0.6 else []
        return terms_of(
            refs, self.chance.choice([[], ["IC06"]]), [], (), now, self.chance.choice([None, now + 3 * DAY])
        )

    def next_act(self) -> tuple[str, bytes, dict[str, Any]]:
        """What the person says next: a word of `KINDS`, about which consent or block, and the act's further fields."""
        kind = self.chance.choice(KINDS)
        if kind in {"LIFT", "UNBLOCK"} and not self.blocks:
            kind = "BLOCK"
        if kind in {"SUPERSEDE", "AMEND", "AGAIN"} and not self.consents:
            kind = "GRANT"
        about = self.chance.choice(self.consents) if self.consents else self.site.new_id()
        fresh = self.site.new_id()
        everybody = [self.site.units[role].code for role in TO]
        part = Scope(recipients=(), categories=(self.chance.choice(["IC04", "IC06"]),), purposes=())
        known: dict[str, tuple[bytes, dict[str, Any]]] = {
            "GRANT": (fresh, {"terms": self.terms(everybody)}),
            "SUPERSEDE": (fresh, {"terms": self.terms(self.units, supersedes=about)}),
            "AMEND": (about, {"terms": self.terms(self.units)}),
            "AGAIN": (about, {"terms": self.terms(self.units)}),
            "BLOCK": (fresh, {"terms": self.block()}),
            "PART": (about, {"scope": part}),
            "EXPIRE": (fresh, {"ended_event": "PLACEMENT_ENDED"}),
            "LAPSE": (fresh, {"scope": Scope(recipients=(), categories=(), purposes=(), givers=(3,))}),
            "WITHDRAW_ALL": (bytes(16), {}),
        }
        if kind in {"LIFT", "UNBLOCK"}:
            about = self.chance.choice(self.blocks)
            known["LIFT"] = (about, {"lift_until_us": self.site.clock() + 2 * DAY, "scope": self.lifted()})
        about, fields = known.get(kind, (about, {}))
        if kind in SAID_BEFORE and self.chance.random() < 0.3:
            fields["effective_at_us"] = self.site.clock() - self.chance.randint(1, 40) * HOUR
        return kind, about, fields

    def lifted(self) -> Scope | None:
        if self.chance.random() < 0.5:
            return None
        return Scope(recipients=(self.with_member(to_role(self.chance.choice(TO))),), categories=(), purposes=())

    def body(self, kind: str, about: bytes, fields: dict[str, Any]) -> bytes:
        said = {name: fields.get(name) for name in ("terms", "scope", "effective_at_us")}
        name = ACTS.get(kind, kind)
        raw = self.site.police.consent_act(name, about, self.site.clock(), actor_ref="h", **said)
        more = {name: value for name, value in fields.items() if name not in said}
        return replace(ConsentAct.from_bytes(raw), **more).to_bytes()

    # --- what is done

    async def step(self) -> None:
        self.site.clock.us += self.chance.randint(0, 30) * HOUR
        kind, about, fields = self.next_act()
        raw = self.body(kind, about, fields)
        told = await self.tried(raw)
        would = await self.released_after(raw)
        before = await gate(self.site)
        answer, refused = await self.done(kind, about, raw, fields)
        self.log.append((kind, refused))
        assert told.refused == refused, self.log
        if answer is not None:
            await self.compare(kind, told, answer, before)
            assert await self.submitted() == would, self.log
        if self.chance.random() < 0.7:
            await self.drained()

    async def tried(self, raw: bytes) -> SimulateAnswer:
        police = self.site.police
        request = SimulateRequest(call_id=os.urandom(16), seat_id=police.seat_id, query=QUERY, act=raw)
        return await foreseeing.simulate(self.site.context, police.code, request)

    async def done(
        self, kind: str, about: bytes, raw: bytes, fields: dict[str, Any]
    ) -> tuple[ConsentsAnswer | None, str | None]:
        """Record it: the answer, or the code of the refusal."""
        site, police = self.site, self.site.police
        try:
            if kind == "WITHDRAW_ALL":
                return await site.withdraw_case(police, effective_at_us=fields.get("effective_at_us")), None
            answer = await acts.consents(site.context, police.code, police.consents_request(raw, None))
        except HandslagError as error:
            return None, error.code
        police.head = answer.head
        police.consents[about] = police.consents.get(about, -1) + 1
        if kind in BEGINS:
            (self.blocks if kind == "BLOCK" else self.consents).append(about)
        if kind != "BLOCK" and fields.get("terms"):
            self.units += [ref.id for ref in fields["terms"].recipients if ref.kind == "UNIT"]
        return answer, None

    async def compare(self, kind: str, told: SimulateAnswer, answer: ConsentsAnswer, before: dict[bytes, Held]) -> None:
        after = await gate(self.site)
        why = (self.log, told, answer)
        assert told.counts == answer.counts, why
        lost = {key: held.live - after[key].live for key, held in before.items() if held.state in OPEN}
        assert all(after[key].live <= held.live for key, held in before.items()), why  # nothing grows
        stops = sorted((before[key].event_id, before[key].role) for key, gone in lost.items() if gone)
        assert sorted((one.event_id, one.role) for one in answer.affected if one.removed) == stops, why
        heard = await self.heard({key for key, held in before.items() if held.state != "PENDING"})
        real = sorted(
            _as_told(key, held, lost.get(key, frozenset()), after[key], heard) for key, held in before.items()
        )
        assert sorted((one.event_id, one.role, one.state, one.removed) for one in told.deliveries) == [
            one for one in real if one[3]
        ], why
        kept = {(one.event_id, one.role): one.kept for one in told.deliveries if one.state in OPEN and one.removed}
        if kind not in {"ANNUL", "ANNUL_WRONG_PERSON"}:
            for key, gone in lost.items():
                if gone:
                    assert kept[before[key].event_id, before[key].role] == tuple(sorted(after[key].live)), why
        kinds = {one.kind for one in heard}
        assert kinds <= ({"RECALL", "ANNULMENT"} if "ANNUL" in kind else {"RECALL", "ENDED"}), why

    async def heard(self, about: set[bytes]) -> list[Told]:
        """What both recipients are told of these deliveries, taken out of their inboxes; deliveries stay there."""
        found = []
        digests = await categories_of(self.site)
        for role in TO:
            unit = self.site.units[role]
            for item in await self.site.fetch(unit):
                if item.kind in {"DELIVERY", "INVITATION"}:
                    continue
                await self.site.ack(unit, item.item_id)
                one = _read(item.kind, item.body, digests)
                if one is not None and one.delivery_id in about:
                    found.append(one)
        return found

    async def submitted(self) -> dict[str, frozenset[str]]:
        """Send an event to both roles; what the broker released to each."""
        site = self.site
        event_id = site.new_id()
        sealed = site.sealed(site.police, EVENT, assessment(), TO, PURPOSE, released=BOTH, event_id=event_id)
        await site.submit(site.police, sealed)
        await site.decide()
        for item in await site.fetch(site.police):
            await site.ack(site.police, item.item_id)
        receipt = next(one for one in reversed(site.police.receipts) if one.event_id == event_id)
        return {
            one.role: frozenset(section.category for section in one.sections if section.released)
            for one in receipt.roles
        }

    async def released_after(self, raw: bytes) -> dict[str, frozenset[str]]:
        """What the discloser's own decision would release to each role once the act were recorded."""
        view = view_of(await self.site.ledger_of(self.site.police))
        holders = tuple(Holder(role=role, member=self.site.units[role].member) for role in TO)
        after = simulate.after(view, raw, self.site.clock(), holders)
        rules = self.site.context.rules
        return {role: _released(self.site, after, role, rules) for role in TO}

    async def drained(self) -> None:
        """The recipients fetch what waits; some of it they acknowledge, some they reject, some stays with them."""
        for role in TO:
            unit = self.site.units[role]
            for item in await self.site.fetch(unit):
                if item.kind != "DELIVERY":
                    continue
                drawn = self.chance.random()
                if drawn < 0.5:
                    await self.site.ack(unit, item.item_id)
                elif drawn < 0.6:
                    await self.site.ack(unit, item.item_id, "REJECT", "HS-SIGNATURE-INVALID")


_HANDED_OVER = frozenset({"HANDED", "RECALLED", "EXPIRED", "RESEAL"})  # and never acknowledged


def _as_told(
    key: bytes, held: Held, gone: frozenset[str], after: Held, heard: list[Told]
) -> tuple[bytes, str, str, tuple[str, ...]]:
    """What became of a delivery, in the words in which trying an act tells it: what it lost, or was told to have."""
    words = [one.categories for one in heard if one.delivery_id == key]
    if any(one.kind == "RECALL" for one in heard if one.delivery_id == key):
        assert held.state in _HANDED_OVER
    else:
        assert not (held.state == "HANDED" and gone)
    if gone and not after.live:
        assert after.state == {"PENDING": "CANCELLED", "HANDED": "RECALLED"}[held.state]
    return held.event_id, held.role, held.state, tuple(sorted(gone.union(*words)))


def _read(kind: str, body: bytes, digests: dict[tuple[bytes, bytes], str]) -> Told | None:
    if kind == "ENDED":
        ended = ConsentEnded.from_bytes(body)
        return Told(ended.delivery_id, kind, frozenset(ended.categories))
    if kind not in {"RECALL", "ANNULMENT"}:
        return None
    said = Recall.from_bytes(body) if kind == "RECALL" else AnnulNotice.from_bytes(body)
    return Told(said.delivery_id, kind, frozenset(digests[said.delivery_id, one] for one in said.digests))


def _released(site: Site, view: LedgerView, role: str, rules: Any) -> frozenset[str]:
    sender: Unit = site.police
    unit = site.units[role]
    request = DecisionRequest(
        event_type=EVENT,
        sender=Party(sender.role, authority_of(sender.code), sender.code, sender.member, active=True, held=True),
        recipient=Party(
            role, authority_of(unit.code), unit.code if unit.code in view.named_units else None, unit.member,
            active=True, held=True,
        ),
        sections=tuple(SectionAsk(category, (0,), True, False) for category in sorted(BOTH)),
        purpose=PURPOSE,
        action="DISCLOSE",
        at_us=max(site.clock(), view.recorded_at_us),
    )  # fmt: skip
    return frozenset(one.category for one in decide(request, view, rules).sections if one.released)


async def gate(site: Site) -> dict[bytes, Held]:
    """The police's deliveries as the store has them."""
    of = delivery.c

    def look(rows: Any) -> dict[bytes, Held]:
        ids = rows.gate._c.execute(select(of.delivery_id).where(of.sender_seat == site.police.seat_id)).scalars().all()
        sections = rows.deliveries.sections(ids)
        return {
            key: Held(row.event_id, row.role, str(row.state), frozenset(s.category for s in sections.get(key, ())))
            for key, row in rows.deliveries.get(ids).items()
        }

    return await site.store.read(look)


async def categories_of(site: Site) -> dict[tuple[bytes, bytes], str]:
    """The category of every section ever delivered, by delivery and digest."""
    of = delivery_section.c
    query = select(of.delivery_id, of.digest, of.category)
    found = await site.store.read(lambda rows: rows.gate._c.execute(query).all())
    return {(bytes(key), bytes(digest)): category for key, digest, category in found}


async def told_through(folder: Any, seed: int, steps: int) -> Story:
    site = await ready(folder)
    story = Story(site, seed)
    for _ in range(steps):
        await story.step()
    site.close()
    return story


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_act_does_what_trying_it_said(tmp_path, seed):
    await told_through(tmp_path, seed, 14)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 120))
async def test_every_act_does_what_trying_it_said_in_long_stories(tmp_path, seed):
    await told_through(tmp_path, seed, 40)
