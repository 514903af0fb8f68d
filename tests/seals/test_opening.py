"""The recipient's checks: each refuses alone, in the protocol's order, and nothing can be moved or passed on."""

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from connectors.membership import CaseMembers
from connectors.opening import Remembered
from connectors.sealing import attempt, seal_event
from schemas import projection
from schemas.checks import sha256
from tests.seals.forge import EXCLUSIVE, FAULTS, flipped, forge, open_forged
from tests.seals.world import (
    CASE,
    DAY,
    EVENT,
    FIELDS,
    HEALTH,
    LEAD,
    NOW,
    POLICE,
    PRISON,
    RULES,
    SLOTS,
    case,
    flow,
    given,
    handed,
    keyring,
    lead_opening,
    opened,
    plan,
    refused,
    seat,
)

ALL = ("IC01", "IC02", "IC12")


def sealed_to_both(number=1, prison=ALL, health=ALL, **changes):
    sealed = seal_event(plan(**changes), seat(LEAD), flow(f"seal {sorted(changes)}"))
    return attempt(sealed, number, RULES, None, {PRISON: given(PRISON, *prison), HEALTH: given(HEALTH, *health)})


def expired_case():
    opening = lead_opening(not_after_us=NOW - 40 * DAY)
    return CaseMembers.pinned(opening, sha256(opening.statement), SLOTS)


def test_an_honest_delivery_opens():
    got = open_forged(forge(), expired=None)
    assert got.categories == ("IC02", "IC12")
    assert got.sender.role == LEAD
    assert got.merged == {name: FIELDS.get(name) for name in got.merged}
    assert "preferred_contact" in got.merged
    assert "language" not in got.merged


@pytest.mark.parametrize("fault", FAULTS)
def test_every_check_refuses_alone(fault):
    assert refused(open_forged, forge(fault), fault, expired=expired_case()) == FAULTS[fault]


def test_of_two_faults_the_earlier_check_answers():
    expired = expired_case()
    for earlier, later in combinations(FAULTS, 2):
        if {earlier, later} in EXCLUSIVE:
            continue
        answer = refused(open_forged, forge(earlier, later), earlier, later, expired=expired)
        assert answer == FAULTS[earlier], (earlier, later)


def test_a_sealed_event_opens_for_both_recipients():
    submission = sealed_to_both()
    for role in (PRISON, HEALTH):
        got = opened(handed(submission, role, *ALL), role)
        assert got.categories == ALL
        assert got.merged == {**FIELDS, "accessibility_need": None}
        assert (got.sender.role, got.core.event_type) == (LEAD, EVENT)


def test_a_delivery_without_sections_or_with_one_twice_is_refused():
    delivery = handed(sealed_to_both(), PRISON, *ALL)
    assert refused(opened, replace(delivery, sections=())) == ("HS-SEAL-INVALID", "sizes")
    twice = replace(delivery, sections=delivery.sections[:1] * 2)
    assert refused(opened, twice) == ("HS-SEAL-INVALID", "category")
    many = replace(delivery, sections=delivery.sections[:1] * 20)
    assert refused(opened, many)[0] == "HS-TOO-LARGE"
    heavy = replace(delivery, sections=(replace(delivery.sections[0], item=bytes(256 * 1024)),) * 4)
    assert refused(opened, heavy)[0] == "HS-TOO-LARGE"
    fat = replace(delivery, core=bytes(70_000))
    assert refused(opened, fat)[0] == "HS-TOO-LARGE"


def test_one_event_id_cannot_carry_two_texts():
    first = opened(handed(sealed_to_both(), PRISON, "IC01"))
    known = {first.core.event_id: first.remembered}
    later = opened(handed(sealed_to_both(number=2), PRISON, *ALL), remembered=known)
    assert set(later.remembered.sections) == set(ALL)
    changed = handed(sealed_to_both(occurred_at_us=NOW - 2 * DAY), PRISON, *ALL)
    assert refused(opened, changed, remembered=known) == ("HS-EQUIVOCATION", "event")
    assert opened(changed).core.occurred_at_us == NOW - 2 * DAY


def test_what_was_given_before_is_remembered_when_less_comes_later():
    first = opened(handed(sealed_to_both(), PRISON, *ALL))
    known = {first.core.event_id: first.remembered}
    again = opened(handed(sealed_to_both(number=2), PRISON, "IC12"), remembered=known)
    assert again.remembered == first.remembered
    other = {first.core.event_id: Remembered(*hashes(first), {"IC12": sha256(b"other text")})}
    assert refused(opened, handed(sealed_to_both(), PRISON, "IC12"), remembered=other) == (
        "HS-EQUIVOCATION",
        "section",
    )


def hashes(event):
    return event.remembered.core_hash, event.remembered.digests_hash


def test_a_section_cannot_be_moved_to_another_event():
    one = handed(sealed_to_both(), PRISON, *ALL)
    two = handed(sealed_to_both(event_id=bytes(range(16))), PRISON, *ALL)
    moved = replace(one, sections=two.sections)
    assert refused(opened, moved) == ("HS-SEAL-INVALID", "section-digest")


def test_a_section_cannot_be_moved_to_another_category():
    delivery = handed(sealed_to_both(), PRISON, *ALL)
    first, second, third = delivery.sections
    swapped = (replace(first, wrapped=second.wrapped), replace(second, wrapped=first.wrapped), third)
    assert refused(opened, replace(delivery, sections=swapped)) == ("HS-SEAL-INVALID", "key-commitment")
    misplaced = (replace(first, index=second.index), second, third)
    assert refused(opened, replace(delivery, sections=misplaced)) == ("HS-SEAL-INVALID", "section-digest")


def test_an_event_cannot_be_moved_to_another_case():
    tag = flipped(CASE)
    opening = lead_opening(case_tag=tag)
    other = CaseMembers.pinned(opening, sha256(opening.statement), SLOTS)
    delivery = handed(sealed_to_both(), PRISON, *ALL)
    changes = {"members": other, "keyring": keyring(PRISON, case_tag=tag)}
    assert refused(opened, delivery, **changes) == ("HS-SEAL-INVALID", "hpke")
    assert refused(opened, delivery, members=other) == ("HS-SEAL-INVALID", "case")


def test_the_wrap_of_one_recipient_does_not_open_for_another():
    submission = sealed_to_both()
    prison, health = handed(submission, PRISON, *ALL), handed(submission, HEALTH, *ALL)
    swapped = replace(prison, enc=health.enc)
    assert refused(opened, swapped) == ("HS-SEAL-INVALID", "hpke")
    assert refused(opened, health) == ("HS-SEAL-INVALID", "recipient")
    other_key = replace(prison, seat_key_id=health.seat_key_id)
    assert refused(opened, other_key) == ("HS-SEAL-INVALID", "hpke")


def test_a_co_recipient_cannot_pass_a_section_on():
    """The prison knows its W and the section key; it wraps both for health, which was not given the section."""
    from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

    from connectors.sealing import wrap_info

    submission = sealed_to_both(health=("IC12",))
    mine, theirs = handed(submission, PRISON, *ALL), handed(submission, HEALTH, "IC12")
    assert opened(theirs, HEALTH).categories == ("IC12",)
    info = wrap_info(sha256(mine.core), CASE, seat(PRISON).key_id)
    w = seat(PRISON).open(mine.enc, info)
    section = mine.sections[0]
    key = aes_key_unwrap(w, section.wrapped)
    for drawn in (w, bytes(32)):
        enc = seat(HEALTH).public.seal(drawn, wrap_info(sha256(mine.core), CASE, seat(HEALTH).key_id))
        passed = replace(theirs, enc=enc, sections=(replace(section, wrapped=aes_key_wrap(drawn, key)),))
        assert refused(opened, passed, HEALTH) == ("HS-SEAL-INVALID", "w")
        mine_for_them = replace(passed, recipient_item=mine.recipient_item)
        assert refused(opened, mine_for_them, HEALTH) == ("HS-SEAL-INVALID", "recipient")
    beside = replace(theirs, sections=(*theirs.sections, replace(section, wrapped=aes_key_wrap(w, key))))
    assert refused(opened, beside, HEALTH) == ("HS-SEAL-INVALID", "unwrap")


def test_a_key_the_seat_no_longer_holds_opens_nothing():
    delivery = handed(sealed_to_both(), PRISON, *ALL)
    assert refused(opened, delivery, keyring=keyring(PRISON, pair=seat(POLICE))) == ("HS-SEAL-INVALID", "hpke")


@pytest.mark.parametrize("part", ["core", "digests", "seat_signature", "recipient_item", "enc"])
def test_a_flipped_bit_anywhere_is_refused(part):
    delivery = handed(sealed_to_both(), PRISON, *ALL)
    data = getattr(delivery, part)
    for at in range(0, len(data), max(1, len(data) // 24)):
        refused(opened, replace(delivery, **{part: flipped(data, at)}))
    assert opened(delivery).categories == ALL


def test_a_flipped_or_cut_section_is_refused():
    delivery = handed(sealed_to_both(), PRISON, *ALL)
    first, *rest = delivery.sections
    for item in (flipped(first.item), first.item[:-1], first.item + b"\0", b""):
        changed = replace(delivery, sections=(replace(first, item=item), *rest))
        assert refused(opened, changed) == ("HS-SEAL-INVALID", "section-digest")


@settings(max_examples=30, deadline=None)
@examples(
    prison=st.sets(st.sampled_from(ALL), min_size=1),
    health=st.sets(st.sampled_from(ALL)),
    released=st.sets(st.sampled_from(ALL)),
)
def test_what_opens_is_exactly_what_was_given_and_released(prison, health, released):
    submission = sealed_to_both(prison=prison, health=health)
    assert len(submission.section_items) == len(prison | health)
    bodies = projection.split(EVENT, FIELDS)
    for role, categories in ((PRISON, prison), (HEALTH, health)):
        if categories & released:
            got = opened(handed(submission, role, *(categories & released)), role)
            assert set(got.categories) == categories & released
            fields = [projection.open_section(EVENT, c, bodies[c]) for c in categories & released]
            assert got.merged == {name: value for each in fields for name, value in each.items()}


def test_the_time_window_is_closed_at_both_ends():
    delivery = handed(sealed_to_both(), PRISON, *ALL)
    for now in (NOW - 5 * 60 * 1_000_000, NOW + 30 * DAY):
        assert opened(delivery, now_us=now).categories == ALL
    for now in (NOW - 5 * 60 * 1_000_000 - 1, NOW + 30 * DAY + 1):
        assert refused(opened, delivery, now_us=now)[0] == "HS-SENT-AT-INVALID"


def test_nothing_opened_shows_in_a_representation():
    got = opened(handed(sealed_to_both(), PRISON, *ALL))
    assert "kvällar" not in repr(got)
    assert case().case_tag == CASE
