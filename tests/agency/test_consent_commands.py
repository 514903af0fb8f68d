"""Every consent command becomes the act it names, a birth date never leaves, and what narrows stops here at once."""

import json
from datetime import UTC, datetime

import pytest

from connectors import acts, commands, executor, ledgers
from connectors.fields import moment, shown_moment
from consent import majority
from consent.admission import check_act
from consent.decide import decide
from consent.ledger import LedgerView, head_after
from schemas.acts import ConsentAct, LedgerEvent
from schemas.calls import ConsentsAnswer, LedgerPage
from schemas.errors import HandslagError
from schemas.identifiers import ZERO32, shown

DAY_US = 24 * 3600 * 1_000_000
GRANT = {
    "do": "grant", "ref": "EX-1", "recipients": [{"role": "police_coordination"}], "categories": ["IC01", "IC12"],
    "purposes": ["INTAKE"], "valid_until": "2098-06-01T10:00:00Z", "text_version": "1", "terms_version": "1",
    "processing_acknowledged": True, "method": "WRITTEN",
}  # fmt: skip


class Broker:
    """Admits acts by the rule of the real one and keeps a ledger of them."""

    def __init__(self, ctx):
        self.ctx, self.events, self.view = ctx, [], LedgerView.empty()

    async def call(self, path, request, _answer, *, tries=1, pressing=False):
        if path == "/v1/ledger:fetch":
            new = tuple(self.events[request.after_seq :])
            return LedgerPage(events=new, ledger_seq=self.view.ledger_seq, head=self.view.head)
        act, now = ConsentAct.from_bytes(request.act), max(self.ctx.now(), self.view.recorded_at_us)
        check_act(act, self.view.head, now, self.view)
        seq = self.view.ledger_seq + 1
        head = head_after(self.view.head, seq, request.act, (), now)
        event = LedgerEvent(
            ledger_seq=seq, act=request.act, signature=request.signature, holders=(), recorded_at_us=now, head=head
        )
        self.events.append(event)
        self.view = self.view.applied(event)
        return ConsentsAnswer(
            call_id=request.call_id, ledger_seq=seq, head=head, recorded_at_us=now, counts=(), affected=(),
            entry_id=bytes(16), leaf_hash=ZERO32,
        )  # fmt: skip

    @property
    def newest(self):
        return ConsentAct.from_bytes(self.events[-1].act)


@pytest.fixture
def linked(world):
    world.ctx.link = broker = Broker(world.ctx)

    async def said(**command):
        command_id = executor.submit(world.ctx, commands.read(json.dumps({"ref": "EX-1", **command}).encode()))
        waiting = world.ctx.spool.commands.get(command_id)
        told = await acts.record(world.ctx, waiting)
        world.ctx.spool.commands.finish(command_id, failed=False)
        return told.get("consent")

    broker.said = said
    broker.world = world
    return broker


def goes(broker):
    ctx, seat = broker.ctx, broker.world.seat
    asked = ledgers.asked(
        ctx, seat, ledgers.recipient(ctx, seat, "police_coordination"), event_type="support_requested",
        categories=["IC01", "IC12"], purpose="INTAKE", action="DISCLOSE",
        at_us=max(ctx.now(), broker.view.recorded_at_us),
    )  # fmt: skip
    return bool(decide(asked, ledgers.view(ctx, seat), ctx.rules).holds_until_us)


async def test_a_consents_life_by_commands(linked):
    consent = await linked.said(**GRANT)
    assert goes(linked)
    await linked.said(do="suspend", consent=consent)
    assert not goes(linked)
    await linked.said(do="resume", consent=consent)
    assert goes(linked)
    block = await linked.said(do="block", method="WRITTEN")
    assert not goes(linked)
    later = shown_moment(linked.ctx.now() + DAY_US)
    await linked.said(do="lift", consent=block, lift_until=later, scope={"categories": ["IC01", "IC12"]})
    assert goes(linked)
    await linked.said(do="unblock", consent=block)
    changed = {**GRANT, "do": "amend", "consent": consent, "until_event": "PLACEMENT_ENDED"}
    assert await linked.said(**changed) == consent
    assert (linked.newest.act, linked.newest.seq) == ("AMEND", 3)
    assert goes(linked)
    await linked.said(do="expire", ended_event="CASE_CLOSED")
    assert goes(linked)
    await linked.said(do="expire", ended_event="PLACEMENT_ENDED")
    assert not goes(linked)


async def test_an_amendment_that_widens_without_a_new_word_is_refused(linked):
    consent = await linked.said(**GRANT)
    wider = {**GRANT, "do": "amend", "consent": consent, "categories": ["IC01", "IC08", "IC12"]}
    with pytest.raises(HandslagError, match="HS-GRANT-INCOMPLETE"):
        await linked.said(**wider)
    await linked.said(**wider, evidence_hash="ab" * 32)
    assert linked.newest.terms.evidence_hash == bytes.fromhex("ab" * 32)


async def test_what_is_only_recorded(linked):
    asked = await linked.said(do="request_consent")
    assert await linked.said(do="refuse_consent", consent=asked, all_agencies_required=True) == asked
    assert (linked.newest.act, linked.newest.terms.all_agencies_required) == ("REFUSE", True)
    consent = await linked.said(**GRANT)
    await linked.said(do="confirm_consent", consent=consent, review_by="2098-05-01T00:00:00Z")
    assert (linked.newest.act, linked.newest.review_by_us) == ("CONFIRM", moment("2098-05-01T00:00:00Z", "x"))
    assert goes(linked)


YEAR = datetime.now(UTC).year - 13  # of a child of 12 or 13, whenever this runs


def minor(ctx, born=f"{YEAR}-03-05", **changes):
    at = shown_moment(ctx.now())
    return {
        **GRANT, "given_by": "GUARDIAN",
        "givers": [
            {"person": 0, "capacity": "SELF", "method": "WRITTEN", "at": at},
            {"person": 1, "capacity": "GUARDIAN", "method": "WRITTEN", "at": at},
        ],
        "minor": {
            "rule_id": "L6", "born": born, "maturity": "SUFFICIENT", "child_view": "AGREES", "guardians": 1,
            "reassess_on": "2099-01-01", **changes,
        },
    }  # fmt: skip


@pytest.mark.parametrize("born", [f"{YEAR}-03-05", f"{YEAR}0305-0000", f"{YEAR}03650000"])
async def test_a_birth_date_goes_in_and_never_out(linked, born):
    """Not kept in the command, not in the act; the moments that are do not show which of them it is."""
    ctx = linked.ctx
    given = minor(ctx, born)
    command = commands.read(json.dumps(given).encode())
    assert born not in repr(command)
    command_id = executor.submit(ctx, command)
    kept = json.loads(json.dumps(ctx.spool.commands.get(command_id).value))
    del kept["noted_at_us"]  # what the clock said may hold any four digits
    assert [one.pop("at") for one in kept["givers"]] == [one["at"] for one in given["givers"]]
    for told in (born, "born", str(YEAR), "03-05", "0305"):
        assert told not in json.dumps(kept)
    await acts.record(ctx, ctx.spool.commands.get(command_id))
    terms = linked.newest.terms
    ends = {terms.minor.reassess_at_us, terms.givers[1].authority_until_us}
    assert ends == {moment(f"{YEAR + 15}-03-04T23:00:00Z", "x")}  # the next age band begins
    assert majority.to_midnight_us(terms.valid_until_us) == terms.valid_until_us < moment(GRANT["valid_until"], "x")
    assert terms.minor.age_band == "12_TO_14"
    assert goes(linked)
    await linked.said(do="lapse", givers=[1])
    assert linked.newest.scope.givers == (1,)
    assert not goes(linked)


async def test_the_day_agreed_on_comes_first_where_it_is_earlier(linked):
    await linked.said(**minor(linked.ctx, reassess_on=f"{YEAR + 14}-02-20"))
    assert linked.newest.terms.minor.reassess_at_us == moment(f"{YEAR + 14}-02-19T23:00:00Z", "x")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"born": "2000-01-01"}, "HS-GIVER-INVALID"),
        ({"born": "2014-02-30"}, "HS-INPUT-INVALID"),
        ({"born": "not a date!"}, "HS-INPUT-INVALID"),
        ({"reassess_on": "2027-02-30"}, "HS-INPUT-INVALID"),
    ],
)
def test_who_is_no_child_needs_no_guardian(world, changes, code):
    with pytest.raises(HandslagError) as caught:
        executor.submit(world.ctx, commands.read(json.dumps(minor(world.ctx, **changes)).encode()))
    assert caught.value.code == code
    assert not any(str(value) in str(caught.value) for value in changes.values())


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ({"do": "suspend", "consent": "0" * 32}, "HS-EVENT-UNKNOWN"),
        ({"do": "amend", **{k: v for k, v in GRANT.items() if k != "do"}, "consent": "0" * 32}, "HS-EVENT-UNKNOWN"),
        ({"do": "expire", "ended_event": "SOMEDAY"}, "HS-CODE-UNKNOWN"),
        ({"do": "lift", "consent": "0" * 32, "lift_until": "tomorrow, I think"}, "HS-INPUT-INVALID"),
        ({**GRANT, "kind": "EVERYTHING"}, "HS-CODE-UNKNOWN"),
        ({**GRANT, "given_by": "GUARDIAN"}, "HS-NOT-YET"),
        ({**GRANT, "retention_until": "2027-01-01T00:00:00Z"}, "HS-INPUT-INVALID"),
        ({**GRANT, "categories": []}, "HS-INPUT-INVALID"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_it_is_kept(world, command, code):
    with pytest.raises(HandslagError) as caught:
        executor.submit(world.ctx, commands.read(json.dumps({"ref": "EX-1", **command}).encode()))
    assert caught.value.code == code


@pytest.mark.parametrize("kind", ["suspend", "expire", "lapse"])
async def test_what_narrows_stops_this_unit_before_any_answer(linked, kind):
    consent = await linked.said(**GRANT)
    more = {"suspend": {"consent": consent}, "expire": {"ended_event": "CASE_CLOSED"}, "lapse": {}}[kind]
    executor.submit(linked.ctx, commands.read(json.dumps({"do": kind, "ref": "EX-1", **more}).encode()))
    assert linked.ctx.spool.commands.stopped(linked.ctx.identities.handle("EX-1"))


SEND = {
    "do": "send", "ref": "EX-1", "event_type": "threat_assessment_requested", "to": ["police_coordination"],
    "purpose": "THREAT_ASSESSMENT", "confirmed": True,
    "data": {"reason_code": "EXIT_WISH", "urgency": "ACUTE", "known_facts": [], "answer_by": "2026-12-01"},
}  # fmt: skip


async def test_whom_a_section_concerns_and_when_it_is_from_is_stated(linked):
    """A section about somebody else waits for that person's own consent."""
    world, ctx = linked.world, linked.ctx
    wide = {**GRANT, "purposes": ["THREAT_ASSESSMENT"], "categories": ["IC04", "IC12", "IC01"]}
    period = {"since": "2026-01-01T00:00:00Z", "until": "2026-06-01T00:00:00Z"}
    await linked.said(**wide, data_from="2026-01-01T00:00:00Z", data_until="2026-07-01T00:00:00Z")
    plain = commands.read(json.dumps(SEND).encode()).model_dump()
    sections = ("IC04", "IC12", "IC01")
    stated = {**plain, "data_periods": dict.fromkeys(sections, period)}
    got = ledgers.released(ctx, world.seat, stated, "police_coordination")
    assert got
    assert not ledgers.released(ctx, world.seat, plain, "police_coordination")
    shared = {**stated, "persons": {category: [0, 1] for category in sections}}
    assert not ledgers.released(ctx, world.seat, shared, "police_coordination")
    hers = {"person": 1, "capacity": "SELF", "method": "WRITTEN", "at": shown_moment(linked.ctx.now())}
    await linked.said(**wide, about=[1], givers=[hers])
    assert ledgers.released(ctx, world.seat, shared, "police_coordination") == got
    with pytest.raises(HandslagError, match="HS-INPUT-INVALID"):
        commands.read(json.dumps({**SEND, "persons": {"IC04": []}}).encode())
    backwards = {"since": period["until"], "until": period["since"]}
    with pytest.raises(HandslagError, match="HS-INPUT-INVALID"):
        commands.read(json.dumps({**SEND, "data_periods": {"IC04": backwards}}).encode())
    with pytest.raises(HandslagError, match="HS-INPUT-INVALID"):
        executor.submit(ctx, commands.read(json.dumps({**SEND, "persons": {"IC07": [0]}}).encode()))


def test_every_command_of_a_consent_is_carried_out():
    assert shown(bytes(16))
    for kind in (*commands.NARROWING, "grant", "amend", "resume", "lift", "unblock", "request_consent"):
        assert kind in executor._RUN
