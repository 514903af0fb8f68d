"""Two cases of one broker in which the police hold a seat each, and everybody else another unit's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from broker import joins
from schemas.joins import CaseJoin, CaseSeparation, JoinAnswer, JoinRequest, SeparateAnswer, SeparateRequest
from tests.promises.case import ready
from tests.site import LEAD, POLICE, PROBATION, Site, Unit


@dataclass
class Case:
    """The three seats of one case."""

    lead: Unit
    police: Unit
    probation: Unit

    @property
    def units(self) -> tuple[Unit, Unit, Unit]:
        return self.lead, self.police, self.probation


class Two:
    """A site with two cases; `use` says which one the site's own verbs speak of."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.one = Case(site.lead, site.police, site.probation)
        self.other = self._another("SOC/ANDRAEXEMPEL/KONSULT", "KV/EXEMPEL/FRI2")

    def _another(self, lead: str, probation: str) -> Case:
        police = self.one.police
        again = Unit(police.code, POLICE, keys=police.keys)
        known = {unit.code: unit for unit in self.one.units}
        others = {code: Unit(code, role, **({"keys": known[code].keys} if code in known else {}))
                  for code, role in ((lead, LEAD), (probation, PROBATION))}  # fmt: skip
        return Case(others[lead], again, others[probation])

    def use(self, case: Case) -> Site:
        site = self.site
        site.lead, site.police, site.probation = case.units
        site.units = {unit.role: unit for unit in case.units}
        return site

    async def opened(self, case: Case) -> None:
        site = self.use(case)
        await site.whole_case()
        await site.take_statements(site.lead)
        await site.take_statements(site.police)

    async def join(self, one: Unit | None = None, other: Unit | None = None, **changed: Any) -> JoinAnswer:
        one, other = one or self.one.police, other or self.other.police
        assert one.members is not None
        assert other.members is not None
        told: dict[str, Any] = {
            "join_id": os.urandom(16), "case_tag": one.members.case_tag, "member": one.member,
            "other_case_tag": other.members.case_tag, "other_member": other.member, "actor_ref": "handläggare 1",
            "assurance": "ASSERTED", "noted_at_us": self.site.clock(),
        }  # fmt: skip
        caller = changed.pop("caller", one.code)
        signed = changed.pop("signed", (one, other))
        act = CaseJoin(**{**told, **changed}).to_bytes()
        request = JoinRequest(
            call_id=os.urandom(16), seat_id=one.seat_id, other_seat_id=other.seat_id, act=act,
            signature=signed[0].seat.sign(act), other_signature=signed[1].seat.sign(act),
        )  # fmt: skip
        self.request = request
        answer = await joins.join(self.site.context, caller, request)
        self.joined = told["join_id"]
        return answer

    async def separate(self, by: Unit | None = None, join_id: bytes = b"") -> SeparateAnswer:
        by = by or self.one.police
        assert by.members is not None
        act = CaseSeparation(
            join_id=join_id or self.joined, case_tag=by.members.case_tag, member=by.member, actor_ref="handläggare 2",
            assurance="ASSERTED", noted_at_us=self.site.clock(),
        ).to_bytes()  # fmt: skip
        request = SeparateRequest(
            call_id=os.urandom(16), seat_id=by.seat_id, act=act, signature=by.seat.sign(act)
        )  # fmt: skip
        return await joins.separate(self.site.context, by.code, request)


async def two_cases(tmp_path: Any) -> Two:
    two = Two(await ready(tmp_path))
    await two.opened(two.other)
    two.use(two.one)
    return two
