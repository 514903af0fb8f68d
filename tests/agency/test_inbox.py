"""What comes in: given once, recalled in time, rejected by code, with real seals and no broker."""

import dataclasses
import json

import pytest

from connectors import inbox
from connectors.adapters.folder import Folder
from schemas.checks import sha256
from schemas.envelope import Core
from schemas.inbox import InboxItem, Recall

ASSESSMENT = {
    "threat_level": "HIGH",
    "capability_known": True,
    "assessed_until": "2026-12-31",
    "withheld_part": False,
    "released_by_decision_ref": "EX",
    "recommended_protection": ["ALARM"],
}


def handed(world, delivery) -> None:
    inbox.take(world.ctx, InboxItem(item_id=delivery.delivery_id, kind="DELIVERY", body=delivery.to_bytes()))


def recalled(world, delivery, sections) -> None:
    recall = Recall(
        seat_id=world.seat.sid,
        delivery_id=delivery.delivery_id,
        event_id=Core.from_bytes(delivery.core).event_id,
        digests=tuple(sha256(section.item) for section in sections),
        code="WITHDRAWN",
        entry_id=b"e" * 16,
        leaf_hash=b"l" * 32,
    )
    inbox.take(world.ctx, InboxItem(item_id=b"R" * 16, kind="RECALL", body=recall.to_bytes()))


def given(world) -> list[dict]:
    Folder(world.ctx.settings.folder, world.ctx).give_out()
    return [json.loads(path.read_text()) for path in sorted((world.ctx.settings.folder / "out").iterdir())]


def verdicts(world) -> dict:
    return {ack.item_id: (ack.hand_number, ack.verdict, ack.code) for ack in world.ctx.spool.incoming.acks()}


async def test_a_delivery_is_given_once_and_then_acknowledged(world) -> None:
    delivery = world.delivery("threat_assessment_completed", ASSESSMENT)
    handed(world, delivery)
    assert verdicts(world) == {}
    [told] = given(world)
    assert (told["data"], told["from_role"], told["ref"]) == (
        {**ASSESSMENT, "geographic_risk_zones": None, "persons_at_risk": None},
        "police_coordination",
        "EX-1",
    )
    assert verdicts(world)[delivery.delivery_id] == (1, "ACK", None)
    (world.ctx.settings.folder / "out" / f"{delivery.delivery_id.hex()}.json").unlink()
    handed(world, dataclasses.replace(delivery, hand_number=2))
    handed(world, dataclasses.replace(delivery, delivery_id=b"D" * 16))  # sealed anew: the same sections
    assert given(world) == []
    assert verdicts(world)[delivery.delivery_id] == (2, "ACK", None)
    assert verdicts(world)[b"D" * 16] == (1, "ACK", None)


async def test_a_later_section_comes_in_a_later_file(world) -> None:
    delivery = world.delivery("threat_assessment_completed", ASSESSMENT)
    one, two = delivery.sections
    handed(world, dataclasses.replace(delivery, sections=(one,)))
    [first] = given(world)
    handed(world, dataclasses.replace(delivery, delivery_id=b"D" * 16, sections=(one, two)))
    both = given(world)
    assert len(both) == 2
    assert sorted(category for told in both for category in told["categories"]) == ["IC04", "IC06"]
    assert len(first["categories"]) == 1


async def test_a_recalled_section_not_yet_given_is_dropped(world) -> None:
    delivery = world.delivery("threat_assessment_completed", ASSESSMENT)
    handed(world, delivery)
    recalled(world, delivery, delivery.sections)
    assert given(world) == []
    assert verdicts(world)[delivery.delivery_id] == (1, "REJECT", "HS-RECALLED-UNREAD")
    handed(world, dataclasses.replace(delivery, hand_number=2))
    assert given(world) == []


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_section_recalled_unread_comes_with_a_later_delivery(world, arrived: bool) -> None:
    # Kills, seed 3: the hand-over's bytes were lost, its recall came, a new consent released the event again; the
    # connector acknowledged that delivery and gave its agency's system nothing.
    delivery = world.delivery("threat_assessment_completed", ASSESSMENT)
    if arrived:
        handed(world, delivery)
    recalled(world, delivery, delivery.sections)
    handed(world, delivery)
    assert [each for each in given(world) if each["kind"] == "delivery"] == []
    again = dataclasses.replace(delivery, delivery_id=b"D" * 16)
    handed(world, again)
    [told] = [each for each in given(world) if each["kind"] == "delivery"]
    assert told["categories"] == ["IC04", "IC06"]
    assert verdicts(world)[again.delivery_id] == (1, "ACK", None)
    handed(world, dataclasses.replace(delivery, delivery_id=b"E" * 16))
    assert len([each for each in given(world) if each["kind"] == "delivery"]) == 1


async def test_the_rest_of_a_recalled_delivery_is_given(world) -> None:
    delivery = world.delivery("threat_assessment_completed", ASSESSMENT)
    handed(world, delivery)
    recalled(world, delivery, delivery.sections[:1])
    [told] = given(world)
    assert len(told["categories"]) == 1
    assert verdicts(world)[delivery.delivery_id] == (1, "ACK", None)


async def test_what_was_given_is_recalled_by_a_file(world) -> None:
    delivery = world.delivery("threat_assessment_completed", ASSESSMENT)
    handed(world, delivery)
    given(world)
    recalled(world, delivery, delivery.sections)
    told = {each["kind"]: each for each in given(world)}
    assert told["recall"]["given"] is True
    assert told["recall"]["reason"]["code"] == "WITHDRAWN"


async def test_a_forged_delivery_is_rejected_and_nothing_of_it_kept(world) -> None:
    delivery = world.delivery("threat_assessment_completed", ASSESSMENT)
    handed(world, dataclasses.replace(delivery, seat_signature=bytes(64)))
    assert given(world) == []
    assert verdicts(world)[delivery.delivery_id] == (1, "REJECT", "HS-SIGNATURE-INVALID")
    assert world.ctx.spool.incoming.remembered(Core.from_bytes(delivery.core).event_id) == {}
    world.ctx.spool.store.run("DELETE FROM incoming")
    handed(world, delivery)
    assert len(given(world)) == 1  # positive control


async def test_a_contact_card_introduces_its_role(world) -> None:
    card = {"unit_name": "EXEMPEL", "function": "Samordnare"}
    handed(world, world.delivery("seat_introduced", card))
    assert world.ctx.identities.get("EX-1").introduced == ("police_coordination",)
