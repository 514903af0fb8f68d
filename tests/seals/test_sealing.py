"""The sender's side: what leaves, what stays, and that a later attempt is the same event."""

import re
from dataclasses import replace

import pytest

from audit import merkle
from connectors.keys import PRIVATE_BYTES, PublicKeys, SeatKeyPair, UnitKeyPair
from connectors.padding import padded, unpadded
from connectors.sealing import SEALED_BYTES, Given, SealedEvent, attempt, bundle, seal_event
from schemas import checks, limits
from schemas.checks import sha256
from schemas.envelope import Attempt, RoutingItem
from tests.seals.world import (
    CASE,
    HEALTH,
    LEAD,
    NOW,
    POLICE,
    PRISON,
    RULES,
    flow,
    given,
    handed,
    keyring,
    opened,
    plan,
    refused,
    seat,
    unit_keys,
)

ALL = ("IC01", "IC02", "IC12")


def sealed_event(**changes):
    return seal_event(plan(**changes), seat(LEAD), flow("sealing"))


def both(sealed, number=1, prison=ALL, health=ALL):
    return attempt(sealed, number, RULES, None, {PRISON: given(PRISON, *prison), HEALTH: given(HEALTH, *health)})


def test_private_bytes_give_the_same_pair():
    pair = SeatKeyPair.generate()
    again = SeatKeyPair.from_private_bytes(pair.private_bytes())
    assert (again.public, again.key_id) == (pair.public, pair.key_id)
    assert again.open(pair.public.seal(b"w" * 32, b"info"), b"info") == b"w" * 32
    pair.public.verify(again.sign(b"message"), b"message")
    assert len(pair.private_bytes()) == PRIVATE_BYTES


def test_a_pair_does_not_print_its_secrets():
    pair = UnitKeyPair.generate()
    assert re.fullmatch(r"UnitKeyPair\([0-9a-f]{8}\)", repr(pair))


def test_what_is_no_key_is_refused():
    public = seat(LEAD).public
    assert refused(SeatKeyPair.from_private_bytes, bytes(127)) == ("HS-SEAL-INVALID", "private-key")
    assert refused(PublicKeys, public.signing, public.hpke[:-1]) == ("HS-KEY-UNTRUSTED", "key-length")
    assert refused(PublicKeys, public.signing, b"\xff" * 1216) == ("HS-KEY-UNTRUSTED", "hpke-key")
    low_order = PublicKeys(public.signing, public.hpke[:1184] + bytes(32))
    assert refused(low_order.seal, b"w" * 32, b"") == ("HS-KEY-UNTRUSTED", "hpke-key")


def test_a_seal_opens_only_whole_and_for_its_key_and_info():
    sealed = seat(PRISON).public.seal(b"w" * 32, b"info")
    assert len(sealed) == checks.ENC_BYTES
    for data in (b"", sealed[:-1], sealed + b"\0", sealed[:1120]):
        assert refused(seat(PRISON).open, data, b"info") == ("HS-SEAL-INVALID", "hpke")
    assert refused(seat(PRISON).open, sealed, b"other") == ("HS-SEAL-INVALID", "hpke")
    assert refused(seat(HEALTH).open, sealed, b"info") == ("HS-SEAL-INVALID", "hpke")
    assert seat(PRISON).open(sealed, b"info") == b"w" * 32


@pytest.mark.parametrize("size", [0, 1, 251, 252, 253, 1020, 1021, 4092, 65_532, 262_140])
def test_padding_round_trip(size):
    plaintext = padded(b"x" * size)
    assert len(plaintext) in limits.PADDING_CLASSES
    assert unpadded(plaintext) == b"x" * size


def test_padding_has_one_form_only():
    plaintext = padded(b"text")
    changed = [
        plaintext[:-1] + b"\1",
        plaintext[:-1],
        plaintext + b"\0",
        plaintext.ljust(1024, b"\0"),
        b"\0\0\0\5" + plaintext[4:-1] + b"\1",
        b"\xff\xff\xff\xff" + plaintext[4:],
        b"",
        b"\0\0\0",
    ]
    for data in changed:
        assert refused(unpadded, data) == ("HS-SEAL-INVALID", "padding")
    assert refused(padded, bytes(262_141))[0] == "HS-TOO-LARGE"


def test_a_sealed_event_round_trips_through_its_bytes():
    sealed = sealed_event()
    again = SealedEvent.from_bytes(sealed.to_bytes(), SEALED_BYTES)
    assert again == sealed
    assert both(again).routing_item == sealed.routing_item
    assert "0x" not in repr(sealed)
    assert "w=" not in repr(sealed.roles[0])
    assert "key=" not in repr(sealed.sections[0])


def test_the_submission_passes_the_checks_of_the_other_side():
    checked = checks.check_submission(both(sealed_event(persons={"IC12": (0, 2)})))
    assert [section.category for section in checked.routing.sections] == list(ALL)
    assert [section.persons for section in checked.routing.sections] == [(0,), (0,), (0, 2)]
    assert checked.attempt.recipients == (PRISON, HEALTH)
    assert len(checked.given(PRISON)) == 3
    assert checked.given(POLICE) == {}


def test_a_withheld_section_leaves_only_its_digest():
    sealed = sealed_event()
    submission = both(sealed, prison=("IC12",), health=("IC12", "IC01"))
    withheld = next(section for section in sealed.sections if section.category == "IC02")
    sent = submission.to_bytes()
    assert withheld.item not in sent
    assert withheld.item[40:100] not in sent
    assert withheld.key not in sent
    routing = RoutingItem.from_bytes(submission.routing_item)
    assert sha256(withheld.item) in {section.digest for section in routing.sections}
    checked = checks.check_submission(submission)
    assert set(checked.given(PRISON)) == {s.digest for s in routing.sections if s.category == "IC12"}
    assert withheld.item in both(sealed).to_bytes()


def test_an_event_of_which_all_is_withheld_is_sent_all_the_same():
    nothing = {PRISON: Given(None, frozenset()), HEALTH: given(HEALTH)}
    submission = attempt(sealed_event(), 1, RULES, NOW, nothing)
    checked = checks.check_submission(submission)
    assert (submission.section_items, checked.attempt.wraps) == ((), ())
    assert checked.attempt.recipients == (PRISON, HEALTH)


def test_a_later_attempt_to_a_new_key_opens_the_same_text():
    sealed = sealed_event()
    first = both(sealed)
    fresh = SeatKeyPair.generate()
    second = attempt(sealed, 2, sha256(b"new rules"), NOW, {PRISON: Given(fresh.public, frozenset(ALL))})
    assert (second.core, second.digests, second.seat_signature) == (first.core, first.digests, first.seat_signature)
    assert len(second.recipient_items) == 1
    assert Attempt.from_bytes(second.attempt).attempt == 2
    before = opened(handed(first, PRISON, *ALL))
    known = {before.core.event_id: before.remembered}
    after = opened(handed(second, PRISON, *ALL), keyring=keyring(PRISON, pair=fresh), remembered=known)
    assert (after.merged, after.remembered) == (before.merged, before.remembered)
    assert refused(opened, handed(second, PRISON, *ALL)) == ("HS-SEAL-INVALID", "hpke")


def test_digests_look_alike_whatever_the_event_holds():
    small = sealed_event(roles=(PRISON,), sections={"IC12": plan().sections["IC12"]})
    for sealed in (small, sealed_event()):
        assert len(sealed.digests) == 1024
        assert checks.ascending(sealed.digests)
    digests = small.digests
    assert not checks.ascending(digests[:-32])
    assert not checks.ascending(digests[:32] * 32)
    assert not checks.ascending(digests[32:64] + digests[:32] + digests[64:])


def test_every_random_value_is_drawn_anew():
    one, two = sealed_event(), seal_event(plan(), seat(LEAD), flow("other"))
    assert one.core == two.core
    drawn = [(s.key, s.item) for e in (one, two) for s in e.sections] + [
        (r.w, r.item) for e in (one, two) for r in e.roles
    ]
    assert len({secret for secret, _ in drawn} | {item for _, item in drawn}) == 2 * len(drawn)


def test_a_broken_source_of_randomness_is_noticed():
    assert refused(seal_event, plan(), seat(LEAD), bytes) == ("HS-SEAL-INVALID", "randomness")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"event_type": "no_such"}, "HS-CODE-UNKNOWN"),
        ({"event_type": "threat_level_changed"}, "HS-NOT-YET"),
        ({"purpose": "NO_SUCH"}, "HS-CODE-UNKNOWN"),
        ({"action": "NO_SUCH"}, "HS-CODE-UNKNOWN"),
        ({"roles": ("nobody",)}, "HS-CODE-UNKNOWN"),
        ({"roles": (PRISON, PRISON)}, "HS-PAYLOAD-REJECTED"),
        ({"roles": ()}, "HS-PAYLOAD-REJECTED"),
        ({"sections": {}}, "HS-PAYLOAD-REJECTED"),
        ({"sections": {"IC07": b"x"}}, "HS-CODE-UNKNOWN"),
        ({"sections": {"IC12": bytes(262_141)}}, "HS-TOO-LARGE"),
        ({"persons": {"IC07": (1,)}}, "HS-PAYLOAD-REJECTED"),
        ({"public_interest_released": frozenset({"IC07"})}, "HS-PAYLOAD-REJECTED"),
    ],
)
def test_a_plan_that_cannot_be_sealed_is_refused(changes, code):
    assert refused(sealed_event, **changes)[0] == code


def test_an_attempt_gives_only_what_was_sealed():
    sealed = sealed_event()
    for bad, check in (
        ({}, "recipients"),
        ({POLICE: given(POLICE, "IC01")}, "recipients"),
        ({PRISON: given(PRISON, "IC07")}, "categories"),
    ):
        assert refused(attempt, sealed, 1, RULES, None, bad) == ("HS-SUBMISSION-INVALID", check)
    keyless = {PRISON: Given(None, frozenset({"IC01"}))}
    assert refused(attempt, sealed, 1, RULES, None, keyless) == ("HS-KEY-UNTRUSTED", "no-key")


def test_a_bundle_is_signed_over_its_leaves():
    submissions = [both(sealed_event(event_id=bytes([n] * 16))) for n in range(1, 4)]
    keys = unit_keys("soc")
    request = bundle(submissions, origin="exempel", unit="SOC/EXEMPEL/AA", bundle_id=CASE, keys=keys)
    keys.public.verify(request.unit_signature, request.bundle)
    arguments = {"origin": "exempel", "unit": "SOC/EXEMPEL/AA", "root": root_of}
    statement, leaves = checks.check_bundle(request, **arguments)
    assert (statement.count, len(leaves)) == (3, 3)
    for changed, check in (
        (replace(request, submissions=request.submissions[::-1]), "root"),
        (replace(request, submissions=request.submissions[:2]), "count"),
        (replace(request, submissions=()), "empty"),
    ):
        assert refused(checks.check_bundle, changed, **arguments) == ("HS-BUNDLE-INVALID", check)
    for name, check in (("origin", "origin"), ("unit", "unit")):
        other = {**arguments, name: "other"}
        assert refused(checks.check_bundle, request, **other) == ("HS-BUNDLE-INVALID", check)
    for part in ("core", "digests", "seat_signature", "attempt"):
        first = request.submissions[0]
        changed = replace(first, **{part: getattr(first, part)[:-1] + b"!"})
        bad = replace(request, submissions=(changed, *request.submissions[1:]))
        assert refused(checks.check_bundle, bad, **arguments) == ("HS-BUNDLE-INVALID", "root")


def root_of(leaves):
    return merkle.root([merkle.leaf_hash(leaf) for leaf in leaves])


def test_a_bundle_keeps_its_bounds():
    arguments = {"origin": "exempel", "unit": "SOC/EXEMPEL/AA", "bundle_id": CASE, "keys": unit_keys("soc")}
    assert refused(bundle, [], **arguments) == ("HS-BUNDLE-INVALID", "empty")
    one = both(sealed_event())
    assert refused(bundle, [one] * 501, **arguments)[0] == "HS-TOO-LARGE"
    big = replace(one, section_items=(bytes(1024 * 1024),))
    assert refused(bundle, [big] * 8, **arguments)[0] == "HS-TOO-LARGE"
    full = bundle([one] * 500, **arguments)
    assert len(full.to_bytes()) < limits.BUNDLE_BYTES


def test_sections_over_one_mebibyte_in_all_are_refused():
    large = {"IC01": bytes(262_000), "IC02": bytes(262_000), "IC12": bytes(262_000)}
    assert checks.size_of(both(sealed_event(sections=large))) < limits.SUBMISSION
    sealed = sealed_event(sections=large)
    assert len(sealed.to_bytes()) < SEALED_BYTES
    assert SealedEvent.from_bytes(sealed.to_bytes(), SEALED_BYTES) == sealed
    larger = dict.fromkeys(("IC01", "IC02", "IC12"), bytes(262_000))
    wide = seal_event(plan(sections=larger), seat(LEAD), flow("wide"))
    four = replace(wide, sections=(*wide.sections, *wide.sections))
    assert refused(both, four)[0] == "HS-TOO-LARGE"
