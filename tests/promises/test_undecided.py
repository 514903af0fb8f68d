"""What cannot be decided stops nobody else, and two nodes that decide the same decide it once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker import judge, pipeline, worker
from broker.store.gate import GateMoved
from schemas.errors import HandslagError
from tests.promises.again import attempt, bundle
from tests.promises.case import event, grant, ready, receipts, states
from tests.promises.schedule import Stepped, stepped
from tests.promises.trail import trail


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


@pytest.fixture
def failing(site, monkeypatch):
    """Make the decision of one event fail."""
    real, bad = judge.decide, set()

    def fails(request, view, rules):
        if request.at_us and site.bad_now:
            raise ZeroDivisionError
        return real(request, view, rules)

    def judged(resolved, rules, at_us):
        site.bad_now = resolved.waiting.record.submission.core in bad
        return judge.judge(resolved, rules, at_us)

    monkeypatch.setattr(judge, "decide", fails)
    monkeypatch.setattr(pipeline, "judge", judged)
    return bad


async def test_a_submission_whose_decision_fails_is_refused_and_no_other(site, failing):
    await grant(site)
    good, bad, other = event(site), event(site), event(site)
    await bundle(site, [attempt(site, one) for one in (good, bad, other)])
    failing.add(bad.core)
    (bucket,) = await site.context.stream.waiting()
    assert await worker.drain(site.context, bucket) == 3
    assert [r.refused_code for r in await receipts(site)] == [None, "HS-DECISION-FAILED", None]
    assert await states(site) == ["PENDING", "PENDING"]
    assert site.faults
    refusals = [r for r in await trail(site, site.police.seat_id) if r.operation == "REFUSAL"]
    assert [r.payload.code for r in refusals] == ["HS-DECISION-FAILED"]
    assert await site.context.stream.waiting() == []


class Counted:
    """The stream, and how many records each look at it asked for."""

    def __init__(self, inner):
        self.inner, self.taken = inner, []

    def __getattr__(self, name):
        return getattr(self.inner, name)

    async def read(self, bucket, position, limit):
        self.taken.append(limit)
        return await self.inner.read(bucket, position, limit)


async def test_a_failing_batch_is_halved(site, failing):
    await grant(site)
    events = [event(site) for _ in range(32)]
    failing.update({events[20].core, events[21].core})
    await bundle(site, [attempt(site, one) for one in events])
    (bucket,) = await site.context.stream.waiting()
    stream = Counted(site.context.stream)
    assert await worker.drain(replace(site.context, stream=stream), bucket) == 32
    codes = [r.refused_code for r in await receipts(site)]
    assert [index for index, code in enumerate(codes) if code] == [20, 21]
    assert len(site.faults) == 2
    assert stream.taken[:3] == [pipeline.BATCH, pipeline.BATCH, 16]  # the batch, a look at how many, half of them
    assert len(stream.taken) <= 26  # one by one it would be more than 32


async def test_another_node_s_progress_is_not_refused(site, failing):
    """The submission that failed alone was decided elsewhere meanwhile: the next one is not refused in its place."""
    await grant(site)
    first, second = event(site), event(site)
    await bundle(site, [attempt(site, one) for one in (first, second)])
    failing.add(first.core)
    (bucket,) = await site.context.stream.waiting()

    class Elsewhere(Counted):
        async def read(self, bucket, position, limit):
            found = await super().read(bucket, position, limit)
            if len(self.taken) == 1:  # between the read and the decision here
                failing.clear()
                assert await pipeline.decide_next(site.context, bucket, limit=1) == 1
                failing.add(first.core)
            return found

    with pytest.raises(GateMoved):
        await pipeline.decide_alone(replace(site.context, stream=Elsewhere(site.context.stream)), bucket)
    failing.clear()
    await worker.drain(site.context, bucket)
    assert [r.refused_code for r in await receipts(site)] == [None, None]


class Failing:
    """A store whose n-th write fails as an engine does; nothing of it was written."""

    def __init__(self, inner, at):
        self.inner, self.at, self.writes = inner, at, 0
        self.sealing = inner.sealing

    async def read(self, query):
        return await self.inner.read(query)

    async def write(self, work, *, shared=False):
        self.writes += 1
        if self.writes == self.at:
            raise HandslagError("HS-NOT-RECORDED")
        return await self.inner.write(work, shared=shared)


async def test_an_engine_that_fails_refuses_nobody(site):
    """What could not be written is decided again; it is no fault of the submission."""
    await grant(site)
    await bundle(site, [attempt(site, event(site))])
    (bucket,) = await site.context.stream.waiting()
    context = stepped(site.context, Failing(site.store, 1))
    with pytest.raises(HandslagError) as raised:
        await pipeline.decide_alone(context, bucket)
    assert raised.value.code == "HS-NOT-RECORDED"
    await worker.drain(context, bucket)
    assert [r.refused_code for r in await receipts(site)] == [None]


async def test_what_was_decided_and_not_trimmed_does_not_wait_for_ever(site):
    """A node that dies between COMMIT and trim leaves records below the gate; the next one clears them."""
    await grant(site)
    await bundle(site, [attempt(site, event(site))])
    (bucket,) = await site.context.stream.waiting()
    context = stepped(site.context, Failing(site.store, 2))  # the commit is the first write, the trim the second
    with pytest.raises(HandslagError):
        await pipeline.decide_next(context, bucket)
    assert await site.context.stream.waiting() == [bucket]
    await worker.drain(site.context, bucket)
    assert await site.context.stream.waiting() == []
    assert len(await receipts(site)) == 1


async def test_two_nodes_on_one_bucket_decide_once(site):
    await grant(site)
    await bundle(site, [attempt(site, event(site)) for _ in range(3)])
    (bucket,) = await site.context.stream.waiting()

    async def other() -> None:
        await pipeline.decide_next(site.context, bucket)

    moved = 0
    for at in range(6):
        await bundle(site, [attempt(site, event(site))])
        try:
            await pipeline.decide_next(stepped(site.context, Stepped(site.store, at, other)), bucket)
        except GateMoved:
            moved += 1
        await site.decide()
    assert len(await receipts(site)) == len(await states(site)) == 9
    assert moved >= 2
