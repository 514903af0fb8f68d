"""The same thing said twice changes nothing; another thing under the same name is refused; one bad one stops nobody."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from hashlib import sha256

import pytest

from broker import acks, acts, cases, invitations, judge, pipeline, submit, worker
from broker.store.gate import GateMoved
from connectors import sealing
from schemas.acts import ConsentAct
from schemas.calls import Ack, AckRequest, CloseRequest, ConsentsRequest
from schemas.envelope import Attempt, Core, RoutingItem
from schemas.errors import HandslagError
from tests.promises.case import PURPOSE, deliveries, event, grant, items, ready, receipts, sent, states
from tests.promises.schedule import Stepped, stepped
from tests.promises.trail import trail
from tests.site import LEAD, ORIGIN, Site, to_role, to_unit


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


# --- submissions


async def bundle(site: Site, submissions) -> None:
    request = sealing.bundle(
        submissions, origin=ORIGIN, unit=site.police.code, bundle_id=os.urandom(16), keys=site.police.keys
    )
    assert (await submit.submit(site.context, site.police.code, request)).refusals == ()


def attempt(site: Site, sealed, number: int = 1):
    everything = frozenset(section.category for section in sealed.sections)
    given = {LEAD: sealing.Given(site.lead.seat.public, everything)}
    return sealing.attempt(sealed, number, site.rules.hash32, None, given)


async def test_the_same_submission_twice_gets_the_same_receipt(site):
    await grant(site)
    one = attempt(site, event(site))
    for _ in range(3):
        await bundle(site, [one])
        await site.decide()
    answers = await receipts(site)
    assert len(answers) == 3
    assert answers[0] == answers[1] == answers[2]
    assert await states(site) == ["PENDING"]
    assert sum(r.operation == "DECISION" for r in await trail(site, site.police.seat_id)) == 1


async def test_the_same_submission_twice_in_one_bundle_gets_the_same_receipt(site):
    await grant(site)
    one = attempt(site, event(site))
    await bundle(site, [one, one])
    await site.decide()
    first, second = await receipts(site)
    assert first == second
    assert await states(site) == ["PENDING"]


async def test_another_event_under_a_known_id_is_refused(site):
    await grant(site)
    await sent(site)
    event_id = (await receipts(site))[0].event_id
    other = event(site, event_id=event_id)  # fresh salts and keys: another core hash, other digests, other routing
    await site.submit(site.police, other, number=2)
    await site.decide()
    (refused,) = await receipts(site)
    assert refused.refused_code == "HS-EQUIVOCATION"
    assert await states(site) == ["PENDING"]


@pytest.mark.parametrize("part", ["core", "digests", "routing_item"])
async def test_a_part_that_changed_under_a_known_id_is_refused(site, part):
    """Each of the three alone; the rest of the submission is consistent with it."""
    await grant(site)
    sealed = event(site)
    await bundle(site, [attempt(site, sealed)])
    await site.decide()
    await receipts(site)
    changed = {"core": changed_core, "digests": changed_digests, "routing_item": changed_routing}[part](site, sealed)
    await bundle(site, [changed])
    await site.decide()
    assert [r.refused_code for r in await receipts(site)] == ["HS-EQUIVOCATION"]


def changed_core(site, sealed):
    one = attempt(site, sealed, 2)
    return replace(one, core=replace(Core.from_bytes(one.core), reliability="CONFIRMED").to_bytes())


def changed_digests(site, sealed):
    """One digest of the random fill, moved up by one; the order stays."""
    one = attempt(site, sealed, 2)
    named = {sha256(i).digest() for i in (one.routing_item, *one.recipient_items, *one.section_items)}
    table = [one.digests[i : i + 32] for i in range(0, len(one.digests), 32)]
    at = next(i for i, digest in enumerate(table) if digest not in named)
    table[at] = (int.from_bytes(table[at]) + 1).to_bytes(32)
    return replace(one, digests=b"".join(table))


def changed_routing(site, sealed):
    one = attempt(site, sealed, 2)
    routing = replace(RoutingItem.from_bytes(one.routing_item), is_minor=True).to_bytes()
    digests = [one.digests[i : i + 32] for i in range(0, len(one.digests), 32)]
    old = sha256(one.routing_item).digest()
    table = sorted(sha256(routing).digest() if digest == old else digest for digest in digests)
    order = {digest: at for at, digest in enumerate(table)}
    said = Attempt.from_bytes(one.attempt)
    wraps = tuple(
        replace(
            w, keys=tuple(sorted((replace(k, index=order[digests[k.index]]) for k in w.keys), key=lambda k: k.index))
        )
        for w in said.wraps
    )
    return replace(one, routing_item=routing, digests=b"".join(table), attempt=replace(said, wraps=wraps).to_bytes())


async def test_another_attempt_under_the_same_number_is_refused(site):
    await grant(site)
    sealed = event(site)
    for _ in range(2):  # each attempt draws its own encapsulation
        await bundle(site, [attempt(site, sealed)])
    await site.decide()
    assert [r.refused_code for r in await receipts(site)] == [None, "HS-EQUIVOCATION"]


async def test_an_attempt_older_than_one_decided_is_refused(site):
    await grant(site)
    sealed = event(site)
    for number in (2, 1):
        await bundle(site, [attempt(site, sealed, number)])
        await site.decide()
    assert [r.refused_code for r in await receipts(site)] == [None, "HS-ATTEMPT-INVALID"]


async def ended(site: Site, state: str, consent: bytes) -> None:
    if state in {"HANDED", "ACKED", "REJECTED", "RECALLED"}:
        (item,) = await deliveries(site)
        if state in {"ACKED", "REJECTED"}:
            await site.ack(site.lead, item.item_id, state[:3] if state == "ACKED" else "REJECT")
    if state in {"CANCELLED", "RECALLED"}:
        await site.act(site.police, "WITHDRAW", consent)
        await grant(site)
    assert (await states(site))[-1] == state


@pytest.mark.parametrize(
    ("state", "again"),
    [("PENDING", 0), ("HANDED", 0), ("ACKED", 0), ("REJECTED", 0), ("CANCELLED", 1), ("RECALLED", 1)],
)
async def test_the_next_attempt_gives_only_what_is_not_given(site, state, again):
    """protocol, "idempotence": not what waits, was handed over, acknowledged or rejected."""
    consent = await grant(site)
    sealed = await sent(site)
    await ended(site, state, consent)
    before = len(await states(site))
    await bundle(site, [attempt(site, sealed, 2)])
    await site.decide()
    assert len(await states(site)) - before == again


async def test_the_receipt_names_the_attempt_that_carries_a_section(site):
    """A sender may seal anew before a receipt came; whose delivery it waits for is not to be guessed."""
    await site.grant(site.police, [to_role(LEAD)], ["IC04"], [PURPOSE])
    sealed = await sent(site)
    await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06"], [PURPOSE])
    await bundle(site, [attempt(site, sealed, 2)])
    await site.decide()
    told = [{s.category: s.carried_by for r in one.roles for s in r.sections} for one in await receipts(site)]
    assert told == [{"IC04": None, "IC06": None}, {"IC04": 1, "IC06": None}]


async def test_the_next_attempt_brings_the_section_that_is_missing_and_no_other(site):
    await site.grant(site.police, [to_role(LEAD)], ["IC04"], [PURPOSE])
    sealed = await sent(site)
    (item,) = await deliveries(site)
    await site.ack(site.lead, item.item_id)
    await site.grant(site.police, [to_role(LEAD)], ["IC06"], [PURPOSE])
    await site.grant(site.police, [to_role(LEAD)], ["IC04", "IC06"], [PURPOSE])
    await bundle(site, [attempt(site, sealed, 2)])
    await site.decide()
    await deliveries(site)
    first, second = site.lead.deliveries
    assert site.open(site.lead, first).categories == ("IC04",)
    assert site.open(site.lead, second).categories == ("IC06",)


# --- what cannot be decided


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


# --- synchronous calls


def withdrawal(site: Site, consent: bytes, call_id: bytes | None = None) -> ConsentsRequest:
    police = site.police
    body = ConsentAct(
        case_tag=police.members.case_tag, member=police.member, consent_id=consent, seq=1, prev=police.head,
        act="WITHDRAW", effective_at_us=None, actor_ref="handläggare 1", assurance="ASSERTED",
        noted_at_us=site.clock(),
    ).to_bytes()  # fmt: skip
    return ConsentsRequest(
        call_id=call_id or os.urandom(16), seat_id=police.seat_id, act=body, signature=police.seat.sign(body)
    )


async def test_a_repeated_call_gets_the_same_answer(site):
    consent = await grant(site)
    request = withdrawal(site, consent)
    first = await acts.consents(site.context, site.police.code, request)
    assert await acts.consents(site.context, site.police.code, request) == first
    assert len(await site.ledger_of(site.police)) == 2


async def test_the_same_call_at_the_same_time_gets_the_same_answer(site):
    consent = await grant(site)
    request = withdrawal(site, consent)
    answers = await asyncio.gather(*[acts.consents(site.context, site.police.code, request) for _ in range(4)])
    assert len(set(answers)) == 1
    assert len(await site.ledger_of(site.police)) == 2


async def test_a_widening_call_repeated_in_between_gets_the_same_answer(site, monkeypatch):
    """The repetition commits before every store operation of the first: never a stale head, never twice."""
    real = acts.consents
    for at in range(3):
        before = len(await site.ledger_of(site.police))
        answers = []

        async def twice(context, unit, request, at=at, answers=answers):
            async def again() -> None:
                answers.append(await real(context, unit, request))

            answers.append(await real(stepped(context, Stepped(site.store, at, again)), unit, request))
            return answers[0]

        monkeypatch.setattr(acts, "consents", twice)
        await grant(site)
        monkeypatch.setattr(acts, "consents", real)
        assert len(answers) == 2
        assert answers[0] == answers[1]
        assert len(await site.ledger_of(site.police)) == before + 1


async def test_another_request_under_the_same_call_id_is_refused(site):
    consent = await grant(site)
    request = withdrawal(site, consent)
    await acts.consents(site.context, site.police.code, request)
    with pytest.raises(HandslagError) as raised:
        await acts.consents(site.context, site.police.code, withdrawal(site, site.new_id(), request.call_id))
    assert raised.value.code == "HS-CALL-CHANGED"


async def test_closing_twice_at_the_same_time_is_one_answer(site):
    request = CloseRequest(call_id=os.urandom(16), seat_id=site.police.seat_id)
    answers = await asyncio.gather(*[cases.close(site.context, site.police.code, request) for _ in range(3)])
    assert len(set(answers)) == 1


async def test_an_invitation_under_a_known_event_id_is_refused_with_a_code(tmp_path):
    """No error of the engine leaves the store, and nothing is invited twice."""
    site = Site(tmp_path / "broker")
    await site.admit()
    await site.open_case()
    await site.grant(site.lead, [to_unit(site.police.code)], ["IC01", "IC12"], ["INTAKE"])
    kept = []
    real = invitations.invite

    async def catch(context, unit, request):
        kept.append(request)
        return await real(context, unit, request)

    invitations.invite = catch
    try:
        await site.invite(site.police)
    finally:
        invitations.invite = real
    with pytest.raises(HandslagError) as raised:
        await invitations.invite(site.context, site.lead.code, replace(kept[0], call_id=os.urandom(16)))
    assert raised.value.code == "HS-INVITATION-INVALID"
    site.close()


# --- acknowledgements


async def test_the_same_ack_twice_gets_the_same_answer_and_one_entry(site):
    await grant(site)
    await sent(site)
    (item,) = await deliveries(site)
    first = await site.ack(site.lead, item.item_id)
    again = await asyncio.gather(*[site.ack(site.lead, item.item_id) for _ in range(3)])
    assert {first, *again} == {first}
    said = [r for r in await trail(site, site.lead.seat_id) if r.payload.delivery_id == item.item_id]
    assert [r.operation for r in said] == ["HAND_OVER", "ACK"]
    assert len([i for i in await items(site, site.police) if i.kind == "NOTICE"]) == 1


async def test_of_two_words_about_one_delivery_the_first_counts(site):
    await grant(site)
    await sent(site)
    (item,) = await deliveries(site)
    request = AckRequest(
        acks=(
            Ack(item_id=item.item_id, hand_number=1, verdict="ACK"),
            Ack(item_id=item.item_id, hand_number=1, verdict="REJECT", code="HS-SEAL-INVALID"),
        )
    )
    answer = await acks.ack(site.context, site.lead.code, request)
    assert [one.code for one in answer.results] == [None, "HS-STATE-INVALID"]
    assert await states(site) == ["ACKED"]


async def test_nobody_acknowledges_for_another_unit(site):
    await grant(site)
    await sent(site)
    (item,) = await deliveries(site)
    assert (await site.ack(site.probation, item.item_id)).results[0].code == "HS-ITEM-GONE"
    assert (await site.ack(site.probation, os.urandom(16))).results[0].code == "HS-ITEM-GONE"
    assert await states(site) == ["HANDED"]
