"""Both ways of moving, played in process: a real broker, real connectors on real files, one clock that the test moves.

`moving(folder, to=...)` sets up a case of three (social services that lead it, police, probation) and two more social
services that are admitted from the start: to which of them the person moves is the only thing that `to` changes. Every
step is a method, so that a test can stop between any two; `Seen` writes down all that one unit's connector observes.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from connectors import officers, transfers
from connectors.enrolment import Unit
from connectors.identity import Seat
from connectors.keys import UnitKeyPair
from schemas.capsule import Place
from schemas.records import Record
from tests.evil import house as evil
from tests.evil.house import LEAD, PERSON, POLICE, PROBATION, grant
from tests.rotation.weeks import Weeks

NEXT = "social_services_lead_next"
ALFA, BETA = "SOC/EXEMPELALFA/KONSULT", "SOC/EXEMPELBETA/VUXENKONSULT/NORR"  # codes of different lengths
NAMES = {ALFA: "alfa", BETA: "beta"}
REFS = {"social": "EX-1", "police": "PM-1", "probation": "KV-1", "alfa": "AL-1", "beta": "BE-1"}


def _unit(code: str, role: str) -> Unit:
    agency = code.rsplit("/", 1)[0] if code.startswith("SOC/") else code.split("/", maxsplit=1)[0]
    return Unit(unit=code, agency=agency, controller=agency, roles=(role,))


UNITS = {
    "probation": _unit("KV/EXEMPEL/FRI", PROBATION),
    "alfa": _unit(ALFA, LEAD),
    "beta": _unit(BETA, LEAD),
}


class Seen:
    """What one unit's connector observes at the broker: every call with its answer, in order, code or bytes."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.calls: list[tuple[str, str, bytes]] = []

    def watch(self, liar: evil.Liar) -> None:
        """Stand between gateway and core: every call of the unit, and every list that it fetches, passes here."""
        core = liar._core

        class Watched:
            def __getattr__(watched, name: str) -> Any:  # noqa: N805 - `self` is the one who writes down
                honest = getattr(core, name)
                if not callable(honest):
                    return honest

                async def call(*arguments: Any) -> Any:
                    mine = bool(arguments) and arguments[0] == self.unit
                    try:
                        answer = await honest(*arguments)
                    except evil.HandslagError as error:
                        if mine:
                            self.calls.append((name, error.code, b""))
                        raise
                    if mine:
                        data = answer.to_bytes() if isinstance(answer, Record) else repr(answer).encode()
                        self.calls.append((name, "", data))
                    return answer

                return call

        liar._core = Watched()


class Move(Weeks):
    """The case, with one step of a move for each method. `to` is the unit code that the person moves to."""

    def __init__(self, home: evil.House, to: str) -> None:
        super().__init__(home)
        self.to_unit = to
        self.refs = dict(REFS)

    @property
    def new(self) -> str:
        """Name of the receiving social services."""
        return NAMES[self.to_unit]

    def seat(self, name: str) -> Seat:
        """An agency's seat in the case."""
        return self.agency(name).ctx.identities.get(self.refs[name])

    def key_ids_of(self, *names: str) -> set[bytes]:
        """Ids of the keys that these agencies' seats have now."""
        return {self.seat(name).keys.key_id for name in names}

    def refused(self, name: str) -> list[str]:
        """Codes of everything that was refused, rejected or alarmed at an agency."""
        kinds = {"refused", "rejected", "alarm"}
        return [f["code"] for f in self.agency(name).files("receipts") if f["kind"] in kinds]

    # --- a protected relocation: the police invite

    async def police_invites(self) -> None:
        """The person lets the police tell the new social services, and the police invite it to take over."""
        police, ref = self.agency("police"), self.refs["police"]
        police.command(**grant(ref, [{"unit": self.to_unit}], ["IC01", "IC12"], ["INTAKE"]))
        await self.settle(1)
        police.command(do="invite", ref=ref, unit=self.to_unit, role=NEXT, contact="Samordnare EXEMPEL", person=PERSON)
        await self.settle(2)

    async def new_accepts(self) -> None:
        """The new social services takes the role, the police vouch for its key, the lead signs, it offers keys."""
        new = self.agency(self.new)
        invitation = new.files("out", kind="invitation")[-1]["invitation"]
        new.command(do="accept", ref=self.refs[self.new], invitation=invitation)
        await self.settle(9)

    async def file_is_sealed(self) -> None:
        """The person lets the lead pass the file on, to a role; it goes, sealed to a key."""
        social, ref = self.agency("social"), self.refs["social"]
        social.command(**grant(ref, [{"role": NEXT}], ["IC08", "IC10", "IC13"], ["CASE_TRANSFER"]))
        await self.settle(1)
        social.command(**file_of(ref))
        await self.settle(3)

    async def lead_hands_over(self) -> None:
        """The lead's agency says that the case passes on; it waits for the slot."""
        self.agency("social").command(do="hand_over", ref=self.refs["social"])
        await self.settle(2)

    async def protected(self) -> None:
        """The whole of a protected relocation, through the slot in which the role changes hands."""
        await self.police_invites()
        await self.new_accepts()
        await self.file_is_sealed()
        await self.lead_hands_over()
        await self.slot()

    # --- an ordinary transfer: two named officers of the lead invite

    def officers(self) -> dict[str, UnitKeyPair]:
        """The lead's two named officers, and a third whose key is as good and whom nobody named."""
        settings, found = self.agency("social").ctx.settings, {}
        keys = settings.keys_dir.parent / "sticks"
        keys.mkdir(exist_ok=True)
        for name in ("handl-7", "handl-9"):
            officers.name_officer(settings.keys_dir, name, keys / name, "en lång lösenfras", os.urandom, None)
            found[name] = officers.unlocked(settings.keys_dir, name, keys / name, "en lång lösenfras")
        return {**found, "handl-3": UnitKeyPair.generate()}

    async def officer_invites(self, place: Place) -> None:
        """The person lets the lead tell the new unit; a named officer invites it and seals the place for it."""
        social, ref = self.agency("social"), self.refs["social"]
        social.command(**grant(ref, [{"unit": self.to_unit}], ["IC01", "IC12"], ["INTAKE"]))
        await self.settle(1)
        person = {**PERSON, "local_reference": None}
        transfers.invite(social.ctx, ref, self.to_unit, place, "handl-7", "Konsult EXEMPEL", person)
        await self.settle(2)

    async def ordinary(self, place: Place) -> None:
        """The whole of an ordinary transfer, through the slot in which the role changes hands."""
        await self.officer_invites(place)
        await self.new_accepts()
        await self.file_is_sealed()
        await self.lead_hands_over()
        await self.slot()

    async def again(self, to: str) -> None:
        """The person moves on: what was the receiving social services is the old lead now."""
        self.refs["social"], before = self.refs[self.new], self.home.agencies["social"]
        self.home.agencies["social"] = self.home.agencies[self.new]
        try:
            self.to_unit = to
            await self.slot()  # who took over rotates once, and the role to take over is free again
            await self.protected()
        finally:
            self.refs["social"], self.home.agencies["social"] = REFS["social"], before


def file_of(ref: str) -> dict[str, Any]:
    """The file that the lead passes on: what is open, without any place."""
    return {
        "do": "send", "ref": ref, "event_type": "case_transfer_changed", "to": [NEXT], "purpose": "CASE_TRANSFER",
        "confirmed": True,
        "data": {"status": "ANSWERED", "answer": "AGREED", "open_interventions": ["BOENDE", "SKYDD"],
                 "inquiry_open": True, "decisions_in_force": 2},
    }  # fmt: skip


@asynccontextmanager
async def moving(folder: Path, to: str = ALFA, **configured: Any) -> AsyncIterator[Move]:
    """A case of three in its slot, and two other social services of which one will take it over."""
    before = dict(evil.UNITS)
    evil.UNITS.update(UNITS)
    try:
        async with evil.house(folder, **configured) as home:
            made = Move(home, to)
            made.to(0.5)
            await _case(made)
            yield made
    finally:
        evil.UNITS.clear()
        evil.UNITS.update(before)


async def _case(made: Move) -> None:
    social, police, probation = (made.agency(name) for name in ("social", "police", "probation"))
    social.command(do="open_case", ref=made.refs["social"], role=LEAD)
    await made.settle(1)
    invited = (("police", POLICE), ("probation", PROBATION))
    recipients = [{"unit": evil.UNITS[name].unit} for name, _role in invited]
    social.command(**grant(made.refs["social"], recipients, ["IC01", "IC12"], ["INTAKE"]))
    await made.settle(1)
    for name, role in invited:
        social.command(
            do="invite", ref=made.refs["social"], unit=evil.UNITS[name].unit, role=role, contact="Konsult EXEMPEL",
            person=PERSON,
        )  # fmt: skip
        await made.settle(1)
        invitation = made.agency(name).files("out", kind="invitation")[-1]["invitation"]
        made.agency(name).command(do="accept", ref=made.refs[name], invitation=invitation)
        await made.settle(3)
    # Probation's consent follows the role, that of the police does not: one of each.
    lead = {"role": LEAD}
    police.command(**grant(made.refs["police"], [lead], ["IC04"], ["THREAT_ASSESSMENT"]))
    follows = [{**lead, "follows_role": True}]
    probation.command(**grant(made.refs["probation"], follows, ["IC13"], ["PLANNING"]))
    await made.settle(2)
    for name in ("police", "probation"):
        assert made.seat(name).active
