"""A disk is lost in mid-case and there is no backup: two other seats vouch for new keys, and what waited arrives."""

from __future__ import annotations

import shutil
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from sqlalchemy import select

from broker.store.tables import delivery
from broker.worker import drain
from connectors import ledgers, persons, rekeying, vouching
from consent.ledger import head_after
from schemas.acts import ConsentAct, LedgerEvent
from schemas.calls import FetchAnswer, FetchRequest
from schemas.errors import HandslagError
from tests.evil.house import assessment, grant, request_assessment
from tests.rotation.lost import asked, disk_lost, lost_seats, rekeyed
from tests.rotation.weeks import weeks


@pytest.fixture
async def case(tmp_path):
    async with weeks(tmp_path) as made, AsyncExitStack() as stack:
        made.folder, made.stack = tmp_path, stack
        # police and probation know each other
        made.agency("police").command(**grant("PM-1", [{"role": "prison_probation"}], ["IC04"], ["THREAT_ASSESSMENT"]))
        await made.settle(2)
        yield made


async def lose(case, name):
    return await disk_lost(case, name, case.folder, case.stack)


async def states(case):
    query = select(delivery.c.state, delivery.c.attempt).order_by(delivery.c.delivery_id)
    return [tuple(row) for row in await case.home.node.store.read(lambda rows: rows.gate._c.execute(query).all())]


def refused(call, *arguments, **values):
    with pytest.raises(HandslagError) as caught:
        call(*arguments, **values)
    return caught.value.code


async def test_what_waits_for_a_lost_seat_arrives_once_under_its_new_keys(case):
    police, social = case.agency("police"), case.agency("social")
    case.off.add("police")
    social.command(**request_assessment("EX-1", text="väntar"))
    await case.settle(2)
    thief = await lose(case, "police")
    case.off.clear()
    before = await states(case)
    seat = await rekeyed(case, "police", ("social", "probation"))
    police = case.agency("police")
    assert before[-1] == ("PENDING", 1)
    assert (await states(case))[-2:] == [("RESEAL", 1), ("PENDING", 2)]
    # nobody knows whose it is: nothing is given, nothing sent
    assert police.files("out", kind="delivery") == []
    [row] = persons.listed(police.ctx, unidentified=True)
    assert (row["seat"], row["ref"], row["state"]) == (seat, None, "ACTIVE")
    police.command(do="identify", seat=seat, ref="PM-ny", actor_ref="polis 7")
    await case.settle(4)
    assert [f["ref"] for f in police.files("out", kind="delivery")] == ["PM-ny"]
    assert case.given("police") == ["väntar"]
    assert persons.listed(police.ctx, unidentified=True) == []
    await case.settle(2)
    assert case.given("police") == ["väntar"]
    # the thief's copy is nobody any more
    await thief.beat()
    assert set(thief.failed) == {"HS-UNIT-UNKNOWN"}


@pytest.mark.long
async def test_nothing_is_sent_or_given_before_the_person_is_identified(case):
    await lose(case, "police")
    seat = await rekeyed(case, "police", ("social", "probation"))
    police = case.agency("police")
    ref = police.ctx.identities.by_seat_id(bytes.fromhex(seat.replace("-", ""))).ref
    for command in (assessment(ref), grant(ref, [{"role": "social_services_lead"}], ["IC04"], ["THREAT_ASSESSMENT"])):
        assert refused(police.command, **command) == "HS-SEAT-UNIDENTIFIED"
    assert refused(police.command, do="identify", seat=seat, ref="", actor_ref="x") == "HS-INPUT-INVALID"
    assert refused(police.command, do="identify", seat=seat, ref="PM-1", actor_ref="") == "HS-INPUT-INVALID"
    case.agency("social").command(**request_assessment("EX-1", text="innan"))
    await case.settle(3)
    assert police.files("out", kind="delivery") == []
    police.command(do="identify", seat=seat, ref="PM-1", actor_ref="polis 7")
    await case.settle(4)
    assert case.given("police") == ["innan"]
    assert refused(police.command, do="identify", seat=seat, ref="PM-2", actor_ref="polis 7") == "HS-STATE-INVALID"


async def test_a_consent_from_the_broker_alone_permits_nothing(case):
    """Until a named person has confirmed it; a withdrawal from the broker counts at once."""
    await lose(case, "police")
    seat = await rekeyed(case, "police", ("social", "probation"))
    police = case.agency("police")
    police.command(do="identify", seat=seat, ref="PM-1", actor_ref="polis 7")
    await case.settle(1)
    [row] = persons.listed(police.ctx, unidentified=False)
    assert len(row["consents_unconfirmed"]) == 2
    police.command(**assessment("PM-1", "LOW"))
    await case.settle(3)
    assert case.given("social") == []
    kinds = [f["roles"][0]["outcome"]["code"] for f in police.files("receipts", kind="receipt")]
    assert kinds == ["WITHHELD"]
    assert case.home.liar.submissions[-1].section_items == ()  # nothing of it left
    lead = police.ctx.whole_ledger(police.ctx.identities.get("PM-1")).grants
    consent = next(g.consent_id.hex() for g in lead if "social_services_lead" in g.roles)
    assert refused(police.command, do="reaffirm", ref="PM-1", consent=consent, how="SURE", actor_ref="p") == (
        "HS-INPUT-INVALID"
    )
    police.command(do="reaffirm", ref="PM-1", consent=consent, how="PERSON_ASKED", actor_ref="polis 7")
    await case.settle(4)
    assert case.given("social") == ["LOW"]
    assert len(persons.listed(police.ctx, unidentified=False)[0]["consents_unconfirmed"]) == 1
    # a consent of after the loss is its own, and what was taken back stays taken back
    police.command(do="withdraw", ref="PM-1", consent=consent)
    await case.settle(2)
    police.command(**assessment("PM-1", "HIGH"))
    await case.settle(3)
    assert case.given("social") == ["LOW"]
    police.command(**grant("PM-1", [{"role": "social_services_lead"}], ["IC04"], ["THREAT_ASSESSMENT"]))
    await case.settle(4)
    assert case.given("social") == ["LOW", "HIGH"]


async def test_nothing_is_signed_that_was_not_read_aloud(case):
    await lose(case, "police")
    await case.settle(2)
    police, social = case.agency("police"), case.agency("social")
    [row] = lost_seats(police)
    police.command(do="rekey_ask", seat=row["seat"], actor_ref="IT 1")
    await case.settle(2)
    request = asked(social)
    aloud = lost_seats(police)[0]["read_aloud"]
    shown = str([request, vouching.listed(social.ctx)]).replace("-", "").replace(" ", "")
    assert aloud.replace(" ", "") not in shown  # what is typed comes from the phone
    values = {"do": "rekey_sign", "request": request["request"], "actor_ref": "handläggare 2"}
    wrong = "0" * 31 + ("1" if aloud[-1] != "1" else "2")
    assert refused(social.command, **values, heard=wrong) == "HS-REKEY-COMPARE"
    assert refused(social.command, **{**values, "actor_ref": ""}, heard=aloud) == "HS-INPUT-INVALID"
    await case.settle(1)
    assert social.ctx.spool.commands.results(social.ctx.identities.handle(""), "rekey_sign") == []
    social.command(**values, heard=aloud.upper().replace(" ", ""))
    await case.settle(1)
    assert lost_seats(police)[0]["state"] == "ASKED"


@pytest.mark.long
async def test_a_seat_is_not_taken_back_on_the_brokers_word(case):
    """Two have signed, and still the person at the lost agency hears the other half of the fingerprint first."""
    await lose(case, "police")
    await case.settle(2)
    police = case.agency("police")
    [row] = lost_seats(police)
    police.command(do="rekey_ask", seat=row["seat"], actor_ref="IT 1")
    await case.settle(2)
    aloud = lost_seats(police)[0]["read_aloud"]
    for name in ("social", "probation"):
        agency = case.agency(name)
        agency.command(do="rekey_sign", request=asked(agency)["request"], heard=aloud, actor_ref="h")
        await case.settle(2)
    [seat] = police.ctx.identities.all()
    assert seat.state == "ACCEPTED"
    compare = {"do": "rekey_compare", "seat": row["seat"], "actor_ref": "IT 1"}
    assert refused(police.command, **compare, heard=aloud) == "HS-REKEY-COMPARE"  # its own half is not the answer
    back = rekeying.halves(bytes.fromhex(police.ctx.spool.rekeys.own()[0].value["rekey"]))[1]
    police.command(**compare, heard=back)
    await case.settle(2)
    assert [one.state for one in police.ctx.identities.all()] == ["ACTIVE"]


@pytest.mark.long
async def test_what_comes_for_a_lost_seat_stays_with_the_broker(case):
    """A new connector that knows nothing yet does not reject what waits for its seats."""
    case.off.add("police")
    case.agency("social").command(**request_assessment("EX-1", text="väntar"))
    await case.settle(2)
    await lose(case, "police")
    case.off.clear()
    for _ in range(3):
        await case.settle(1)
        case.move(61_000_000)
    assert (await states(case))[-1] == ("PENDING", 1)  # not one hand-over that nobody could take
    assert case.agency("police").files("receipts", kind="rejected") == []
    assert [f["kind"] for f in case.agency("police").files("receipts", kind="seat_lost")] == ["seat_lost"]


@pytest.mark.long
async def test_what_the_lost_connector_may_have_given_waits_for_a_person(case):
    social = case.agency("social")
    social.command(**request_assessment("EX-1", text="kanske given"))
    await social.beat()
    await case.settle(0)
    for bucket in await case.home.node.context.stream.waiting():
        await drain(case.home.node.context, bucket)
    got = await case.agency("police").ctx.link.call("/v1/inbox:fetch", FetchRequest(limit=200), FetchAnswer)
    assert "DELIVERY" in [item.kind for item in got.items]
    await lose(case, "police")
    seat = await rekeyed(case, "police", ("social", "probation"))
    police = case.agency("police")
    police.command(do="identify", seat=seat, ref="PM-1", actor_ref="polis 7")
    await case.settle(4)
    assert case.given("police") == []
    [told] = police.files("receipts", kind="perhaps_given")
    assert told["ref"] == "PM-1"
    with police.ctx.spool.transaction():
        assert police.ctx.spool.incoming.let_go(bytes.fromhex(told["delivery_id"].replace("-", "")))
    await case.settle(1)
    assert case.given("police") == ["kanske given"]


@pytest.mark.long
async def test_a_lost_lead_is_given_new_keys_by_its_deputy_and_another(case):
    await lose(case, "social")
    seat = await rekeyed(case, "social", ("police", "probation"))
    social, police = case.agency("social"), case.agency("police")
    social.command(do="identify", seat=seat, ref="EX-1", actor_ref="socialsekreterare 3")
    police.command(**assessment("PM-1", "HIGH"))
    await case.settle(4)
    assert case.given("social") == ["HIGH"]
    # in the next slot the lead rotates by its new keys and confirms everybody
    before = case.seat("police").keys.key_id
    await case.slot(8)
    assert case.seat("police").keys.key_id != before
    police.command(**assessment("PM-1", "LOW"))
    await case.settle(4)
    assert case.given("social") == ["HIGH", "LOW"]
    assert not [f for name in ("police", "probation") for f in case.agency(name).files("receipts", kind="alarm")]


@pytest.mark.long
async def test_a_case_with_too_few_others_is_refused_with_a_code(case):
    """Probation is lost and the police are gone: nobody can second the lead."""
    case.agency("social").command(do="remove", ref="EX-1", role="police_coordination")
    await case.settle(2)
    await lose(case, "probation")
    await case.settle(2)
    probation = case.agency("probation")
    [row] = lost_seats(probation)
    probation.command(do="rekey_ask", seat=row["seat"], actor_ref="IT 1")
    await case.settle(2)
    assert [f["code"] for f in probation.files("receipts", kind="refused")] == ["HS-REKEY-TOO-FEW"]
    assert probation.ctx.identities.all() == []
    assert lost_seats(probation)[0]["state"] == "LOST"


@pytest.mark.long
async def test_an_act_signed_with_the_lost_key_after_its_end_is_refused(case):
    """A thief with the old signing key and a broker that appends what it signs, head and all."""
    thief = await lose(case, "police")
    old = thief.ctx.identities.get("PM-1").keys
    seat = await rekeyed(case, "police", ("social", "probation"))
    ctx = case.agency("police").ctx
    mine = ctx.identities.by_seat_id(bytes.fromhex(seat.replace("-", "")))
    seq, head = ctx.spool.memory.head(mine.sid)
    granted = next(ConsentAct.from_bytes(e.act) for e in ctx.spool.memory.ledger(mine.sid) if e.signature)

    at_us = ctx.now()

    def appended(keys):
        act = replace(granted, consent_id=bytes(16), prev=head).to_bytes()
        new = head_after(head, seq + 1, act, (), at_us)
        return LedgerEvent(ledger_seq=seq + 1, act=act, signature=keys.sign(act), holders=(), recorded_at_us=at_us,
                           head=new)  # fmt: skip

    assert refused(ledgers.take, ctx, mine, [appended(old)]) == "HS-SIGNATURE-INVALID"
    assert ctx.spool.memory.head(mine.sid) == (seq, head)
    ledgers.take(ctx, mine, [appended(mine.keys)])  # positive control
    assert ctx.spool.memory.head(mine.sid)[0] == seq + 1


@pytest.mark.long
async def test_a_new_key_of_a_lost_seat_is_published_only_after_it_is_kept(case):
    await lose(case, "police")
    await case.settle(2)
    police = case.agency("police")
    [row] = lost_seats(police)
    folder = police.ctx.settings.backup_dir
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("no folder")
    police.command(do="rekey_ask", seat=row["seat"], actor_ref="IT 1")
    await case.settle(2)
    assert lost_seats(police)[0]["state"] == "LOST"
    assert case.agency("social").files("receipts", kind="rekey_asked") == []
    folder.unlink()
    police.ctx.spool.commands.soon()
    await case.settle(2)
    assert lost_seats(police)[0]["state"] == "ASKED"
    assert len(case.agency("social").files("receipts", kind="rekey_asked")) == 1
