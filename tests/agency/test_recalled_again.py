"""What was recalled and comes again: a late copy nobody reads, and a section that may be used again."""

import dataclasses

import pytest

from connectors import recalls
from schemas.checks import sha256
from schemas.envelope import Core, Delivery, WrapInfo
from tests.agency.test_inbox import ASSESSMENT, given, handed, recalled, verdicts


def sealed_anew(world, delivery: Delivery, **changes) -> Delivery:
    """What the sender's next attempt makes of it: the same W sealed once more, under a delivery of its own."""
    keys = world.seat.keys
    info = WrapInfo(
        core_hash=sha256(delivery.core), case_tag=world.seat.case_tag, seat_key_id=delivery.seat_key_id
    ).to_bytes()
    enc = keys.public.seal(keys.open(delivery.enc, info), info)
    return dataclasses.replace(delivery, delivery_id=b"D" * 16, enc=enc, entry_id=b"E" * 16, **changes)


def of_kind(world, kind: str) -> list[dict]:
    return [each for each in given(world) if each["kind"] == kind]


async def test_a_late_copy_of_a_recalled_delivery_is_not_acknowledged(world) -> None:
    delivery = world.delivery("threat_assessment_completed", ASSESSMENT)
    recalled(world, delivery, delivery.sections)  # the hand-over's bytes were lost, its recall came
    handed(world, delivery)
    assert of_kind(world, "delivery") == []
    assert verdicts(world)[delivery.delivery_id] == (1, "REJECT", "HS-RECALLED-UNREAD")
    handed(world, dataclasses.replace(delivery, hand_number=2))
    assert verdicts(world)[delivery.delivery_id][1] == "REJECT"


async def test_a_late_copy_with_a_section_left_is_given_that_section(world) -> None:
    delivery = world.delivery("threat_assessment_completed", ASSESSMENT)
    recalled(world, delivery, delivery.sections[:1])
    handed(world, delivery)
    [told] = of_kind(world, "delivery")
    assert len(told["categories"]) == 1
    assert verdicts(world)[delivery.delivery_id] == (1, "ACK", None)


@pytest.mark.parametrize("brought", [1, 2])
async def test_what_was_recalled_and_consented_to_again_may_be_used_again(world, brought: int) -> None:
    delivery = world.delivery("threat_assessment_completed", ASSESSMENT)
    handed(world, delivery)
    given(world)
    recalled(world, delivery, delivery.sections)
    assert of_kind(world, "recall_lifted") == []
    again = sealed_anew(world, delivery, sections=delivery.sections[:brought])
    handed(world, again)
    [told] = of_kind(world, "recall_lifted")
    assert (told["ref"], told["event_type"]) == ("EX-1", "threat_assessment_completed")
    assert told["event_id"] == of_kind(world, "recall")[0]["event_id"]
    assert len(told["categories"]) == brought
    assert "data" not in told  # each section is given once
    assert len(of_kind(world, "delivery")) == 1
    assert verdicts(world)[again.delivery_id] == (1, "ACK", None)
    handed(world, dataclasses.replace(again, delivery_id=b"F" * 16))
    assert len(of_kind(world, "recall_lifted")) == 1  # told once


async def test_it_can_be_recalled_a_second_time(world) -> None:
    delivery = world.delivery("threat_assessment_completed", ASSESSMENT)
    handed(world, delivery)
    given(world)
    recalled(world, delivery, delivery.sections)
    again = sealed_anew(world, delivery)
    handed(world, again)
    event_id, digests = Core.from_bytes(delivery.core).event_id, [sha256(s.item) for s in delivery.sections]
    assert world.ctx.spool.incoming.recalled(event_id, again.delivery_id, digests) == set(digests)


@pytest.mark.parametrize("defended", [True, False])
async def test_a_copy_of_a_recalled_delivery_lifts_no_recall(world, defended: bool, monkeypatch) -> None:
    """A broker that hands out the recalled bytes under another name; without the look at the seal it gets through."""
    if not defended:
        monkeypatch.setattr(recalls, "_sealed_anew", lambda *_: True)
    delivery = world.delivery("threat_assessment_completed", ASSESSMENT)
    handed(world, delivery)
    given(world)
    recalled(world, delivery, delivery.sections)
    handed(world, dataclasses.replace(delivery, delivery_id=b"D" * 16))
    assert bool(of_kind(world, "recall_lifted")) is not defended


async def test_what_was_given_and_recalled_is_said_to_be_there_when_it_is_recalled_once_more(world) -> None:
    """First for a block, then because the consent ended: the agency's system has it still."""
    delivery = world.delivery("threat_assessment_completed", ASSESSMENT)
    handed(world, delivery)
    given(world)
    recalled(world, delivery, delivery.sections)
    event_id, digests = Core.from_bytes(delivery.core).event_id, [sha256(s.item) for s in delivery.sections]
    assert world.ctx.spool.incoming.recalled(event_id, delivery.delivery_id, digests) == set(digests)
