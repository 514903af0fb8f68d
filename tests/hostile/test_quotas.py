"""A unit that asks for more than its share, through the real gateway: refused with a time, counted, and what must
get in gets in."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import io
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from broker.disk import DiskRoom
from broker.gateway.server import serve_gateway
from broker.gateway.waiting import Waiting
from broker.quota import Limits, Quotas
from connectors import sealing
from connectors.link import RETRY_AFTER_S, problem
from schemas import calls, projection
from schemas.acts import CaseWithdrawal
from schemas.calls import SubmitAnswer
from tests.gateway.support import Pki, settings_for, usual
from tests.hostile.conftest import Door, _Core, _Sealer, _Witnessed
from tests.hostile.test_bundles import bundle, submission
from tests.site import LEAD

TIGHT = Limits(
    calls_per_second=2,
    submissions_per_minute=10,
    fetches_per_second=1,
    queries_per_minute=3,
    urgent_per_minute=60,
    stream_submissions=1000,
)


@asynccontextmanager
async def doorway(
    site, tmp_path, *, limits: Limits | None = None, room: DiskRoom | None = None, waiting: Waiting | None = None
) -> AsyncIterator[Door]:
    """The site's broker behind TLS with bounds of the test's own."""
    metrics = site.context.metrics
    quotas = Quotas(limits or Limits(), time.monotonic, metrics.over_quota)
    site.context = dataclasses.replace(site.context, quotas=quotas, room=room)
    files = Pki(tmp_path / "pki")
    unused: Any = None
    core = _Core(site.context, _Sealer(), unused, _Witnessed())  # type: ignore[arg-type]
    core.certificates = {}
    door = Door(site)
    door.core = core
    async with serve_gateway(core, settings_for(files.folder, tmp_path), metrics, quotas, waiting) as serving:
        door.url = f"https://127.0.0.1:{serving.gateway.port}"
        door.operations = f"http://127.0.0.1:{serving.operations.port}"
        for unit in site.units.values():
            context, fingerprint = files.client(unit.code)
            core.certificates[fingerprint] = unit.code
            door.sessions[unit.code] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
        try:
            yield door
        finally:
            for session in door.sessions.values():
                await session.close()


async def post(door, unit, path, body) -> tuple[int, dict[str, str], bytes]:
    headers = usual(Handslag_Checkpoint=None)
    url = door.url + path
    async with door.sessions[unit].post(url, data=io.BytesIO(body), headers=headers) as answer:
        return answer.status, dict(answer.headers), await answer.read()


def meeting(site, *, replaces: bytes | None = None):
    """A submission that can wait: no life hangs on a meeting. With `replaces` it corrects an earlier one."""
    unit = site.police
    sections = projection.split(
        "coordination_meeting_scheduled",
        {
            "meeting_id": "EXEMPEL-M1",
            "at": dt.datetime(2026, 12, 1, 9, tzinfo=dt.UTC),
            "mode": "DIGITAL",
            "agenda_codes": ["OTHER"],
            "requires_consent_ref": "EXEMPEL",
        },
    )
    plan = sealing.SealPlan(
        case_tag=unit.members.case_tag,
        seat_id=unit.seat_id,
        event_id=site.new_id(),
        event_type="coordination_meeting_scheduled",
        occurred_at_us=site.clock.us,
        sent_at_us=site.clock.us,
        purpose="REENTRY",
        action="DISCLOSE",
        statement_kind="FACT",
        replaces=replaces,
        roles=(LEAD,),
        sections=sections,
        public_interest_released=frozenset(),
        is_minor=False,
        protected_handling=False,
        regime="GDPR",
    )
    sealed = sealing.seal_event(plan, unit.seat, os.urandom)
    given = {LEAD: sealing.Given(site.lead.seat.public, frozenset(sections))}
    return sealing.attempt(sealed, 1, site.rules.hash32, None, given)


async def sent(door, *submissions) -> tuple[int, list[str], dict[str, str]]:
    """Status, codes (of the refused items, or of the whole), headers."""
    status, headers, body = await post(door, door.site.police.code, "/v1/submissions", bundle(door.site, *submissions))
    if status == 202:
        return status, [refusal.code for refusal in SubmitAnswer.from_bytes(body).refusals], headers
    return status, [json.loads(body)["code"]], headers


def withdrawal(site, unit=None) -> bytes:
    unit = unit or site.police
    body = CaseWithdrawal(
        case_tag=unit.members.case_tag,
        recorder=unit.member,
        withdrawal_id=os.urandom(16),
        effective_at_us=None,
        method="ORAL_DOCUMENTED",
        actor_ref="EXEMPEL",
        assurance="ASSERTED",
        noted_at_us=site.clock(),
    ).to_bytes()
    return calls.ConsentsRequest(
        call_id=os.urandom(16), seat_id=unit.seat_id, act=body, signature=unit.seat.sign(body)
    ).to_bytes()


async def counted(door, series: str) -> float:
    async with aiohttp.ClientSession() as plain, plain.get(door.operations + "/metrics") as answer:
        text = await answer.text()
    return float(next(line.split()[-1] for line in text.splitlines() if line.startswith(series + " ")))


async def refusals_recorded(site) -> int:
    """Entries of the operation REFUSAL in the whole trail."""
    with contextlib.closing(sqlite3.connect(site.store.path)) as trail:
        return trail.execute("SELECT count(*) FROM entry WHERE operation='REFUSAL'").fetchone()[0]


async def used_up(door, path: str, body: bytes, unit=None) -> int:
    """Repeat a call until it is refused for its quota; returns how many were not."""
    for count in range(200):
        status, headers, answer = await post(door, (unit or door.site.police).code, path, body)
        if status == 429:
            assert json.loads(answer)["code"] == "HS-QUOTA"
            assert int(headers["Retry-After"]) >= 1
            return count
    raise AssertionError("never refused")


PROOFS = calls.ProofsRequest(leaf_hashes=()).to_bytes()


async def test_too_many_submissions_are_refused_with_a_time_and_counted(site, tmp_path):
    async with doorway(site, tmp_path, limits=dataclasses.replace(TIGHT, calls_per_second=1000)) as door:
        assert (await sent(door, *(meeting(site) for _ in range(10))))[:2] == (202, [])
        before = await refusals_recorded(site)
        status, codes, headers = await sent(door, meeting(site), meeting(site))
        assert (status, codes) == (429, ["HS-QUOTA"])
        assert 6 <= int(headers["Retry-After"]) <= 12  # two of ten a minute
        assert await counted(door, 'handslag_over_quota_total{quota="submissions"}') == 1
        assert await counted(door, 'handslag_refusals_total{code="HS-QUOTA"}') == 1
        assert await refusals_recorded(site) == before  # counted, and no entry each: a flood must not fill the trail


async def test_of_a_mixed_bundle_what_must_not_wait_gets_in(site, tmp_path):
    async with doorway(site, tmp_path, limits=dataclasses.replace(TIGHT, calls_per_second=1000)) as door:
        assert (await sent(door, *(meeting(site) for _ in range(10))))[:2] == (202, [])
        acute, correction = submission(site), meeting(site, replaces=os.urandom(16))
        status, codes, _headers = await sent(door, meeting(site), acute, correction, meeting(site))
        assert (status, codes) == (202, ["HS-BUSY", "HS-BUSY"])  # what connectors of every release try again
        assert await counted(door, 'handslag_refusals_total{code="HS-QUOTA"}') == 2
        assert await site.decide() == 12
        # Reserved kinds are bounded too: a reserve without an end would be no quota.
        results = [await sent(door, submission(site)) for _ in range(70)]
        assert {status for status, _codes, _headers in results} == {202, 429}


async def test_a_withdrawal_gets_in_when_every_other_call_is_refused(site, tmp_path):
    async with doorway(site, tmp_path, limits=dataclasses.replace(TIGHT, calls_per_second=1)) as door:
        await used_up(door, "/v1/proofs", PROOFS)
        for path, body in (
            ("/v1/proofs", PROOFS),
            ("/v1/inbox:fetch", calls.FetchRequest(limit=1).to_bytes()),
            ("/v1/submissions", bundle(site, meeting(site))),
        ):
            assert (await post(door, site.police.code, path, body))[0] == 429, path
            await used_up(door, "/v1/proofs", PROOFS)
        assert (await post(door, site.police.code, "/v1/consents", withdrawal(site)))[0] == 200
        await used_up(door, "/v1/proofs", PROOFS)
        assert (await sent(door, submission(site)))[0] == 202
        # and nobody else noticed anything
        assert (await post(door, site.lead.code, "/v1/proofs", PROOFS))[0] != 429


async def test_fetches_and_audit_queries_have_bounds_of_their_own(site, tmp_path):
    async with doorway(site, tmp_path, limits=dataclasses.replace(TIGHT, calls_per_second=1000)) as door:
        assert 10 <= await used_up(door, "/v1/inbox:fetch", calls.FetchRequest(limit=1).to_bytes()) <= 20
        query = calls.AuditQuery(
            purpose="LAWFULNESS", actor_ref="EXEMPEL", assurance="ASSERTED", case_number="EXEMPEL-1"
        )

        def look() -> bytes:
            return calls.AuditFetchRequest(
                call_id=os.urandom(16), seat_id=site.police.seat_id, query=query, after=0, limit=10
            ).to_bytes()

        answers = [(await post(door, site.police.code, "/v1/audit:fetch", look()))[0] for _ in range(5)]
        assert answers == [200, 200, 200, 429, 429]


async def test_what_waits_in_the_stream_is_bounded_per_unit(site, tmp_path):
    """Nobody decides here; a share that is full takes reserved kinds only, and is free again when it was decided."""
    limits = Limits(stream_submissions=3)
    async with doorway(site, tmp_path, limits=limits) as door:
        assert (await sent(door, *(meeting(site) for _ in range(3))))[:2] == (202, [])
        assert (await sent(door, meeting(site)))[:2] == (429, ["HS-QUOTA"])
        assert await counted(door, 'handslag_over_quota_total{quota="stream"}') == 1
        assert (await sent(door, submission(site)))[:2] == (202, [])
        assert await site.decide() == 4
        assert (await sent(door, meeting(site)))[:2] == (202, [])


async def test_a_disk_with_little_room_takes_what_must_get_in_and_nothing_else(site, tmp_path):
    """The bound is set above what the disk has free; tests/system/test_full_disk.py fills a real one."""
    room = DiskRoom(tmp_path, 1 << 60, 0, site.context.metrics.room)
    async with doorway(site, tmp_path, room=room) as door:
        status, codes, headers = await sent(door, meeting(site))
        assert (status, codes, headers["Retry-After"]) == (503, ["HS-DISK-LOW"], "30")
        assert (await sent(door, meeting(site), submission(site)))[:2] == (202, ["HS-NOT-READY"])
        assert (await post(door, site.police.code, "/v1/consents", withdrawal(site)))[0] == 200
        assert (await post(door, site.lead.code, "/v1/inbox:fetch", calls.FetchRequest(limit=9).to_bytes()))[0] == 200
        async with aiohttp.ClientSession() as plain, plain.get(door.operations + "/readyz") as answer:
            assert (answer.status, await answer.json(content_type=None)) == (
                503, {"ok": False, "reasons": ["HS-DISK-LOW"]},
            )  # fmt: skip
        assert await counted(door, "handslag_disk_low") == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("999999", RETRY_AFTER_S),
        ("Sun, 22 Nov 2026 07:00:00 GMT", None),
        ("-1", None),
        (None, None),
    ],
)
def test_a_connector_believes_a_time_to_wait_within_bounds(header, seconds):
    assert problem(b'{"code": "HS-QUOTA"}', header).retry_after_s == seconds


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "HS-BUSY"), (503, "HS-NOT-READY"), (400, "HS-ANSWER-INVALID"), (500, "HS-ANSWER-INVALID")],
)
def test_a_code_of_a_newer_broker_is_tried_again_when_its_status_says_so(status, code):
    assert problem(b'{"code": "HS-OF-NEXT-YEAR", "context": {"a": "b"}}', None, status).code == code
