"""REPLACE: new keys for a lost member count with the signatures of two others, and of nobody less."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from connectors import replacing
from connectors.membership import CaseMembers, remove_statement
from connectors.rotating import confirm_statement, rotate_statement
from connectors.standing import KeyState
from schemas.checks import sha256
from schemas.statements import MemberStatement
from tests.seals.forge import flipped
from tests.seals.world import (
    CASE,
    DAY,
    HEALTH,
    LEAD,
    NOW,
    POLICE,
    PRISON,
    SLOTS,
    case,
    joining,
    lead_opening,
    member_id,
    refused,
    seat,
)

NEW = "new keys"


def words(whose, keys=NEW, view=None, /, **changes):
    """The statement that the lost member draws."""
    view = view or case()
    data = replacing.statement_of(
        case_tag=CASE, newest=view.members[member_id(whose)], keys=seat(keys).public, slots=SLOTS, at_us=NOW
    )
    return replace(MemberStatement.from_bytes(data), **changes).to_bytes() if changes else data


def by(signer, data, keys=NEW):
    return replacing.countersigned_by(data, seat(keys).public.hpke, seat(signer))


def replaced(view, role, first, second, keys=NEW, **changes):
    data = words(role, keys, view, **changes)
    return view.applied(by(first, data, keys)).applied(by(second, data, keys))


@pytest.mark.parametrize(("role", "first", "second"), [
    (PRISON, LEAD, POLICE), (PRISON, POLICE, LEAD), (PRISON, LEAD, HEALTH), (PRISON, POLICE, HEALTH),
    (POLICE, LEAD, PRISON), (LEAD, POLICE, PRISON), (LEAD, HEALTH, POLICE),
])  # fmt: skip
def test_two_others_give_a_lost_member_new_keys(role, first, second):
    view = replaced(case(), role, first, second)
    assert view.disputed == frozenset()
    assert view.holder(role, NOW).keys == seat(NEW).public
    assert view.sender(seat(NEW).key_id, NOW).member == member_id(role)
    assert view.seated(role) == member_id(role)  # the member is the same: no consent is touched


@pytest.mark.parametrize("role", [PRISON, LEAD])
def test_one_signature_replaces_nothing(role):
    """Nor two by one member, two without the lead or its deputy, the lost key's own, or one of somebody outside."""
    view, data = case(), words(role)
    lonely = [POLICE, HEALTH] + ([LEAD] if role != LEAD else [])
    for signer in lonely:
        alone = view.applied(by(signer, data)).applied(by(signer, data))
        assert alone.holder(role, NOW).keys == seat(role).public
        assert refused(alone.sender, seat(NEW).key_id, NOW) == ("HS-KEY-UNTRUSTED", "seat-key")
    weak = view.applied(joining(view, "provider")).applied(by(HEALTH, data)).applied(by("provider", data))
    assert weak.holder(role, NOW).keys == seat(role).public
    assert refused(view.applied, by(role, data)) == ("HS-KEY-UNTRUSTED", "replace-own")
    assert refused(view.applied, by("evil", data)) == ("HS-KEY-UNTRUSTED", "replace-signature")
    assert not replacing.enough({member_id(LEAD)}, view.chains, view.lead, member_id(PRISON))
    both = view.applied(by(POLICE, data)).applied(by(HEALTH, data))
    assert both.holder(role, NOW).keys == seat(NEW).public  # positive control


def test_a_lead_is_not_replaced_without_its_deputy():
    view = replaced(case(), LEAD, PRISON, HEALTH)
    assert view.holder(LEAD, NOW).keys == seat(LEAD).public
    assert not replacing.may_sign(
        {m: c for m, c in view.chains.items() if m != member_id(POLICE)}, view.lead, view.lead, ()
    )
    assert replacing.may_sign(view.chains, view.lead, view.lead, ())
    two = {m: c for m, c in view.chains.items() if m in {member_id(LEAD), member_id(PRISON)}}
    assert not replacing.may_sign(two, view.lead, member_id(PRISON), ())  # a case of two: nobody to sign with the lead


def test_a_replacement_of_the_brokers_making_is_refused():
    view, data = case(), words(PRISON)
    good = by(LEAD, data)
    public = {"signing_key": seat("evil").public.signing, "hpke_key_hash": seat("evil").public.hpke_hash}
    forged = {
        "replace-signature": [
            replace(good, signature=flipped(good.signature)),
            replace(good, statement=words(PRISON, **public), hpke_key=seat("evil").public.hpke),
        ],
        "chain": [by(LEAD, words(PRISON, case_tag=flipped(CASE))), by(LEAD, words(PRISON, signer=member_id(LEAD))),
                  by(LEAD, words(PRISON, invitation_hash=sha256(b"x")))],
        "seq": [by(LEAD, words(PRISON, seq=2)), by(LEAD, words(PRISON, role=HEALTH))],
        "previous": [by(LEAD, words(PRISON, previous=sha256(b"x")))],
        "hpke-key": [replace(good, hpke_key=seat("evil").public.hpke)],
        "chain-time": [by(LEAD, words(PRISON, not_before_us=NOW + 61 * DAY, not_after_us=NOW + 62 * DAY))],
        "validity": [by(LEAD, words(PRISON, not_before_us=NOW - 51 * DAY))],
        "key-of-another": [replacing.countersigned_by(words(PRISON, HEALTH), seat(HEALTH).public.hpke, seat(LEAD))],
    }  # fmt: skip
    for check, statements in forged.items():
        for statement in statements:
            assert refused(view.applied, statement) == ("HS-KEY-UNTRUSTED", check)
    gone = view.applied(remove_statement(members=view, lead=seat(LEAD), member=member_id(PRISON), at_us=NOW))
    assert refused(gone.applied, good) == ("HS-KEY-UNTRUSTED", "chain-removed")
    assert view.applied(good) is not view  # positive control


def test_a_key_that_was_replaced_is_worth_nothing_from_then_on():
    view = replaced(case(), PRISON, LEAD, POLICE)
    assert view.sender(seat(PRISON).key_id, NOW - 1).member == member_id(PRISON)  # what was sent before
    assert refused(view.sender, seat(PRISON).key_id, NOW)[0] == "HS-KEY-EXPIRED"
    old = view.chains[member_id(PRISON)][0]
    assert view.state(old, NOW) is KeyState.RETIRED


def test_a_rotation_by_the_lost_key_changes_nothing():
    """A thief with the old signing key, and a broker that helps, in either order; the lead had even confirmed it."""
    view = case()
    stolen = rotate_statement(
        members=view, member=member_id(PRISON), old=seat(PRISON), new=seat("thief").public, at_us=NOW
    )
    after = replaced(view, PRISON, LEAD, POLICE)
    assert refused(after.applied, stolen)[0] == "HS-KEY-REPLACED"
    rotated = view.applied(stolen)
    word = confirm_statement(members=rotated, signer=member_id(LEAD), keys=seat(LEAD),
                             rotated=rotated.members[member_id(PRISON)], at_us=NOW)  # fmt: skip
    before = rotated.applied(word)
    assert before.holder(PRISON, NOW).keys == seat("thief").public  # positive control
    data = words(PRISON)
    before = before.applied(by(LEAD, data)).applied(by(POLICE, data))
    for one in (after, before):
        assert one.disputed == frozenset()
        assert one.holder(PRISON, NOW).keys == seat(NEW).public
        assert refused(one.sender, seat("thief").key_id, NOW) == ("HS-KEY-UNTRUSTED", "seat-key")


def test_the_new_key_rotates_and_the_lead_confirms_it():
    view = replaced(case(), PRISON, LEAD, POLICE)
    next_one = rotate_statement(
        members=view, member=member_id(PRISON), old=seat(NEW), new=seat("next").public, at_us=NOW + 1
    )
    view = view.applied(next_one)
    key = view.members[member_id(PRISON)]
    assert key.proven
    assert [one.member for one in view.waiting(view.lead)] == [member_id(PRISON)]
    word = confirm_statement(members=view, signer=member_id(LEAD), keys=seat(LEAD), rotated=key, at_us=NOW + 2)
    assert view.applied(word).holder(PRISON, NOW + 3).keys == seat("next").public


def test_two_replacements_of_one_number_disarm_both():
    first, second = words(PRISON), words(PRISON, "second")
    signed = [by(LEAD, first), by(POLICE, first), by(LEAD, second, "second"), by(HEALTH, second, "second")]
    for order in permutations(signed):
        view = case()
        for one in order:
            view = view.applied(one)
        assert view.disputed == {member_id(PRISON)}
        for keys in (seat(NEW), seat("second")):
            assert refused(view.sender, keys.key_id, NOW) == ("HS-EQUIVOCATION", "member")
    alone = case().applied(by(LEAD, first)).applied(by(POLICE, first)).applied(by(LEAD, second, "second"))
    assert alone.disputed == frozenset()  # one signature disputes nothing


def test_an_old_replacement_played_again_changes_nothing():
    view = replaced(case(), PRISON, LEAD, POLICE)
    old = words(PRISON)
    again = replaced(view, PRISON, LEAD, POLICE, "again")
    assert again.applied(by(LEAD, old)) is again
    assert again.applied(by(HEALTH, old)).holder(PRISON, NOW).keys == seat("again").public
    # also where the first was never seen
    fresh = case()
    data = words(PRISON, "again", view)
    for one in (by(LEAD, data, "again"), by(POLICE, data, "again"), by(LEAD, old), by(POLICE, old)):
        fresh = fresh.applied(one)
    assert fresh.holder(PRISON, NOW).keys == seat("again").public


def test_two_lost_members_cannot_vouch_for_each_other():
    """In a ring, with the lead's word on both: nothing is worth anything without a member that was there before."""
    view = case()
    one, other = words(PRISON, "one"), words(HEALTH, "other")
    view = view.applied(by(LEAD, one, "one")).applied(by(LEAD, other, "other"))
    assert refused(view.applied, by("other", one, "one")) == ("HS-KEY-UNTRUSTED", "replace-signature")
    view = view.applied(by(HEALTH, one, "one"))
    assert view.holder(PRISON, NOW).keys == seat("one").public
    view = view.applied(by("one", other, "other"))
    assert view.holder(HEALTH, NOW).keys == seat(HEALTH).public
    assert refused(view.sender, seat("other").key_id, NOW) == ("HS-KEY-UNTRUSTED", "unconfirmed")


def test_the_first_signature_is_kept_in_any_order_of_arrival():
    data = words(LEAD)
    signed = [by(POLICE, data), by(HEALTH, data), by(PRISON, data)]
    for order in permutations(signed):
        view: CaseMembers = case()
        for one in order:
            view = view.applied(one)
            assert view.applied(one) is view
        assert view.holder(LEAD, NOW).keys == seat(NEW).public
        # the lead's own words of before still count, and its new key speaks for the case
        assert view.holder(HEALTH, NOW).keys == seat(HEALTH).public
        gone = remove_statement(members=view, lead=seat(NEW), member=member_id(HEALTH), at_us=NOW)
        assert refused(view.applied(gone).holder, HEALTH, NOW)[0] == "HS-NO-HOLDER"


def test_the_pin_stays_the_same():
    opening = lead_opening()
    assert (
        CaseMembers.pinned(opening, sha256(opening.statement), SLOTS).pin == replaced(case(), LEAD, POLICE, PRISON).pin
    )
