"""A whole Handslag in one process with three units, weekly slots and a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from broker.worker import drain
from connectors.context import clock
from connectors.enrolment import Unit
from connectors.identity import Seat
from connectors.slots import WEEK_US, WEEKLY
from tests.evil import house as evil
from tests.evil.house import LEAD, PROBATION, Agency, House, grant

REFS = {"social": "EX-1", "police": "PM-1", "probation": "KV-1"}


class Weeks:
    """The house with one clock for all; an agency in `off` does nothing."""

    def __init__(self, home: House) -> None:
        self.home = home
        self.off: set[str] = set()
        self.ahead_us = 0
        object.__setattr__(home.node.context, "now_us", self.now)

    def now(self) -> int:
        return clock() + self.ahead_us

    def agency(self, name: str) -> Agency:
        return self.home.agencies[name]

    def seat(self, name: str) -> Seat:
        return self.agency(name).ctx.identities.get(REFS[name])

    def key_ids(self) -> dict[str, bytes]:
        return {name: self.seat(name).keys.key_id for name in self.home.agencies}

    async def settle(self, rounds: int = 3) -> None:
        for _ in range(rounds):
            for name, agency in self.home.agencies.items():
                if name not in self.off:
                    await agency.beat()
                for bucket in await self.home.node.context.stream.waiting():
                    await drain(self.home.node.context, bucket)
            await self.home.node.sealer.beat()

    def move(self, us: int) -> None:
        self.ahead_us += us
        for agency in self.home.agencies.values():
            agency.ahead_us = self.ahead_us

    def to(self, part: float) -> None:
        """To a place in the slot after this one: 0 its start, 1 its end."""
        slot = WEEKLY.number(self.now()) + 1
        self.move(WEEKLY.start(slot) + int(part * WEEK_US) - self.now())

    async def slot(self, rounds: int = 8) -> None:
        """The next slot, and everybody that is on rotates in it."""
        self.to(0.3)
        await self.settle(rounds)

    def given(self, name: str) -> list[str]:
        """Threat levels of the assessments, or texts of the requests, that an agency's system was given."""
        found = self.agency(name).files("out", kind="delivery")
        return [f["data"].get("threat_level") or f["data"]["known_facts"][0]["text"] for f in found]


@asynccontextmanager
async def weeks(folder: Path) -> AsyncIterator[Weeks]:
    """A case of three: the police and the prison service have joined, grants between social services and police."""
    three = {**evil.UNITS, "probation": Unit(unit="KV/EXEMPEL/FRI", agency="KV", controller="KV", roles=(PROBATION,))}
    before = dict(evil.UNITS)
    evil.UNITS.update(three)
    try:
        async with evil.house(folder) as home:
            made = Weeks(home)
            # Half a slot in, or a case that is opened would rotate while it is set up.
            made.to(0.5)
            await home.case("EX-1", "PM-1")
            social, probation = made.agency("social"), made.agency("probation")
            social.command(**grant("EX-1", [{"unit": "KV/EXEMPEL/FRI"}], ["IC01", "IC12"], ["INTAKE"]))
            await made.settle(2)
            social.command(do="invite", ref="EX-1", unit="KV/EXEMPEL/FRI", role=PROBATION, contact="Konsult EXEMPEL",
                           person=evil.PERSON)  # fmt: skip
            await made.settle(2)

            invitation = probation.files("out", kind="invitation")[-1]["invitation"]
            probation.command(do="accept", ref="KV-1", invitation=invitation)
            await made.settle(2)
            social.command(**grant("EX-1", [{"role": PROBATION}], ["IC01", "IC04"], ["THREAT_ASSESSMENT"]))
            await made.settle(2)
            assert made.seat("probation").active
            yield made
    finally:
        evil.UNITS.clear()
        evil.UNITS.update(before)


__all__ = ["LEAD", "REFS", "Weeks", "weeks"]
