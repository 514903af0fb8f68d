"""An evil broker against the real connector: what it can make up is refused, what it withholds is noticed."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from audit import merkle
from audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from audit.tiles import tiles_of
from connectors import membership
from connectors.keys import SeatKeyPair, UnitKeyPair
from connectors.trust import signed_unit
from schemas.calls import SubmitAnswer
from schemas.checks import sha256
from schemas.envelope import Delivery, RoutingItem
from schemas.identifiers import ZERO32
from schemas.inbox import InboxItem, StatementNotice
from schemas.statements import MemberStatement, SignedStatement, UnitEntry
from tests.evil.house import (
    LEAD,
    PERSON,
    POLICE,
    PROBATION,
    UNITS,
    assessment,
    changed,
    directory_with,
    grant,
    house,
    request_assessment,
    without_proofs,
)


async def test_an_honest_broker_delivers(case):
    """Positive control of this whole file: the same harness without a lie."""
    case.social.command(**request_assessment("EX-1"))
    case.police.command(**assessment("PM-1"))
    await case.settle()
    [asked] = case.police.files("out", kind="delivery")
    assert asked["data"]["person_name"] == PERSON["name"]
    [answered] = case.social.files("out", kind="delivery")
    assert answered["data"]["threat_level"] == "HIGH"
    acked = [f["code"] for f in case.social.files("receipts", kind="notice")]
    assert "delivery_acknowledged" in acked
    assert not [*case.social.files("receipts", kind="alarm"), *case.police.files("receipts", kind="alarm")]


# --- keys of the broker's own making


async def opened(home) -> None:
    home.social.command(do="open_case", ref="EX-1", role=LEAD)
    await home.settle(1)
    home.social.command(**grant("EX-1", [{"unit": UNITS["police"].unit}], ["IC01", "IC12"], ["INTAKE"]))
    await home.settle(1)


def invite(home) -> None:
    home.social.command(
        do="invite", ref="EX-1", unit=UNITS["police"].unit, role=POLICE, contact="Konsult EXEMPEL", person=PERSON
    )


@pytest.mark.parametrize("claimed", ["POL/EXEMPEL", "SOC/EXEMPEL", "OPERATOR"])
async def test_a_key_of_the_brokers_making_gets_no_ciphertext(home, claimed):
    """The directory names the broker's own keys for the police; it signs them itself, whichever agency it claims."""
    keys, agency = UnitKeyPair.generate(), UnitKeyPair.generate()

    def swapped(each):
        entry = UnitEntry.from_bytes(each.entry)
        if entry.unit != UNITS["police"].unit:
            return each
        entry = dataclasses.replace(entry, agency=claimed, signing_key=keys.public.signing, hpke_key=keys.public.hpke)
        return signed_unit(entry, agency)

    async def lie(honest, *_asked):
        return directory_with(await honest(), swapped)

    home.liar.lies["units"] = lie
    await opened(home)
    invite(home)
    await home.settle()
    assert home.liar.invitations == []
    assert home.liar.sealed_to() == set()
    told = [f["kind"] for f in home.social.files("receipts")]
    assert "refused" in told or "HS-KEY-UNTRUSTED" in home.social.failed
    home.liar.lies.clear()
    await home.settle(1)
    home.social.ahead_us += 60_000_000  # past the pause before the next try
    if "refused" in told:
        invite(home)
    await home.settle()
    assert home.liar.sealed_to() == {home.police.ctx.unit_keys.key_id}
    assert home.police.files("out", kind="invitation")


def posed(home, role: str, keys: SeatKeyPair, *, signer: bytes, by: SeatKeyPair) -> SignedStatement:
    seat = home.social.ctx.identities.get("EX-1")
    now = home.social.ctx.now()
    data = MemberStatement(
        case_tag=seat.case_tag, member=os.urandom(16), role=role, kind="JOIN", seq=0,
        signing_key=keys.public.signing, hpke_key_hash=keys.public.hpke_hash, not_before_us=now - 60_000_000,
        not_after_us=now + 10**12, previous=ZERO32, invitation_hash=os.urandom(32), signer=signer,
    ).to_bytes()  # fmt: skip
    return SignedStatement(statement=data, signature=by.sign(data), hpke_key=keys.public.hpke)


@pytest.mark.parametrize("poses_as", ["lead", "itself", "a new lead"])
@pytest.mark.parametrize("role", [POLICE, PROBATION])
async def test_a_role_taken_by_the_broker_gets_no_ciphertext(case, role, poses_as):
    """A statement about a role that the broker signed, under every name open to it."""
    evil = SeatKeyPair.generate()
    seat = case.social.ctx.identities.get("EX-1")
    statement = posed(case, role, evil, signer=seat.member if poses_as == "lead" else os.urandom(16), by=evil)
    if poses_as == "a new lead":
        statement = membership.open_statement(
            case_tag=seat.case_tag, member=os.urandom(16), role=role, keys=evil, not_before_us=1,
            not_after_us=case.social.ctx.now() + 10**12,
        )  # fmt: skip
    notice = StatementNotice(seat_id=seat.sid, statements=(statement,))
    item = InboxItem(item_id=os.urandom(16), kind="STATEMENT", body=notice.to_bytes())
    once = [item]

    async def lie(honest, *_asked):
        answer = await honest()
        mine = [each for each in answer.heads if each.seat_id == seat.sid]
        return changed(answer, lambda items: [once.pop(), *items]) if mine and once else answer

    case.liar.lies["fetch"] = lie
    await case.settle(1)
    assert once == []
    case.social.command(**request_assessment("EX-1", to=role))
    before = len(case.liar.submissions)
    await case.settle()
    own = {case.police.ctx.unit_keys.key_id, case.police.ctx.identities.get("PM-1").keys.key_id}
    assert case.liar.sealed_to() <= own
    assert evil.key_id not in case.liar.sealed_to()
    [sent] = case.liar.submissions[before:]
    # To the role that nobody holds not one section left; to the police it left, sealed to their own key.
    assert bool(sent.section_items) == (role == POLICE)
    assert [f for f in case.social.files("receipts", kind="rejected") if f["item"] == "STATEMENT"]


# --- deliveries


async def test_a_replayed_delivery_is_given_once(case):
    kept: list[InboxItem] = []

    async def lie(honest, *_asked):
        answer = await honest()
        kept.extend(item for item in answer.items if item.kind == "DELIVERY")
        if not kept:
            return answer
        delivery = Delivery.from_bytes(kept[0].body, 1 << 20)
        if delivery.seat_id not in {each.seat_id for each in answer.heads}:
            return answer
        renamed = dataclasses.replace(delivery, delivery_id=os.urandom(16), hand_number=1)
        again = InboxItem(item_id=renamed.delivery_id, kind="DELIVERY", body=renamed.to_bytes())
        return changed(answer, lambda items: [*items, kept[0], again])

    case.liar.lies["fetch"] = lie
    case.police.command(**assessment("PM-1"))
    await case.settle(4)
    assert len(kept) == 1
    assert len(case.social.files("out", kind="delivery")) == 1
    taken = case.social.ctx.spool.incoming.counts()
    assert taken["GIVEN"] >= 3  # positive control: the copies did arrive


async def test_deliveries_swapped_between_cases_are_refused(case):
    await case.case("EX-2", "PM-2")
    seats = {ref: case.social.ctx.identities.get(ref).sid for ref in ("EX-1", "EX-2")}
    other = {seats["EX-1"]: seats["EX-2"], seats["EX-2"]: seats["EX-1"]}

    def swap(items):
        for item in items:
            if item.kind == "DELIVERY":
                delivery = Delivery.from_bytes(item.body, 1 << 20)
                seat_id = other.get(delivery.seat_id, delivery.seat_id)
                # Handed over again: the first time a key that is not known yet is waited for.
                delivery = dataclasses.replace(delivery, seat_id=seat_id, hand_number=2)
                yield dataclasses.replace(item, body=delivery.to_bytes())
            else:
                yield item

    async def lie(honest, *_asked):
        return changed(await honest(), swap)

    case.liar.lies["fetch"] = lie
    case.police.command(**assessment("PM-1", "HIGH"))
    case.police.command(**assessment("PM-2", "LOW"))
    await case.settle()
    assert case.social.files("out", kind="delivery") == []
    assert {f["code"] for f in case.social.files("receipts", kind="rejected")} == {"HS-KEY-UNTRUSTED"}
    case.liar.lies.clear()
    case.police.command(**assessment("PM-2", "LOW"))
    await case.settle()
    [given] = case.social.files("out", kind="delivery")
    assert (given["ref"], given["data"]["threat_level"]) == ("EX-2", "LOW")


# --- the log


async def stopped(case, size_before: int) -> None:
    """The connector sends and gives nothing more, keeps both notes, and says so; the other one goes on."""
    sent = len(case.liar.submissions)
    case.social.command(**request_assessment("EX-1"))
    case.police.command(**assessment("PM-1"))
    await case.settle()
    theirs = case.police.ctx.identities.get("PM-1").sid
    senders = {RoutingItem.from_bytes(one.routing_item).seat_id for one in case.liar.submissions[sent:]}
    assert senders == {theirs}  # the police were told the truth and go on
    assert case.social.files("out", kind="delivery") == []
    assert case.police.files("out", kind="delivery") == []
    assert "HS-TRAIL-ROLLBACK" in case.social.failed
    [alarm] = case.social.files("receipts", kind="alarm")
    assert alarm["code"] == "HS-TRAIL-ROLLBACK"
    kept = case.social.ctx.spool.memory.evidence()
    assert [code for _at, code, _evidence in kept][:1] == ["HS-TRAIL-ROLLBACK"]
    known, _, shown = kept[0][2].partition(b"\n--\n")
    sizes = [note_size(case, note) for note in (known, shown)]
    assert sizes[0] >= size_before
    assert known != shown


def note_size(case, note: bytes) -> int:
    signer = case.node.log.signer(1)
    return open_checkpoint(note, origin=case.node.settings.origin, log_keys=(signer.verifier,)).size


async def test_a_rolled_back_checkpoint_stops_the_connector(case):
    old = await case.node.trail.checkpoint_note()
    await case.settle(2)
    size = note_size(case, case.social.ctx.witness.newest())
    assert size > note_size(case, old.encode())
    beat = case.social.beat

    async def lied_to() -> None:
        async def lie(honest, *_asked):
            return old

        case.liar.lies["checkpoint"] = lie
        await beat()
        del case.liar.lies["checkpoint"]

    case.social.beat = lied_to
    await case.settle(1)
    await stopped(case, size)


@pytest.mark.parametrize("more", [0, 16])
async def test_a_forked_log_stops_the_connector(case, more):
    """Another tree of the same size, and a larger one that does not contain what was seen, its own tiles served."""
    size = note_size(case, case.social.ctx.witness.newest())
    leaves = [merkle.leaf_hash(sha256(number.to_bytes(4, "big"))) for number in range(size + 64 + more)]
    beat, signer = case.social.beat, case.node.log.signer(1)

    async def lied_to() -> None:
        known = note_size(case, case.social.ctx.witness.newest())
        tree = leaves[: known + more]
        tiles = {(t.level, t.n, t.width): t.hashes for t in tiles_of(tree)}
        note = sign_checkpoint(Checkpoint(case.node.settings.origin, len(tree), merkle.root(tree)), [signer])

        async def checkpoint(_honest):
            return note.decode()

        async def tile(honest, *asked):
            return tiles[asked] if asked in tiles else await honest()

        case.liar.lies.update(checkpoint=checkpoint, tile=tile)
        await beat()
        case.liar.lies.clear()

    case.social.beat = lied_to
    await case.settle(1)
    await stopped(case, size)


async def test_what_has_no_proof_raises_an_alarm(tmp_path):
    """The broker says what it recorded and never shows it; the alarm needs no broker."""
    async with house(tmp_path, proof_alarm_s=2.0) as home:
        await home.case("EX-1", "PM-1")
        await home.settle(2)
        assert home.social.files("receipts", kind="alarm") == []  # positive control: an honest log proves in time

        async def lie(honest, *_asked):
            return without_proofs(await honest())

        home.liar.lies["proofs"] = lie
        home.police.command(**assessment("PM-1"))
        await home.settle(2)
        assert home.social.files("out", kind="delivery")
        for agency in home.agencies.values():
            agency.ahead_us += 3_000_000
        await home.settle(2)
        for agency in home.agencies.values():
            codes = {f["code"] for f in agency.files("receipts", kind="alarm")}
            assert codes == {"HS-PROOF-LATE"}


async def test_a_receipt_that_is_kept_back_makes_the_same_bytes_go_again(case):
    async def lie(honest, *_asked):
        kept_back = {"RECEIPT", "NOTICE"}
        return changed(await honest(), lambda items: [item for item in items if item.kind not in kept_back])

    case.liar.lies["fetch"] = lie
    sent = len(case.liar.submissions)
    case.social.command(**request_assessment("EX-1"))
    await case.settle(2)
    assert case.social.files("receipts", kind="receipt") == []
    for _ in range(2):
        case.social.ahead_us += 31_000_000  # past the wait for a receipt
        await case.settle(1)
    again = case.liar.submissions[sent:]
    assert len(again) == 3
    assert len(set(map(repr, again))) == 1
    assert len(case.police.files("out", kind="delivery")) == 1
    case.liar.lies.clear()
    case.social.ahead_us += 31_000_000
    await case.settle(2)
    assert len(case.social.files("receipts", kind="receipt")) == 1


# --- a withdrawal


@pytest.mark.parametrize("garbage", ["another record", "another call"])
async def test_a_withdrawal_answered_with_garbage_is_stopped_here_and_repeated(case, garbage):
    async def lie(honest, *_asked):
        if garbage == "another record":
            return SubmitAnswer(accepted=1, refusals=())
        return dataclasses.replace(await honest(), call_id=bytes(16))

    case.liar.lies["consents"] = lie
    case.social.command(do="withdraw_case", ref="EX-1", method="WRITTEN")
    case.social.command(**request_assessment("EX-1"))
    seen = case.liar.consents_seen
    sent = len(case.liar.submissions)
    for _ in range(3):
        case.social.ahead_us += 60_000_000
        await case.settle(1)
    assert case.liar.consents_seen >= seen + 3  # repeated
    assert case.liar.submissions[sent:] == []  # and nothing of the case left
    assert case.social.connector.stopped("EX-1")
    kinds = [f["kind"] for f in case.social.files("receipts", do="withdraw_case")]
    assert kinds[0] == "stopped_here"
    assert "result" not in kinds
    case.liar.lies.clear()
    case.social.ahead_us += 60_000_000
    await case.settle(2)
    [result] = case.social.files("receipts", kind="result", do="withdraw_case")
    assert result["in_force_everywhere_at"]
    assert not case.social.connector.stopped("EX-1")
    assert json.dumps(result)
