"""Hostile bundles through the real gateway of a unit with a good certificate: nothing is decided, nothing breaks.

Certificates (wrong, expired, of another authority) are in tests/gateway/test_transport.py, bodies that are no bundle
in tests/gateway/test_bounds.py, parts that do not belong together in tests/seals/test_checks.py.
"""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from audit import merkle
from connectors import sealing
from connectors.keys import SeatKeyPair, UnitKeyPair
from schemas import checks
from schemas.calls import SubmitAnswer, SubmitRequest
from schemas.checks import bundle_leaf
from schemas.envelope import Attempt, BundleStatement, RoutingItem, Submission
from tests.site import LEAD, ORIGIN, assessment

PURPOSE = "THREAT_ASSESSMENT"
BOTH = frozenset({"IC04", "IC06"})


def submission(site, unit=None, **changes) -> Submission:
    unit = unit or site.police
    sealed = site.sealed(unit, "threat_assessment_completed", assessment(), (LEAD,), PURPOSE, released=BOTH, **changes)
    given = {LEAD: sealing.Given(site.lead.seat.public, BOTH)}
    return sealing.attempt(sealed, 1, site.rules.hash32, None, given)


def bundle(site, *submissions, unit=None, code=None, keys=None, origin=ORIGIN) -> bytes:
    unit = unit or site.police
    return sealing.bundle(
        list(submissions), origin=origin, unit=code or unit.code, bundle_id=os.urandom(16), keys=keys or unit.keys
    ).to_bytes()


async def post(door, body: bytes, unit=None) -> tuple[int, str]:
    status, answer = await door.post((unit or door.site.police).code, "/v1/submissions", body)
    if status == 202:
        refusals = SubmitAnswer.from_bytes(answer).refusals
        return status, ",".join(refusal.code for refusal in refusals)
    return status, json.loads(answer)["code"]


async def nothing_came(site) -> None:
    await site.decide()
    assert [item for item in await site.fetch(site.lead) if item.kind == "DELIVERY"] == []


async def test_an_honest_bundle_arrives(door):
    """Positive control of this file."""
    site = door.site
    assert await post(door, bundle(site, submission(site))) == (202, "")
    assert await site.decide() == 1
    [item] = [item for item in await site.fetch(site.lead) if item.kind == "DELIVERY"]
    assert site.open(site.lead, site.lead.deliveries[-1]).merged["threat_level"] == "HIGH"
    assert item.item_id


async def test_a_bundle_of_another_unit_is_refused(door):
    """Signed by nobody's key, by another unit's key, under another unit's name, for another broker."""
    site = door.site
    one = submission(site)
    probation = site.probation
    for body, code in (
        (bundle(site, one, keys=UnitKeyPair.generate()), "HS-SIGNATURE-INVALID"),
        (bundle(site, one, keys=probation.keys), "HS-SIGNATURE-INVALID"),
        (bundle(site, one, unit=probation), "HS-SIGNATURE-INVALID"),
        (bundle(site, one, code=probation.code), "HS-BUNDLE-INVALID"),
        (bundle(site, one, origin="annan.invalid/audit"), "HS-BUNDLE-INVALID"),
    ):
        status, answered = await post(door, body)
        assert (status >= 400, answered) == (True, code)
    await nothing_came(site)


async def test_a_foreign_seat_is_refused(door):
    """A unit with a good certificate and bundle speaks for a seat of another unit, of nobody, of no case."""
    site = door.site
    foreign = submission(site)  # the police's own seat and signature, sent by probation
    assert await post(door, bundle(site, foreign, unit=site.probation), site.probation) == (202, "HS-SEAT-UNKNOWN")
    kept, site.police.seat_id = site.police.seat_id, os.urandom(16)
    nobody = submission(site)
    site.police.seat_id = kept
    assert await post(door, bundle(site, nobody)) == (202, "HS-SEAT-UNKNOWN")
    await nothing_came(site)
    assert await post(door, bundle(site, foreign)) == (202, "")  # positive control: its own unit may


async def test_a_replayed_bundle_gives_nothing_twice(door):
    site = door.site
    body = bundle(site, submission(site))
    for _ in range(3):
        assert await post(door, body) == (202, "")
    await site.decide()
    items = await site.fetch(site.lead)
    assert [item.kind for item in items].count("DELIVERY") == 1
    assert len([item for item in await site.fetch(site.police) if item.kind == "RECEIPT"]) == 3


def cut_and_pasted(site) -> dict[str, Submission]:
    """Two honest events of one seat, parts of the second put into the first."""
    one, two = submission(site), submission(site)
    index = Attempt.from_bytes(one.attempt).wraps[0]
    other = Attempt.from_bytes(two.attempt).wraps[0]
    first = Attempt.from_bytes(one.attempt)
    return {
        "section": dataclasses.replace(one, section_items=two.section_items),
        "digests": dataclasses.replace(one, digests=two.digests),
        "routing": dataclasses.replace(one, routing_item=two.routing_item),
        "recipient": dataclasses.replace(one, recipient_items=two.recipient_items),
        "attempt": dataclasses.replace(one, attempt=two.attempt),
        "wrapped key": dataclasses.replace(
            one, attempt=dataclasses.replace(first, wraps=(dataclasses.replace(index, keys=other.keys),)).to_bytes()
        ),
    }


@pytest.mark.parametrize("part", ["section", "digests", "routing", "recipient", "attempt", "wrapped key"])
async def test_cut_and_paste_between_events_is_refused(door, part):
    """What the broker can see it refuses; keys it cannot read are refused by the recipient."""
    site = door.site
    pasted = cut_and_pasted(site)[part]
    status, code = await post(door, bundle(site, pasted))
    if part == "wrapped key" and code == "":
        await site.decide()
        await site.fetch(site.lead)
        with pytest.raises(Exception, match="HS-SEAL-INVALID"):
            site.open(site.lead, site.lead.deliveries[-1])
        return
    assert (status, code) == (202, "HS-SUBMISSION-INVALID")
    await nothing_came(site)


async def test_a_core_and_digests_of_one_event_with_another_signature_never_open(door):
    """The broker does not verify seat signatures (it could lie about it): the recipient does."""
    site = door.site
    one, two = submission(site), submission(site)
    assert await post(door, bundle(site, dataclasses.replace(one, seat_signature=two.seat_signature))) == (202, "")
    await site.decide()
    await site.fetch(site.lead)
    with pytest.raises(Exception, match="HS-SIGNATURE-INVALID"):
        site.open(site.lead, site.lead.deliveries[-1])


async def test_an_event_sealed_to_the_wrong_key_never_opens(door):
    site = door.site
    sealed = site.sealed(site.police, "threat_assessment_completed", assessment(), (LEAD,), PURPOSE, released=BOTH)
    given = {LEAD: sealing.Given(SeatKeyPair.generate().public, BOTH)}
    wrong = sealing.attempt(sealed, 1, site.rules.hash32, None, given)
    await post(door, bundle(site, wrong))
    await site.decide()
    await site.fetch(site.lead)
    for delivery in site.lead.deliveries:
        with pytest.raises(Exception, match="HS-SEAL-INVALID"):
            site.open(site.lead, delivery)


async def test_a_bundle_cut_anywhere_is_refused(door):
    """Truncated at many lengths and with rubbish behind: one shape of answer, no 500, and the broker goes on."""
    site = door.site
    whole = bundle(site, submission(site))
    lengths = {0, 1, 9, 10, 11, len(whole) - 1, *range(12, len(whole), max(1, len(whole) // 60))}
    for length in sorted(lengths):
        status, code = await post(door, whole[:length])
        assert (status, code) in {(400, "HS-PAYLOAD-REJECTED"), (400, "HS-SCHEMA-UNKNOWN")}, length
    assert (await post(door, whole + b"\0"))[0] == 400
    await nothing_came(site)
    assert await post(door, whole) == (202, "")


async def test_flipped_bytes_never_break_the_broker(door):
    """Any byte of a bundle changed: refused with a code, or carried and harmless; never an internal fault."""
    site = door.site
    whole = bundle(site, submission(site))
    for at in range(10, len(whole), max(1, len(whole) // 120)):
        changed = bytearray(whole)
        changed[at] ^= 0x55
        status, code = await post(door, bytes(changed))
        assert status < 500, (at, code)
        assert code != "HS-INTERNAL"
    await site.decide()
    assert [type(fault).__name__ for fault in site.faults] == []


async def test_huge_counts_in_few_bytes_are_refused(door):
    """An Avro array that announces more items than there are bytes, and blocks of negative and of enormous size."""
    header = SubmitRequest(bundle=b"", unit_signature=bytes(64), submissions=()).to_bytes()[:10]
    body = b"\x00" + bytes(64)  # empty bundle, signature
    for count in (
        b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x80" * 12,
    ):
        for tail in (b"", b"\x00", b"\x02\x00"):
            status, code = await post(door, header + body + count + tail)
            assert (status, code) in {(400, "HS-PAYLOAD-REJECTED"), (400, "HS-BUNDLE-INVALID")}


async def test_too_many_and_too_large_are_refused(door):
    site = door.site
    one = submission(site)
    many = SubmitRequest(bundle=b"", unit_signature=bytes(64), submissions=(one,) * 501).to_bytes()
    assert (await post(door, many))[1] in {"HS-BUNDLE-INVALID", "HS-TOO-LARGE"}
    large = dataclasses.replace(one, section_items=(os.urandom(checks.ITEM_BYTES + 1), *one.section_items[1:]))
    status, code = await post(door, signed(site, large))
    assert (status, code) in {(202, "HS-TOO-LARGE"), (202, "HS-SUBMISSION-INVALID")}
    await nothing_came(site)


def signed(site, *submissions: Submission) -> bytes:
    """A bundle of whatever submissions, its own signature and root in order."""
    leaves = [merkle.leaf_hash(bundle_leaf(one)) for one in submissions]
    statement = BundleStatement(
        origin=ORIGIN, unit=site.police.code, bundle_id=os.urandom(16), count=len(submissions),
        root=merkle.root(leaves),
    ).to_bytes()  # fmt: skip
    request = SubmitRequest(
        bundle=statement, unit_signature=site.police.keys.sign(statement), submissions=tuple(submissions)
    )
    return request.to_bytes()


async def test_numbers_at_the_edge_are_decided_or_refused_and_break_nothing(door):
    """Times and numbers at the ends of 64 bits: a code, never a fault, and the honest event behind it is decided."""
    site = door.site
    one = submission(site)
    attempt = Attempt.from_bytes(one.attempt)
    for number in (0, -1, -(2**31), 2**31 - 1):
        edge = dataclasses.replace(attempt, attempt=number)
        await post(door, signed(site, dataclasses.replace(one, attempt=edge.to_bytes())))
    for deadline in (-(2**63), -1, 0, 2**63 - 1):
        edge = dataclasses.replace(attempt, deadline_at_us=deadline)
        await post(door, signed(site, dataclasses.replace(submission(site), attempt=edge.to_bytes())))
    for valid_until in (-(2**63), 0, 2**63 - 1):
        await post(door, bundle(site, submission(site, valid_until_us=valid_until)))
    honest = submission(site)
    assert await post(door, bundle(site, honest)) == (202, "")
    await site.decide()
    await site.fetch(site.lead)
    assert honest.core in {delivery.core for delivery in site.lead.deliveries}
    assert [type(fault).__name__ for fault in site.faults] == []


async def test_a_routing_item_cannot_name_another_seat_later(door):
    """The same event again, routed from another seat: the digest of the routing item is under the signature."""
    site = door.site
    one = submission(site)
    routing = dataclasses.replace(RoutingItem.from_bytes(one.routing_item), seat_id=site.lead.seat_id)
    assert await post(door, signed(site, dataclasses.replace(one, routing_item=routing.to_bytes()))) == (
        202,
        "HS-SUBMISSION-INVALID",
    )
    await nothing_came(site)
