"""Real keys and signatures for a made-up seat: its OPEN statement, signed acts, and what its unit signed of events."""

from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.anchors import Anchors
from audit.merkle import inclusion_proof, leaf_hash, root
from schemas.envelope import BundleLeaf, BundleStatement, Core, EventStatement, RoutedSection, RoutingItem
from schemas.identifiers import ZERO32
from schemas.statements import Invitation, MemberStatement, SignedUnit, UnitEntry
from schemas.trail import Evidence, Payload
from tests.consent.making import T0, UNITS, named
from tests.trail.builder import ORIGIN

OWNER, ROLE = "SOC/EXEMPEL", "social_services_lead"


def key(name):
    return Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())


def public(private):
    return private.public_key().public_bytes_raw()


AGENCY, UNIT, SEAT, STRANGER = key("agency"), key("unit"), key("seat"), key("stranger")


def unit_entry(signing=UNIT, by=AGENCY):
    data = UnitEntry(
        unit=UNITS[ROLE], agency="EXEMPEL", controller=OWNER, roles=(ROLE,), signing_key=public(signing),
        hpke_key=bytes(32), valid_from_us=0, valid_until_us=2 * T0,
    ).to_bytes()  # fmt: skip
    return SignedUnit(entry=data, signature=by.sign(data))


def anchors():
    return Anchors(agencies={"EXEMPEL": public(AGENCY)}).with_units([unit_entry()])


def opening(seat_id, signing=SEAT, by=None):
    data = MemberStatement(
        case_tag=named("case"), member=named(ROLE), role=ROLE, kind="OPEN", seq=0, signing_key=public(signing),
        hpke_key_hash=bytes(32), not_before_us=0, not_after_us=2 * T0, previous=ZERO32, invitation_hash=ZERO32,
        signer=named(ROLE),
    ).to_bytes()  # fmt: skip
    return Payload(seat_id=seat_id, role=ROLE, act=data, act_signature=(by or signing).sign(data))


def evidence(seat_id, event_id, asked, *, sent_at_us=None, signing=SEAT, unit=UNIT, origin=ORIGIN):
    """What ties a decision on `asked` to the bytes that the unit signed, among two other events of its bundle."""
    routing = RoutingItem(
        salt=bytes(16), seat_id=seat_id,
        sections=tuple(
            RoutedSection(category=one.category, digest=sha256(one.category.encode()).digest(), persons=one.persons,
                          public_interest_released=one.public_interest_released)
            for one in asked.sections
        ),
        is_minor=False, protected_handling=False, regime="GDPR", basis="CONSENT",
    ).to_bytes()  # fmt: skip
    core = Core(
        event_id=event_id, event_type=asked.event_type, schema_hash=bytes(32), occurred_at_us=asked.at_us,
        sent_at_us=asked.at_us if sent_at_us is None else sent_at_us, purpose=asked.purpose, action=asked.action,
        statement_kind="FACT", seat_key_id=bytes(32),
    ).to_bytes()  # fmt: skip
    digests = b"".join(sorted([sha256(routing).digest(), *(sha256(bytes([n])).digest() for n in range(31))]))
    hashes = {"core_hash": sha256(core).digest(), "digests_hash": sha256(digests).digest()}
    signature = signing.sign(EventStatement(**hashes).to_bytes())
    leaf = BundleLeaf(**hashes, seat_signature=signature, attempt_hash=bytes(32)).to_bytes()
    leaves = [leaf_hash(b"one"), leaf_hash(leaf), leaf_hash(b"three")]
    bundle = BundleStatement(
        origin=origin, unit=UNITS[ROLE], bundle_id=bytes(16), count=len(leaves), root=root(leaves)
    ).to_bytes()
    return Evidence(
        **hashes, seat_signature=signature, attempt_hash=bytes(32), bundle=bundle, unit_signature=unit.sign(bundle),
        index=1, path=tuple(inclusion_proof(leaves, 1)), core=core, digests=digests, routing_item=routing,
    )  # fmt: skip


def invited(shown, role, unit, *, inviter=None, by=UNIT):
    """The same event as an invitation: the unit signed an Invitation that names both hashes."""
    invitation = Invitation(
        invitation_id=bytes(16), case_tag=named("case"), inviter=inviter or named(ROLE), inviter_unit=UNITS[ROLE],
        unit=unit, role=role, core_hash=shown.core_hash, digests_hash=shown.digests_hash,
        lead_statement_hash=bytes(32), created_at_us=T0, expires_at_us=2 * T0,
    ).to_bytes()  # fmt: skip
    return {"bundle": invitation, "unit_signature": by.sign(invitation), "index": 0, "path": ()}
