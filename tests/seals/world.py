"""A small case for the tests: lead, police, prison and health, keys from fixed seeds, and the broker's stripping."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache

from connectors.keys import PRIVATE_BYTES, SeatKeyPair, UnitKeyPair
from connectors.membership import CaseMembers, join_statement, open_statement
from connectors.opening import Keyring, Remembered, open_delivery
from connectors.sealing import Given, SealPlan
from connectors.slots import Slots
from schemas import checks, projection
from schemas.checks import sha256
from schemas.envelope import DeliveredSection, Delivery, Submission
from schemas.errors import HandslagError
from schemas.statements import Acceptance

NOW = 1_800_000_000_000_000
DAY = 24 * 3600 * 1_000_000
SLOTS = Slots(length_us=400 * DAY, offset_us=NOW - 200 * DAY)  # one slot around everything that happens here
CASE = sha256(b"case")[:16]
LEAD, POLICE, PRISON, HEALTH = "social_services_lead", "police_coordination", "prison_probation", "health_care"
RULES = sha256(b"rules")
EVENT = "support_requested"
FIELDS = {
    "channel": "KV",
    "wish_confirmed_at": datetime(2027, 1, 14, 8, tzinfo=UTC),
    "immediate_risk": True,
    "preferred_contact": "kort mobil, kvällar",
    "language": "sv",
}


def flow(seed: str) -> Callable[[int], bytes]:
    """Fixed bytes that look random: SHAKE-256 of the seed and a counter."""
    count = 0

    def take(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{seed}/{count}".encode()).digest(size)

    return take


@cache
def seat(name: str) -> SeatKeyPair:
    return SeatKeyPair.from_private_bytes(flow(f"seat {name}")(PRIVATE_BYTES))


@cache
def unit_keys(name: str) -> UnitKeyPair:
    return UnitKeyPair.from_private_bytes(flow(f"unit {name}")(PRIVATE_BYTES))


def member_id(name: str) -> bytes:
    return sha256(b"member" + name.encode())[:16]


def seat_id(role: str) -> bytes:
    return sha256(b"seat" + role.encode())[:16]


def lead_opening(**changes):
    values = {"case_tag": CASE, "member": member_id(LEAD), "role": LEAD, "keys": seat(LEAD)}
    return open_statement(**{**values, "not_before_us": NOW - 60 * DAY, "not_after_us": NOW + 60 * DAY, **changes})


def acceptance(role, keys=None, member=None):
    keys = (keys or seat(role)).public
    return Acceptance(
        invitation_hash=sha256(b"invitation" + role.encode()),
        unit="KV/EXEMPEL/AA",
        role=role,
        member=member or member_id(role),
        signing_key=keys.signing,
        hpke_key_hash=keys.hpke_hash,
    ), keys.hpke


def joining(view, role, *, keys=None, member=None, lead=None, **changes):
    accepted, hpke_key = acceptance(role, keys, member)
    window = {"not_before_us": NOW - 50 * DAY, "not_after_us": NOW + 50 * DAY, **changes}
    return join_statement(members=view, lead=lead or seat(LEAD), acceptance=accepted, hpke_key=hpke_key, **window)


@cache
def case() -> CaseMembers:
    opening = lead_opening()
    view = CaseMembers.pinned(opening, sha256(opening.statement), SLOTS)
    for role in (POLICE, PRISON, HEALTH):
        view = view.applied(joining(view, role))
    return view


def plan(**changes) -> SealPlan:
    values = {
        "case_tag": CASE,
        "seat_id": seat_id(LEAD),
        "event_id": sha256(b"event")[:16],
        "event_type": EVENT,
        "occurred_at_us": NOW - DAY,
        "sent_at_us": NOW,
        "purpose": "INTAKE",
        "action": "DISCLOSE",
        "statement_kind": "FACT",
        "roles": (PRISON, HEALTH),
        "sections": projection.split(EVENT, FIELDS),
        "is_minor": False,
        "protected_handling": True,
        "regime": "GDPR",
    }
    return SealPlan(**{**values, **changes})


def given(role: str, *categories: str) -> Given:
    return Given(seat(role).public, frozenset(categories))


def keyring(role: str, **changes) -> Keyring:
    pair = changes.pop("pair", seat(role))
    values = {"seat_id": seat_id(role), "role": role, "case_tag": CASE, "keys": {pair.key_id: pair}}
    return Keyring(**{**values, **changes})


def handed(submission: Submission, role: str, *categories: str, to: bytes | None = None) -> Delivery:
    """What the broker hands a role: the released sections with their wrapped keys, and nothing else."""
    checked = checks.check_submission(submission)
    keys = checked.given(role)
    table = checks.digest_table(submission.digests)
    wrap = next(wrap for wrap in checked.attempt.wraps if wrap.role == role)
    sections = tuple(
        DeliveredSection(item=item, index=table.index(digest), wrapped=keys[digest])
        for item, digest, section in zip(
            submission.section_items, checked.section_digests, checked.sections, strict=True
        )
        if section.category in categories
    )
    place = [item.role for item in checked.recipients].index(role)
    return Delivery(
        delivery_id=bytes(16),
        hand_number=1,
        seat_id=seat_id(role) if to is None else to,
        core=submission.core,
        digests=submission.digests,
        seat_signature=submission.seat_signature,
        recipient_item=submission.recipient_items[place],
        sections=sections,
        seat_key_id=wrap.seat_key_id,
        enc=wrap.enc,
        obligations=(),
        valid_until_us=NOW + DAY,
        entry_id=bytes(16),
        leaf_hash=bytes(32),
    )


def everybody(_role: str, _event_type: str) -> bool:
    return True


def opened(delivery: Delivery, role: str = PRISON, **changes):
    values = {
        "keyring": keyring(role),
        "members": case(),
        "may_send": everybody,
        "now_us": NOW,
        "remembered": dict[bytes, Remembered](),
    }
    return open_delivery(delivery, **{**values, **changes})


def refused(call, *args, **kwargs) -> tuple[str, object]:
    """Code and check of the refusal; fails when nothing was refused."""
    try:
        call(*args, **kwargs)
    except HandslagError as error:
        return error.code, error.context.get("check")
    raise AssertionError("nothing was refused")
