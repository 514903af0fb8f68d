"""Promise 4: no unit of a recipient is told to a sender, no clear entry names a seat, no error repeats a value."""

from __future__ import annotations

import os
from dataclasses import fields, replace

import pytest

from broker import acts, cases, handover, submit
from broker.deadlines import sweep
from schemas.acts import ConsentAct
from schemas.calls import CloseRequest, ConsentsRequest, FetchRequest, SubmitRequest
from schemas.codes import table
from schemas.errors import HandslagError, registry
from schemas.trail import AuditEntry
from tests.promises.case import BOTH, HOUR, PURPOSE, deliveries, grant, ready, receipts, sent
from tests.promises.trail import all_entries, trail
from tests.site import LEAD, PROBATION, UNITS, Site, assessment, to_role

CONTROLLERS = {code.rsplit("/", 1)[0] for code in UNITS.values()}


@pytest.fixture
async def site(tmp_path):
    site = await ready(tmp_path)
    yield site
    site.close()


async def story(site: Site) -> list[bytes]:
    """An event to both other seats through every kind of notice; every body that the sender was told."""
    told: list[bytes] = []

    async def take() -> None:
        for item in await site.fetch(site.police):
            told.append(item.body)
            await site.ack(site.police, item.item_id)

    for ending in ("ack", "reject", "withdraw", "expire", "case", "close"):
        consent = await site.grant(site.police, [to_role(LEAD), to_role(PROBATION)], sorted(BOTH), [PURPOSE])
        sealed = site.sealed(
            site.police, "threat_assessment_completed", assessment(), (LEAD, PROBATION), PURPOSE, released=BOTH
        )
        await site.submit(site.police, sealed)
        await site.decide()
        items = await deliveries(site)
        if ending in {"ack", "reject"}:
            await site.ack(site.lead, items[-1].item_id, ending.upper())
        elif ending == "withdraw":
            await site.act(site.police, "WITHDRAW", consent)
        elif ending == "expire":
            site.clock.us += 73 * HOUR
            await sweep(site.context)
        elif ending == "case":
            await site.withdraw_case(site.probation)
            site.police.head = (await site.ledger_of(site.police))[-1].head
        else:
            request = CloseRequest(call_id=os.urandom(16), seat_id=site.probation.seat_id)
            await cases.close(site.context, site.probation.code, request)
            await sent(site)
        await take()
    return told


async def test_a_sender_is_never_told_a_recipients_unit(site):
    told = await story(site)
    text = b"\n".join(told)
    for code in (b"delivery_acknowledged", b"delivery_rejected", b"delivery_cancelled", b"delivery_expired"):
        assert code in text  # every kind was among them
    for word in secrets(site, {LEAD, PROBATION}):
        assert word not in text


def secrets(site: Site, roles: set[str]) -> list[bytes]:
    """Unit codes, agencies and seats behind roles."""
    units = [site.units[role] for role in roles]
    return [
        *[unit.code.encode() for unit in units],
        *[unit.code.rsplit("/", 1)[0].encode() for unit in units],
        *[unit.seat_id for unit in units],
    ]


async def test_the_same_look_finds_the_senders_own_seat(site):
    """Positive control: what the sender is told does hold seats, its own."""
    assert site.police.seat_id in b"\n".join(await story(site))


async def test_a_recipient_is_never_told_the_senders_unit_by_the_broker(site):
    await story(site)
    bodies = b"\n".join(item.body for item in site.lead.items if item.kind in {"DELIVERY", "RECALL"})
    assert LEAD.encode() in bodies
    for word in (site.police.code.encode(), site.probation.code.encode(), site.police.seat_id):
        assert word not in bodies


async def test_a_case_withdrawal_does_not_tell_who_noted_it(site):
    await grant(site)
    await site.withdraw_case(site.probation)
    bodies = b"\n".join(item.body for item in await site.fetch(site.police))
    assert b"WITHDRAW_ALL" in bodies
    for word in (*secrets(site, {PROBATION}), site.probation.member, PROBATION.encode(), b"inspekt"):
        assert word not in bodies
    opened = repr([r.payload for r in await trail(site, site.police.seat_id) if r.operation == "CONSENT_EVENT"])
    assert repr(site.probation.seat_id) not in opened
    assert PROBATION not in opened


async def test_entries_in_clear_name_nobody_but_their_owner(site):
    await story(site)
    entries = await all_entries(site)
    assert len(entries) > 30
    assert {entry.owner for entry in entries} <= CONTROLLERS | {"OPERATOR"}
    clear = b"\n".join(replace(entry, owner="").to_bytes() for entry in entries)
    for unit in site.units.values():
        for word in (unit.code.encode(), unit.seat_id, unit.member, unit.role.encode()):
            assert word not in clear
    for field in ("operation", "outcome", "reason_class"):
        assert {getattr(entry, field) for entry in entries} <= {
            *table()["operation"],
            *table()["outcome"],
            *KINDS,
            None,
        }
    assert {field.name for field in fields(AuditEntry)} == {
        "salt", "entry_id", "at_us", "operation", "owner", "handle", "outcome", "reason_class", "payload_commit",
        "cause",
    }  # fmt: skip


KINDS = ("RULE", "PERSON", "HUMAN")


async def test_the_opened_entries_do_name_the_seat(site):
    """Positive control: inside, under the owner's key, the seat is there."""
    await sent(site)
    assert all(r.payload.seat_id == site.police.seat_id for r in await trail(site, site.police.seat_id))


async def test_no_error_repeats_a_value(site):
    """Calls that go wrong, each with a canary in it; the error says a code and names of this product."""
    canary = "KANARIE-EXEMPEL"
    seat = canary.ljust(16).encode()
    act = ConsentAct(
        case_tag=site.police.members.case_tag, member=site.police.member, consent_id=seat, seq=0,
        prev=site.police.head, act=canary, effective_at_us=None, actor_ref=canary, assurance=canary, noted_at_us=1,
    ).to_bytes()  # fmt: skip
    good = site.police.seat.sign(act)
    calls = [
        acts.consents(
            site.context, site.police.code, ConsentsRequest(call_id=seat, seat_id=seat, act=act, signature=good)
        ),
        acts.consents(
            site.context, site.police.code,
            ConsentsRequest(call_id=seat, seat_id=site.police.seat_id, act=act, signature=good),
        ),
        acts.consents(
            site.context, site.police.code,
            ConsentsRequest(call_id=seat, seat_id=site.police.seat_id, act=act, signature=canary.encode()),
        ),
        acts.consents(
            site.context, site.police.code,
            ConsentsRequest(call_id=seat, seat_id=site.police.seat_id, act=canary.encode(), signature=good),
        ),
        cases.close(site.context, site.police.code, CloseRequest(call_id=seat, seat_id=seat)),
        submit.submit(
            site.context, canary, SubmitRequest(bundle=canary.encode(), unit_signature=seat, submissions=()),
        ),
        site.act(site.police, canary, seat),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(HandslagError) as raised:
            await call
        error = raised.value
        assert error.code in registry()
        for text in (str(error), repr(error.args), error.diagnostics("sv"), repr(error.context)):
            assert canary not in text
            assert seat.hex() not in text
    assert canary in repr(HandslagError("HS-SEAT-UNKNOWN", field=canary).context)  # the look would see it


async def test_an_idle_unit_gets_an_empty_answer(site):
    """Nothing tells a unit without items that others have some."""
    await grant(site)
    await sent(site)
    await site.fetch(site.probation)
    answer = await handover.fetch(site.context, site.probation.code, FetchRequest(limit=9))
    assert answer.items == ()
    assert [head.seat_id for head in answer.heads] == [site.probation.seat_id]


async def outcome_for(site: Site, role: str) -> tuple[object, ...]:
    """What the police are told about an event for one role, sealed to a key that nobody there ever had."""
    sealed = site.sealed(site.police, "threat_assessment_completed", assessment(), (role,), PURPOSE, released=BOTH)
    await site.submit(site.police, sealed, keys={role: site.police.seat.public})
    await site.decide()
    (told,) = (await receipts(site))[-1].roles
    return told.outcome, [(one.category, one.released, one.reasons) for one in told.sections], told.obligations


async def leave(site: Site) -> None:
    """The probation service's seat closes: nobody holds its role."""
    request = CloseRequest(call_id=os.urandom(16), seat_id=site.probation.seat_id)
    await cases.close(site.context, site.probation.code, request)


@pytest.mark.parametrize("named", [False, True])
async def test_a_receipt_does_not_tell_whether_a_role_is_held(site, named):
    """Asked with events: held and not held answer alike while no consent of the seat names the role."""
    await grant(site)
    if named:  # the control: who gave a consent for the role knows that it was held, and is told more
        await site.grant(site.police, [to_role(PROBATION)], sorted(BOTH), [PURPOSE])
    held = await outcome_for(site, PROBATION)
    await leave(site)
    assert (await outcome_for(site, PROBATION) == held) is not named
    assert held[0] == "WITHHELD"
    entries = [one for one in await trail(site, site.police.seat_id) if one.operation == "DECISION"]
    # The discloser's auditor sees what is.
    seen = [any("NO_HOLDER" in section.reasons for section in one.payload.sections) for one in entries]
    assert seen == [False, True]
