"""What the product makes today, read by the second implementation: one whole exchange over a real gateway."""

from __future__ import annotations

import dataclasses

import pytest
from cryptography.exceptions import InvalidTag

from schemas.calls import AuditFetchRequest, AuditPage, AuditQuery
from tests.evil.house import LEAD, PERSON, POLICE, UNITS, assessment, house, request_assessment
from tests.second import avro, log, wire


@pytest.fixture
async def seen(tmp_path):
    """A case with an event each way; what passed the gateway, and what the second reader is told besides."""
    async with house(tmp_path) as home:
        taken: dict[str, list[bytes]] = {"DELIVERY": [], "bundle": [], "ledger": [], "RECEIPT": []}

        async def fetch(honest, *_asked):
            answer = await honest()
            for item in answer.items:
                taken.setdefault(item.kind, []).append(item.body)
            return answer

        async def ledger_fetch(honest, *_asked):
            answer = await honest()
            taken["ledger"].append(answer.to_bytes())
            return answer

        home.liar.lies.update(fetch=fetch, ledger_fetch=ledger_fetch)
        submit = home.liar.submit

        async def submitted(unit, request):
            taken["bundle"].append(request.to_bytes())
            return await submit(unit, request)

        home.liar.submit = submitted
        await home.case("EX-1", "PM-1")
        home.social.command(**request_assessment("EX-1"))
        home.police.command(**assessment("PM-1"))
        await home.settle()
        yield home, taken


def told(home, name, ref):
    """Keys of a seat, its case, and the statements its unit keeps: what an agency would export."""
    ctx = home.agencies[name].ctx
    seat = ctx.identities.get(ref)
    handle = ctx.identities.case_handle(seat.case_tag)
    chain = [seat.lead_statement, *ctx.spool.memory.statements(handle)]
    return ctx, seat, wire.members(list(dict.fromkeys(chain)), seat.pin)


async def test_the_second_reader_opens_what_was_delivered(seen):
    home, taken = seen
    ctx, seat, vouched = told(home, "police", "PM-1")
    found = {}
    for data in taken["DELIVERY"]:
        if avro.read("wire.Delivery", data)["seat_id"] == seat.sid:
            one = wire.opened_delivery(
                data, keys=wire.Keys(seat.private), case_tag=seat.case_tag, role=POLICE, vouched=vouched
            )
            found[one.core["event_type"]] = one, data
    one, data = found["threat_assessment_requested"]
    [file] = home.police.files("out", kind="delivery")
    assert one.fields["person_name"] == file["data"]["person_name"] == PERSON["name"]
    assert sorted(one.projections) == file["categories"]
    assert (one.sender.role, one.sender.member) == (LEAD, told(home, "social", "EX-1")[1].member)
    # The control: another seat of the same case, with its own keys, gets nothing out of it.
    other = told(home, "social", "EX-1")[1]
    with pytest.raises(InvalidTag):
        wire.opened_delivery(data, keys=wire.Keys(other.private), case_tag=seat.case_tag, role=POLICE, vouched=vouched)
    # The hand-over is in the log, as the connector was told.
    leaf = avro.read("wire.Delivery", data)["leaf_hash"]
    proof = ctx.spool.memory.proof(leaf)
    assert log.proven(proof, leaf, home.node.log.signer(1).verifier.vkey())[0] == home.node.settings.origin


async def test_the_second_reader_checks_bundles_and_ledgers(seen):
    home, taken = seen
    units = {each.ctx.settings.unit: each.ctx.unit_keys.public.signing for each in home.agencies.values()}
    signers = set()
    for data in taken["bundle"]:
        unit = avro.read("wire.BundleStatement", avro.read("api.SubmitRequest", data)["bundle"])["unit"]
        said = wire.check_bundle(data, units[unit])
        assert said["origin"] == home.node.settings.origin
        signers.add(unit)
    assert signers == {each.unit for each in UNITS.values()}
    checked = 0
    for name, ref in (("social", "EX-1"), ("police", "PM-1")):
        ctx, seat, _ = told(home, name, ref)
        acts = [event.to_bytes() for event in ctx.spool.memory.ledger(seat.sid)]
        events = [avro.read("ledger.LedgerEvent", data) for data in acts]
        assert wire.check_ledger(events, seat.keys.public.signing) == ctx.spool.memory.head(seat.sid)[1]
        checked += len(events)
    assert checked >= 3


async def test_the_second_reader_opens_the_seats_own_entries(seen):
    home, _taken = seen
    ctx, seat, _ = told(home, "social", "EX-1")
    query = AuditQuery(purpose="LAWFULNESS", actor_ref="EXEMPEL", assurance="ASSERTED", case_number="EXEMPEL-1")
    request = AuditFetchRequest(call_id=ctx.random(16), seat_id=seat.sid, query=query, after=0, limit=200)
    page = await ctx.link.call("/v1/audit:fetch", request, AuditPage)
    operations = []
    for row in avro.read("api.AuditPage", page.to_bytes())["entries"]:
        entry, payload = wire.opened_entry(row["entry"], row["payload"], row["key"])
        assert log.leaf(row["entry"]) == row["leaf_hash"]
        assert payload["seat_id"] == seat.sid
        operations.append(entry["operation"])
    assert {"CONSENT_EVENT", "DECISION", "DISCLOSURE", "AUDIT_QUERY"} <= set(operations)
    changed = dataclasses.replace(page.entries[0], payload=page.entries[0].payload[:-1] + b"\0")
    with pytest.raises(AssertionError):
        wire.opened_entry(changed.entry, changed.payload, changed.key)
