"""An invitation opens for the unit it names, pins the lead, and only what the unit signs becomes a JOIN."""

from dataclasses import replace

import pytest

from connectors.inviting import accept, checked_acceptance, invite, open_invitation, own_join
from connectors.keys import SeatKeyPair
from connectors.membership import CaseMembers, join_statement
from connectors.sealing import Given, attempt, seal_event
from connectors.trust import Directory
from schemas import projection
from schemas.checks import sha256
from schemas.identifiers import ZERO16
from schemas.inbox import InvitationDelivery
from schemas.statements import Acceptance, Invitation, MemberStatement, SignedStatement, UnitEntry
from tests.seals.forge import flipped
from tests.seals.world import (
    CASE,
    DAY,
    LEAD,
    NOW,
    POLICE,
    PRISON,
    RULES,
    SLOTS,
    case,
    everybody,
    flow,
    handed,
    joining,
    lead_opening,
    member_id,
    plan,
    refused,
    seat,
    unit_keys,
)

INVITER, INVITED = "SOC/EXEMPEL/AA", "KV/EXEMPEL/AA"
INVITATION = sha256(b"invitation")[:16]


def entry(unit, *roles, **changes):
    keys = unit_keys(unit).public
    values = {
        "unit": unit,
        "agency": "EXEMPEL",
        "controller": "EXEMPEL",
        "roles": roles,
        "signing_key": keys.signing,
        "hpke_key": keys.hpke,
        "valid_from_us": NOW - DAY,
        "valid_until_us": NOW + DAY,
    }
    return UnitEntry(**{**values, **changes})


def units(**changes):
    listed = {INVITER: (entry(INVITER, LEAD, POLICE),), INVITED: (entry(INVITED, PRISON),), **changes}
    return Directory(listed, 0)


def alone():
    opening = lead_opening()
    return CaseMembers.pinned(opening, sha256(opening.statement), SLOTS)


def sealed_invitation(*, statements=None, sender=LEAD, roles=(PRISON,), **changes):
    fields = {
        "person_name": "Exempel Exempelsson",
        "inviter_contact": "Socialtjänsten, EXEMPEL",
        "lead_statements": [each.to_bytes() for each in statements or [lead_opening()]],
    }
    sections = projection.split("seat_invited", fields)
    event = {"event_type": "seat_invited", "roles": roles, "sections": sections, **changes}
    return seal_event(plan(**event), seat(sender), flow("invitation"))


def invitation(*, sender=LEAD, categories=("IC01", "IC12"), terms=None, statements=None, **changes):
    """An invitation as the invited unit's inbox holds it; `terms` change the record before it is signed."""
    sealed = sealed_invitation(sender=sender, statements=statements, **changes)
    unit = unit_keys(INVITED).public
    submission = attempt(sealed, 1, RULES, None, {PRISON: Given(unit, frozenset(("IC01", "IC12")))})
    signed = invite(
        sealed=sealed,
        invitation_id=INVITATION,
        members=alone(),
        inviter=member_id(sender),
        inviter_unit=INVITER,
        unit=INVITED,
        created_at_us=NOW,
        expires_at_us=NOW + DAY,
        seat=seat(sender),
        keys=unit_keys(INVITER),
    )
    data = replace(Invitation.from_bytes(signed.invitation), **(terms or {})).to_bytes()
    return InvitationDelivery(
        invitation=data,
        seat_signature=seat(sender).sign(data),
        unit_signature=unit_keys(INVITER).sign(data),
        delivery=handed(submission, PRISON, *categories, to=ZERO16),
    )


def opened(item, **changes):
    own = unit_keys(INVITED)
    values = {"unit": INVITED, "keys": {own.key_id: own}, "directory": units(), "may_send": everybody, "now_us": NOW}
    values |= {"slots": SLOTS}
    return open_invitation(item, **{**values, **changes})


def test_an_invitation_opens_and_pins_the_lead():
    got = opened(invitation())
    assert got.event.merged["person_name"] == "Exempel Exempelsson"
    assert got.members.holder(LEAD, NOW).keys == seat(LEAD).public
    assert (got.members.case_tag, got.event.sender.role) == (CASE, LEAD)
    assert "Exempelsson" not in repr(got)


def test_a_member_who_is_not_the_lead_may_invite():
    item = invitation(sender=POLICE, statements=[lead_opening(), joining(alone(), POLICE)])
    assert opened(item).event.sender.role == POLICE
    unknown = invitation(sender=POLICE)
    assert refused(opened, unknown) == ("HS-KEY-UNTRUSTED", "seat-key")


def evil_lead(**changes):
    return [lead_opening(keys=seat("evil"))]


def signed_anew(item, **terms):
    data = replace(Invitation.from_bytes(item.invitation), **terms).to_bytes()
    return replace(
        item,
        invitation=data,
        seat_signature=seat(LEAD).sign(data),
        unit_signature=unit_keys(INVITER).sign(data),
    )


def other_type():
    """A well-sealed event of another type in the place of the invitation."""
    sealed = seal_event(plan(roles=(PRISON,)), seat(LEAD), flow("other type"))
    to = {PRISON: Given(unit_keys(INVITED).public, frozenset(sealed_categories(sealed)))}
    delivery = handed(attempt(sealed, 1, RULES, None, to), PRISON, *sealed_categories(sealed), to=ZERO16)
    hashes = {"core_hash": sha256(delivery.core), "digests_hash": sha256(delivery.digests)}
    return signed_anew(replace(invitation(), delivery=delivery), **hashes)


def sealed_categories(sealed):
    return [section.category for section in sealed.sections]


def other_case():
    """The lead's statement for another case, pinned as the invitation says."""
    statement = lead_opening(case_tag=flipped(CASE))
    return invitation(statements=[statement], terms={"lead_statement_hash": sha256(statement.statement)})


def too_large():
    item = invitation()
    sections = (replace(item.delivery.sections[0], item=bytes(300 * 1024)),)
    return replace(item, delivery=replace(item.delivery, sections=sections))


def unsigned_event():
    item = invitation()
    return replace(item, delivery=replace(item.delivery, seat_signature=bytes(64)))


REFUSED = {
    "for another unit": (lambda: invitation(terms={"unit": "KV/EXEMPEL/BB"}), {}, "HS-INVITATION-INVALID", "unit"),
    "lapsed": (invitation, {"now_us": NOW + DAY + 1}, "HS-INVITATION-INVALID", "expired"),
    "from the future": (invitation, {"now_us": NOW - DAY}, "HS-INVITATION-INVALID", "expired"),
    "long ago": (
        lambda: invitation(terms={"created_at_us": NOW - 31 * DAY}),
        {},
        "HS-INVITATION-INVALID",
        "expired",
    ),
    "role not the unit's": (
        invitation,
        {"directory": units(**{INVITED: (entry(INVITED, "provider"),)})},
        "HS-INVITATION-INVALID",
        "role",
    ),
    "inviter unit unknown": (invitation, {"directory": units(**{INVITER: ()})}, "HS-KEY-UNTRUSTED", "unit"),
    "unit signature": (
        lambda: replace(invitation(), unit_signature=bytes(64)),
        {},
        "HS-SIGNATURE-INVALID",
        None,
    ),
    "another event": (lambda: invitation(terms={"core_hash": bytes(32)}), {}, "HS-INVITATION-INVALID", "event"),
    "other digests": (lambda: invitation(terms={"digests_hash": bytes(32)}), {}, "HS-INVITATION-INVALID", "event"),
    "another type": (other_type, {}, "HS-INVITATION-INVALID", "event"),
    "another case inside": (other_case, {}, "HS-INVITATION-INVALID", "lead-statement"),
    "too large": (too_large, {}, "HS-TOO-LARGE", None),
    "sent long ago": (lambda: invitation(sent_at_us=NOW - 31 * DAY), {}, "HS-SENT-AT-INVALID", None),
    "another case": (lambda: invitation(terms={"case_tag": flipped(CASE)}), {}, "HS-SEAL-INVALID", "hpke"),
    "another role": (
        lambda: invitation(terms={"role": "provider"}),
        {"directory": units(**{INVITED: (entry(INVITED, "provider"),)})},
        "HS-SEAL-INVALID",
        "recipient",
    ),
    "key not held": (invitation, {"keys": {}}, "HS-SEAL-INVALID", "hpke"),
    "no statement inside": (
        lambda: invitation(categories=("IC01",)),
        {},
        "HS-INVITATION-INVALID",
        "lead-statement",
    ),
    "another lead inside": (lambda: invitation(statements=evil_lead()), {}, "HS-KEY-UNTRUSTED", "pin"),
    "another inviter": (
        lambda: invitation(terms={"inviter": member_id(POLICE)}),
        {},
        "HS-INVITATION-INVALID",
        "inviter",
    ),
    "inviter unit without the role": (
        invitation,
        {"directory": units(**{INVITER: (entry(INVITER, "provider"),)})},
        "HS-INVITATION-INVALID",
        "inviter",
    ),
    "role may not send": (invitation, {"may_send": lambda role, kind: False}, "HS-SENDER-NOT-ALLOWED", None),
    "event signature": (
        unsigned_event,
        {},
        "HS-SIGNATURE-INVALID",
        None,
    ),
    "seat signature": (
        lambda: replace(invitation(), seat_signature=bytes(64)),
        {},
        "HS-SIGNATURE-INVALID",
        None,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_every_check_of_an_invitation_refuses(name):
    make, changes, code, check = REFUSED[name]
    assert refused(opened, make(), **changes) == (code, check)


def test_only_an_invitation_to_one_role_of_the_case_is_signed():
    values = {"invitation_id": INVITATION, "inviter": member_id(LEAD), "inviter_unit": INVITER, "unit": INVITED}
    values |= {"created_at_us": NOW, "expires_at_us": NOW + DAY, "seat": seat(LEAD), "keys": unit_keys(INVITER)}
    other_event = seal_event(plan(roles=(PRISON,)), seat(LEAD), flow("other"))
    two_roles = sealed_invitation(roles=(PRISON, POLICE))
    other_case = sealed_invitation(case_tag=flipped(CASE))
    for sealed in (other_event, two_roles, other_case):
        assert refused(invite, sealed=sealed, members=alone(), **values) == ("HS-INVITATION-INVALID", "event")


def accepted_by(opened_invitation, keys=None, pair=None):
    pair = pair or seat(PRISON)
    data, signature = accept(
        opened_invitation, member=member_id(PRISON), seat=pair.public, keys=keys or unit_keys(INVITED)
    )
    return data, signature, pair.public.hpke


def test_the_whole_way_from_invitation_to_member():
    item = invitation()
    got = opened(item)
    data, signature, hpke_key = accepted_by(got)
    checking = {"invitation": item.invitation, "directory": units(), "now_us": NOW}
    accepted = checked_acceptance(data, signature, hpke_key, **checking)
    join = join_statement(
        members=alone(),
        lead=seat(LEAD),
        acceptance=accepted,
        hpke_key=hpke_key,
        not_before_us=NOW,
        not_after_us=NOW + DAY,
    )
    for view in (own_join(got.members, join, accepted), alone().applied(join)):
        assert view.holder(PRISON, NOW).keys == seat(PRISON).public


def test_the_lead_joins_only_what_the_invited_unit_signed():
    item = invitation()
    data, signature, hpke_key = accepted_by(opened(item))
    checking = {"invitation": item.invitation, "directory": units(), "now_us": NOW}
    assert checked_acceptance(data, signature, hpke_key, **checking).role == PRISON

    by_broker = accepted_by(opened(item), keys=unit_keys("evil"), pair=seat("evil"))
    assert refused(checked_acceptance, *by_broker, **checking)[0] == "HS-SIGNATURE-INVALID"
    other_key = (data, signature, seat("evil").public.hpke)
    assert refused(checked_acceptance, *other_key, **checking) == ("HS-KEY-UNTRUSTED", "hpke-key")
    late = {**checking, "now_us": NOW + DAY + 1}
    assert refused(checked_acceptance, data, signature, hpke_key, **late) == ("HS-INVITATION-INVALID", "expired")
    own = Acceptance.from_bytes(data)
    for change in ({"role": POLICE}, {"unit": "KV/EXEMPEL/BB"}, {"invitation_hash": bytes(32)}):
        changed = replace(own, **change).to_bytes()
        signed = unit_keys(INVITED).sign(changed)
        assert refused(checked_acceptance, changed, signed, hpke_key, **checking) == (
            "HS-INVITATION-INVALID",
            "invitation",
        )
    without_role = {**checking, "directory": units(**{INVITED: (entry(INVITED, "provider"),)})}
    assert refused(checked_acceptance, data, signature, hpke_key, **without_role) == ("HS-INVITATION-INVALID", "role")


def test_the_invitee_refuses_a_join_of_anything_else():
    got = opened(invitation())
    data, _signature, hpke_key = accepted_by(got)
    accepted = Acceptance.from_bytes(data)
    values = {"members": alone(), "lead": seat(LEAD), "not_before_us": NOW, "not_after_us": NOW + DAY}
    other = SeatKeyPair.generate()
    changes = [
        {"role": "provider"},
        {"invitation_hash": sha256(b"other")},
        {"signing_key": other.public.signing},
        {"member": member_id("other")},
    ]
    for change in changes:
        join = join_statement(acceptance=replace(accepted, **change), hpke_key=hpke_key, **values)
        assert refused(own_join, got.members, join, accepted) == ("HS-KEY-UNTRUSTED", "own-join")
    of_another = joining(alone(), POLICE)
    assert refused(own_join, got.members, of_another, accepted) == ("HS-KEY-UNTRUSTED", "own-join")
    forged = MemberStatement.from_bytes(of_another.statement)
    data = replace(forged, member=accepted.member).to_bytes()
    unsigned = SignedStatement(statement=data, signature=seat("evil").sign(data), hpke_key=of_another.hpke_key)
    assert refused(own_join, got.members, unsigned, accepted) == ("HS-KEY-UNTRUSTED", "chain-signature")
    assert case().holder(POLICE, NOW).role == POLICE
