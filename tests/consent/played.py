"""A real case (broker, ledger, gate, SQLite) beside the reference: what is done, and what must be true after it.

The police grant, take back and send; the lead fetches; the broker is started anew. Whatever the lead is handed, the
reference permits at that ledger position and moment; what a send is answered with is what the reference says; nothing
is handed over without its entry; what is asked about an earlier moment, as known then, the reference says too.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from broker import acts
from broker.store.sqlite import SqliteStore
from consent.decide import decide
from consent.ledger import view_of
from consent.rules import shipped
from consent.terms import DecisionRequest, Party, SectionAsk
from schemas import limits
from schemas.acts import ConsentAct, Giver, MinorGround, Scope
from schemas.envelope import Delivery, SectionItem
from schemas.errors import HandslagError
from schemas.inbox import Receipt
from tests.consent import reference
from tests.promises.case import BOTH, PURPOSE, ready
from tests.promises.trail import trail
from tests.site import DAY, LEAD, POLICE, UNITS, Site, assessment, to_role, to_unit
from tests.units import terms_of

HOUR = DAY // 24


def categories_of(delivery):
    return {SectionItem.from_bytes(one.item, limits.SUBMISSION).category for one in delivery.sections}


def with_holders(refs, holders):
    """Recipients with the member that held the role when the act was recorded, as the ledger says."""
    held = {one.role: one.member for one in holders}
    return tuple(
        replace(one, member=held.get(one.id)) if one.kind == "ROLE" and one.member is None else one for one in refs
    )


def noted(event):
    """One recorded act as the reference reads it."""
    one = ConsentAct.from_bytes(event.act)
    if one.terms is not None:
        one = replace(one, terms=replace(one.terms, recipients=with_holders(one.terms.recipients, event.holders)))
    if one.scope is not None:
        one = replace(one, scope=replace(one.scope, recipients=with_holders(one.scope.recipients, event.holders)))
    return one, event.recorded_at_us, event.signature is not None


@cache
def begun():
    """A case in which three units hold a seat, on a folder that others are copied from; and the site it was made at."""
    folder = tempfile.TemporaryDirectory(prefix="handslag-model-")
    with asyncio.Runner() as loop:
        site = loop.run(ready(Path(folder.name)))
    site.close()
    return folder, site


class Played:
    """One case on a folder of its own."""

    def __init__(self, folder, rules=reference.RULES):
        self.rules = rules
        self.loop = asyncio.Runner()
        origin, first = begun()
        self.folder = folder / "broker"
        shutil.copytree(Path(origin.name) / "broker", self.folder)
        self.site = self.opened(first)
        self.consents, self.blocks, self.handed, self.refused, self.done = [], [], [], [], []

    def opened(self, before):
        """The broker on what lies in the folder, with the units and the clock of `before`; they remember nothing."""
        site = Site(self.folder, store=lambda cipher, rows: SqliteStore(self.folder / "broker.db", cipher, rows))
        site.clock.us = before.clock.us
        site.units = {
            role: replace(unit, consents=dict(unit.consents), items=[], receipts=[], deliveries=[])
            for role, unit in before.units.items()
        }
        site.lead, site.police, site.probation = site.units.values()
        site.context.directory.replace(self.loop.run(site.store.read(lambda rows: rows.units.all())))
        return site

    def close(self):
        self.site.close()
        self.loop.close()

    def restart(self):
        """The broker goes and comes back: all it knows of the ledger it reads anew."""
        self.site.close()
        self.site = self.opened(self.site)

    def notes(self):
        return [noted(event) for event in self.loop.run(self.site.ledger_of(self.site.police))]

    def act(self, kind, consent, **changes):
        """One act of the police's seat; an act that the broker refuses must leave the ledger as it was."""
        site = self.site
        events = self.loop.run(site.ledger_of(site.police))
        site.police.head = events[-1].head if events else site.police.head
        said = {name: changes.pop(name, None) for name in ("terms", "scope", "effective_at_us")}
        raw = site.police.consent_act(kind, consent, site.clock(), actor_ref="handläggare 1", **said)
        body = replace(ConsentAct.from_bytes(raw), **changes).to_bytes()
        try:
            self.loop.run(acts.consents(site.context, site.police.code, site.police.consents_request(body, None)))
        except HandslagError as error:
            self.refused.append(error.code)
            assert len(self.loop.run(site.ledger_of(site.police))) == len(events)
            return False
        site.police.consents[consent] = site.police.consents.get(consent, -1) + 1
        self.done.append(kind)
        return True

    def withdraw_everything(self):
        self.done.append("WITHDRAW_ALL")
        self.loop.run(self.site.withdraw_case(self.site.probation))

    def terms(self, categories, *, days=3, **changes):
        now = self.site.clock()
        refs = [to_role(LEAD)] if changes.pop("role", True) else [to_unit(UNITS[LEAD])]
        plain = terms_of(refs, sorted(categories), [PURPOSE], ("DISCLOSE",), now, now + days * DAY)
        return replace(plain, **changes)

    def grant(self, categories, **changes):
        consent = self.site.new_id()
        if self.act("GRANT", consent, terms=self.terms(categories, **changes)):
            self.consents.append(consent)
        return consent

    def grant_for_a_child(self, categories, *, guardians, excluded, band, cosigned, days):
        """A guardian gives it, and the child where it signs too; the guardian's authority ends some day."""
        now = self.site.clock()
        guardian = Giver(person=1, capacity="GUARDIAN", method="WRITTEN", at_us=now, authority_from_us=now - DAY,
                         authority_until_us=now + days * DAY)  # fmt: skip
        child = Giver(person=0, capacity="SELF", method="WRITTEN", at_us=now)
        ground = MinorGround(
            rule_id="L6", age_band=band, maturity="NOT_ASSESSED", child_view="AGREES", guardians=guardians,
            guardians_excluded=excluded, reassess_at_us=now + 9 * DAY,
        )  # fmt: skip
        self.grant(categories, givers=(guardian, child) if cosigned else (guardian,), minor=ground)

    def lapse(self):
        return self.act("LAPSE", self.site.new_id())

    def amend(self, consent, categories, **changes):
        return self.act("AMEND", consent, terms=self.terms(categories, evidence_hash=b"e" * 32, **changes))

    def take_back(self, consent, categories=(), said_us=None):
        scope = Scope(recipients=(), categories=tuple(sorted(categories)), purposes=()) if categories else None
        return self.act("WITHDRAW", consent, scope=scope, effective_at_us=said_us)

    def block(self, categories):
        block = self.site.new_id()
        nothing = self.terms(categories, recipients=(), purposes=(), actions=(), valid_until_us=None)
        if self.act("BLOCK", block, terms=nothing):
            self.blocks.append(block)

    def lift(self, block, hours):
        return self.act("LIFT", block, lift_until_us=self.site.clock() + hours * HOUR)

    def expire(self, event):
        return self.act("EXPIRE", self.site.new_id(), ended_event=event)

    def wait(self, hours):
        self.site.clock.us += hours * HOUR

    # --- what the reference says

    def asked(self, categories, flags, at_us):
        site = self.site
        parties = [
            Party(unit.role, unit.code.split("/")[0], unit.code, unit.member, True, True)
            for unit in (site.units[POLICE], site.units[LEAD])
        ]
        sections = tuple(SectionAsk(one, (0,), one in flags, False) for one in sorted(categories))
        return DecisionRequest("threat_assessment_completed", *parties, sections, PURPOSE, "DISCLOSE", at_us)

    def answer(self, categories, flags, at_us):
        return reference.decide(self.asked(categories, flags, at_us), self.notes(), self.rules)

    def permitted(self, categories, flags, at_us):
        return {category for category, reasons in self.answer(categories, flags, at_us).sections if not reasons}

    # --- what is done, and checked

    def send(self, categories=BOTH, flags=BOTH):
        """Send, let the gate decide, and compare what the sender is told with the reference."""
        site = self.site
        parts = {one: part for one, part in assessment().items() if one in categories}
        sealed = site.sealed(
            site.police, "threat_assessment_completed", parts, (LEAD,), PURPOSE, released=flags & parts.keys()
        )  # fmt: skip
        self.loop.run(site.submit(site.police, sealed))
        self.loop.run(site.decide())
        items = [one for one in self.loop.run(site.fetch(site.police)) if one.kind != "DELIVERY"]
        for item in items:
            self.loop.run(site.ack(site.police, item.item_id))
        told = [Receipt.from_bytes(one.body) for one in items if one.kind == "RECEIPT"]
        (role,) = told[-1].roles
        expected = self.answer(categories, flags, site.clock.us)
        assert role.outcome == expected.outcome
        went = {one.category for one in role.sections if one.released}
        assert went == {category for category, reasons in expected.sections if not reasons}

    def hand_over(self):
        """Fetch: whatever comes is permitted now by what is recorded now, and stands in the discloser's trail."""
        site = self.site
        items = self.loop.run(site.fetch(site.lead))
        for item in items:
            if item.kind == "DELIVERY":
                delivery = Delivery.from_bytes(item.body, limits.SUBMISSION)
                carried = categories_of(delivery)
                assert carried
                assert carried <= self.permitted(carried, BOTH, site.clock.us)
                self.handed.append(item.item_id)
            else:
                self.loop.run(site.ack(site.lead, item.item_id))
        self.entries()
        return [one.item_id for one in items if one.kind == "DELIVERY"]

    def look_back(self, hours, known_hours):
        """What the stored ledger says of an earlier moment, by what was known then."""
        site = self.site
        at_us, known_us = site.clock.us - hours * HOUR, site.clock.us - known_hours * HOUR
        asked, events = self.asked(BOTH, BOTH, at_us), self.loop.run(site.ledger_of(site.police))
        found = decide(asked, view_of(events).as_known(known_us), shipped()[1])
        expected = reference.decide(asked, self.notes(), self.rules, known_us)
        assert [(one.category, list(one.reasons)) for one in found.sections] == expected.sections
        assert (found.outcome, found.holds_until_us) == (expected.outcome, expected.holds_until_us)

    def entries(self):
        """As many entries of disclosure as were handed over, at the least."""
        found = self.loop.run(trail(self.site, self.site.police.seat_id))
        assert sum(one.operation == "DISCLOSURE" for one in found) >= len(set(self.handed))

    def acknowledge(self):
        if self.handed:
            try:
                self.loop.run(self.site.ack(self.site.lead, self.handed[-1]))
            except HandslagError as error:
                self.refused.append(error.code)
