"""A look into the trail is an entry first and shows what lay there when it was written, however often it is asked."""

from __future__ import annotations

import dataclasses

from schemas.calls import AuditFetchRequest, AuditPage, AuditQuery
from tests.evil.house import request_assessment


async def look(ctx, seat, call_id, purpose="LAWFULNESS"):
    query = AuditQuery(purpose=purpose, actor_ref="EXEMPEL", assurance="ASSERTED", case_number="EXEMPEL-1")
    request = AuditFetchRequest(call_id=call_id, seat_id=seat.sid, query=query, after=0, limit=200)
    return await ctx.link.call("/v1/audit:fetch", request, AuditPage)


async def test_a_repeated_look_shows_nothing_that_came_after_it(case):
    ctx = case.social.ctx
    seat = ctx.identities.get("EX-1")
    first = await look(ctx, seat, b"1" * 16)
    case.social.command(**request_assessment("EX-1"))
    await case.settle(2)
    assert await look(ctx, seat, b"1" * 16) == first
    later = await look(ctx, seat, b"2" * 16)  # positive control: who asks anew, and is recorded anew, sees more
    assert {each.number for each in first.entries} < {each.number for each in later.entries}
    assert later.entry_id != first.entry_id


async def test_pages_of_a_look_go_on_where_the_last_one_ended(case):
    ctx = case.social.ctx
    seat = ctx.identities.get("EX-1")
    whole = await look(ctx, seat, b"1" * 16)
    query = AuditQuery(purpose="INTEGRITY", actor_ref="EXEMPEL", assurance="ASSERTED", case_number="EXEMPEL-1")
    request = AuditFetchRequest(call_id=b"2" * 16, seat_id=seat.sid, query=query, after=0, limit=2)
    seen, more = [], True
    while more:
        page = await ctx.link.call("/v1/audit:fetch", request, AuditPage)
        seen += page.entries
        more = page.more
        call_id = bytes([request.call_id[0] + 1]) * 16
        request = dataclasses.replace(request, call_id=call_id, after=page.entries[-1].number if page.entries else 0)
        assert len(seen) < 50
    assert [each.number for each in seen[: len(whole.entries)]] == [each.number for each in whole.entries]
