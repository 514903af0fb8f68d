"""Only keys that chain to the pin count; conflicts disarm both sides, removal is final in any order."""

from dataclasses import replace
from itertools import permutations

import pytest

from connectors.keys import SeatKeyPair
from connectors.membership import CaseMembers, join_statement, remove_statement
from schemas.checks import sha256
from schemas.errors import HandslagError
from schemas.statements import MemberStatement, SignedStatement
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
    acceptance,
    case,
    joining,
    lead_opening,
    member_id,
    refused,
    seat,
)


def pinned():
    opening = lead_opening()
    return CaseMembers.pinned(opening, sha256(opening.statement), SLOTS)


def changed(signed, by, /, **fields):
    """The statement with other fields, signed by whoever."""
    data = replace(MemberStatement.from_bytes(signed.statement), **fields).to_bytes()
    return SignedStatement(statement=data, signature=by.sign(data), hpke_key=signed.hpke_key)


def removing(view, role, at_us=NOW):
    return remove_statement(members=view, lead=seat(LEAD), member=member_id(role), at_us=at_us)


def test_a_joined_member_is_found_by_role_and_by_key():
    view = case()
    for role in (LEAD, POLICE, PRISON, HEALTH):
        assert view.holder(role, NOW).keys == seat(role).public
        assert view.sender(seat(role).key_id, NOW).role == role
    assert refused(view.holder, "provider", NOW)[0] == "HS-NO-HOLDER"
    assert refused(view.sender, sha256(b"other"), NOW) == ("HS-KEY-UNTRUSTED", "seat-key")


def test_keys_count_in_their_time_only():
    view = case()
    for at in (NOW - 50 * DAY, NOW + 50 * DAY):
        assert view.sender(seat(PRISON).key_id, at) == view.holder(PRISON, at)
    for at in (NOW - 50 * DAY - 1, NOW + 50 * DAY + 1):
        assert refused(view.sender, seat(PRISON).key_id, at)[0] == "HS-KEY-EXPIRED"
        assert refused(view.holder, PRISON, at)[0] == "HS-KEY-EXPIRED"


def test_only_the_pinned_opening_pins():
    opening = lead_opening()
    pin = sha256(opening.statement)
    assert CaseMembers.pinned(opening, pin).pin == pin
    evil = lead_opening(keys=seat("evil"))
    assert refused(CaseMembers.pinned, evil, pin) == ("HS-KEY-UNTRUSTED", "pin")
    join = joining(pinned(), PRISON)
    assert refused(CaseMembers.pinned, join, sha256(join.statement)) == ("HS-KEY-UNTRUSTED", "pin-kind")
    lead = seat(LEAD)
    for wrong in ({"kind": "JOIN"}, {"signer": member_id(POLICE)}, {"invitation_hash": sha256(b"x")}):
        statement = changed(opening, lead, **wrong)
        assert refused(CaseMembers.pinned, statement, sha256(statement.statement)) == ("HS-KEY-UNTRUSTED", "pin-kind")
    unsigned = replace(opening, signature=flipped(opening.signature))
    assert refused(CaseMembers.pinned, unsigned, pin)[0] == "HS-SIGNATURE-INVALID"
    other_key = replace(opening, hpke_key=seat("evil").public.hpke)
    assert refused(CaseMembers.pinned, other_key, pin) == ("HS-KEY-UNTRUSTED", "hpke-key")
    keyless = replace(opening, hpke_key=None)
    assert refused(CaseMembers.pinned, keyless, pin)[0] == "HS-PAYLOAD-REJECTED"


def test_the_brokers_own_key_for_a_role_is_refused():
    """A broker that makes a key for a role, in every way open to it; the honest JOIN is the control."""
    view, evil = pinned(), seat("evil")
    honest = joining(view, PRISON)
    public = {"signing_key": evil.public.signing, "hpke_key_hash": evil.public.hpke_hash}
    attempts = {
        "chain-signature": replace(changed(honest, evil, **public), hpke_key=evil.public.hpke),
        "chain": replace(changed(honest, evil, signer=member_id("evil"), **public), hpke_key=evil.public.hpke),
        "hpke-key": replace(honest, hpke_key=evil.public.hpke),
    }
    for check, statement in attempts.items():
        assert refused(view.applied, statement) == ("HS-KEY-UNTRUSTED", check)
    opening = lead_opening(member=member_id("evil"), role=PRISON, keys=evil)
    assert refused(view.applied, opening) == ("HS-KEY-UNTRUSTED", "chain")
    posing = lead_opening(keys=evil)
    assert refused(view.applied, posing) == ("HS-KEY-UNTRUSTED", "chain-signature")
    assert refused(view.holder, PRISON, NOW)[0] == "HS-NO-HOLDER"
    assert view.applied(honest).holder(PRISON, NOW).keys == seat(PRISON).public


def test_a_statement_that_does_not_chain_to_the_pin_changes_nothing():
    view, lead = case(), seat(LEAD)
    join = joining(pinned(), "provider")
    bad = {
        "chain": [
            changed(join, lead, case_tag=flipped(CASE)),
            changed(join, seat(POLICE), signer=member_id(POLICE)),
        ],
        "chain-signature": [changed(join, seat(POLICE)), replace(join, signature=bytes(64))],
        "chain-time": [changed(join, lead, not_before_us=NOW - 61 * DAY)],
        "seq": [changed(join, lead, seq=1), changed(join, lead, previous=sha256(b"x"))],
        "kind": [changed(join, lead, kind="OPEN"), changed(join, lead, invitation_hash=bytes(32))],
        "validity": [changed(join, lead, not_after_us=NOW - 51 * DAY)],
    }
    for check, statements in bad.items():
        for statement in statements:
            assert refused(view.applied, statement) == ("HS-KEY-UNTRUSTED", check)
    assert refused(view.applied, changed(join, lead, kind="NO_SUCH")) == ("HS-KEY-UNTRUSTED", "kind")
    of_a_member = changed(joining(pinned(), PRISON), lead, kind="NO_SUCH")
    assert refused(view.applied, of_a_member) == ("HS-KEY-UNTRUSTED", "kind")
    assert view.applied(join).holder("provider", NOW).role == "provider"


def test_the_same_statement_again_changes_nothing():
    join = joining(pinned(), PRISON)
    view = pinned().applied(join)
    assert view.applied(join) is view
    assert view.applied(lead_opening()) is view


def test_two_statements_with_one_member_and_seq_disarm_both():
    first = joining(pinned(), PRISON)
    second = joining(pinned(), PRISON, keys=seat("second"))
    for order in ((first, second), (second, first)):
        view = pinned().applied(order[0]).applied(order[1])
        assert view.disputed == {member_id(PRISON)}
        assert refused(view.holder, PRISON, NOW) == ("HS-EQUIVOCATION", "member")
        for keys in (seat(PRISON), seat("second")):
            assert refused(view.sender, keys.key_id, NOW) == ("HS-EQUIVOCATION", "member")
        assert view.sender(seat(LEAD).key_id, NOW).role == LEAD
    forged = changed(second, seat("evil"))
    assert refused(pinned().applied(first).applied, forged) == ("HS-KEY-UNTRUSTED", "chain-signature")
    assert pinned().applied(first).disputed == frozenset()


def test_two_members_in_one_role_disarm_both_until_one_is_removed():
    view = pinned()
    first = joining(view, PRISON)
    second = joining(view, PRISON, keys=seat("second"), member=member_id("second"))
    both = view.applied(first).applied(second)
    assert both.disputed == {member_id(PRISON), member_id("second")}
    assert refused(both.holder, PRISON, NOW)[0] == "HS-EQUIVOCATION"
    assert refused(both.sender, seat("second").key_id, NOW)[0] == "HS-EQUIVOCATION"
    settled = both.applied(removing(both, PRISON))
    assert settled.disputed == frozenset()
    assert settled.holder(PRISON, NOW).keys == seat("second").public


def test_one_after_the_other_in_one_role_is_no_conflict():
    first = joining(pinned(), PRISON, not_after_us=NOW)
    second = joining(pinned(), PRISON, keys=seat("second"), member=member_id("second"), not_before_us=NOW + 1)
    view = pinned().applied(first).applied(second)
    assert view.disputed == frozenset()
    assert view.holder(PRISON, NOW).keys == seat(PRISON).public
    assert view.holder(PRISON, NOW + 1).keys == seat("second").public


def test_removal_is_final_in_any_order():
    view = pinned()
    join = joining(view, PRISON)
    remove = removing(view.applied(join), PRISON)
    later = removing(view.applied(join), PRISON, at_us=NOW + DAY)
    for order in permutations((join, remove, later)):
        after = view
        for statement in order:
            after = after.applied(statement)
        assert refused(after.holder, PRISON, NOW - DAY)[0] == "HS-NO-HOLDER"
        assert after.sender(seat(PRISON).key_id, NOW - 1).role == PRISON
        assert refused(after.sender, seat(PRISON).key_id, NOW)[0] == "HS-KEY-EXPIRED"
        assert after.applied(join).removed == {member_id(PRISON): NOW}


def test_only_the_lead_removes():
    view = case()
    statement = changed(removing(view, PRISON), seat(POLICE))
    assert refused(view.applied, statement) == ("HS-KEY-UNTRUSTED", "chain-signature")
    assert view.holder(PRISON, NOW).role == PRISON
    assert refused(remove_statement, members=view, lead=seat(LEAD), member=bytes(16), at_us=NOW)[0] == (
        "HS-SEAT-UNKNOWN"
    )


def test_a_lead_that_left_or_contradicts_itself_vouches_for_nobody():
    view, late = case(), joining(pinned(), "provider")
    gone = view.applied(removing(view, LEAD))
    assert refused(gone.applied, late) == ("HS-KEY-UNTRUSTED", "chain-removed")
    second = changed(lead_opening(), seat(LEAD), role="provider")
    split = view.applied(second)
    assert refused(split.applied, late) == ("HS-EQUIVOCATION", "lead")
    assert refused(split.holder, LEAD, NOW)[0] == "HS-EQUIVOCATION"
    assert view.applied(late).holder("provider", NOW).role == "provider"


def test_nobody_takes_the_keys_of_another_member():
    view = case()
    accepted, hpke_key = acceptance("provider", keys=seat(POLICE))
    window = {"not_before_us": NOW, "not_after_us": NOW + DAY}
    call = {"members": view, "lead": seat(LEAD), "acceptance": accepted, "hpke_key": hpke_key, **window}
    assert refused(join_statement, **call) == ("HS-KEY-UNTRUSTED", "key-of-another")
    assert view.sender(seat(POLICE).key_id, NOW).role == POLICE


def test_a_lead_does_not_sign_a_second_holder():
    with pytest.raises(HandslagError) as error:
        joining(case(), PRISON, keys=SeatKeyPair.generate(), member=member_id("second"))
    assert error.value.code == "HS-STATE-INVALID"
